//! The whole system in one process.

mod elsewhere;
mod in_process;
mod runtime;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use command_side::CommandSide;
use contract::{
    encoded::event_service_server::EventServiceServer,
    orders::v1::command_service_server::CommandServiceServer,
};
use elsewhere::Elsewhere;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Server, server::TcpIncoming};

/// Temporary.
pub async fn run(listen: SocketAddr, data_dir: PathBuf) -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind(listen).await?;
    let folder = sqlite::Folder::own(&data_dir)?;
    let read = runtime::for_reading()?;
    let stop = CancellationToken::new();
    let CommandSide { commands, events, writer, dispatch, available: _ } =
        command_side::open(&folder.file("events.db"), stop.clone()).await?;
    let writer = tokio::spawn(writer.run());
    read.spawn(dispatch.run());
    let (_reporter, health) = tonic_health::server::health_reporter();
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let served = Server::builder()
        .add_service(health)
        .add_service(CommandServiceServer::new(commands))
        .add_service(Elsewhere::new(EventServiceServer::new(events), read.handle()))
        .serve_with_incoming_shutdown(incoming, async {
            let _ = tokio::signal::ctrl_c().await;
            stop.cancel();
        });
    served.await?;
    writer.await?;
    let _ = Duration::ZERO;
    read.shutdown_background();
    Ok(())
}
