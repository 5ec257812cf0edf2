//! Where the read models' events come from.

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

/// Bytes under way in each direction of a connection within the process.
const PIPE: usize = 1 << 20;

/// Bytes of one stream that the client takes before it has looked at them.
const WINDOW: u32 = 2 << 20;

/// How long connecting to a node may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How often a node is asked whether it is still there, and how long it may take to say so: another
/// one may be.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(3));

/// What streams the log.
#[derive(Debug)]
pub(super) enum Source {
    /// This process.
    Here(Events),
    /// One of these nodes, which are shown this.
    Nodes(Vec<Endpoint>, Bearer),
}

impl Source {
    /// Connections, which are made when they are first used, and again when they have to; they work
    /// on this runtime. `None` if there is nobody to connect to.
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

/// A node at this URL.
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

/// The same service over the same protocol, on pipes instead of sockets, so that it never competes
/// with commands for their thread.
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
    // Nobody else is on these pipes.
    Connection::new(channel, Bearer::default())
}
