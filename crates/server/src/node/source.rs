//! The source of events for the read models: this process or other nodes.

use std::{io, time::Duration};

use command_side::Events;
use contract::encoded::event_service_server::EventServiceServer;
use http::Uri;
use hyper_util::rt::TokioIo;
use projector::Nodes;
use tokio::{io::DuplexStream, sync::mpsc};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::{Endpoint, Server};
use tower::service_fn;
use wire::{Bearer, Connection};

/// Capacity in bytes of each direction of an in-process connection: 1 MiB.
const PIPE: usize = 1 << 20;

/// HTTP/2 flow-control window in bytes: the server may send 2 MiB before the client has read them.
const WINDOW: u32 = 2 << 20;

/// Limit for a connection attempt to one node.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Interval and timeout of HTTP/2 pings to a node. Both are short because another node may answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(3));

/// A source that streams the log.
#[derive(Debug)]
pub(super) enum Source {
    /// This process.
    Here(Events),
    /// One of these nodes at a time, each called with this token.
    Nodes(Vec<Endpoint>, Bearer),
}

impl Source {
    /// Returns lazy connections: each connects at its first call and reconnects after a failure.
    /// Call this on the runtime that shall drive the connections.
    ///
    /// Returns `None` if the list of nodes is empty.
    pub(super) fn connect(self, stop: CancellationToken, tasks: &TaskTracker) -> Option<Nodes> {
        match self {
            Self::Here(events) => Some(Nodes::new(
                ("this node".to_owned(), in_process(events, stop, tasks)),
                [],
            )),
            Self::Nodes(nodes, bearer) => {
                let mut nodes = nodes.into_iter().map(|node| {
                    let connection = Connection::new(node.connect_lazy(), bearer.clone());
                    (node.uri().to_string(), connection)
                });
                Some(Nodes::new(nodes.next()?, nodes))
            }
        }
    }
}

/// Configures timeouts, pings and windows for the node at this URL.
pub(super) fn remote(url: Uri) -> Endpoint {
    let (interval, timeout) = KEEPALIVE;
    Endpoint::from(url)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(interval)
        .keep_alive_timeout(timeout)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
}

/// Serves the event service over gRPC on in-process pipes instead of sockets. The pipes run on the
/// caller's runtime, so the projector takes no time from the commands' thread.
fn in_process(events: Events, stop: CancellationToken, tasks: &TaskTracker) -> Connection {
    let (pipes, incoming) = mpsc::channel::<DuplexStream>(1);
    let incoming = ReceiverStream::new(incoming).map(Ok::<_, io::Error>);
    let server = Server::builder()
        .add_service(EventServiceServer::new(events))
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned());
    tasks.spawn(async {
        if let Err(error) = server.await {
            tracing::error!(%error, "the projector's event service failed");
        }
    });
    let channel = Endpoint::from_static("http://in-process")
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .connect_with_connector_lazy(service_fn(move |_| {
            let pipes = pipes.clone();
            async move {
                let (ours, theirs) = tokio::io::duplex(PIPE);
                match pipes.send(theirs).await {
                    Ok(()) => Ok(TokioIo::new(ours)),
                    Err(_) => Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
                }
            }
        }));
    // No other process can reach the pipes, so the calls need no token.
    Connection::new(channel, Bearer::default())
}
