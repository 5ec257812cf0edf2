//! Ends the streams of a third-party service when the server shuts down.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body, server::NamedService};
use tower::Service;

use crate::layers::until::Until;

/// Ends the request and response streams of `service` at `stop`. A tool that keeps its stream open
/// would delay the shutdown.
#[derive(Debug, Clone)]
pub(crate) struct Ending<S> {
    pub(crate) service: S,
    pub(crate) stop: CancellationToken,
}

impl<S: NamedService> NamedService for Ending<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Ending<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let until = |body, stop: CancellationToken| {
            let ended = Box::pin(async move {
                stop.cancelled().await;
                Status::from(wire::Error::ShuttingDown)
            });
            Body::new(Until::new(body, ended))
        };
        // A service that waits for further requests would keep the connection open.
        let request = request.map(|body| until(body, self.stop.clone()));
        let (answer, stop) = (self.service.call(request), self.stop.clone());
        Box::pin(async move { Ok(answer.await?.map(|body| until(body, stop))) })
    }
}
