//! Measures every call, and gives its log lines a span.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use telemetry::metrics;
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};
use tracing::Span;

use super::traced::TRACEPARENT;
use crate::{access, listener::peer::Peer};

/// Measures calls until the response begins. A stream's messages are not part of the measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Observed;

impl<S> Layer<S> for Observed {
    type Service = ObservedService<S>;

    fn layer(&self, service: S) -> ObservedService<S> {
        ObservedService { service }
    }
}

/// A service behind [`Observed`].
#[derive(Debug, Clone)]
pub(crate) struct ObservedService<S> {
    service: S,
}

impl<S> Service<Request<Body>> for ObservedService<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answer<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // Clients can call any path, so all unknown methods share one metric label.
        let (method, _) = access::method(request.uri().path()).unwrap_or(("unknown", false));
        let log = log_span(method, &request);
        let answer = log.in_scope(|| self.service.call(request));
        Answer {
            answer,
            log,
            call: Call {
                method,
                began: Instant::now(),
                // The code stays CANCELLED if the client drops the call before the response begins.
                code: Code::Cancelled,
            },
        }
    }
}

/// Returns the span of a call's log lines, with the method, the peer and the trace id.
///
/// A single command gets no span, because commands must cost least. The writer's task decides and
/// appends a command outside of its call, and gives a log line about the command a span of its own.
fn log_span(method: &'static str, request: &Request<Body>) -> Span {
    if method.starts_with("orders.v1.CommandService/") && !method.ends_with("/ExecuteCommands") {
        return Span::none();
    }
    let peer = request.extensions().get::<Peer>().map(Peer::address);
    let trace = request.headers().get(TRACEPARENT);
    let trace = trace.and_then(|it| it.to_str().ok()?.split('-').nth(1));
    tracing::info_span!(
        "call",
        method,
        peer = peer.map(tracing::field::display),
        trace
    )
}

pin_project! {
    /// The future of a measured call.
    pub(crate) struct Answer<F> {
        #[pin]
        answer: F,
        log: Span,
        call: Call,
    }
}

/// A call in progress. Its drop records the metrics.
struct Call {
    method: &'static str,
    began: Instant,
    code: Code,
}

impl<F, E> Future for Answer<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.log.in_scope(|| this.answer.poll(context)));
        this.call.code = code(&answer);
        Poll::Ready(answer)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        metrics::call(self.method, name(self.code), self.began.elapsed());
    }
}

/// Returns the status with which a response begins.
pub(super) fn code<E>(answer: &Result<Response<Body>, E>) -> Code {
    match answer {
        // An immediate error is in the headers. Messages and trailers come later, unmeasured.
        Ok(answer) => {
            Status::from_header_map(answer.headers()).map_or(Code::Ok, |status| status.code())
        }
        Err(_) => Code::Internal,
    }
}

/// Returns the name of a status code in the contract.
pub(super) fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
