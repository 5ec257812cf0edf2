//! Connections: a [`Listener`] accepts them, limits them and serves their calls.
//!
//! A connection begins in the lobby, a thread that does nothing else: strangers take no time from
//! the thread that decides commands. [`peer`] moves a connection out of the lobby with its first
//! admitted call, [`serve`] is its task, and [`strangers`] limits the connections that stay.

mod connection;
pub(crate) mod files;
pub(crate) mod peer;
mod serve;
pub(crate) mod strangers;
pub(crate) mod streams;
pub(crate) mod tls;

use std::{error::Error, fmt::Display, net::SocketAddr, sync::Arc, time::Duration};

use connection::{Connection, Socket, Stream};
use futures_util::FutureExt as _;
use http::{Request, Response};
use peer::{Peer, Runtime};
use serve::Serving;
use strangers::Strangers;
use telemetry::metrics;
use tls::Certificates;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{either::Either, sync::CancellationToken, task::TaskTracker};
use tonic::body::Body;
use tower::Service;
use wire::Limit;

use crate::settings::Limits;

/// Minimum interval between two log lines about refused connections.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Delay before the next accept after a failed one. At shutdown, the limit for open handshakes and
/// then the time for first requests.
const PAUSE: Duration = Duration::from_millis(100);

/// Maximum number of turns that the accept loop gives to connections that are told to close, when all
/// places are taken.
const MAX_YIELDS: usize = 10;

/// The TLS configuration for new connections, which changes with its files.
pub(crate) type Tls = watch::Receiver<Arc<Certificates>>;

/// Maximum number of connections beyond the limit. They are kept for credentials with the role
/// `operate`: other clients cannot lock out operators, nor nodes with such a token.
const MAX_KEPT_CONNECTIONS: usize = 64;

pub(crate) const LIMITS: [Limit; 3] = [
    Limit::new(
        "connections beyond the limit, for credentials with the role `operate`",
        MAX_KEPT_CONNECTIONS as u64,
        "others get `OVERLOADED`, and the connection closes",
    ),
    Limit::new(
        "refused calls in a row on a connection",
        peer::MAX_REFUSALS_IN_A_ROW as u64,
        "the server closes it",
    ),
    Limit::new(
        "refused calls in a row from an address",
        strangers::MAX_REFUSALS as u64,
        "new connections from there wait 1 s, until a call is admitted or a minute has passed",
    ),
];

/// The permits of a listener's connections. Each open connection holds one.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    all: usize,
    /// Permits for operators, when all others are taken.
    kept: Arc<Semaphore>,
}

impl Places {
    /// Creates permits for `all` connections, and none for operators.
    pub(crate) fn new(all: u32) -> Self {
        let all = all as usize;
        Self {
            free: Arc::new(Semaphore::new(all)),
            all,
            kept: Arc::new(Semaphore::new(0)),
        }
    }

    /// Adds permits for operators. A node without credentials cannot tell them from other clients.
    pub(crate) fn with_kept(self) -> Self {
        Self {
            kept: Arc::new(Semaphore::new(MAX_KEPT_CONNECTIONS)),
            ..self
        }
    }

    /// Returns the number of permits in use.
    pub(crate) fn taken(&self) -> usize {
        self.all - self.free.available_permits()
    }
}

/// The runtimes that serve connections.
#[derive(Debug, Clone)]
pub(crate) struct Runtimes {
    pub(crate) lobby: Handle,
    pub(crate) commands: Handle,
    pub(crate) reading: Handle,
}

impl Runtimes {
    fn of(&self, runtime: Runtime) -> &Handle {
        match runtime {
            Runtime::Lobby => &self.lobby,
            Runtime::Commands => &self.commands,
            Runtime::Reading => &self.reading,
        }
    }
}

/// A service that answers the requests of connections.
pub(crate) trait HttpService:
    Service<
        Request<Body>,
        Response = Response<Body>,
        Error: Error + Send + Sync + 'static,
        Future: Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> HttpService for S where
    S: Service<
            Request<Body>,
            Response = Response<Body>,
            Error: Error + Send + Sync + 'static,
            Future: Send + 'static,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

/// A bound address whose connections are to be served.
pub(crate) struct Listener {
    pub(crate) listener: TcpListener,
    pub(crate) tls: Option<Tls>,
    pub(crate) places: Places,
    pub(crate) runtimes: Runtimes,
    pub(crate) limits: Limits,
    /// The age at which connections close. `None` does not limit it.
    pub(crate) max_age: Option<Duration>,
}

impl Listener {
    /// Serves connections with `service` until `stop`, and then those that wait in the backlog: these
    /// clients learn that the server shuts down, while a reset would give no reason. Then the
    /// address is free, and the connections close when their calls have finished.
    ///
    /// The caller runs this on the lobby.
    pub(crate) async fn run(self, service: impl HttpService, stop: CancellationToken) {
        let closing = CancellationToken::new();
        let connections = TaskTracker::new();
        let mut accepting = Accepting {
            strangers: Strangers::new(self.limits.strangers),
            serving: Arc::new(Serving::new(
                service,
                self.runtimes,
                (self.limits.streams, self.max_age),
                closing.clone(),
                connections.clone(),
            )),
            tls: self.tls,
            places: self.places,
            patience: self.limits.patience,
            greetings: TaskTracker::new(),
            refusals: Refusals::default(),
        };
        accepting.run(self.listener, stop).await;
        closing.cancel();
        connections.close();
        connections.wait().await;
    }
}

/// The accept loop of a listener.
struct Accepting<S> {
    strangers: Strangers,
    serving: Arc<Serving<S>>,
    tls: Option<Tls>,
    places: Places,
    patience: Duration,
    /// TLS handshakes in progress.
    greetings: TaskTracker,
    refusals: Refusals,
}

impl<S: HttpService> Accepting<S> {
    async fn run(&mut self, listener: TcpListener, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                new = listener.accept() => match new {
                    Ok((stream, address)) => self.take(stream, address).await,
                    Err(error) => {
                        // The failure may concern one client, or all of them if too many files are
                        // open.
                        self.refusals.add("system", &error);
                        sleep(PAUSE).await;
                    }
                },
            }
        }
        while let Some(Ok((stream, address))) = listener.accept().now_or_never() {
            self.take(stream, address).await;
        }
        drop(listener);
        self.greetings.close();
        // The loop does not wait for slow handshakes. The delay gives clients time for their first
        // request, because the server closes a silent connection without a status.
        let _ = timeout(PAUSE, self.greetings.wait()).await;
        sleep(PAUSE).await;
    }

    async fn take(&mut self, stream: TcpStream, address: SocketAddr) {
        let free = &self.places.free;
        let mut place = Arc::clone(free).try_acquire_owned();
        for _ in 0..MAX_YIELDS {
            if place.is_ok() {
                break;
            }
            tokio::task::yield_now().await;
            place = Arc::clone(free).try_acquire_owned();
        }
        let is_kept = place.is_err();
        let place = place.or_else(|_| Arc::clone(&self.places.kept).try_acquire_owned());
        let Ok(place) = place else {
            return self.refusals.add("limit", &"all places are taken");
        };
        if let Err(error) = stream.set_nodelay(true) {
            return tracing::debug!(%address, %error, "gone already");
        }
        let peer = Peer::arrive(address, &self.strangers, is_kept);
        let mut greeting = Greeting {
            wait: self.strangers.wait(address),
            tls: self.tls.clone(),
            patience: self.patience,
        };
        let serving = Arc::clone(&self.serving);
        self.greetings.spawn(async move {
            let Some(connection) = greeting.run(stream, place, &peer).await else {
                return;
            };
            serving.begin(connection, peer, greeting.tls);
        });
    }
}

/// The time until a connection can be served: the wait of a barred address, and the TLS handshake.
struct Greeting {
    wait: Option<Duration>,
    tls: Option<Tls>,
    patience: Duration,
}

impl Greeting {
    async fn run(
        &mut self,
        stream: TcpStream,
        place: OwnedSemaphorePermit,
        peer: &Peer,
    ) -> Option<Connection> {
        let greeted = async {
            if let Some(wait) = self.wait {
                metrics::connection_refused("barred");
                sleep(wait).await;
            }
            self.encrypted(Socket::new(stream)).await
        };
        let stream = tokio::select! {
            stream = greeted => stream?,
            () = peer.is_closed() => return None,
        };
        Some(Connection::new(stream, self.patience, place))
    }

    async fn encrypted(&mut self, socket: Socket) -> Option<Stream> {
        let Some(tls) = &mut self.tls else {
            return Some(Either::Left(socket));
        };
        let config = tls.borrow_and_update().config();
        let why = match timeout(self.patience, TlsAcceptor::from(config).accept(socket)).await {
            Ok(Ok(stream)) => return Some(Either::Right(Box::new(stream))),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "too late".to_owned(),
        };
        metrics::connection_refused("tls");
        tracing::debug!(why, "no TLS");
        None
    }
}

/// Counts refused connections and logs them at most every [`LOG_INTERVAL`].
#[derive(Debug, Default)]
struct Refusals {
    logged: Option<Instant>,
}

impl Refusals {
    fn add(&mut self, reason: &'static str, why: &dyn Display) {
        metrics::connection_refused(reason);
        if self
            .logged
            .is_none_or(|logged| logged.elapsed() > LOG_INTERVAL)
        {
            tracing::warn!(%why, "connections are refused");
            self.logged = Some(Instant::now());
        }
    }
}
