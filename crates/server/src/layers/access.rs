//! The middleware that checks the credential of each call.

use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll},
    time::SystemTime,
};

use futures_util::future::{Either, pending};
use http::{HeaderValue, Request, Response, header};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use crate::layers::until::Until;

use crate::access::{
    Credentials,
    credentials::{Admitted, Decision},
    rules::{self, Rule},
};

/// Passes the calls that their credentials allow. Without `credentials` it passes every call.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    credentials: Option<Credentials>,
}

impl Access {
    pub(crate) fn of(credentials: Option<Credentials>) -> Self {
        Self { credentials }
    }

    /// Returns the credentials that clients must present; `None` admits all clients.
    pub(crate) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }
}

impl<S> Layer<S> for Access {
    type Service = AccessService<S>;

    fn layer(&self, service: S) -> AccessService<S> {
        AccessService {
            service,
            credentials: self.credentials.clone(),
        }
    }
}

/// A service behind [`Access`].
#[derive(Debug, Clone)]
pub(crate) struct AccessService<S> {
    service: S,
    credentials: Option<Credentials>,
}

type Answer<E> = Result<Response<Body>, E>;

impl<S> Service<Request<Body>> for AccessService<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future =
        Either<S::Future, Pin<Box<dyn Future<Output = Answer<S::Error>> + Send + 'static>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(credentials) = &self.credentials else {
            return Either::Left(self.service.call(request));
        };
        let rule = rules::of(request.uri().path());
        let decision = credentials.decide(rule, request.headers().get(header::AUTHORIZATION));
        match (decision, rule) {
            (Decision::Known(Ok(_)), Some(Rule::One(_) | Rule::Open)) => {
                return Either::Left(self.service.call(request));
            }
            (Decision::Known(Err(error)), _) => {
                let refused = Status::from(error).into_http();
                return Either::Right(Box::pin(async { Ok(refused) }));
            }
            _ => {}
        }
        // The instance that `poll_ready` prepared serves this call, not its clone.
        let ready = self.service.clone();
        let mut service = mem::replace(&mut self.service, ready);
        let mut credentials = credentials.clone();
        Either::Right(Box::pin(async move {
            // Records the current credentials as seen before the check, so that no later change is
            // missed.
            credentials.mark_unchanged();
            let shown = request.headers().get(header::AUTHORIZATION).cloned();
            let admitted = match credentials.check(rule, shown.as_ref()).await {
                Ok(admitted) => admitted,
                Err(error) => return Ok(Status::from(error).into_http()),
            };
            let answer = service.call(request).await?;
            Ok(match rule {
                Some(Rule::Stream(_)) => answer.map(|body| {
                    let ended = Box::pin(ended(credentials, rule, shown, admitted));
                    Body::new(Until { body, ended })
                }),
                _ => answer,
            })
        }))
    }
}

/// Waits until an admitted call loses its permission, and returns the status that ends the stream.
async fn ended(
    mut credentials: Credentials,
    rule: Option<Rule>,
    shown: Option<HeaderValue>,
    mut admitted: Admitted,
) -> Status {
    loop {
        let over = async {
            match admitted.until {
                None => pending().await,
                // A time in the past elapses immediately.
                Some(until) => {
                    let left = until.duration_since(SystemTime::now());
                    tokio::time::sleep(left.unwrap_or_default()).await;
                }
            }
        };
        tokio::select! {
            () = over => {}
            () = credentials.changed() => {}
        }
        match credentials.check(rule, shown.as_ref()).await {
            Ok(again) => admitted = again,
            Err(error) => return error.into(),
        }
    }
}
