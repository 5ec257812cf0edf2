//! Compares catching up from the start of the log with a bare stream of the same bytes.

use std::{pin::Pin, thread, time::Instant};

use bytes::Bytes;
use contract::{
    encoded::{
        GetOrderHistoryResponse, SubscribeResponse,
        event_service_server::{EventService, EventServiceServer},
    },
    orders::v1::{
        GetHeadRequest, GetHeadResponse, GetOrderHistoryRequest, SubscribeRequest,
        VerifyLogRequest, VerifyLogResponse,
    },
};
use tokio::net::TcpListener;
use tokio_stream::Stream;
use tonic::{
    Request, Response, Status,
    transport::{Endpoint, Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;

use crate::{
    figures::{median, tell_rates},
    fill,
    program::Program,
};

const ROUNDS: usize = 5;

pub(crate) async fn run(events: u64) {
    let mut program = Program::start();
    fill::orders(&program.process().clients().await.commands, 0, events).await;
    fill::projected(program.process()).await;
    // The restart empties the memory of the process, so that no event comes from it.
    program.start_again().await;
    let first = first_response(program.process().url()).await;
    let bare = bare(first.clone(), events / first.events.len() as u64).await;
    let memory = program.process().memory("VmRSS");
    let (mut ours, mut bares) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(rate(program.process().url()).await);
        bares.push(rate(&bare).await);
    }
    tell_rates("events caught up with", &ours);
    tell_rates("the same bytes on a bare stream", &bares);
    println!("ratio: {:.2}", median(&ours) / median(&bares));
    println!(
        "memory of the server: {memory:.0} MB before, {:.0} MB at most",
        program.process().memory("VmHWM")
    );
}

async fn subscribe(url: &str) -> tonic::Streaming<SubscribeResponse> {
    let channel = Endpoint::from_shared(url.to_owned())
        .unwrap()
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(4 << 20)
        .connect()
        .await
        .unwrap();
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/orders.v1.EventService/Subscribe");
    let codec = ProstCodec::<SubscribeRequest, SubscribeResponse>::default();
    let request = Request::new(SubscribeRequest::default());
    let stream = client.server_streaming(request, path, codec).await;
    stream.unwrap().into_inner()
}

async fn first_response(url: &str) -> SubscribeResponse {
    subscribe(url).await.message().await.unwrap().unwrap()
}

/// Reads from the start to the head and returns events per second. The events are counted and not
/// decoded.
async fn rate(url: &str) -> f64 {
    let started = Instant::now();
    let mut stream = subscribe(url).await;
    let mut events = 0;
    while let Some(response) = stream.message().await.unwrap() {
        events += response.events.len();
    }
    events as f64 / started.elapsed().as_secs_f64()
}

/// A server that only sends one response, repeated `times` times.
struct Bare {
    response: SubscribeResponse,
    times: u64,
}

#[tonic::async_trait]
impl EventService for Bare {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<SubscribeResponse, Status>> + Send>>;

    async fn subscribe(
        &self,
        _: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let response = self.response.clone();
        let responses = (0..self.times).map(move |_| Ok(response.clone()));
        Ok(Response::new(Box::pin(tokio_stream::iter(responses))))
    }

    type VerifyLogStream = Pin<Box<dyn Stream<Item = Result<VerifyLogResponse, Status>> + Send>>;

    async fn verify_log(
        &self,
        _: Request<VerifyLogRequest>,
    ) -> Result<Response<Self::VerifyLogStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_order_history(
        &self,
        _: Request<GetOrderHistoryRequest>,
    ) -> Result<Response<GetOrderHistoryResponse>, Status> {
        Err(Status::unimplemented("bare"))
    }

    async fn get_head(
        &self,
        _: Request<GetHeadRequest>,
    ) -> Result<Response<GetHeadResponse>, Status> {
        Err(Status::unimplemented("bare"))
    }
}

async fn bare(response: SubscribeResponse, times: u64) -> String {
    let events = response
        .events
        .iter()
        .map(|event| Bytes::copy_from_slice(event));
    let response = SubscribeResponse {
        events: events.collect(),
        ..response
    };
    let (listening, address) = tokio::sync::oneshot::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listening.send(listener.local_addr().unwrap()).unwrap();
            Server::builder()
                .add_service(EventServiceServer::new(Bare { response, times }))
                .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
                .await
                .unwrap();
        });
    });
    format!("http://{}", address.await.unwrap())
}
