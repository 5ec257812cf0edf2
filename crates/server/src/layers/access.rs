//! The middleware that checks the credential of each call.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use futures_util::future::{Either, FutureExt as _, Shared, pending};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::yield_now,
};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, body::Body};
use tower::{Layer, Service};
use wire::{Actor, Error, Limit, Operator};

use crate::{
    access::{
        Credentials, Role,
        audit::Audit,
        credentials::{Admitted, Decision, Refusal, authorization},
        rules::{self, Rule},
    },
    layers::until::{Held, Until},
    listener::{
        peer::{self, Peer},
        streams,
    },
};

/// Maximum number of calls in flight that need no credential, of all connections together.
const MAX_OPEN_CALLS: usize = 256;

pub(crate) const LIMITS: [Limit; 2] = [
    Limit::new(
        "health calls in flight on a connection; on other connections only `Watch` counts",
        peer::MAX_OPEN_CALLS as u64,
        "`OVERLOADED`",
    ),
    Limit::new(
        "health calls in flight of all these connections",
        MAX_OPEN_CALLS as u64,
        "`OVERLOADED`",
    ),
];

/// Time for a client to read the status that ends its stream. After that the stream is reset.
const GRACE: Duration = Duration::from_millis(500);

/// Passes the calls that their credentials allow. Without `credentials` it passes every call.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    credentials: Option<Credentials>,
    open_calls: Arc<Semaphore>,
    audit: Arc<Audit>,
}

impl Access {
    pub(crate) fn of(credentials: Option<Credentials>) -> Self {
        Self {
            credentials,
            open_calls: Arc::new(Semaphore::new(MAX_OPEN_CALLS)),
            audit: Arc::new(Audit::new()),
        }
    }

    /// Returns the credentials that clients must present; `None` admits all clients.
    pub(crate) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// Returns the names of the roles that the headers' credential has: all of them on a node without
    /// credentials.
    ///
    /// # Errors
    /// The errors of [`Credentials::check`] except [`Error::PermissionDenied`].
    pub(crate) async fn roles(
        &self,
        headers: &HeaderMap,
        peer: Option<&Peer>,
    ) -> Result<Vec<&'static str>, Error> {
        let Some(credentials) = &self.credentials else {
            return Ok(Role::ALL.map(Role::name).to_vec());
        };
        let roles = credentials.roles(authorization(headers), peer).await;
        if let (Some(peer), Err(Error::Unauthenticated)) = (peer, &roles) {
            peer.refused();
        }
        roles
    }

    /// Reserves a call that needs no credential.
    pub(crate) fn open_call(&self, peer: Option<&Peer>) -> Result<OpenCall, Error> {
        let of_peer = peer.map(|peer| peer.open_call().ok_or(()));
        let of_all = Arc::clone(&self.open_calls).try_acquire_owned();
        match (of_peer.transpose(), of_all) {
            (Ok(of_peer), Ok(of_all)) => Ok((of_peer, of_all)),
            _ => Err(Error::Overloaded("too many calls without a credential")),
        }
    }
}

/// The permits of a call that needs no credential: one of its connection and one of all.
pub(crate) type OpenCall = (Option<OwnedSemaphorePermit>, OwnedSemaphorePermit);

impl<S> Layer<S> for Access {
    type Service = AccessService<S>;

    fn layer(&self, service: S) -> AccessService<S> {
        AccessService {
            service,
            access: self.clone(),
        }
    }
}

/// A service behind [`Access`].
#[derive(Debug, Clone)]
pub(crate) struct AccessService<S> {
    service: S,
    access: Access,
}

type Answer<E> = Result<Response<Body>, E>;

/// The future of a call: the service's own, or one that does something before or after it.
type Passed<S> = Either<
    <S as Service<Request<Body>>>::Future,
    Pin<Box<dyn Future<Output = Answer<<S as Service<Request<Body>>>::Error>> + Send + 'static>>,
>;

impl<S> Service<Request<Body>> for AccessService<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Passed<S>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        let rule = rules::of(path);
        let peer = request.extensions().get::<Peer>().cloned();
        if request.method() != Method::POST {
            return answered(wrong_method(peer.as_ref()));
        }
        let is_open = match rule {
            Some(Rule::OpenStream) => true,
            // A client with a credential may check the health as often as everything else.
            Some(Rule::Open) => {
                let is_stranger = peer.as_ref().is_none_or(Peer::is_stranger);
                if self.access.credentials.is_none() || !is_stranger {
                    return Either::Left(self.service.call(request));
                }
                true
            }
            _ => false,
        };
        if is_open {
            return self.pass_open(request, peer.as_ref());
        }
        let Some(credentials) = &self.access.credentials else {
            let was_stranger = peer.as_ref().is_some_and(Peer::is_stranger);
            if let (Some(peer), Some(_)) = (&peer, rule) {
                peer.admitted(is_command(path));
            }
            return self.pass(request, was_stranger);
        };
        let decision = credentials.decide(rule, authorization(request.headers()));
        match (decision, rule) {
            (Decision::Known(Ok(admitted)), Some(Rule::One(_))) => {
                let was_stranger = peer.as_ref().is_some_and(Peer::is_stranger);
                let entered = self
                    .access
                    .enter(rule, &mut request, &admitted, peer.as_ref());
                return match entered {
                    Ok(()) => self.pass(request, was_stranger),
                    Err(refusal) => {
                        let path = request.uri().path();
                        answered(self.access.refused(refusal, path, peer.as_ref()))
                    }
                };
            }
            (Decision::Known(Err(refusal)), _) => {
                return answered(self.access.refused(refusal, path, peer.as_ref()));
            }
            _ => {}
        }
        let credentials = credentials.clone();
        let access = self.access.clone();
        let service = self.take_service();
        Either::Right(Box::pin(async move {
            access
                .checked(credentials, service, request, rule, peer)
                .await
        }))
    }
}

impl<S> AccessService<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    /// Passes a call that needs no credential, within the limits of such calls.
    fn pass_open(&mut self, request: Request<Body>, peer: Option<&Peer>) -> Passed<S> {
        match self.access.open_call(peer) {
            Ok(permits) => {
                let answer = self.service.call(request);
                Either::Right(Box::pin(async move {
                    let answer = answer.await?;
                    Ok(answer.map(|body| Body::new(Held::new(body, permits))))
                }))
            }
            Err(error) => {
                let path = request.uri().path();
                answered(self.access.refused(error.into(), path, peer))
            }
        }
    }

    /// Passes an admitted call. The first one of a connection moves out of the lobby before that.
    fn pass(&mut self, request: Request<Body>, was_stranger: bool) -> Passed<S> {
        if !was_stranger {
            return Either::Left(self.service.call(request));
        }
        let mut service = self.take_service();
        Either::Right(Box::pin(async move {
            yield_now().await;
            service.call(request).await
        }))
    }

    /// Takes the instance that `poll_ready` prepared, and leaves its clone.
    fn take_service(&mut self) -> S {
        let ready = self.service.clone();
        mem::replace(&mut self.service, ready)
    }
}

impl Access {
    /// Passes a call whose credential has to be verified first, or a streaming call, which ends with
    /// its credential.
    async fn checked<S>(
        &self,
        mut credentials: Credentials,
        mut service: S,
        mut request: Request<Body>,
        rule: Option<Rule>,
        peer: Option<Peer>,
    ) -> Answer<S::Error>
    where
        S: Service<Request<Body>, Response = Response<Body>>,
    {
        // Records the current credentials as seen before the check, so that no later change is
        // missed.
        credentials.mark_unchanged();
        let shown = authorization(request.headers()).cloned();
        let checked = credentials.check(rule, shown.as_ref(), peer.as_ref()).await;
        let admitted = match checked {
            Ok(admitted) => admitted,
            Err(refusal) => return Ok(self.refused(refusal, request.uri().path(), peer.as_ref())),
        };
        let was_stranger = peer.as_ref().is_some_and(Peer::is_stranger);
        if let Err(refusal) = self.enter(rule, &mut request, &admitted, peer.as_ref()) {
            return Ok(self.refused(refusal, request.uri().path(), peer.as_ref()));
        }
        if was_stranger {
            // The call moves out of the lobby.
            yield_now().await;
        }
        if !matches!(rule, Some(Rule::Stream(_))) {
            return service.call(request).await;
        }
        let ended: BoxFuture = Box::pin(ended(credentials, rule, shown, admitted));
        let ended = ended.shared();
        let reset = reset(ended.clone(), peer);
        let request = request.map(|body| Body::new(Until::new(body, ended.clone())));
        let answer = service.call(request).await?;
        Ok(answer.map(|body| Body::new(Held::new(Body::new(Until::new(body, ended)), reset))))
    }

    /// Records an admitted call.
    ///
    /// # Errors
    /// [`Error::Overloaded`] on a connection that has a place of operators, if the credential is not
    /// an operator's. The connection closes.
    fn enter(
        &self,
        rule: Option<Rule>,
        request: &mut Request<Body>,
        admitted: &Admitted,
        peer: Option<&Peer>,
    ) -> Result<(), Refusal> {
        if let Some(peer) = peer
            && peer.is_kept()
            && !admitted.operates
        {
            peer.close();
            return Err(Error::Overloaded("too many connections").into());
        }
        let path = request.uri().path();
        if rule.is_some_and(Rule::is_for_operators) {
            let actor = admitted.actor.as_deref();
            self.audit.operated(actor, path, peer.map(Peer::address));
        }
        if let Some(peer) = peer {
            peer.admitted(is_command(path));
        }
        if let Some(actor) = &admitted.actor {
            request.extensions_mut().insert(Actor(Arc::clone(actor)));
        }
        if admitted.operates {
            request.extensions_mut().insert(Operator);
        }
        Ok(())
    }

    /// Returns the answer to a call that is not admitted, and counts the refusal.
    fn refused(&self, refusal: Refusal, path: &str, peer: Option<&Peer>) -> Response<Body> {
        let Refusal { error, actor } = refusal;
        if let (Some(peer), Error::Unauthenticated) = (peer, &error) {
            peer.refused();
        }
        let (actor, address) = (actor.as_deref(), peer.map(Peer::address));
        // Clients can call any path, so the line quotes only paths of methods.
        let method = rules::find(path).map_or("unknown", |(method, _)| method);
        self.audit.refused(actor, method, address, error.reason());
        Status::from(error).into_http()
    }
}

type BoxFuture = Pin<Box<dyn Future<Output = Status> + Send>>;

/// Cuts off the stream of the current call when its client has had time to read the status that
/// ends it. On HTTP/1.1 the connection closes, which carries no other call, by a task of its own.
fn reset(ended: Shared<BoxFuture>, peer: Option<Peer>) -> Option<AbortOnDropHandle<()>> {
    let over = async move {
        ended.await;
        tokio::time::sleep(GRACE).await;
    };
    let over = over.shared();
    if streams::reset_at(over.clone()) {
        return None;
    }
    let task = tokio::spawn(async move {
        over.await;
        if let Some(peer) = peer {
            peer.cut_off();
        }
    });
    Some(AbortOnDropHandle::new(task))
}

fn is_command(path: &str) -> bool {
    path.starts_with("/orders.v1.CommandService/")
}

/// Returns the future of a call that has its answer already.
fn answered<E, F>(
    answer: Response<Body>,
) -> Either<F, Pin<Box<dyn Future<Output = Answer<E>> + Send + 'static>>> {
    Either::Right(Box::pin(async { Ok(answer) }))
}

/// Returns the answer to a request that is no call: gRPC uses POST alone.
fn wrong_method(peer: Option<&Peer>) -> Response<Body> {
    if let Some(peer) = peer {
        peer.refused();
    }
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    let post = HeaderValue::from_static("POST");
    answer.headers_mut().insert(header::ALLOW, post);
    answer
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
        match credentials.check(rule, shown.as_ref(), None).await {
            Ok(again) => admitted = again,
            Err(refusal) => return refusal.error.into(),
        }
    }
}
