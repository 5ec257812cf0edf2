//! Measures every call and records it as a span in the caller's trace.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use http::{HeaderName, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use telemetry::{metrics, trace};
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};
use tracing::Span;

use crate::access;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

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

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // Clients can call any path, so all unknown methods share one metric label.
        let (method, is_stream) =
            access::method(request.uri().path()).unwrap_or(("unknown", false));
        let headers = request.headers_mut();
        let came_with = headers.get(TRACEPARENT).and_then(|it| it.to_str().ok());
        let is_ours = method.starts_with("orders.");
        let span = is_ours
            .then(|| trace::Call::begin(method, came_with))
            .flatten();
        // The events of a unary call store the `traceparent` of its span. The events of a stream
        // store the client's `traceparent`, because one stream may append a million events.
        let traceparent = span
            .as_ref()
            .filter(|_| !is_stream)
            .map(trace::Call::traceparent);
        if let Some(Ok(value)) = traceparent.map(HeaderValue::try_from) {
            headers.insert(TRACEPARENT, value);
        }
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
                span,
            },
        }
    }
}

/// Returns the span of a call's log lines, with the method, the peer and the trace id.
///
/// A single command gets no span, because commands must cost least. The writer's task decides and
/// appends a command outside of its call, so a span would contain no log line.
fn log_span(method: &'static str, request: &Request<Body>) -> Span {
    if method.starts_with("orders.v1.CommandService/") && !method.ends_with("/ExecuteCommands") {
        return Span::none();
    }
    let peer = request.extensions().get::<SocketAddr>();
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

/// A call in progress. Its drop records the metrics and ends the span.
struct Call {
    method: &'static str,
    began: Instant,
    code: Code,
    span: Option<trace::Call>,
}

impl<F, E> Future for Answer<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.log.in_scope(|| this.answer.poll(context)));
        this.call.code = match &answer {
            // An immediate error is in the headers. Messages and trailers come later, unmeasured.
            Ok(answer) => {
                Status::from_header_map(answer.headers()).map_or(Code::Ok, |status| status.code())
            }
            Err(_) => Code::Internal,
        };
        Poll::Ready(answer)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let name = name(self.code);
        metrics::call(self.method, name, self.began.elapsed());
        if let Some(span) = self.span.take() {
            let is_fault = matches!(
                self.code,
                Code::Internal | Code::Unknown | Code::Unavailable | Code::DataLoss
            );
            span.end(name, is_fault);
        }
    }
}

fn name(code: Code) -> &'static str {
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
