//! Access for pages in browsers: CORS for gRPC-Web, limited to the allowed origins.

use std::{
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::{Either, Ready, ready};
use http::{
    HeaderName, HeaderValue, Method, Request, Response, header,
    uri::{Authority, Scheme},
};
use tonic::{Status, body::Body};
use tower::{Layer, Service};
use tower_http::cors::{AllowOrigin, Cors, CorsLayer, ResponseFuture, Vary};

/// Request headers that pages may send in addition to those that CORS always allows.
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

/// Response headers that pages may read. If a call fails immediately, gRPC-Web has its status
/// there.
const RESPONSE_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
];

/// Time for which a browser caches the answer to a preflight request.
const PREFLIGHT_HOLDS: Duration = Duration::from_secs(3600);

/// Answers pages of the allowed origins, and rejects requests of all others.
///
/// The server rejects them itself and does not rely on the browser. A page can point its own name
/// at this machine (DNS rebinding), and the browser then sees no cross-origin request.
#[derive(Debug, Clone)]
pub(crate) struct Pages {
    origins: Arc<[HeaderValue]>,
    /// The scheme of the node's own pages; `None` if it serves none.
    own: Option<Scheme>,
}

impl Pages {
    pub(crate) fn of(origins: Vec<HeaderValue>) -> Self {
        Self {
            origins: origins.into(),
            own: None,
        }
    }

    /// Admits also the pages that the node itself serves, with or without TLS.
    pub(crate) fn with_own(self, tls: bool) -> Self {
        Self {
            own: Some(if tls { Scheme::HTTPS } else { Scheme::HTTP }),
            ..self
        }
    }

    /// Returns whether the node serves its own pages under this name: a name of its own, or one of
    /// an allowed origin.
    pub(crate) fn serve_host(&self, host: &Authority) -> bool {
        let is_of = |origin: &HeaderValue| {
            let origin = origin.to_str().unwrap_or_default();
            origin
                .split_once("://")
                .is_some_and(|(_, it)| it == host.as_str())
        };
        self.is_own_host(host) || self.origins.iter().any(is_of)
    }

    /// Returns whether a page of another server cannot have this name. With TLS, the browser has
    /// compared the name with the certificate.
    fn is_own_host(&self, host: &Authority) -> bool {
        match &self.own {
            None => false,
            Some(scheme) => *scheme == Scheme::HTTPS || is_this_machine(host),
        }
    }

    /// Returns whether the request comes from a page that the node itself serves.
    fn is_own(&self, origin: &HeaderValue, request: &Request<Body>) -> bool {
        let (Some(scheme), Some(host)) = (&self.own, host(request)) else {
            return false;
        };
        self.is_own_host(&host) && *origin == format!("{scheme}://{host}")
    }
}

/// Returns the host that a request names, with its port.
pub(crate) fn host<B>(request: &Request<B>) -> Option<Authority> {
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok()?.parse().ok());
    host.or_else(|| request.uri().authority().cloned())
}

/// Returns whether a host is `localhost` or an address. Nobody can point one of these elsewhere, as
/// a page's own name (DNS rebinding).
pub(crate) fn is_this_machine(host: &Authority) -> bool {
    let host = host.host().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok()
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
            allowed: self.clone(),
        }
    }
}

/// A service behind [`Pages`].
#[derive(Debug, Clone)]
pub(crate) struct PagesService<S> {
    pages: Cors<S>,
    /// Serves clients other than browsers, which send no `origin` header, and the node's own pages.
    others: S,
    allowed: Pages,
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
            Some(origin) if self.allowed.origins.contains(origin) => {
                Either::Right(Either::Left(self.pages.call(request)))
            }
            Some(origin) if self.allowed.is_own(origin, &request) => {
                Either::Left(self.others.call(request))
            }
            Some(_) => {
                let refused = Status::from(wire::Error::OriginNotAllowed).into_http();
                Either::Right(Either::Right(ready(Ok(refused))))
            }
        }
    }
}
