//! The console: a web page on the gRPC port, with which people use the node.
//!
//! [`Console`] answers GET requests for the page's [`files`], which the program embeds, and for
//! `access.json`, which tells the page the roles of its token and the services of the node. All
//! other requests pass on. The page calls the services by gRPC-Web like any other client, and
//! [`Pages`] admits it by its origin.

mod files;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::Bytes;
use files::File;
use futures_util::future::Either;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use serde_json::json;
use tonic::body::Body;
use tower::{Layer, Service};
use wire::Error;

use crate::{
    layers::{
        access::{Access, OpenCall},
        until::Held,
        web::{self, Pages},
    },
    listener::peer::Peer,
};

/// The path of the roles and services.
const ACCESS: &str = "/access.json";

/// Headers of every answer. The page loads nothing from elsewhere, runs no inline script, appears in
/// no frame, and tells no other site its address.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (header::VARY, "accept-encoding"),
];

/// Serves the console in front of a service, or passes everything on if it is off.
#[derive(Debug, Clone)]
pub(crate) struct Console {
    served: Option<Arc<Served>>,
}

#[derive(Debug)]
struct Served {
    pages: Pages,
    access: Access,
    services: Vec<&'static str>,
}

impl Console {
    /// Passes every request on.
    pub(crate) fn off() -> Self {
        Self { served: None }
    }

    /// Serves the console to hosts that `pages` knows, on a node with these services.
    pub(crate) fn on(pages: Pages, access: Access, services: Vec<&'static str>) -> Self {
        let served = Served {
            pages,
            access,
            services,
        };
        Self {
            served: Some(Arc::new(served)),
        }
    }
}

impl<S> Layer<S> for Console {
    type Service = ConsoleService<S>;

    fn layer(&self, service: S) -> ConsoleService<S> {
        ConsoleService {
            service,
            console: self.clone(),
        }
    }
}

/// A service behind [`Console`].
#[derive(Debug, Clone)]
pub(crate) struct ConsoleService<S> {
    service: S,
    console: Console,
}

type Answer<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S> Service<Request<Body>> for ConsoleService<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Answer<S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let Some(served) = self.console.served.as_ref().filter(|_| is_read) else {
            return Either::Left(self.service.call(request));
        };
        let path = request.uri().path();
        let file = files::at(path);
        if file.is_none() && path != ACCESS {
            return Either::Left(self.service.call(request));
        }
        let served = Arc::clone(served);
        let request = request.map(drop);
        Either::Right(Box::pin(
            async move { Ok(served.answer(file, &request).await) },
        ))
    }
}

impl Served {
    /// Answers with a file, or without one with the roles and services.
    async fn answer(&self, file: Option<&File>, request: &Request<()>) -> Response<Body> {
        if !web::host(request).is_some_and(|host| self.pages.serve_host(&host)) {
            return plain(StatusCode::MISDIRECTED_REQUEST, "not a name of this node\n");
        }
        let peer = request.extensions().get::<Peer>();
        // Needs no credential, so it has the limits of such calls.
        let Ok(permits) = self.access.open_call(peer) else {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "too many requests\n");
        };
        let mut answer = match file {
            Some(file) => file.answer(request.headers()),
            None => self.permissions(request.headers(), peer).await,
        };
        for (name, value) in HEADERS {
            let value = HeaderValue::from_static(value);
            answer.headers_mut().insert(name, value);
        }
        if request.method() == Method::HEAD {
            *answer.body_mut() = Body::empty();
        }
        held(answer, permits)
    }

    /// Returns the roles of the shown credential, and the services of the node.
    async fn permissions(&self, headers: &HeaderMap, peer: Option<&Peer>) -> Response<Body> {
        let roles = match self.access.roles(headers, peer).await {
            Ok(roles) => roles,
            Err(Error::Unauthenticated) => {
                return plain(StatusCode::UNAUTHORIZED, "needs a valid token\n");
            }
            Err(_) => return plain(StatusCode::SERVICE_UNAVAILABLE, "cannot check the token\n"),
        };
        let permissions = json!({
            "credentials": self.access.credentials().is_some(),
            "roles": roles,
            "services": self.services,
        });
        let mut answer = whole(permissions.to_string().into());
        let headers = answer.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        answer
    }
}

/// Keeps the permits until the client has read the body.
fn held(answer: Response<Body>, permits: OpenCall) -> Response<Body> {
    answer.map(|body| Body::new(Held::new(body, permits)))
}

fn whole(body: Bytes) -> Response<Body> {
    Response::new(Body::new(axum::body::Body::from(body)))
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut answer = whole(Bytes::from_static(text.as_bytes()));
    *answer.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, text);
    answer
}
