//! What gRPC itself would let pass, or refuse without the details that our errors have.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::{FutureExt as _, Map};
use http::{Request, Response};
use tokio::time::{Timeout, error::Elapsed, timeout};
use tonic::{Status, body::Body};
use tower::{Layer, Service};
use wire::Error;

/// Ends calls that take too long to come or to be answered, and says which limit a message is past.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limited {
    call_time: Duration,
}

impl Limited {
    pub(super) fn to(call_time: Duration) -> Self {
        Self { call_time }
    }
}

impl<S> Layer<S> for Limited {
    type Service = Within<S>;

    fn layer(&self, service: S) -> Within<S> {
        Within {
            service,
            call_time: self.call_time,
        }
    }
}

/// A service within limits.
#[derive(Debug, Clone)]
pub(super) struct Within<S> {
    service: S,
    call_time: Duration,
}

type Answer<E> = Result<Response<Body>, E>;

impl<S> Service<Request<Body>> for Within<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future =
        Map<Timeout<S::Future>, fn(Result<Answer<S::Error>, Elapsed>) -> Answer<S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        timeout(self.call_time, self.service.call(request)).map(|answer| match answer {
            Ok(answer) => answer.map(told),
            Err(_) => Ok(Status::from(Error::Overloaded("the call took too long")).into_http()),
        })
    }
}

fn told(answer: Response<Body>) -> Response<Body> {
    // Answers have none yet.
    match Status::from_header_map(answer.headers()) {
        Some(status) if wire::is_too_large(&status) => Status::from(Error::TooLarge).into_http(),
        _ => answer,
    }
}
