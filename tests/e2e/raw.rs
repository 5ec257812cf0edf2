//! Bare HTTP/2, to send and to leave unread whatever a client may.

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::{
    RecvStream, SendStream,
    client::{self, SendRequest},
};
use http::{HeaderMap, Method, Request, Response};
use prost::Message;
use tokio::{net::TcpStream, task::JoinHandle};

/// A bare HTTP/2 connection.
pub(crate) struct Raw {
    send: SendRequest<Bytes>,
    pub(crate) connection: JoinHandle<Result<(), h2::Error>>,
}

impl Raw {
    /// Connects over a socket.
    pub(crate) async fn over(socket: TcpStream, builder: &client::Builder) -> Self {
        let (send, connection) = builder.handshake(socket).await.unwrap();
        Self {
            send,
            connection: tokio::spawn(connection),
        }
    }

    /// Opens a call, and leaves its request open.
    pub(crate) async fn open(
        &mut self,
        request: Request<()>,
    ) -> Result<(client::ResponseFuture, SendStream<Bytes>), h2::Error> {
        let mut send = self.send.clone().ready().await?;
        send.send_request(request, false)
    }

    /// Makes a call with one message, and returns the beginning of its response.
    pub(crate) async fn call(
        &mut self,
        request: Request<()>,
        message: Bytes,
    ) -> Result<Response<RecvStream>, h2::Error> {
        let (response, mut stream) = self.open(request).await?;
        // The server may have answered already.
        let _ = stream.send_data(message, true);
        response.await
    }
}

/// Builds a request to a method, with a token or without one.
pub(crate) fn request(path: &str, token: Option<&str>) -> Request<()> {
    let request = Request::builder().method(Method::POST);
    let mut request = request.uri(format!("http://localhost{path}"));
    request = request.header("content-type", "application/grpc");
    request = request.header("te", "trailers");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.body(()).unwrap()
}

/// Frames a message for gRPC.
pub(crate) fn framed(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut bytes).unwrap();
    bytes.freeze()
}

/// Returns the code of a call that has failed at once.
pub(crate) fn status(headers: &HeaderMap) -> Option<&str> {
    Some(headers.get("grpc-status")?.to_str().unwrap())
}
