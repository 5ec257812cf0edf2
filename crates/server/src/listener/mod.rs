//! The connections of a listener: those that are worth a place, and for as long as they are.

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

/// Bytes that tell which protocol a client speaks: the preface of HTTP/2. What comes later is for
/// the protocol to wait for.
const PREFACE: usize = 24;

/// How long a client may take to close a connection that has been closed on this side.
const LINGER: Duration = Duration::from_secs(2);

/// How often it is told that connections are refused.
const TELL: Duration = Duration::from_secs(10);

/// Between two looks, when the system has no more connections to give.
const PAUSE: Duration = Duration::from_millis(100);

/// What new connections meet.
pub(crate) type Tls = watch::Receiver<Arc<ServerConfig>>;

/// Places for connections.
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

    /// Those that are taken now.
    pub(crate) fn taken(&self) -> usize {
        self.all - self.free.available_permits()
    }
}

/// Accepts connections until `stop`, and those that have come by then: so they are told that the server
/// shuts down, and not reset. Then the address is free, and what is returned ends. Clients are greeted
/// on `greet`, for a TLS handshake keeps a processor busy, and not for longer than `patience`.
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

/// What is done with those who connect.
struct Accepting {
    tls: Option<Tls>,
    places: Arc<Semaphore>,
    greet: Handle,
    patience: Duration,
    accepted: mpsc::Sender<Result<Connection, Infallible>>,
    /// Of those that are still to say what they want; none goes on without this.
    greetings: JoinSet<()>,
    refusals: Refusals,
}

impl Accepting {
    async fn run(mut self, listener: TcpListener, stop: CancellationToken) {
        loop {
            tokio::select! {
                // Nobody serves them any more.
                () = self.accepted.closed() => return,
                () = stop.cancelled() => break,
                Some(_) = self.greetings.join_next() => {}
                new = listener.accept() => match new {
                    Ok((stream, peer)) => self.take(stream, peer),
                    Err(error) => {
                        // It may be that one's fault, or that of all: too many files are open.
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
        // Who is slow is not waited for. The others are to say what they want before connections are
        // closed, which those that have said nothing would be without a word.
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
            // Nobody takes it where the server has given up.
            let _ = accepted.send(Ok(connection)).await;
        };
        self.greetings.spawn_on(greeting, &self.greet);
    }
}

/// Connections that are not taken: counted, and told now and then.
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

/// A connection, which is given up when its client does not begin to speak.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Either<TcpStream, Box<TlsStream<TcpStream>>>,
    peer: SocketAddr,
    /// Bytes of the preface that have not come.
    unread: usize,
    patience: Pin<Box<Sleep>>,
    /// Runs once it has been closed on this side.
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

    /// Also reads what still comes: a connection that is closed before that is reset, and with it is
    /// lost what the client has not read of our last answers.
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
                // The client has closed it too, or it is gone.
                Poll::Ready(Ok(())) if unread.filled().is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(Err(_)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => {}
            }
        }
    }
}
