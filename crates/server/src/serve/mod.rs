//! The whole system in one process.

mod elsewhere;
mod health;
mod in_process;
mod runtime;

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use command_side::CommandSide;
use contract::{
    encoded::event_service_server::EventServiceServer,
    orders::v1::{
        command_service_server::CommandServiceServer,
        projection_service_server::ProjectionServiceServer,
        query_service_server::QueryServiceServer,
    },
};
use elsewhere::Elsewhere;
use event_log::Location;
use health::Health;
use projector::{Documents, Indexer};
use query_side::{Projections, Queries};
use read_model::{
    search::{self, embedded::Index},
    store::{self, Writer},
};
use runtime::{Threads, Yields};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::{Server, server::TcpIncoming};

use crate::settings;

/// Connections that queries read the documents with.
const READERS: u32 = 4;

/// Calls of one connection that may be given up before they are looked at. Past that the connection
/// is closed, with all its other calls: the default of 20 is met by an honest client whose calls
/// time out together.
const GIVEN_UP: usize = 1000;

/// How often a silent client is asked whether it is still there: a subscriber that went without a
/// word would keep its place for ever.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Why it does not serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The data folder is not ours to use.
    #[error(transparent)]
    Folder(#[from] sqlite::Error),
    /// The log cannot be opened.
    #[error(transparent)]
    Log(#[from] event_log::Error),
    /// The documents cannot be opened.
    #[error(transparent)]
    Documents(#[from] store::Error),
    /// The search index cannot be opened.
    #[error(transparent)]
    Search(#[from] search::Error),
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    /// The process cannot be told to end.
    #[error("cannot wait for signals: {0}")]
    Signal(#[source] io::Error),
    /// The server failed.
    #[error("the server failed: {0}")]
    Server(#[from] tonic::transport::Error),
    /// Reflection cannot be offered.
    #[error("the contract's descriptors are unusable: {0}")]
    Descriptors(#[from] tonic_reflection::server::Error),
}

/// Serves until the process is told to end: by SIGTERM, or Ctrl-C.
///
/// # Errors
/// What keeps it from starting, or broke it.
pub async fn run(settings: settings::Serve) -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signal)?;
    let told_to_end = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Serve::bind(settings).await?.run(told_to_end).await
}

/// A system that listens, but does not serve yet.
#[derive(Debug)]
pub struct Serve {
    settings: settings::Serve,
    listener: TcpListener,
    folder: sqlite::Folder,
    /// That of a log in a file elsewhere.
    log_folder: Option<sqlite::Folder>,
}

impl Serve {
    /// Takes the address and the data folder.
    ///
    /// # Errors
    /// When one of them is in use, or cannot be used.
    pub async fn bind(settings: settings::Serve) -> Result<Self, Error> {
        let refused = |error| Error::Listen(settings.listen, error);
        let listener = TcpListener::bind(settings.listen).await.map_err(refused)?;
        let folder = sqlite::Folder::own(&settings.data_dir)?;
        let log_folder = match &settings.log {
            Location::File(file) => folder.own_that_of(file)?,
            Location::Database(_) => None,
        };
        Ok(Self {
            settings,
            listener,
            folder,
            log_folder,
        })
    }

    /// Where it listens: the port, if the settings left it open.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves on this thread, which is that of the commands, until `shutdown`; then drains.
    ///
    /// # Errors
    /// When something it needs cannot be opened, or the server fails.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let Self {
            settings,
            listener,
            folder,
            log_folder: _log_folder,
        } = self;
        let read = Threads::for_reading().map_err(Error::Thread)?;
        // Who reads their own writes waits for the documents; the index has much to merge.
        let documents_thread =
            Threads::in_background("documents", Yields::Mostly).map_err(Error::Thread)?;
        let index_thread =
            Threads::in_background("search", Yields::Always).map_err(Error::Thread)?;
        // Streams end first; what feeds them and what they feed, when they have ended.
        let streams = CancellationToken::new();
        let projections = CancellationToken::new();
        let tasks = TaskTracker::new();

        let CommandSide {
            commands,
            events,
            writer,
            dispatch,
            follow,
            available,
        } = command_side::open(&settings.log, streams.clone()).await?;
        // Opened on the threads they work on, for theirs inherit the priority.
        let read_db = folder.file("read.db");
        let documents_writer = documents_thread
            .run(async move { Writer::open(&read_db, projector::GENERATION).await })
            .await??;
        let documents = documents_writer.reader(READERS).await?;
        let indexed = documents_writer.reader(1);
        let search_folder = folder.file("search");
        let (indexed, index) = index_thread
            .run(async move { (indexed.await, Index::open(&search_folder)) })
            .await?;
        let index: Arc<dyn search::Engine> = Arc::new(index?);

        let no_more_commands = CancellationToken::new();
        let writer = tokio::spawn(writer.run(no_more_commands.clone()));
        tasks.spawn_on(dispatch.run(), read.handle());
        tasks.spawn_on(follow.run(), read.handle());
        let (in_process, in_process_server) =
            in_process::serve(events.clone(), projections.clone());
        tasks.spawn_on(in_process_server, documents_thread.handle());
        let projector = Documents::new(in_process.clone(), documents_writer);
        let documents_progress = projector.progress();
        tasks.spawn_on(
            projector.run(projections.clone()),
            documents_thread.handle(),
        );
        let indexer = Indexer::new(indexed?, Arc::clone(&index));
        let index_progress = indexer.progress();
        tasks.spawn_on(indexer.run(projections.clone()), index_thread.handle());

        let queries = Queries::new(documents, index, index_progress.clone(), streams.clone());
        let projection_service = Projections::new(documents_progress, index_progress, in_process);
        let (mut health, health_service) = Health::new().await;
        tasks.spawn(health.clone().follow(available, streams.clone()));
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(contract::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let address = listener
            .local_addr()
            .map_err(|error| Error::Listen(settings.listen, error))?;
        let stop_accepting = CancellationToken::new();
        let server = Server::builder()
            .http2_max_pending_accept_reset_streams(Some(GIVEN_UP))
            .http2_keepalive_interval(Some(KEEPALIVE))
            .add_service(health_service)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .add_service(CommandServiceServer::new(commands))
            .add_service(Elsewhere::new(
                EventServiceServer::new(events),
                read.handle(),
            ))
            .add_service(Elsewhere::new(
                QueryServiceServer::new(queries),
                read.handle(),
            ))
            .add_service(Elsewhere::new(
                ProjectionServiceServer::new(projection_service),
                read.handle(),
            ))
            .serve_with_incoming_shutdown(
                TcpIncoming::from(listener).with_nodelay(Some(true)),
                stop_accepting.clone().cancelled_owned(),
            );
        let mut server = pin!(server);
        tracing::info!(%address, data_dir = %settings.data_dir.display(), "serving");

        tokio::select! {
            failed = &mut server => failed?,
            () = shutdown => {
                tracing::info!("shutting down");
                health.drain().await;
                streams.cancel();
                stop_accepting.cancel();
                health.close().await;
                match tokio::time::timeout(settings.drain_timeout, &mut server).await {
                    Ok(served) => served?,
                    Err(_) => tracing::warn!("calls in flight are cut off: the drain timeout is over"),
                }
            }
        }
        streams.cancel();
        projections.cancel();
        tasks.close();
        tasks.wait().await;
        // Calls that the drain timeout has cut off could go on for ever: the writer ends without them.
        no_more_commands.cancel();
        writer.await.map_err(|error| Error::Thread(error.into()))?;
        Ok(())
    }
}
