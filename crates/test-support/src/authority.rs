//! An authority that issues certificates, and an issuer that signs JWTs.

use std::{fmt, time::SystemTime};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};

/// An authority that issues certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl fmt::Debug for Authority {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// Creates a self-signed authority with a new key.
    ///
    /// # Panics
    /// Panics if the system provides no randomness.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it is made anew each time")]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// Returns the certificate of the authority in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Issues a certificate for `name`. Returns the certificate and its key in PEM.
    ///
    /// # Panics
    /// Panics if `name` is not a valid name.
    #[must_use]
    pub fn certificate(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let cert = params.signed_by(&key, &self.0).unwrap();
        (cert.pem(), key.serialize_pem())
    }
}

/// An issuer that signs JWTs with one key.
pub struct Issuer {
    key: EncodingKey,
    /// The id of the key, which each JWT carries as `kid`.
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

    /// Creates an issuer with a new key.
    ///
    /// # Panics
    /// Panics if the system provides no randomness.
    #[must_use]
    pub fn new(key_id: &'static str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self {
            key: EncodingKey::from_ec_der(&key.serialize_der()),
            key_id,
        }
    }

    /// Returns the JWKS with the public key.
    ///
    /// # Panics
    /// Never panics: the key is an ES256 key.
    #[must_use]
    pub fn keys(&self) -> Value {
        let mut key = Jwk::from_encoding_key(&self.key, Algorithm::ES256).unwrap();
        key.common.key_id = Some(self.key_id.to_owned());
        json!({ "keys": [key] })
    }

    /// Returns valid claims with these roles, which expire in `seconds`. A negative value makes
    /// them expired.
    ///
    /// # Panics
    /// Panics if the system clock is before 1970.
    #[must_use]
    pub fn claims(roles: &[&str], seconds: i64) -> Value {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = i64::try_from(now.unwrap().as_secs()).unwrap();
        json!({
            "iss": Self::ISSUER, "aud": Self::AUDIENCE, "exp": now + seconds, "roles": roles,
        })
    }

    /// Signs the claims as a JWT.
    ///
    /// # Panics
    /// Panics if the claims cannot be signed.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.key_id.to_owned());
        encode(&header, claims, &self.key).unwrap()
    }
}
