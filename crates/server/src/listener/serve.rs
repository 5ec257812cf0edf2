//! The task of a connection.

use std::{error::Error, future::pending, pin::Pin, sync::Arc, time::Duration};

use http::Request;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulConnection},
    service::TowerToHyperService,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::body::Body;
use tower::ServiceExt as _;

use super::{
    HttpService, Runtimes, Tls,
    connection::Connection,
    peer::{Close, Orders, Peer, Runtime},
    streams::Streams,
};

/// Limit of calls on one connection that the client has reset before the server accepted them. Past
/// the limit the connection closes with all its calls. The default of 20 is too low: calls of an
/// honest client can time out together.
const MAX_PENDING_RESETS: usize = 1000;

/// Interval of HTTP/2 pings to a client, so that a subscriber that vanished silently frees its
/// connection.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Bytes that a client may send on a stream before the server has read them.
const STREAM_WINDOW: u32 = 64 << 10;

/// Bytes that a client may send on all streams of a connection before the server has read them.
///
/// The HTTP/2 library counts an unread frame of less than 256 bytes as a cost of the difference, and
/// closes a connection whose cost exceeds half of this. Ten streams full of the smallest commands, of
/// 10 bytes each, stay below.
const CONNECTION_WINDOW: u32 = 32 << 20;

/// Bytes of headers that the HTTP/2 library takes, 32 for each header included. A call with more fails
/// without a status of gRPC.
const MAX_HEADER_BYTES: u32 = 96 << 10;

/// Time for the calls of a connection that is told to close.
const GRACE: Duration = Duration::from_secs(2);

/// Time for the calls of a connection that has reached its age.
const GRACE_OF_AGE: Duration = Duration::from_secs(10);

/// Serves the calls of connections with `service`.
pub(super) struct Serving<S> {
    service: S,
    runtimes: Runtimes,
    /// Limits the calls in flight on one connection.
    streams: u32,
    max_age: Option<Duration>,
    /// Lets each connection close after its calls in progress.
    closing: CancellationToken,
    connections: TaskTracker,
}

impl<S: HttpService> Serving<S> {
    pub(super) fn new(
        service: S,
        runtimes: Runtimes,
        (streams, max_age): (u32, Option<Duration>),
        closing: CancellationToken,
        connections: TaskTracker,
    ) -> Self {
        Self {
            service,
            runtimes,
            streams,
            max_age,
            closing,
            connections,
        }
    }

    /// Starts the task of a new connection.
    pub(super) fn begin(self: Arc<Self>, connection: Connection, peer: Peer, tls: Option<Tls>) {
        let client = tls.map(|tls| Client {
            certificates: connection.client_certificates(),
            tls,
        });
        let served = {
            let peer = peer.clone();
            self.service
                .clone()
                .map_request(move |request: Request<Incoming>| {
                    let mut request = request.map(Body::new);
                    request.extensions_mut().insert(peer.clone());
                    request
                })
        };
        let mut http = auto::Builder::new(Streams {
            peer: peer.clone(),
            runtimes: self.runtimes.clone(),
        });
        http.http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.streams)
            .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEADER_BYTES)
            .keep_alive_interval(KEEPALIVE);
        // Browsers use HTTP/2 only over TLS, so plain text needs HTTP/1.1. Without a timer hyper
        // does not limit the time of a request's headers.
        http.http1().timer(TokioTimer::new());
        let http = http
            .serve_connection(TokioIo::new(connection), TowerToHyperService::new(served))
            .into_owned();
        let open = Open {
            http: Box::pin(http),
            control: Control {
                runtime: Runtime::Lobby,
                orders: peer.orders(),
                client,
                end: self.max_age.map(|age| Instant::now() + jittered(age)),
                shutdown: self.closing.clone(),
                is_closing: false,
                cut_off: None,
            },
        };
        self.spawn(open);
    }

    /// Serves the connection on its runtime, and moves it from one to another.
    fn spawn(self: Arc<Self>, mut open: Open) {
        let runtime = self.runtimes.of(open.control.runtime).clone();
        let connections = self.connections.clone();
        connections.spawn_on(
            async move {
                if let Some(runtime) = open.serve().await {
                    open.control.runtime = runtime;
                    self.spawn(open);
                }
            },
            &runtime,
        );
    }
}

type Failure = Box<dyn Error + Send + Sync>;

/// The HTTP of a connection, whatever its version.
type Http = dyn GracefulConnection<Error = Failure, Output = Result<(), Failure>> + Send;

/// An open connection.
struct Open {
    http: Pin<Box<Http>>,
    control: Control,
}

impl Open {
    /// Serves the connection until it ends, or returns the runtime that it moves to.
    async fn serve(&mut self) -> Option<Runtime> {
        loop {
            let event = tokio::select! {
                biased;
                served = &mut self.http => {
                    if let Err(error) = served {
                        tracing::debug!(error, "a connection failed");
                    }
                    return None;
                }
                event = self.control.next() => event,
            };
            match event {
                Event::Move(runtime) => return Some(runtime),
                Event::Close => self.http.as_mut().graceful_shutdown(),
                Event::CutOff => return None,
            }
        }
    }
}

/// The reasons why a connection moves or closes.
struct Control {
    runtime: Runtime,
    orders: watch::Receiver<Orders>,
    client: Option<Client>,
    /// The end of the connection's life, if its age is limited.
    end: Option<Instant>,
    shutdown: CancellationToken,
    is_closing: bool,
    /// The end of the time that calls in progress have to finish.
    cut_off: Option<Instant>,
}

/// The next thing that happens to a connection.
enum Event {
    Move(Runtime),
    Close,
    CutOff,
}

impl Control {
    async fn next(&mut self) -> Event {
        let runtime = self.runtime;
        let is_closing = self.is_closing;
        let orders = &mut self.orders;
        let ordered = async {
            let is_new = |orders: &Orders| match orders.close {
                Some(how) => how == Close::AtOnce || !is_closing,
                None => orders.runtime != runtime,
            };
            orders.wait_for(is_new).await.map(|orders| *orders)
        };
        let close = tokio::select! {
            orders = ordered => match orders {
                Ok(Orders { close: Some(close), .. }) => close,
                Ok(Orders { runtime, close: None }) => return Event::Move(runtime),
                // The connection's service has gone, so the connection ends by itself.
                Err(_) => return pending().await,
            },
            () = at(self.cut_off) => return Event::CutOff,
            () = at(self.end), if !is_closing => {
                self.is_closing = true;
                self.cut_off = Some(Instant::now() + GRACE_OF_AGE);
                return Event::Close;
            }
            () = self.shutdown.cancelled(), if !is_closing => {
                self.is_closing = true;
                return Event::Close;
            }
            () = is_distrusted(self.client.as_mut()), if !is_closing => Close::Gently,
        };
        if close == Close::AtOnce {
            return Event::CutOff;
        }
        self.is_closing = true;
        self.cut_off = Some(Instant::now() + GRACE);
        Event::Close
    }
}

/// Returns an age that differs by up to a tenth, so that connections that began together do not end
/// together.
fn jittered(age: Duration) -> Duration {
    // Without randomness the age is exact.
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    age.mul_f64(0.9 + 0.2 * f64::from(random) / f64::from(u32::MAX))
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

/// The certificates that a client has shown, and the authorities that clients need now.
struct Client {
    certificates: Vec<CertificateDer<'static>>,
    tls: Tls,
}

/// Waits until the listener no longer trusts the client's certificate.
async fn is_distrusted(client: Option<&mut Client>) {
    let Some(Client { certificates, tls }) = client else {
        return pending().await;
    };
    while tls.changed().await.is_ok() {
        if !tls.borrow_and_update().trusts(certificates) {
            return;
        }
    }
    // The files are not followed any more, so nothing changes.
    pending().await
}
