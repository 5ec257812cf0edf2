//! Pages in browsers: gRPC-Web, for those of the origins that may.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::{Either, Ready, ready};
use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use tonic::{Status, body::Body};
use tower::{Layer, Service};
use tower_http::cors::{AllowOrigin, Cors, CorsLayer, ResponseFuture, Vary};

/// What pages may send, beside what every page may.
const REQUEST_HEADERS: [HeaderName; 8] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    HeaderName::from_static("x-grpc-web"),
    HeaderName::from_static("x-user-agent"),
    HeaderName::from_static("grpc-timeout"),
    HeaderName::from_static("x-correlation-id"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// What pages may read: where gRPC-Web has the status of a call that is refused at once.
const RESPONSE_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
];

/// For how long a browser need not ask again.
const PREFLIGHT_HOLDS: Duration = Duration::from_secs(3600);

/// Answers pages of some origins, and refuses those of all others.
///
/// They are refused here, not only by the browser that asked: to a page whose name was made to
/// point at this machine (DNS rebinding), the browser sees no other origin.
#[derive(Debug, Clone)]
pub(crate) struct Pages {
    origins: Arc<[HeaderValue]>,
}

impl Pages {
    pub(crate) fn of(origins: Vec<HeaderValue>) -> Self {
        Self {
            origins: origins.into(),
        }
    }
}

impl<S: Clone> Layer<S> for Pages {
    type Service = PagesService<S>;

    fn layer(&self, service: S) -> PagesService<S> {
        let cors = CorsLayer::new()
            .allow_origin(AllowOrigin::list(self.origins.iter().cloned()))
            .allow_methods([Method::POST])
            .allow_headers(REQUEST_HEADERS)
            .expose_headers(RESPONSE_HEADERS)
            .max_age(PREFLIGHT_HOLDS)
            .vary(Vary::list([header::ORIGIN]));
        PagesService {
            pages: cors.layer(service.clone()),
            others: service,
            origins: Arc::clone(&self.origins),
        }
    }
}

/// A service behind [`Pages`].
#[derive(Debug, Clone)]
pub(crate) struct PagesService<S> {
    pages: Cors<S>,
    /// What is not a browser sends no origin.
    others: S,
    origins: Arc<[HeaderValue]>,
}

impl<S> Service<Request<Body>> for PagesService<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<
        S::Future,
        Either<ResponseFuture<S::Future>, Ready<Result<Self::Response, S::Error>>>,
    >;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        match self.others.poll_ready(context) {
            Poll::Ready(Ok(())) => self.pages.poll_ready(context),
            not_yet => not_yet,
        }
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match request.headers().get(header::ORIGIN) {
            None => Either::Left(self.others.call(request)),
            Some(origin) if self.origins.contains(origin) => {
                Either::Right(Either::Left(self.pages.call(request)))
            }
            Some(_) => {
                let refused = Status::from(wire::Error::OriginNotAllowed).into_http();
                Either::Right(Either::Right(ready(Ok(refused))))
            }
        }
    }
}
