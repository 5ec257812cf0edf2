//! Records each admitted call as a span in the caller's trace.
//!
//! The layer comes after the access check, so that strangers cannot fill the queue of spans.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderName, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use telemetry::trace;
use tonic::{Code, body::Body};
use tower::{Layer, Service};

use super::observed::{code, name};
use crate::access;

/// The header of a trace context (W3C Trace Context).
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Traces calls until the response begins, if the node exports traces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traced;

impl<S> Layer<S> for Traced {
    type Service = TracedService<S>;

    fn layer(&self, service: S) -> TracedService<S> {
        TracedService { service }
    }
}

/// A service behind [`Traced`].
#[derive(Debug, Clone)]
pub(crate) struct TracedService<S> {
    service: S,
}

impl<S> Service<Request<Body>> for TracedService<S>
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
        let call = begin(&mut request).map(|span| Call {
            span: Some(span),
            code: Code::Cancelled,
        });
        let answer = self.service.call(request);
        Answer { answer, call }
    }
}

fn begin(request: &mut Request<Body>) -> Option<trace::Call> {
    if !trace::is_on() {
        return None;
    }
    let (method, is_stream) = access::method(request.uri().path())?;
    if !method.starts_with("orders.") {
        return None;
    }
    let headers = request.headers_mut();
    let came_with = headers.get(TRACEPARENT).and_then(|it| it.to_str().ok());
    let span = trace::Call::begin(method, came_with)?;
    // The events of a unary call store the `traceparent` of its span. The events of a stream store
    // the client's `traceparent`, because one stream may append a million events.
    if !is_stream && let Ok(value) = HeaderValue::try_from(span.traceparent()) {
        headers.insert(TRACEPARENT, value);
    }
    Some(span)
}

pin_project! {
    /// The future of a traced call.
    pub(crate) struct Answer<F> {
        #[pin]
        answer: F,
        call: Option<Call>,
    }
}

/// A traced call in progress. Its drop ends the span.
struct Call {
    /// `None` only while the drop ends the span.
    span: Option<trace::Call>,
    /// The code stays CANCELLED if the client drops the call before the response begins.
    code: Code,
}

impl<F, E> Future for Answer<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.answer.poll(context));
        if let Some(call) = this.call {
            call.code = code(&answer);
        }
        Poll::Ready(answer)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let is_fault = matches!(
            self.code,
            Code::Internal | Code::Unknown | Code::Unavailable | Code::DataLoss
        );
        if let Some(span) = self.span.take() {
            span.end(name(self.code), is_fault);
        }
    }
}
