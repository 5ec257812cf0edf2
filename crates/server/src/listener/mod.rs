//! The connections of a listener: accepts them, limits their number and closes the silent ones.

pub(crate) mod files;
pub(crate) mod tls;

use std::{
    convert::Infallible,
    fmt::Display,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::FutureExt as _;
use telemetry::metrics;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::JoinSet,
    time::{Instant, Sleep, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{either::Either, sync::CancellationToken, task::TaskTracker};
use tonic::transport::server::Connected;

/// Length in bytes of the HTTP/2 preface, which a client must send in time. The protocol itself
/// limits the time for later bytes.
const PREFACE: usize = 24;

/// Time for the client to close a connection after the server has closed its side.
const LINGER: Duration = Duration::from_secs(2);

/// Minimum interval between two log lines about refused connections.
const TELL: Duration = Duration::from_secs(10);

/// Delay before the next accept after a failed one. At shutdown, the limit for open handshakes and
/// then the time for first requests.
const PAUSE: Duration = Duration::from_millis(100);

/// The TLS configuration for new connections, which changes with its files.
pub(crate) type Tls = watch::Receiver<Arc<ServerConfig>>;

/// The permits of a listener's connections. Each open connection holds one.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    all: usize,
}

impl Places {
    pub(crate) fn new(all: u32) -> Self {
        let all = all as usize;
        Self {
            free: Arc::new(Semaphore::new(all)),
            all,
        }
    }

    /// Returns the number of permits in use.
    pub(crate) fn taken(&self) -> usize {
        self.all - self.free.available_permits()
    }
}

/// Accepts connections until `stop`, and then those that wait in the backlog. These clients learn
/// that the server shuts down, while a reset would give no reason. Then the address is free and the
/// returned stream ends.
///
/// Each TLS handshake runs on `greet`, because it keeps a processor busy. The handshake and the
/// first bytes may each take `patience`.
pub(crate) fn accept(
    listener: TcpListener,
    tls: Option<Tls>,
    places: &Places,
    (greet, patience): (&Handle, Duration),
    stop: CancellationToken,
    tasks: &TaskTracker,
) -> ReceiverStream<Result<Connection, Infallible>> {
    let (accepted, connections) = mpsc::channel(1);
    let accepting = Accepting {
        tls,
        places: Arc::clone(&places.free),
        greet: greet.clone(),
        patience,
        accepted,
        greetings: JoinSet::new(),
        refusals: Refusals::default(),
    };
    tasks.spawn(accepting.run(listener, stop));
    ReceiverStream::new(connections)
}

/// The accept loop of a listener.
struct Accepting {
    tls: Option<Tls>,
    places: Arc<Semaphore>,
    greet: Handle,
    patience: Duration,
    accepted: mpsc::Sender<Result<Connection, Infallible>>,
    /// TLS handshakes in progress. Dropping the set aborts them.
    greetings: JoinSet<()>,
    refusals: Refusals,
}

impl Accepting {
    async fn run(mut self, listener: TcpListener, stop: CancellationToken) {
        loop {
            tokio::select! {
                // The server has dropped the stream of connections.
                () = self.accepted.closed() => return,
                () = stop.cancelled() => break,
                Some(_) = self.greetings.join_next() => {}
                new = listener.accept() => match new {
                    Ok((stream, peer)) => self.take(stream, peer),
                    Err(error) => {
                        // The failure may concern one client, or all of them if too many files are
                        // open.
                        self.refusals.add("system", &error);
                        sleep(PAUSE).await;
                    }
                },
            }
        }
        while let Some(Ok((stream, peer))) = listener.accept().now_or_never() {
            self.take(stream, peer);
        }
        drop(listener);
        let greeted = async { while self.greetings.join_next().await.is_some() {} };
        // The loop does not wait for slow handshakes. The delay gives clients time for their first
        // request, because the server closes a silent connection without a status.
        let _ = timeout(PAUSE, greeted).await;
        sleep(PAUSE).await;
    }

    fn take(&mut self, stream: TcpStream, peer: SocketAddr) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return self.refusals.add("limit", &"all places are taken");
        };
        if let Err(error) = stream.set_nodelay(true) {
            return tracing::debug!(%peer, %error, "gone already");
        }
        let config = self.tls.as_ref().map(|tls| Arc::clone(&tls.borrow()));
        let (accepted, patience) = (self.accepted.clone(), self.patience);
        let greeting = async move {
            let stream = match config {
                None => Either::Left(stream),
                Some(config) => {
                    match timeout(patience, TlsAcceptor::from(config).accept(stream)).await {
                        Ok(Ok(stream)) => Either::Right(Box::new(stream)),
                        Ok(Err(error)) => {
                            metrics::connection_refused("tls");
                            return tracing::debug!(%peer, %error, "no TLS");
                        }
                        Err(_) => {
                            metrics::connection_refused("tls");
                            return tracing::debug!(%peer, "no TLS in time");
                        }
                    }
                }
            };
            let connection = Connection {
                stream,
                peer,
                unread: PREFACE,
                patience: Box::pin(sleep(patience)),
                linger: None,
                _place: place,
            };
            // The send fails if the server has ended. The connection then closes.
            let _ = accepted.send(Ok(connection)).await;
        };
        self.greetings.spawn_on(greeting, &self.greet);
    }
}

/// Counts refused connections and logs them at most every [`TELL`].
#[derive(Debug, Default)]
struct Refusals {
    told: Option<Instant>,
}

impl Refusals {
    fn add(&mut self, reason: &'static str, why: &dyn Display) {
        metrics::connection_refused(reason);
        if self.told.is_none_or(|told| told.elapsed() > TELL) {
            tracing::warn!(%why, "connections are refused");
            self.told = Some(Instant::now());
        }
    }
}

/// A connection, which fails with `TimedOut` if the client does not send the first bytes in time.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Either<TcpStream, Box<TlsStream<TcpStream>>>,
    peer: SocketAddr,
    /// Bytes of the preface that have not arrived yet.
    unread: usize,
    patience: Pin<Box<Sleep>>,
    /// Limits the wait for the client's close; set after the server has closed its side.
    linger: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = SocketAddr;

    fn connect_info(&self) -> SocketAddr {
        self.peer
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        if this.unread > 0 {
            this.unread = this.unread.saturating_sub(buffer.filled().len() - before);
            if read.is_pending() && this.patience.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Shuts down the write side, then reads and discards input until the client closes or
    /// [`LINGER`] is over. A close with unread input resets the connection, and the client loses
    /// answers that it has not read.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
        let linger = this.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        if linger.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut unread = [0; 4096];
        loop {
            let mut unread = ReadBuf::new(&mut unread);
            match Pin::new(&mut this.stream).poll_read(context, &mut unread) {
                Poll::Pending => return Poll::Pending,
                // The client has closed its side, or the connection is lost.
                Poll::Ready(Ok(())) if unread.filled().is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(Err(_)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => {}
            }
        }
    }
}
