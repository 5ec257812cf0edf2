//! Limits that gRPC does not enforce itself, or rejects without orderlog's error details.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::{Either, FutureExt as _, Map, Ready, ready};
use http::{Request, Response};
use tokio::time::{Timeout, error::Elapsed, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};
use tower::{Layer, Service};
use wire::Error;

/// Ends calls whose response does not begin within `call_time`, and rejects new calls once
/// `shuts_down` is cancelled. Adds error details to a status about a message that is too large.
#[derive(Debug, Clone)]
pub(crate) struct Limited {
    pub(crate) call_time: Duration,
    pub(crate) shuts_down: CancellationToken,
}

impl<S> Layer<S> for Limited {
    type Service = LimitedService<S>;

    fn layer(&self, service: S) -> LimitedService<S> {
        LimitedService {
            service,
            limits: self.clone(),
        }
    }
}

/// A service behind [`Limited`].
#[derive(Debug, Clone)]
pub(crate) struct LimitedService<S> {
    service: S,
    limits: Limited,
}

/// Calls of the health service pass during shutdown: it reports itself that the node is not
/// serving.
const HEALTH: &str = "/grpc.health.v1.Health/";

type Answer<E> = Result<Response<Body>, E>;

impl<S> Service<Request<Body>> for LimitedService<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<
        Map<Timeout<S::Future>, fn(Result<Answer<S::Error>, Elapsed>) -> Answer<S::Error>>,
        Ready<Answer<S::Error>>,
    >;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Limited {
            call_time,
            shuts_down,
        } = &self.limits;
        if shuts_down.is_cancelled() && !request.uri().path().starts_with(HEALTH) {
            let refused = Status::from(Error::ShuttingDown).into_http();
            return Either::Right(ready(Ok(refused)));
        }
        let answer = timeout(*call_time, self.service.call(request));
        Either::Left(answer.map(|answer| match answer {
            Ok(answer) => answer.map(told),
            Err(_) => Ok(Status::from(Error::Overloaded("the call took too long")).into_http()),
        }))
    }
}

fn told(answer: Response<Body>) -> Response<Body> {
    // Only a call that failed immediately has a status in its headers.
    match Status::from_header_map(answer.headers()) {
        Some(status) if wire::is_too_large(&status) => Status::from(Error::TooLarge).into_http(),
        _ => answer,
    }
}
