//! A node: the whole system in one process, or one of its sides.
//!
//! [`run`] serves until a signal ends the process. [`Serve`] binds the addresses before it serves,
//! so that its caller can read the port.

mod read_side;
mod runtime;
mod secured;
mod source;
mod write_side;

use std::{future::pending, io, net::SocketAddr, pin::pin, time::Duration};

use contract::{
    encoded::{
        command_service_server::{self, CommandServiceServer},
        event_service_server::{self, EventServiceServer},
    },
    orders::v1::{
        projection_service_server::{self, ProjectionServiceServer},
        query_service_server::{self, QueryServiceServer},
    },
};
use event_log::Location;
use read_model::{search, store};
use read_side::Engine;
pub(crate) use read_side::ReadSide;
use runtime::Threads;
use sd_notify::NotifyState;
use secured::Secured;
use source::Source;
use sqlite::Folder;
use telemetry::trace;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::Server;
use tonic_web::GrpcWebLayer;
pub(crate) use write_side::WriteSide;

use crate::{
    layers::{
        elsewhere::Elsewhere, ending::Ending, limits::Limited, observed::Observed, web::Pages,
    },
    listener::{self, Places},
    ops::{
        health::{Health, Needs},
        scrape::{self, Observer},
    },
    settings,
};

/// Limit of calls on one connection that the client has reset before the server accepted them. Past
/// the limit the connection closes with all its calls. The default of 20 is too low: calls of an
/// honest client can time out together.
const GIVEN_UP: usize = 1000;

/// Open files that the node needs besides connections: log, documents and search index.
const OTHER_FILES: u64 = 2000;

/// Interval of HTTP/2 pings to a client, so that a subscriber that vanished silently frees its
/// connection.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Time between the rejection of new calls and the closing of connections at shutdown. A call that
/// meets the closing of its connection would fail without a reason.
const FAREWELL: Duration = Duration::from_millis(250);

/// A reason why a node does not start, or stops serving.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is invalid.
    #[error(transparent)]
    Setting(#[from] settings::Error),
    /// The node cannot listen on the address.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The data folder is unusable, or another process owns it.
    #[error(transparent)]
    Folder(#[from] sqlite::Error),
    /// The node cannot open the log.
    #[error(transparent)]
    Log(#[from] event_log::Error),
    /// The node cannot open the documents.
    #[error(transparent)]
    Documents(#[from] store::Error),
    /// The node cannot open the search index.
    #[error(transparent)]
    Search(#[from] search::Error),
    /// The node has read models, but neither a log of its own nor another node to stream events
    /// from.
    #[error("there are no nodes to make the read models from")]
    NoSource,
    /// A thread cannot start, or ended with a panic.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    /// The process cannot install its signal handlers.
    #[error("cannot wait for signals: {0}")]
    Signal(#[source] io::Error),
    /// A second signal came while the node waited for calls in flight.
    #[error("told to end again: calls in flight are cut off")]
    CutOff,
    /// The server failed.
    #[error("the server failed: {0}")]
    Server(#[from] tonic::transport::Error),
    /// The node cannot install the metrics recorder.
    #[error("the metrics cannot be served: {0}")]
    Metrics(#[source] telemetry::metrics::Error),
    /// The node cannot start the export of traces.
    #[error("traces cannot be exported: {0}")]
    Traces(#[from] telemetry::trace::Error),
    /// The reflection service rejects the contract's descriptors.
    #[error("the contract's descriptors are unusable: {0}")]
    Descriptors(#[from] tonic_reflection::server::Error),
}

/// Serves until SIGTERM or Ctrl-C, then drains. A second signal cuts off the calls in flight.
///
/// # Errors
/// [`Error`] names each reason why the node does not start, or stops serving.
pub async fn run(settings: settings::Serve) -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signal)?;
    let mut told_to_end = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    allow_files(settings.limits.connections);
    let serve = Serve::bind(settings).await?;
    let shutdown = CancellationToken::new();
    let mut served = pin!(serve.run(shutdown.clone().cancelled_owned()));
    tokio::select! {
        served = &mut served => return served,
        () = told_to_end() => shutdown.cancel(),
    }
    tokio::select! {
        served = served => served,
        () = told_to_end() => Err(Error::CutOff),
    }
}

/// Raises the limit of open files to `connections` plus [`OTHER_FILES`]. Logs a warning if the
/// system allows fewer.
fn allow_files(connections: u32) {
    let wanted = u64::from(connections) + OTHER_FILES;
    match rlimit::increase_nofile_limit(wanted) {
        Ok(allowed) if allowed >= wanted => {}
        Ok(allowed) => tracing::warn!(allowed, wanted, "few files may be open: few connections"),
        Err(error) => tracing::warn!(%error, "cannot have more files open"),
    }
}

/// Notifies the service manager (systemd) of the state. Does nothing if no service manager waits
/// for a notification.
fn tell_manager(state: NotifyState<'_>, status: &str) {
    if let Err(error) = sd_notify::notify(&[state, NotifyState::Status(status)]) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// A node that has bound its addresses, but does not serve yet.
#[derive(Debug)]
pub struct Serve {
    settings: settings::Serve,
    listener: TcpListener,
    /// The data folder of the read models; `None` without the role `query`.
    folder: Option<Folder>,
    /// The folder of the log. `None` without the role `command`, without a log file, or if the file
    /// lies in `folder`.
    log_folder: Option<Folder>,
    /// The listener of the metrics; `None` if they are not served.
    metrics: Option<TcpListener>,
    /// The runtime that answers queries and feeds streams.
    read: Threads,
    secured: Secured,
    tasks: TaskTracker,
    /// Cancelled after the calls have ended, and ends projections and all other background tasks.
    ended: CancellationToken,
}

impl Serve {
    /// Reads the files that the settings name, binds the addresses and locks the data folder.
    ///
    /// # Errors
    /// - [`Error::Thread`]: the read runtime cannot start.
    /// - [`Error::Setting`]: a file that a setting names is missing or invalid.
    /// - [`Error::Listen`]: an address is in use or not usable.
    /// - [`Error::Folder`]: a folder is unusable, or another process owns it.
    pub async fn bind(settings: settings::Serve) -> Result<Self, Error> {
        let (tasks, ended) = (TaskTracker::new(), CancellationToken::new());
        let read = Threads::for_reading().map_err(Error::Thread)?;
        let secured = {
            // The tasks that follow the files run on the read runtime.
            let _there = read.handle().enter();
            Secured::read(&settings, read.handle(), &ended, &tasks)?
        };
        let refused = |error| Error::Listen(settings.listen, error);
        let listener = TcpListener::bind(settings.listen).await.map_err(refused)?;
        let metrics = match &settings.telemetry.metrics {
            Some(metrics) => scrape::bind(metrics).await?,
            None => None,
        };
        let roles = settings.roles;
        let folder = roles.query.then(|| Folder::own(&settings.data_dir));
        let folder = folder.transpose()?;
        let log_folder = match &settings.log {
            Location::File(file) if roles.command => Folder::own_parent_of(file, folder.as_ref())?,
            _ => None,
        };
        Ok(Self {
            settings,
            listener,
            folder,
            log_folder,
            metrics,
            read,
            secured,
            tasks,
            ended,
        })
    }

    /// Returns the address that the node listens on. The port is the real one if the settings say
    /// port 0.
    ///
    /// # Errors
    /// The system does not return the address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` resolves, then drains. The calling thread executes the commands.
    ///
    /// # Errors
    /// - [`Error::Log`], [`Error::Documents`] or [`Error::Search`]: a store cannot open.
    /// - [`Error::NoSource`]: the node has no source of events.
    /// - [`Error::Traces`], [`Error::Metrics`], [`Error::Descriptors`]: telemetry or reflection
    ///   cannot start.
    /// - [`Error::Server`] or [`Error::Thread`]: the server or a task fails.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let Self {
            settings,
            listener,
            folder,
            log_folder: _log_folder,
            metrics,
            read,
            secured,
            tasks,
            ended,
        } = self;
        let traces = match &settings.telemetry.collector {
            Some(collector) => {
                // The export runs on the read runtime, so that it takes no time from commands.
                let _there = read.handle().enter();
                Some(trace::Export::start(collector)?)
            }
            None => None,
        };
        // Cancelled first at shutdown: streams end, and the server rejects new calls.
        let streams = CancellationToken::new();
        let write_side = if settings.roles.command {
            let log = &settings.log;
            Some(WriteSide::start(log, read.handle(), &streams, &tasks).await?)
        } else {
            None
        };
        let read_side = if let Some(folder) = &folder {
            let source = match &write_side {
                Some(here) if secured.nodes.is_empty() => Source::Here(here.events.clone()),
                _ => Source::Nodes(secured.nodes, secured.bearer),
            };
            let engine = Engine {
                meilisearch: settings.meilisearch,
                indexer: settings.roles.indexer,
            };
            Some(ReadSide::start(folder, source, engine, &streams, &ended, &tasks).await?)
        } else {
            None
        };

        let needs = needs(write_side.as_ref(), read_side.as_ref());
        let reflection_alpha = reflection(&needs).build_v1alpha()?;
        let reflection = reflection(&needs).build_v1()?;
        let (mut health, health_service) = Health::new(needs).await;
        let draining = CancellationToken::new();
        let health_followed = tokio::spawn(health.clone().follow(draining.clone()));
        let refused = |error| Error::Listen(settings.listen, error);
        let address = listener.local_addr().map_err(refused)?;
        let stop_accepting = CancellationToken::new();
        let limits = settings.limits;
        let places = Places::new(limits.connections);
        if let Some(listener) = metrics {
            let address = listener.local_addr().map_err(refused)?;
            tracing::info!(%address, "metrics");
            let observer = Observer::of(write_side.as_ref(), read_side.as_ref(), &places);
            // The metrics run on the read runtime, because aggregation takes long.
            let _there = read.handle().enter();
            let shown = (secured.tls.clone(), secured.access.credentials().cloned());
            scrape::serve(listener, observer, shown, &limits, &ended, &tasks)?;
        } else if let Some(metrics) = settings.telemetry.metrics {
            let address = metrics.listen;
            tracing::warn!(%address, "in use: no metrics; metrics-listen says where else");
        }
        let (speaks_tls, asks) = (
            secured.tls.is_some(),
            secured.access.credentials().is_some(),
        );
        let greet = (read.handle(), limits.patience);
        let stop = stop_accepting.clone();
        let incoming = listener::accept(listener, secured.tls, &places, greet, stop, &tasks);
        let (write, query) = (write_side.as_ref(), read_side.as_ref());
        let server = Server::builder()
            .max_concurrent_streams(limits.streams)
            .http2_max_pending_accept_reset_streams(Some(GIVEN_UP))
            .http2_keepalive_interval(Some(KEEPALIVE))
            // Browsers use HTTP/2 only over TLS, so plain text needs HTTP/1.1.
            .accept_http1(true)
            .layer(Pages::of(settings.origins))
            .layer(GrpcWebLayer::new())
            .layer(Observed)
            .layer(Limited {
                call_time: limits.call_time,
                shuts_down: streams.clone(),
            })
            .layer(secured.access)
            .add_service(health_service)
            .add_service(Ending {
                service: reflection,
                stop: streams.clone(),
            })
            .add_service(Ending {
                service: reflection_alpha,
                stop: streams.clone(),
            })
            .add_optional_service(
                write.map(|side| CommandServiceServer::new(side.commands.clone())),
            )
            .add_optional_service(write.map(|side| {
                Elsewhere::new(EventServiceServer::new(side.events.clone()), read.handle())
            }))
            .add_optional_service(query.map(|side| {
                Elsewhere::new(QueryServiceServer::new(side.queries.clone()), read.handle())
            }))
            .add_optional_service(query.map(|side| {
                let service = ProjectionServiceServer::new(side.projections.clone());
                Elsewhere::new(service, read.handle())
            }))
            // The server ends when `incoming` ends, so it needs no shutdown signal of its own.
            .serve_with_incoming_shutdown(incoming, pending());
        let mut server = pin!(server);
        tracing::info!(%address, tls = speaks_tls, credentials = asks, "serving");
        tell_manager(NotifyState::Ready, &format!("serving on {address}"));

        tokio::select! {
            failed = &mut server => failed?,
            () = shutdown => {
                tracing::info!("shutting down");
                let deadline = Instant::now() + settings.drain_timeout;
                tell_manager(NotifyState::Stopping, "calls in flight are finished");
                // The follower ends first, because it could overwrite the drained status.
                draining.cancel();
                health_followed.await.map_err(|error| Error::Thread(error.into()))?;
                let farewell = async {
                    health.drain().await;
                    streams.cancel();
                    tokio::time::sleep(FAREWELL).await;
                    stop_accepting.cancel();
                    health.close().await;
                };
                // The server runs meanwhile, so that late clients receive a status too.
                let drained = async { tokio::join!(farewell, &mut server).1 };
                match tokio::time::timeout_at(deadline, drained).await {
                    Ok(served) => served?,
                    Err(_) => tracing::warn!("calls in flight are cut off: the drain timeout is over"),
                }
            }
        }
        streams.cancel();
        ended.cancel();
        tasks.close();
        tasks.wait().await;
        if let Some(side) = write_side {
            side.end().await?;
        }
        if let Some(traces) = traces {
            let finished = read.handle().spawn_blocking(|| traces.finish()).await;
            if let Err(error) = finished.map_err(|error| Error::Thread(error.into()))? {
                tracing::warn!(%error, "not all traces have been taken");
            }
        }
        Ok(())
    }
}

/// Returns the services of a node, each with the conditions under which it serves.
fn needs(write: Option<&WriteSide>, read: Option<&ReadSide>) -> Vec<Needs> {
    let mut needs = Vec::new();
    if let Some(side) = write {
        let available = side.available.to_vec();
        needs.push((command_service_server::SERVICE_NAME, available.clone()));
        needs.push((event_service_server::SERVICE_NAME, available));
    }
    if let Some(side) = read {
        needs.push((query_service_server::SERVICE_NAME, vec![side.ready.clone()]));
        needs.push((projection_service_server::SERVICE_NAME, Vec::new()));
    }
    needs
}

/// Configures reflection of these services. The caller builds version v1 or v1alpha from it.
fn reflection(services: &[Needs]) -> tonic_reflection::server::Builder<'static> {
    let builder = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(contract::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // Error details: no file of the contract imports their messages.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .with_service_name(tonic_health::pb::health_server::SERVICE_NAME);
    services.iter().fold(builder, |builder, (service, _)| {
        builder.with_service_name(*service)
    })
}
