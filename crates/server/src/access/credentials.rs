use std::{fmt, time::SystemTime};

use http::HeaderValue;
use wire::Error;

use super::{Role, jwt::Jwts, rules::Rule, tokens::Tokens};
use crate::settings::Jwt;

/// What clients may show.
#[derive(Default)]
pub(crate) struct Credentials {
    tokens: Tokens,
    jwts: Option<Jwts>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// That a call may go on, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Admitted {
    pub(super) until: Option<SystemTime>,
}

impl Credentials {
    /// Those of a token file's text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn with_tokens(mut self, text: &str) -> Result<Self, String> {
        self.tokens = Tokens::parse(text)?;
        Ok(self)
    }

    /// Those that the keys of an issuer sign: a JWKS file's text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn with_jwts(mut self, text: &str, settings: &Jwt) -> Result<Self, String> {
        let jwts = Jwts::parse(text, &settings.issuer, &settings.audience)?;
        self.jwts = Some(jwts);
        Ok(self)
    }

    /// Whether a call may be made that shows this. Who shows nothing valid learns nothing of what
    /// there is to call.
    pub(super) fn admit(
        &self,
        rule: Option<Rule>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Admitted, Error> {
        if rule == Some(Rule::Open) {
            return Ok(Admitted { until: None });
        }
        let token = authorization.and_then(bearer);
        let (roles, until) = token
            .and_then(|token| self.roles(token))
            .ok_or(Error::Unauthenticated)?;
        let allowed = match rule {
            Some(Rule::One(allowed) | Rule::Stream(allowed)) => allowed,
            Some(Rule::Open) | None => &[],
        };
        if roles.iter().any(|role| allowed.contains(role)) {
            Ok(Admitted { until })
        } else {
            let names = allowed.iter().map(|role| role.name()).collect();
            Err(Error::PermissionDenied(names))
        }
    }

    fn roles(&self, token: &str) -> Option<(Vec<Role>, Option<SystemTime>)> {
        if let Some(roles) = self.tokens.roles(token) {
            return Some((roles.to_vec(), None));
        }
        let (roles, until) = self.jwts.as_ref()?.roles(token)?;
        Some((roles, Some(until)))
    }
}

/// The token in an `authorization` header (RFC 6750).
fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}
