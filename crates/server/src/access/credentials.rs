//! Decides whether a client's credential allows a call.

use std::{sync::Arc, time::SystemTime};

use futures_util::future::OptionFuture;
use http::HeaderValue;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
};
use wire::Error;

use super::{
    Roles,
    jwt::Jwts,
    rules::{self, Rule},
    tokens::Tokens,
};

/// The valid tokens and JWT keys, as their files currently list them.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    tokens: Option<watch::Receiver<Arc<Tokens>>>,
    jwts: Option<watch::Receiver<Arc<Jwts>>>,
    /// The runtime that verifies signatures, which takes long. `turn` admits one check at a time,
    /// so that a client with wrong signatures occupies at most one processor.
    checks: Handle,
    turn: Arc<Semaphore>,
}

/// The permission to make a call, and its expiry time if the credential expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Admitted {
    pub(crate) until: Option<SystemTime>,
}

/// The decision about a call.
#[derive(Debug)]
pub(crate) enum Decision {
    Known(Result<Admitted, Error>),
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
        }
    }

    /// Decides without waiting whether a call with this `authorization` header is allowed. Without
    /// a valid credential the error is always `UNAUTHENTICATED`, which does not reveal the methods
    /// that exist.
    pub(crate) fn decide(&self, rule: Option<Rule>, shown: Option<&HeaderValue>) -> Decision {
        if rule == Some(Rule::Open) {
            return Decision::Known(Ok(Admitted { until: None }));
        }
        let Some(shown) = shown.and_then(bearer) else {
            return Decision::Known(Err(Error::Unauthenticated));
        };
        let tokens = self.tokens.as_ref();
        if let Some(roles) = tokens.and_then(|tokens| tokens.borrow().roles(shown)) {
            return Decision::Known(admit(roles, None, rule));
        }
        match &self.jwts {
            None => Decision::Known(Err(Error::Unauthenticated)),
            Some(jwts) => match jwts.borrow().known(shown) {
                Some((roles, until)) => Decision::Known(admit(roles, Some(until), rule)),
                None => Decision::Unchecked,
            },
        }
    }

    /// Decides like [`Credentials::decide`], and waits for the signature check if one is needed.
    ///
    /// # Errors
    /// - [`Error::Unauthenticated`]: the header holds no valid credential.
    /// - [`Error::PermissionDenied`]: the credential has none of the method's roles.
    /// - [`Error::Internal`]: the signature check panicked.
    pub(crate) async fn check(
        &self,
        rule: Option<Rule>,
        shown: Option<&HeaderValue>,
    ) -> Result<Admitted, Error> {
        if let Decision::Known(decision) = self.decide(rule, shown) {
            return decision;
        }
        let jwts = self.jwts.as_ref().map(|jwts| Arc::clone(&jwts.borrow()));
        let (Some(jwts), Some(shown)) = (jwts, shown.cloned()) else {
            return Err(Error::Unauthenticated);
        };
        // The semaphore never closes, so an error cannot occur.
        let turn = Arc::clone(&self.turn).acquire_owned().await;
        let checked = self.checks.spawn_blocking(move || {
            let _turn = turn;
            bearer(&shown).and_then(|token| jwts.check(token))
        });
        let checked = checked.await.map_err(|error| {
            Error::internal(format!("a signature could not be checked: {error}"))
        })?;
        let (roles, until) = checked.ok_or(Error::Unauthenticated)?;
        admit(roles, Some(until), rule)
    }

    /// Checks whether this `authorization` header allows a client to read the metrics.
    ///
    /// # Errors
    /// The same as those of [`Credentials::check`].
    pub(crate) async fn may_see_metrics(&self, shown: Option<&HeaderValue>) -> Result<(), Error> {
        self.check(Some(rules::METRICS), shown).await.map(|_| ())
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

fn admit(roles: Roles, until: Option<SystemTime>, rule: Option<Rule>) -> Result<Admitted, Error> {
    let allowed = match rule {
        Some(Rule::One(allowed) | Rule::Stream(allowed)) => allowed,
        Some(Rule::Open) | None => Roles::NONE,
    };
    if roles.has_one_of(allowed) {
        Ok(Admitted { until })
    } else {
        Err(Error::PermissionDenied(allowed.names()))
    }
}

/// Returns the token of an `authorization` header with the scheme Bearer (RFC 6750).
fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}
