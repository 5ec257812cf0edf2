//! A node: the whole system in one process, or one of its sides.
//!
//! [`run`] serves until a signal ends the process. [`Serve`] binds the addresses before it serves,
//! so that its caller can read the port.

mod drain;
mod error;
mod read_side;
mod runtime;
mod secured;
mod services;
mod source;
mod write_side;

use std::{io, net::SocketAddr, path::PathBuf, pin::pin, time::Duration};

use drain::Drain;
pub use error::Error;
use event_log::Location;
use read_side::Engine;
pub(crate) use read_side::ReadSide;
use runtime::Threads;
use sd_notify::NotifyState;
use secured::Secured;
pub(crate) use services::LIMITS;
use services::{Layers, Sides};
use source::Source;
use sqlite::Folder;
use telemetry::trace;
use tokio::{
    net::TcpListener,
    runtime::Handle,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
pub(crate) use write_side::WriteSide;

use crate::{
    console::Console,
    layers::{limits::Limited, web::Pages},
    listener::{Listener, Places, Runtimes},
    ops::{
        health::Health,
        scrape::{self, Observer},
    },
    settings,
};

/// Open files that the node needs besides connections: log, documents and search index.
const OTHER_FILES: u64 = 2000;

/// Serves until SIGTERM or Ctrl-C, then drains. A second signal cuts off the calls in flight.
///
/// # Errors
/// [`Error`] names each reason why the node does not start, or stops serving.
pub async fn run(settings: settings::Serve) -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signal)?;
    let delay = settings.drain_delay;
    // Nobody balances load over a node that somebody ends with Ctrl-C.
    let mut told_to_end = async || {
        tokio::select! {
            _ = terminate.recv() => delay,
            _ = interrupt.recv() => Duration::ZERO,
        }
    };
    allow_files(settings.limits.connections);
    let serve = Serve::bind(settings).await?;
    if let Some(folder) = serve.folder.as_ref().or(serve.log_folder.as_ref()) {
        sqlite::keep_temporary_files_in(folder.path()).await?;
    }
    let (shut_down, shutdown) = oneshot::channel();
    // The sender is not dropped before the node ends.
    let shutdown = async { shutdown.await.unwrap_or_default() };
    let mut served = pin!(serve.run(shutdown));
    tokio::select! {
        served = &mut served => return served,
        delay = told_to_end() => {
            // The receiver lives as long as the node.
            let _ = shut_down.send(delay);
        }
    }
    tokio::select! {
        served = served => served,
        _ = told_to_end() => Err(Error::CutOff),
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
    /// The runtime on which connections begin.
    lobby: Threads,
    secured: Secured,
    tasks: TaskTracker,
    /// Cancelled after the calls have ended, and ends projections and all other background tasks.
    ended: CancellationToken,
}

impl Serve {
    /// Reads the files that the settings name, binds the addresses and locks the data folder.
    ///
    /// # Errors
    /// - [`Error::Thread`]: a runtime cannot start.
    /// - [`Error::Setting`]: a file that a setting names is missing or invalid.
    /// - [`Error::Listen`]: an address is in use or not usable.
    /// - [`Error::Folder`]: a folder is unusable, or another process owns it.
    pub async fn bind(settings: settings::Serve) -> Result<Self, Error> {
        let (tasks, ended) = (TaskTracker::new(), CancellationToken::new());
        let read = Threads::for_reading().map_err(Error::Thread)?;
        let lobby = Threads::for_the_lobby().map_err(Error::Thread)?;
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
            lobby,
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

    /// Serves until `shutdown` resolves, then drains: it serves on for the time that `shutdown`
    /// returns, while health says NOT_SERVING. The calling thread executes the commands.
    ///
    /// # Errors
    /// - [`Error::Log`], [`Error::Documents`] or [`Error::Search`]: a store cannot open.
    /// - [`Error::NoSource`]: the node has no source of events.
    /// - [`Error::Traces`], [`Error::Metrics`], [`Error::Descriptors`]: telemetry or reflection
    ///   cannot start.
    /// - [`Error::Thread`]: a task fails.
    pub async fn run(mut self, shutdown: impl Future<Output = Duration>) -> Result<(), Error> {
        let traces = self.traces()?;
        // Cancelled first at shutdown: streams end, and the server rejects new calls.
        let streams = CancellationToken::new();
        let (mut write, read) = self.sides(&streams).await?;
        let sides = Sides {
            write: write.as_ref(),
            read: read.as_ref(),
        };
        let (health, health_service) = Health::new(sides.needs()).await;
        let routes = sides.routes(health_service, &streams, self.read.handle())?;
        let mut places = Places::new(self.settings.limits.connections);
        let (tls, credentials) = self.secured.demands();
        if credentials {
            places = places.with_kept();
        }
        let observer = Observer::of(sides.write, sides.read, &places, self.sqlite_files());
        self.serve_metrics(observer, &health)?;
        let address = self.listener.local_addr();
        let address = address.map_err(|error| Error::Listen(self.settings.listen, error))?;
        let drain = Drain {
            health,
            streams: streams.clone(),
            stop_accepting: CancellationToken::new(),
            timeout: self.settings.drain_timeout,
        };
        let runtimes = self.runtimes();
        let (pages, console) = self.pages(&sides, address);
        let limits = self.settings.limits;
        let layers = Layers {
            console,
            pages,
            limited: Limited {
                call_time: limits.call_time,
                shuts_down: streams.clone(),
            },
            access: self.secured.access,
        };
        let listener = Listener {
            listener: self.listener,
            tls: self.secured.tls,
            places,
            runtimes,
            limits,
            max_age: self.settings.max_connection_age,
        };
        let serving = listener.run(layers.around(routes), drain.stop_accepting.clone());
        let serving = self.lobby.run(serving);
        tracing::info!(%address, tls, credentials, "serving");
        tell_manager(NotifyState::Ready, &format!("serving on {address}"));

        drain.after(shutdown, serving, write.as_mut()).await?;
        streams.cancel();
        self.ended.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        if let Some(side) = write {
            side.end().await?;
        }
        finish(traces, self.read.handle()).await
    }

    /// Returns the pages that may call, and the console if the node serves it.
    fn pages(&self, sides: &Sides<'_>, address: SocketAddr) -> (Pages, Console) {
        let pages = Pages::of(self.settings.origins.clone());
        if !self.settings.console {
            return (pages, Console::off());
        }
        let (tls, _) = self.secured.demands();
        let scheme = if tls { "https" } else { "http" };
        tracing::info!(url = %format_args!("{scheme}://{address}/"), "console");
        let pages = pages.with_own(tls);
        let services = sides.needs().into_iter().map(|(service, _)| service);
        let access = self.secured.access.clone();
        let console = Console::on(pages.clone(), access, services.collect());
        (pages, console)
    }

    /// Returns the runtimes of connections. The calling thread is that of the commands.
    fn runtimes(&self) -> Runtimes {
        Runtimes {
            lobby: self.lobby.handle().clone(),
            commands: Handle::current(),
            reading: self.read.handle().clone(),
        }
    }

    /// Starts the export of traces, if the settings name a collector.
    fn traces(&self) -> Result<Option<trace::Export>, Error> {
        let Some(collector) = &self.settings.telemetry.collector else {
            return Ok(None);
        };
        // The export runs on the read runtime, so that it takes no time from commands.
        let _there = self.read.handle().enter();
        let export = trace::Export::start(&collector.url, collector.authorities()?)?;
        Ok(Some(export))
    }

    /// Returns the SQLite files of the node, by their name in the metrics.
    fn sqlite_files(&self) -> Vec<(&'static str, PathBuf)> {
        let settings = &self.settings;
        let mut files = Vec::new();
        if let (true, Location::File(events)) = (settings.roles.command, &settings.log) {
            files.push(("events", events.clone()));
        }
        if settings.roles.query {
            files.push(("documents", settings.data_dir.join("read.db")));
        }
        files
    }

    /// Serves the metrics, if their address is bound.
    fn serve_metrics(&mut self, observer: Observer, health: &Health) -> Result<(), Error> {
        let Some(listener) = self.metrics.take() else {
            if let Some(metrics) = &self.settings.telemetry.metrics {
                let address = metrics.listen;
                tracing::warn!(%address, "in use: no metrics; metrics-listen says where else");
            }
            return Ok(());
        };
        let address = listener.local_addr();
        let address = address.map_err(|error| Error::Listen(self.settings.listen, error))?;
        tracing::info!(%address, "metrics");
        // The metrics run on the read runtime, because aggregation takes long.
        let _there = self.read.handle().enter();
        let credentials = self.secured.access.credentials().cloned();
        scrape::serve(
            listener,
            observer,
            health.ready(),
            (self.secured.tls.clone(), credentials),
            &self.settings.limits,
            &self.ended,
            &self.tasks,
        )
    }

    /// Starts the sides that the roles name. `streams` ends their streams.
    async fn sides(
        &self,
        streams: &CancellationToken,
    ) -> Result<(Option<WriteSide>, Option<ReadSide>), Error> {
        let (settings, tasks) = (&self.settings, &self.tasks);
        let write = if settings.roles.command {
            let reading = self.read.handle();
            Some(WriteSide::start(&settings.log, reading, streams, tasks).await?)
        } else {
            None
        };
        let read = if let Some(folder) = &self.folder {
            let source = match &write {
                Some(here) if self.secured.nodes.is_empty() => {
                    Source::Here(here.events.for_this_node())
                }
                _ => Source::Nodes(self.secured.nodes.clone(), self.secured.bearer.clone()),
            };
            let engine = Engine {
                meilisearch: settings.meilisearch.clone(),
                indexer: settings.roles.indexer,
            };
            Some(
                ReadSide::start(
                    folder,
                    source,
                    engine,
                    settings.query_timeout,
                    streams,
                    &self.ended,
                    tasks,
                )
                .await?,
            )
        } else {
            None
        };
        Ok((write, read))
    }
}

/// Ends the export of traces, if there is one, off this thread.
async fn finish(traces: Option<trace::Export>, reading: &Handle) -> Result<(), Error> {
    let Some(traces) = traces else {
        return Ok(());
    };
    let finished = reading.spawn_blocking(|| traces.finish()).await;
    if let Err(error) = finished.map_err(|error| Error::Thread(error.into()))? {
        tracing::warn!(%error, "not all traces have been taken");
    }
    Ok(())
}
