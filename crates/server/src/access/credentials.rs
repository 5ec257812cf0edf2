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

/// What clients may show, as the files say that name it.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    tokens: Option<watch::Receiver<Arc<Tokens>>>,
    jwts: Option<watch::Receiver<Arc<Jwts>>>,
    /// Where signatures are checked, which takes long: one at a time, so that who sends wrong ones
    /// keeps no more than one processor from others.
    checks: Handle,
    turn: Arc<Semaphore>,
}

/// That a call may go on, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Admitted {
    pub(crate) until: Option<SystemTime>,
}

/// Whether a call may go on.
#[derive(Debug)]
pub(crate) enum Decision {
    Known(Result<Admitted, Error>),
    /// Its signature has to be checked first.
    Unchecked,
}

impl Credentials {
    /// Tokens, JWTs, or both. Signatures are checked on `checks`.
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

    /// Whether a call may be made that shows this. Who shows nothing valid learns nothing of what
    /// there is to call.
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

    /// The same, for whoever can wait.
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
        // It is never closed.
        let turn = Arc::clone(&self.turn).acquire_owned().await;
        let checked = self.checks.spawn_blocking(move || {
            let _turn = turn;
            bearer(&shown).and_then(|token| jwts.check(token))
        });
        let checked = checked.await.map_err(|error| {
            tracing::error!(%error, "a signature could not be checked");
            Error::Internal
        })?;
        let (roles, until) = checked.ok_or(Error::Unauthenticated)?;
        admit(roles, Some(until), rule)
    }

    /// Whether metrics may be seen by whoever shows this.
    ///
    /// # Errors
    /// They may not.
    pub(crate) async fn may_see_metrics(&self, shown: Option<&HeaderValue>) -> Result<(), Error> {
        self.check(Some(rules::METRICS), shown).await.map(|_| ())
    }

    /// What they say now is known.
    pub(crate) fn mark_unchanged(&mut self) {
        if let Some(tokens) = &mut self.tokens {
            tokens.mark_unchanged();
        }
        if let Some(jwts) = &mut self.jwts {
            jwts.mark_unchanged();
        }
    }

    /// Waits until one of the files says something else.
    pub(crate) async fn changed(&mut self) {
        let tokens = OptionFuture::from(self.tokens.as_mut().map(watch::Receiver::changed));
        let jwts = OptionFuture::from(self.jwts.as_mut().map(watch::Receiver::changed));
        tokio::select! {
            Some(Ok(())) = tokens => {}
            Some(Ok(())) = jwts => {}
            // Nothing changes them any more.
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

/// The token in an `authorization` header (RFC 6750).
fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}
