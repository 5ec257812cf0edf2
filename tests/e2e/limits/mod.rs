//! Tests of the limits on clients: the server rejects excess load, broken calls and injected text,
//! and continues to serve others.

mod calls;
mod connections;
mod load;
mod slow;
mod text;
mod unread;

use contract::orders::v1::GetHeadRequest;
use e2e::{Node, Server};
use server::settings::{Limits, Roles};
use test_support::DEADLINE;
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};

async fn start(limits: Limits) -> Server {
    let node = Node {
        roles: Roles::ALL,
        limits,
        ..Node::default()
    };
    Server::of(node).await
}

/// Asserts that the server answers a call on a new connection.
async fn assert_serves(server: &Server) {
    let mut clients = server.clients().await;
    clients.get_head(GetHeadRequest {}).await.unwrap();
}

async fn connect(server: &Server) -> TcpStream {
    let address = server.url().replace("http://", "");
    TcpStream::connect(address).await.unwrap()
}

/// Waits until the server closes the connection.
async fn wait_until_closed(mut connection: TcpStream) {
    let closed = timeout(DEADLINE, connection.read_to_end(&mut Vec::new())).await;
    // The server may also reset the connection.
    let _ = closed.expect("the server closes the connection");
}
