//! Reads the files that verify clients' tokens and JWTs.

use std::path::PathBuf;

use super::{
    Error, Found, Sources,
    table::{JWT_AUDIENCE, JWT_ISSUER, JWT_KEYS, JWT_ROLES_CLAIM, TOKENS},
};

/// The files that verify clients' credentials. At least one of the fields is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The file of token hashes, which `orderlog token new` writes.
    pub tokens: Option<PathBuf>,
    /// The issuer whose JWTs the server accepts.
    pub jwt: Option<Jwt>,
}

/// The issuer of JWTs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwt {
    /// The JWKS file of the issuer's public keys.
    pub keys: PathBuf,
    /// The `iss` that each JWT must have.
    pub issuer: String,
    /// The `aud` that each JWT must have, so that a JWT for another service fails.
    pub audience: String,
    /// The claim with the roles. Dots lead to a claim inside another.
    pub roles_claim: String,
}

impl Sources<'_> {
    pub(super) fn credentials(&self) -> Result<Option<Credentials>, Error> {
        let text = |value: &str| (!value.is_empty()).then(|| value.to_owned());
        let tokens = self.path(TOKENS)?.value;
        let keys = self.path(JWT_KEYS)?;
        let issuer = self.optional(JWT_ISSUER, text, "must not be empty")?;
        let audience = self.optional(JWT_AUDIENCE, text, "must not be empty")?;
        let roles_claim = self.find(JWT_ROLES_CLAIM, text, "must not be empty")?;
        let jwt = match (keys, issuer, audience) {
            (
                Found {
                    value: Some(keys), ..
                },
                Found {
                    value: Some(issuer),
                    ..
                },
                Found {
                    value: Some(audience),
                    ..
                },
            ) => Some(Jwt {
                keys,
                issuer,
                audience,
                roles_claim: roles_claim.value,
            }),
            (keys, issuer, audience) => {
                roles_claim.must_be_unset("needs jwt-keys")?;
                keys.must_be_unset("needs jwt-issuer and jwt-audience")?;
                issuer.must_be_unset("needs jwt-keys")?;
                audience.must_be_unset("needs jwt-keys")?;
                None
            }
        };
        Ok((tokens.is_some() || jwt.is_some()).then_some(Credentials { tokens, jwt }))
    }
}
