//! Who makes certificates, and who signs JWTs.

use std::{fmt, time::SystemTime};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};

/// An authority that makes certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl fmt::Debug for Authority {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// One of its own.
    ///
    /// # Panics
    /// Where there is no randomness.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it is made anew each time")]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// Its certificate, in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A new certificate of this name, and its key, in PEM.
    ///
    /// # Panics
    /// When that is no name.
    #[must_use]
    pub fn certificate(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let cert = params.signed_by(&key, &self.0).unwrap();
        (cert.pem(), key.serialize_pem())
    }
}

/// Who signs JWTs, with one key.
pub struct Issuer {
    key: EncodingKey,
    /// The key's id.
    pub key_id: &'static str,
}

impl fmt::Debug for Issuer {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_tuple("Issuer").field(&self.key_id).finish()
    }
}

impl Issuer {
    /// The `iss` of its JWTs.
    pub const ISSUER: &str = "https://login.example";

    /// The `aud` of its JWTs.
    pub const AUDIENCE: &str = "orderlog";

    /// With a new key.
    ///
    /// # Panics
    /// Where there is no randomness.
    #[must_use]
    pub fn new(key_id: &'static str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self {
            key: EncodingKey::from_ec_der(&key.serialize_der()),
            key_id,
        }
    }

    /// Its JWKS.
    ///
    /// # Panics
    /// Never: it has such a key.
    #[must_use]
    pub fn keys(&self) -> Value {
        let mut key = Jwk::from_encoding_key(&self.key, Algorithm::ES256).unwrap();
        key.common.key_id = Some(self.key_id.to_owned());
        json!({ "keys": [key] })
    }

    /// Claims that are right, of these roles, for so many seconds.
    ///
    /// # Panics
    /// Before 1970.
    #[must_use]
    pub fn claims(roles: &[&str], seconds: i64) -> Value {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = i64::try_from(now.unwrap().as_secs()).unwrap();
        json!({
            "iss": Self::ISSUER, "aud": Self::AUDIENCE, "exp": now + seconds, "roles": roles,
        })
    }

    /// A JWT of these claims.
    ///
    /// # Panics
    /// When they cannot be signed.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.key_id.to_owned());
        encode(&header, claims, &self.key).unwrap()
    }
}
