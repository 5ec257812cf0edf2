//! Tests of the resumption of a broken event stream.

use contract::orders::v1::{
    GetHeadResponse, GetOrderHistoryRequest, GetOrderHistoryResponse, VerifyLogRequest,
    VerifyLogResponse,
    event_service_server::{EventService, EventServiceServer},
};
use futures_util::{StreamExt as _, stream};
use tonic::{Request, Response, Status, transport::Server};

use super::*;
use crate::cli::tests::{Answers, Shared, serve};

/// A log of 7 events. The service sends batches of 2 events and breaks each stream after 2 batches.
struct Fake(Shared<Vec<SubscribeRequest>>);

#[tonic::async_trait]
impl EventService for Fake {
    type SubscribeStream = Answers<SubscribeResponse>;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let request = request.into_inner();
        let after = match request.resume_token.strip_prefix("after ") {
            Some(position) => position.parse().unwrap(),
            None => request.after_position,
        };
        self.0.get().push(request);
        if after == 7 {
            return Err(wire::Error::LogDiverged {
                position: 7,
                shared: Some(5),
            }
            .into());
        }
        let positions: Vec<_> = (after + 1..=7).collect();
        let batches: Vec<_> = positions.chunks(2).take(2).map(batch).map(Ok).collect();
        let broken = stream::iter([Err(Status::unavailable("gone"))]);
        Ok(Response::new(Box::pin(stream::iter(batches).chain(broken))))
    }

    async fn get_order_history(
        &self,
        _: Request<GetOrderHistoryRequest>,
    ) -> Result<Response<GetOrderHistoryResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    type VerifyLogStream = Answers<VerifyLogResponse>;

    async fn verify_log(
        &self,
        _: Request<VerifyLogRequest>,
    ) -> Result<Response<Self::VerifyLogStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_head(
        &self,
        _: Request<GetHeadRequest>,
    ) -> Result<Response<GetHeadResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

fn batch(positions: &[u64]) -> SubscribeResponse {
    let event = |position: &u64| RecordedEvent {
        position: *position,
        ..RecordedEvent::default()
    };
    SubscribeResponse {
        events: positions.iter().map(event).collect(),
        position: *positions.last().unwrap(),
        head_position: 7,
        caught_up: false,
        log_id: "log".into(),
        resume_token: format!("after {}", positions.last().unwrap()),
    }
}

#[tokio::test]
async fn a_broken_stream_is_resumed_without_loss_or_repetition() {
    let requests = Shared::new(Vec::new());
    let service = EventServiceServer::new(Fake(requests.share()));
    let channel = serve(Server::builder().add_service(service)).await;
    let reports = Shared::new(Vec::new());
    let mut shown = Vec::new();
    let request = SubscribeRequest {
        after_position: 1,
        follow: true,
        ..SubscribeRequest::default()
    };
    let Err(failure) = follow(
        EventServiceClient::new(channel),
        request,
        |event| {
            shown.push(event.position);
            Ok(())
        },
        |line| reports.get().push(line),
    )
    .await;

    assert_eq!(shown, [2, 3, 4, 5, 6, 7]);
    assert_eq!(
        *reports.get(),
        [
            "gone: trying again, from position 5",
            "gone: trying again, from position 7",
        ]
    );
    assert_eq!(
        failure.to_string(),
        "the log went back: its event at position 7 is another one now, or missing; up to position 5 \
         it is the same (LOG_DIVERGED)"
    );
    let requests = requests.get();
    let resumed: Vec<_> = requests
        .iter()
        .map(|request| (request.after_position, request.resume_token.as_str()))
        .collect();
    assert_eq!(resumed, [(1, ""), (0, "after 5"), (0, "after 7")]);
}
