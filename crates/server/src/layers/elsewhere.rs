//! Moves the calls of a service to another runtime than the one that serves its connections.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;
use tonic::{body::Body, server::NamedService};
use tower::Service;
use tracing::Instrument as _;

/// Runs each call of `service` on `runtime`. Cancelling the call cancels its task there.
#[derive(Debug, Clone)]
pub(crate) struct Elsewhere<S> {
    service: S,
    runtime: Handle,
}

impl<S> Elsewhere<S> {
    pub(crate) fn new(service: S, runtime: &Handle) -> Self {
        Self {
            service,
            runtime: runtime.clone(),
        }
    }
}

impl<S: NamedService> NamedService for Elsewhere<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Elsewhere<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let mut service = self.service.clone();
        let call = async move { service.call(request).await };
        let task = self.runtime.spawn(call.in_current_span());
        let task = AbortOnDropHandle::new(task);
        Box::pin(async move {
            task.await.unwrap_or_else(|error| {
                Ok(tonic::Status::from(wire::Error::internal(error)).into_http())
            })
        })
    }
}
