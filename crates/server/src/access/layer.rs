use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use futures_util::future::{Either, Ready, pending, ready};
use http::{HeaderValue, Request, Response, header};
use http_body::{Frame, SizeHint};
use tokio::sync::watch;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::{
    Credentials,
    credentials::Admitted,
    rules::{self, Rule},
};

/// Lets calls through that their credentials allow: all of them, where there are no credentials.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    credentials: Option<watch::Receiver<Arc<Credentials>>>,
}

impl Access {
    pub(crate) fn of(credentials: Option<watch::Receiver<Arc<Credentials>>>) -> Self {
        Self { credentials }
    }
}

impl<S> Layer<S> for Access {
    type Service = Guarded<S>;

    fn layer(&self, service: S) -> Guarded<S> {
        Guarded {
            service,
            credentials: self.credentials.clone(),
        }
    }
}

/// A service behind [`Access`].
#[derive(Debug, Clone)]
pub(crate) struct Guarded<S> {
    service: S,
    credentials: Option<watch::Receiver<Arc<Credentials>>>,
}

type Answer<E> = Result<Response<Body>, E>;

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<
        S::Future,
        Either<Ready<Answer<S::Error>>, Pin<Box<dyn Future<Output = Answer<S::Error>> + Send>>>,
    >;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(credentials) = &self.credentials else {
            return Either::Left(self.service.call(request));
        };
        let rule = rules::of(request.uri().path());
        let shown = request.headers().get(header::AUTHORIZATION).cloned();
        let admitted = credentials.borrow().admit(rule, shown.as_ref());
        match (admitted, rule) {
            (Err(error), _) => {
                let refused = Status::from(error).into_http();
                Either::Right(Either::Left(ready(Ok(refused))))
            }
            (Ok(admitted), Some(Rule::Stream(_))) => {
                let answer = self.service.call(request);
                let ended = Box::pin(ended(credentials.clone(), rule, shown, admitted));
                Either::Right(Either::Right(Box::pin(async move {
                    let answer = answer.await?;
                    Ok(answer.map(|body| Body::new(WhileAdmitted { body, ended })))
                })))
            }
            (Ok(_), _) => Either::Left(self.service.call(request)),
        }
    }
}

/// Why a call that was admitted is no more.
async fn ended(
    mut credentials: watch::Receiver<Arc<Credentials>>,
    rule: Option<Rule>,
    shown: Option<HeaderValue>,
    mut admitted: Admitted,
) -> Status {
    loop {
        let over = async {
            match admitted.until {
                None => pending().await,
                // It is over at once where the clock is past it.
                Some(until) => {
                    let left = until.duration_since(SystemTime::now());
                    tokio::time::sleep(left.unwrap_or_default()).await;
                }
            }
        };
        tokio::select! {
            () = over => {}
            changed = credentials.changed() => if changed.is_err() {
                // Nothing changes them any more.
                pending::<()>().await;
            },
        }
        let again = credentials.borrow_and_update().admit(rule, shown.as_ref());
        match again {
            Ok(again) => admitted = again,
            Err(error) => return error.into(),
        }
    }
}

/// A stream that ends when its credential does.
struct WhileAdmitted<F> {
    body: Body,
    ended: Pin<Box<F>>,
}

impl<F: Future<Output = Status>> http_body::Body for WhileAdmitted<F> {
    type Data = <Body as http_body::Body>::Data;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        if this.body.is_end_stream() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(status) = this.ended.as_mut().poll(context) {
            // What would have come is dropped, and with it whoever makes it.
            this.body = Body::empty();
            let mut trailers = http::HeaderMap::new();
            return Poll::Ready(Some(match status.add_header(&mut trailers) {
                Ok(()) => Ok(Frame::trailers(trailers)),
                Err(error) => Err(error),
            }));
        }
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
