//! The byte stream of a connection.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    runtime::{Handle, Id},
    sync::OwnedSemaphorePermit,
    time::{Sleep, sleep},
};
use tokio_rustls::{rustls::pki_types::CertificateDer, server::TlsStream};
use tokio_util::either::Either;

/// Length in bytes of the HTTP/2 preface, which a client must send in time. The protocol itself
/// limits the time for later bytes.
const PREFACE: usize = 24;

/// Time for the client to close a connection after the server has closed its side.
const LINGER: Duration = Duration::from_secs(2);

/// A TCP socket that follows the task that polls it to another runtime. Without that the old
/// runtime would be woken for each packet, only to wake the new one.
#[derive(Debug)]
pub(super) struct Socket {
    /// `None` only while the socket changes its runtime, and after that has failed.
    stream: Option<TcpStream>,
    runtime: Id,
}

impl Socket {
    /// Wraps a socket of the current runtime.
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream: Some(stream),
            runtime: Handle::current().id(),
        }
    }

    fn here(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        let here = Handle::current().id();
        if here != self.runtime {
            self.runtime = here;
            let stream = self.stream.take().map(TcpStream::into_std).transpose()?;
            self.stream = stream.map(TcpStream::from_std).transpose()?;
        }
        match &mut self.stream {
            Some(stream) => Ok(Pin::new(stream)),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().here()?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().here()?.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().here()?.poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().here()?.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().here()?.poll_shutdown(context)
    }
}

/// The bytes of a connection, with or without TLS.
pub(super) type Stream = Either<Socket, Box<TlsStream<Socket>>>;

/// A connection, which fails with `TimedOut` if the client does not send the first bytes in time.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    /// Bytes of the preface that have not arrived yet.
    unread: usize,
    patience: Pin<Box<Sleep>>,
    /// Limits the wait for the client's close; set after the server has closed its side.
    linger: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// Wraps a stream whose client must send the first bytes within `patience`.
    pub(super) fn new(stream: Stream, patience: Duration, place: OwnedSemaphorePermit) -> Self {
        Self {
            stream,
            unread: PREFACE,
            patience: Box::pin(sleep(patience)),
            linger: None,
            _place: place,
        }
    }

    /// Returns the certificates that the client has shown, its own first.
    pub(super) fn client_certificates(&self) -> Vec<CertificateDer<'static>> {
        match &self.stream {
            Either::Left(_) => Vec::new(),
            Either::Right(tls) => {
                let shown = tls.get_ref().1.peer_certificates().unwrap_or_default();
                shown
                    .iter()
                    .cloned()
                    .map(CertificateDer::into_owned)
                    .collect()
            }
        }
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
