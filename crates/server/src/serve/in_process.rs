//! EventService for the projector in this process: the same service over the same protocol, on
//! pipes instead of sockets, so that it never competes with commands for their thread.

use std::io;

use command_side::Events;
use contract::{
    encoded::event_service_server::EventServiceServer,
    orders::v1::event_service_client::EventServiceClient,
};
use hyper_util::rt::TokioIo;
use tokio::{io::DuplexStream, sync::mpsc};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint, Server};
use tower::service_fn;

/// Bytes under way in each direction.
const PIPE: usize = 1 << 20;

/// Bytes of one stream that the client takes before it has looked at them.
const WINDOW: u32 = 2 << 20;

/// A client of `events`, which connects when it is first used, and again when it has to; and the
/// server it connects to, which is to be run, and ends at `stop`.
pub(super) fn serve(
    events: Events,
    stop: CancellationToken,
) -> (EventServiceClient<Channel>, impl Future<Output = ()> + Send) {
    let (pipes, incoming) = mpsc::channel::<DuplexStream>(1);
    let incoming = ReceiverStream::new(incoming).map(Ok::<_, io::Error>);
    let server = Server::builder()
        .add_service(EventServiceServer::new(events))
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned());
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
    let server = async {
        if let Err(error) = server.await {
            tracing::error!(%error, "the projector's event service failed");
        }
    };
    (EventServiceClient::new(channel), server)
}
