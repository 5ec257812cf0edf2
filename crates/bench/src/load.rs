//! Load generators that keep a number of unary gRPC calls in flight on bare HTTP/2.
//!
//! A tonic client takes more of a core than the server does, and would bound the rate. [`h2load`]
//! takes least, but can only repeat one body. [`run`] builds a new body for each call.

use std::{
    cell::Cell,
    fs,
    process::Command,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use contract::{
    google::r#type::Money,
    orders::v1::{CreateOrderItem, CreateOrderRequest},
};
use h2::client::SendRequest;
use http::{Method, Request};
use prost::Message;
use tokio::{net::TcpStream, sync::Semaphore, task::LocalSet};
use uuid::Uuid;

/// The call that a generator repeats.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Call {
    /// A health check, the smallest possible call.
    Empty,
    /// `CreateOrder` without an order id and without a request id.
    Create,
    /// `CreateOrder` without an order id and with a request id.
    CreateWithRequestId,
}

/// The calls are spread over this many connections.
const CONNECTIONS: usize = 4;

/// With a rate limit, the generator releases calls every 5 ms.
const TICK: Duration = Duration::from_millis(5);

impl Call {
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Empty => "/grpc.health.v1.Health/Check",
            Self::Create | Self::CreateWithRequestId => "/orders.v1.CommandService/CreateOrder",
        }
    }

    pub(crate) fn body(self, number: u64) -> Bytes {
        match self {
            Self::Empty => framed(&()),
            Self::Create => framed(&create(number)),
            Self::CreateWithRequestId => framed(&CreateOrderRequest {
                request_id: Uuid::now_v7().to_string(),
                ..create(number)
            }),
        }
    }
}

/// Builds an order of two lines. Numbers spread over 10,000 customers and 1,000 products.
pub(crate) fn create(number: u64) -> CreateOrderRequest {
    let line = |product: u64| CreateOrderItem {
        product_id: format!("product-{}", product % 1000),
        quantity: 2,
        unit_price: Some(Money {
            currency_code: "EUR".into(),
            units: 12,
            nanos: 500_000_000,
        }),
    };
    CreateOrderRequest {
        customer_id: format!("customer-{}", number % 10_000),
        items: vec![line(number), line(number / 7 + 1)],
        ..CreateOrderRequest::default()
    }
}

/// Encodes a message in the length-prefixed framing of gRPC.
pub(crate) fn framed(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::with_capacity(5 + message.encoded_len());
    bytes.put_u8(0);
    bytes.put_u32(message.encoded_len() as u32);
    message.encode(&mut bytes).unwrap();
    bytes.freeze()
}

/// Calls for `duration` with `in_flight` calls at a time, and returns calls per second. A `rate`
/// limits calls per second.
pub(crate) async fn run(
    address: &str,
    call: Call,
    in_flight: usize,
    duration: Duration,
    rate: Option<f64>,
) -> f64 {
    LocalSet::new()
        .run_until(local(address, call, in_flight, duration, rate))
        .await
}

/// Calls like [`run`], but with `h2load`, which repeats the body of the first call. Returns `None`
/// if `h2load` is not installed.
pub(crate) async fn h2load(
    address: &str,
    call: Call,
    in_flight: usize,
    duration: Duration,
) -> Option<f64> {
    let folder = tempfile::tempdir().unwrap();
    let body = folder.path().join("body");
    fs::write(&body, call.body(0)).unwrap();
    let mut command = Command::new("h2load");
    command
        .args(["-H", "content-type: application/grpc", "-H", "te: trailers"])
        .args(["-c", &CONNECTIONS.to_string()])
        .args(["-m", &(in_flight / CONNECTIONS).to_string()])
        .args(["-D", &duration.as_secs().to_string()])
        .arg("-d")
        .arg(&body)
        .arg(format!("http://{address}{}", call.path()));
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().ok()?;
    let told = String::from_utf8(output.stdout).unwrap();
    let rate = told
        .split_whitespace()
        .zip(told.split_whitespace().skip(1))
        .find_map(|(rate, unit)| (unit == "req/s,").then(|| rate.parse().unwrap()));
    Some(rate.unwrap_or_else(|| panic!("no rate in: {told}")))
}

async fn local(
    address: &str,
    call: Call,
    in_flight: usize,
    duration: Duration,
    rate: Option<f64>,
) -> f64 {
    let started = Instant::now();
    let ends = started + duration;
    let done = Rc::new(Cell::new(0));
    let allowed = Rc::new(Semaphore::new(0));
    let mut workers = Vec::with_capacity(in_flight);
    for _ in 0..CONNECTIONS {
        let connection = connect(address).await;
        for _ in 0..in_flight / CONNECTIONS {
            let mut connection = connection.clone();
            let (done, allowed) = (Rc::clone(&done), Rc::clone(&allowed));
            workers.push(tokio::task::spawn_local(async move {
                while Instant::now() < ends {
                    if rate.is_some() {
                        allowed.acquire().await.unwrap().forget();
                    }
                    let number = done.get();
                    done.set(number + 1);
                    unary(&mut connection, call, number).await;
                }
            }));
        }
    }
    if let Some(rate) = rate {
        let mut ticks = tokio::time::interval(TICK);
        let mut released = 0;
        while Instant::now() < ends {
            ticks.tick().await;
            let due = (started.elapsed().as_secs_f64() * rate) as usize;
            allowed.add_permits(due - released);
            released = due;
        }
        // The permits release waiting workers, so that they see the end.
        allowed.add_permits(in_flight);
    }
    for worker in workers {
        worker.await.unwrap();
    }
    f64::from(u32::try_from(done.get()).unwrap()) / started.elapsed().as_secs_f64()
}

async fn connect(address: &str) -> SendRequest<Bytes> {
    let socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let (send, connection) = h2::client::Builder::new()
        .initial_connection_window_size(1 << 24)
        .handshake(socket)
        .await
        .unwrap();
    tokio::task::spawn_local(async move {
        // The connection ends when the last call is answered and its sender is dropped.
        let _ = connection.await;
    });
    send.ready().await.unwrap()
}

async fn unary(connection: &mut SendRequest<Bytes>, call: Call, number: u64) {
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://orderlog{}", call.path()))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let mut ready = connection.clone().ready().await.unwrap();
    let (response, mut body) = ready.send_request(request, false).unwrap();
    body.send_data(call.body(number), true).unwrap();
    let mut answer = response.await.unwrap().into_body();
    while let Some(data) = answer.data().await {
        let data = data.unwrap();
        answer.flow_control().release_capacity(data.len()).unwrap();
    }
    let trailers = answer.trailers().await.unwrap().unwrap();
    assert_eq!(trailers["grpc-status"], "0", "{trailers:?}");
}
