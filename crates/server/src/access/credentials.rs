//! Decides whether a client's credential allows a call.

use std::{sync::Arc, time::SystemTime};

use futures_util::future::OptionFuture;
use http::{HeaderMap, HeaderValue, header};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
};
use wire::{Error, Limit};

use super::{
    Role, Roles,
    jwt::{Jwts, Verified},
    rules::{self, Rule},
    tokens::Tokens,
};
use crate::listener::peer::{self, Peer};

/// Maximum number of signature checks that wait for their turn. A check takes some 0.1 ms.
const MAX_WAITING_CHECKS: usize = 64;

/// Maximum number of calls that wait for a check. Each may hold a stream's window of bytes.
const MAX_UNVERIFIED_CALLS: usize = 500;

pub(crate) const LIMITS: [Limit; 3] = [
    Limit::new(
        "calls of a connection with a JWT that is not verified yet",
        peer::MAX_UNVERIFIED_CALLS as u64,
        "`OVERLOADED`",
    ),
    Limit::new(
        "such calls of all connections",
        MAX_UNVERIFIED_CALLS as u64,
        "`OVERLOADED`",
    ),
    Limit::new(
        "JWTs that wait for a check of their signature, one of each connection",
        MAX_WAITING_CHECKS as u64,
        "`OVERLOADED`",
    ),
];

/// The valid tokens and JWT keys, as their files currently list them.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    tokens: Option<watch::Receiver<Arc<Tokens>>>,
    jwts: Option<watch::Receiver<Arc<Jwts>>>,
    /// The runtime that verifies signatures, which takes long. `turn` admits one check at a time,
    /// so that a client with wrong signatures occupies at most one processor.
    checks: Handle,
    turn: Arc<Semaphore>,
    /// Limits the calls that wait for a check, of all connections together.
    unverified: Arc<Semaphore>,
    /// Limits the checks that wait for their turn.
    waiting: Arc<Semaphore>,
}

/// The permission to make a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// The expiry time of the credential, if it expires.
    pub(crate) until: Option<SystemTime>,
    /// The name of the token, or the subject of the JWT. `None` without a credential, or if the JWT
    /// has no usable subject.
    pub(crate) actor: Option<Arc<str>>,
    /// Whether the credential has the role `operate`.
    pub(crate) operates: bool,
}

/// The refusal of a call.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) error: Error,
    /// The owner of a valid credential that lacks the method's roles.
    pub(crate) actor: Option<Arc<str>>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { error, actor: None }
    }
}

/// The decision about a call.
#[derive(Debug)]
pub(crate) enum Decision {
    Known(Result<Admitted, Refusal>),
    /// The decision needs a signature check, which [`Credentials::check`] makes.
    Unchecked,
}

impl Credentials {
    /// Accepts tokens, JWTs or both. The runtime `checks` verifies signatures.
    pub(crate) fn new(
        tokens: Option<watch::Receiver<Arc<Tokens>>>,
        jwts: Option<watch::Receiver<Arc<Jwts>>>,
        checks: Handle,
    ) -> Self {
        Self {
            tokens,
            jwts,
            checks,
            turn: Arc::new(Semaphore::new(1)),
            unverified: Arc::new(Semaphore::new(MAX_UNVERIFIED_CALLS)),
            waiting: Arc::new(Semaphore::new(MAX_WAITING_CHECKS)),
        }
    }

    /// Decides without waiting whether a call with this `authorization` header is allowed. Without
    /// a valid credential the error is always `UNAUTHENTICATED`, which does not reveal the methods
    /// that exist.
    pub(crate) fn decide(&self, rule: Option<Rule>, shown: Option<&HeaderValue>) -> Decision {
        if matches!(rule, Some(Rule::Open | Rule::OpenStream)) {
            return Decision::Known(Ok(Admitted {
                until: None,
                actor: None,
                operates: false,
            }));
        }
        let Some(shown) = shown.and_then(bearer) else {
            return Decision::Known(Err(Error::Unauthenticated.into()));
        };
        let tokens = self.tokens.as_ref();
        if let Some((roles, name)) = tokens.and_then(|tokens| tokens.borrow().find(shown)) {
            return Decision::Known(admit(roles, None, Some(name), rule));
        }
        match &self.jwts {
            None => Decision::Known(Err(Error::Unauthenticated.into())),
            Some(jwts) => match jwts.borrow().known(shown) {
                Some(known) => Decision::Known(known.admit(rule)),
                None => Decision::Unchecked,
            },
        }
    }

    /// Decides like [`Credentials::decide`], and waits for the signature check if one is needed. One
    /// connection waits for one check at a time.
    ///
    /// # Errors
    /// A [`Refusal`] with one of these errors:
    /// - [`Error::Unauthenticated`]: the header holds no valid credential.
    /// - [`Error::PermissionDenied`]: the credential has none of the method's roles.
    /// - [`Error::Overloaded`]: too many calls or checks wait already.
    /// - [`Error::Internal`]: the signature check panicked.
    pub(crate) async fn check(
        &self,
        rule: Option<Rule>,
        shown: Option<&HeaderValue>,
        peer: Option<&Peer>,
    ) -> Result<Admitted, Refusal> {
        if let Decision::Known(decision) = self.decide(rule, shown) {
            return decision;
        }
        let of_peer = peer.map(|peer| peer.unverified_call().ok_or(()));
        let of_all = Arc::clone(&self.unverified).try_acquire_owned();
        let (Ok(_of_peer), Ok(_of_all)) = (of_peer.transpose(), of_all) else {
            return Err(Error::Overloaded("too many credentials wait for a check").into());
        };
        let _turn_of_peer = OptionFuture::from(peer.map(Peer::verifying)).await;
        // The check that this one waited for may have been of the same token.
        if let Decision::Known(decision) = self.decide(rule, shown) {
            return decision;
        }
        let jwts = self.jwts.as_ref().map(|jwts| Arc::clone(&jwts.borrow()));
        let (Some(jwts), Some(shown)) = (jwts, shown.cloned()) else {
            return Err(Error::Unauthenticated.into());
        };
        // Costs a fraction of the signature check, and spares the others its time.
        if !bearer(&shown).is_some_and(|token| jwts.could_be_valid(token)) {
            return Err(Error::Unauthenticated.into());
        }
        let Ok(waiting) = Arc::clone(&self.waiting).try_acquire_owned() else {
            return Err(Error::Overloaded("too many credentials wait for a check").into());
        };
        // The semaphore never closes, so an error cannot occur.
        let turn = Arc::clone(&self.turn).acquire_owned().await;
        let checked = self.checks.spawn_blocking(move || {
            let _held = (waiting, turn);
            bearer(&shown).and_then(|token| jwts.check(token))
        });
        let checked = checked.await.map_err(|error| {
            Error::internal(format!("a signature could not be checked: {error}"))
        })?;
        checked.ok_or(Error::Unauthenticated)?.admit(rule)
    }

    /// Returns the names of the roles that this `authorization` header grants.
    ///
    /// # Errors
    /// The errors of [`Credentials::check`] except [`Error::PermissionDenied`].
    pub(crate) async fn roles(
        &self,
        shown: Option<&HeaderValue>,
        peer: Option<&Peer>,
    ) -> Result<Vec<&'static str>, Error> {
        let mut granted = Vec::new();
        for role in Role::ALL {
            let rule = Rule::One(Roles::of(&[role]));
            match self.check(Some(rule), shown, peer).await {
                Ok(_) => granted.push(role.name()),
                Err(refusal) if matches!(refusal.error, Error::PermissionDenied(_)) => {}
                Err(refusal) => return Err(refusal.error),
            }
        }
        Ok(granted)
    }

    /// Checks whether this `authorization` header allows a client to read the metrics.
    ///
    /// # Errors
    /// The errors of [`Credentials::check`].
    pub(crate) async fn may_see_metrics(&self, shown: Option<&HeaderValue>) -> Result<(), Error> {
        let checked = self.check(Some(rules::METRICS), shown, None).await;
        checked.map(|_| ()).map_err(|refusal| refusal.error)
    }

    /// Records the current contents of the files as seen, so that [`Credentials::changed`] waits
    /// for the next change.
    pub(crate) fn mark_unchanged(&mut self) {
        if let Some(tokens) = &mut self.tokens {
            tokens.mark_unchanged();
        }
        if let Some(jwts) = &mut self.jwts {
            jwts.mark_unchanged();
        }
    }

    /// Waits until one of the files has other contents.
    pub(crate) async fn changed(&mut self) {
        let tokens = OptionFuture::from(self.tokens.as_mut().map(watch::Receiver::changed));
        let jwts = OptionFuture::from(self.jwts.as_mut().map(watch::Receiver::changed));
        tokio::select! {
            Some(Ok(())) = tokens => {}
            Some(Ok(())) = jwts => {}
            // All followers of files have ended, so no change can come.
            else => std::future::pending().await,
        }
    }
}

impl Verified {
    fn admit(self, rule: Option<Rule>) -> Result<Admitted, Refusal> {
        admit(self.roles, Some(self.until), self.subject, rule)
    }
}

fn admit(
    roles: Roles,
    until: Option<SystemTime>,
    actor: Option<Arc<str>>,
    rule: Option<Rule>,
) -> Result<Admitted, Refusal> {
    let allowed = match rule {
        Some(Rule::One(allowed) | Rule::Stream(allowed)) => allowed,
        Some(Rule::Open | Rule::OpenStream) | None => Roles::NONE,
    };
    if roles.has_one_of(allowed) {
        Ok(Admitted {
            until,
            actor,
            operates: roles.has_one_of(rules::OPERATE),
        })
    } else {
        Err(Refusal {
            error: Error::PermissionDenied(allowed.names()),
            actor,
        })
    }
}

/// Returns the `authorization` header of a call. Returns `None` if there are several: this server and
/// a proxy in front could choose different ones.
pub(crate) fn authorization(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut shown = headers.get_all(header::AUTHORIZATION).iter();
    shown.next().filter(|_| shown.next().is_none())
}

/// Returns the token of an `authorization` header with the scheme Bearer (RFC 6750).
fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

#[cfg(test)]
mod tests {
    use test_support::Issuer;
    use tokio::task::JoinSet;

    use super::*;
    use crate::{listener::strangers::Strangers, settings};

    #[tokio::test]
    async fn forged_jwts_wait_in_a_bounded_queue_and_a_valid_one_passes_after_it() {
        let (issuer, forger) = (Issuer::new("key-1"), Issuer::new("key-1"));
        let settings = settings::Jwt {
            keys: "keys.json".into(),
            issuer: Issuer::ISSUER.to_owned(),
            audience: Issuer::AUDIENCE.to_owned(),
            roles_claim: "roles".to_owned(),
        };
        let jwts = Jwts::parse(&issuer.keys().to_string(), &settings).unwrap();
        let (_sender, jwts) = watch::channel(Arc::new(jwts));
        let credentials = Credentials::new(None, Some(jwts), Handle::current());
        let header = |issuer: &Issuer| {
            let token = issuer.sign(&Issuer::claims(&["query"], 600));
            HeaderValue::try_from(format!("Bearer {token}")).unwrap()
        };
        let rule = Some(rules::METRICS);
        let strangers = Strangers::new(1000);
        let address = "10.0.0.1:1".parse().unwrap();
        let mut checks = JoinSet::new();
        for _ in 0..200 {
            let (credentials, shown) = (credentials.clone(), header(&forger));
            let peer = Peer::arrive(address, &strangers, false);
            checks.spawn(async move {
                let checked = credentials.check(rule, Some(&shown), Some(&peer)).await;
                checked.unwrap_err().error
            });
        }
        let errors = checks.join_all().await;
        let count = |reason| errors.iter().filter(|it| it.reason() == reason).count();
        assert_eq!(count("UNAUTHENTICATED") + count("OVERLOADED"), 200);
        assert!(count("UNAUTHENTICATED") >= MAX_WAITING_CHECKS, "{errors:?}");
        assert!(count("OVERLOADED") > 0, "{errors:?}");
        // The role is not that of the metrics, but the credential is known.
        let valid = credentials.check(rule, Some(&header(&issuer)), None).await;
        assert_eq!(valid.unwrap_err().error.reason(), "PERMISSION_DENIED");
    }
}
