use std::path::PathBuf;

use super::{Error, Found, ServeFlags, Sources};

/// Where it says which credentials clients may show: one of the two, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The file with the hashes of tokens.
    pub tokens: Option<PathBuf>,
    /// Whose JWTs are taken.
    pub jwt: Option<Jwt>,
}

/// The issuer of JWTs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwt {
    /// The JWKS file with its keys.
    pub keys: PathBuf,
    /// The `iss` of its JWTs.
    pub issuer: String,
    /// The `aud` of those that are for orderlog.
    pub audience: String,
}

impl Sources<'_> {
    pub(super) fn credentials(&self, flags: &ServeFlags) -> Result<Option<Credentials>, Error> {
        let tokens = self.path("tokens", flags.tokens.clone())?.value;
        let keys = self.path("jwt-keys", flags.jwt_keys.clone())?;
        let issuer = self.text("jwt-issuer", flags.jwt_issuer.clone())?;
        let audience = self.text("jwt-audience", flags.jwt_audience.clone())?;
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
            }),
            (keys, issuer, audience) => {
                keys.must_be_unset("needs jwt-issuer and jwt-audience")?;
                issuer.must_be_unset("needs jwt-keys")?;
                audience.must_be_unset("needs jwt-keys")?;
                None
            }
        };
        Ok((tokens.is_some() || jwt.is_some()).then_some(Credentials { tokens, jwt }))
    }
}
