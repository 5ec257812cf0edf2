//! JWTs: what an issuer has signed with one of its keys, which are in a JWKS file.

use std::time::{Duration, SystemTime};

use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;

use super::Role;

/// By how much the issuer's clock may differ from ours.
const LEEWAY: Duration = Duration::from_secs(30);

/// The keys of an issuer.
pub(super) struct Jwts {
    keys: Vec<Key>,
}

/// A key, and what has to be true of a JWT that it signed.
struct Key {
    id: Option<String>,
    key: DecodingKey,
    validation: Validation,
}

#[derive(Deserialize)]
struct Claims {
    exp: u64,
    /// Those that are not ours mean something to somebody else.
    #[serde(default)]
    roles: Vec<String>,
}

impl Jwts {
    /// The keys that a JWKS has for signatures.
    pub(super) fn parse(text: &str, issuer: &str, audience: &str) -> Result<Self, String> {
        let JwkSet { keys } =
            serde_json::from_str(text).map_err(|error| format!("is no JWKS: {error}"))?;
        let signing = |jwk: &&Jwk| {
            let used_for = jwk.common.public_key_use.as_ref();
            used_for.is_none_or(|it| *it == PublicKeyUse::Signature)
        };
        let keys = keys.iter().enumerate().filter(|(_, jwk)| signing(jwk));
        let keys = keys
            .map(|(index, jwk)| {
                let wrong = |why: &str| format!("keys[{index}]: {why}");
                // Of the key, never of the token, whose maker could choose a weaker one.
                let algorithm = algorithm(jwk).map_err(wrong)?;
                let key = DecodingKey::from_jwk(jwk);
                let mut validation = Validation::new(algorithm);
                validation.set_issuer(&[issuer]);
                validation.set_audience(&[audience]);
                validation.set_required_spec_claims(&["exp", "iss", "aud"]);
                validation.validate_nbf = true;
                validation.leeway = LEEWAY.as_secs();
                Ok(Key {
                    id: jwk.common.key_id.clone(),
                    key: key.map_err(|error| wrong(&error.to_string()))?,
                    validation,
                })
            })
            .collect::<Result<Vec<_>, String>>()?;
        if keys.is_empty() {
            return Err("has no key for signatures".to_owned());
        }
        Ok(Self { keys })
    }

    /// What a JWT is good for, and until when.
    pub(super) fn roles(&self, token: &str) -> Option<(Vec<Role>, SystemTime)> {
        let header = decode_header(token).ok()?;
        let mut keys = self.keys.iter().filter(|key| match &header.kid {
            Some(id) => key.id.as_ref() == Some(id),
            None => true,
        });
        // Without an id there must be no choice, or every call could cost as many checks as there
        // are keys.
        let (Some(key), None) = (keys.next(), keys.next()) else {
            return None;
        };
        let claims = decode::<Claims>(token, &key.key, &key.validation)
            .ok()?
            .claims;
        let roles = claims.roles.iter().filter_map(|name| Role::parse(name));
        // It is valid throughout its last second.
        let until = Duration::from_secs(claims.exp.checked_add(1)?) + LEEWAY;
        let until = SystemTime::UNIX_EPOCH.checked_add(until)?;
        Some((roles.collect(), until))
    }
}

/// The algorithm that a key is for: the one it names, or else the one that such a key usually has.
fn algorithm(jwk: &Jwk) -> Result<Algorithm, &'static str> {
    use AlgorithmParameters::{EllipticCurve as Curve, OctetKeyPair, RSA};
    let algorithm = match (&jwk.algorithm, jwk.common.key_algorithm) {
        (Curve(key), None) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
        (Curve(key), None) if key.curve == EllipticCurve::P384 => Algorithm::ES384,
        (Curve(key), Some(KeyAlgorithm::ES256)) if key.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        (Curve(key), Some(KeyAlgorithm::ES384)) if key.curve == EllipticCurve::P384 => {
            Algorithm::ES384
        }
        (OctetKeyPair(_), None | Some(KeyAlgorithm::EdDSA)) => Algorithm::EdDSA,
        (RSA(_), None | Some(KeyAlgorithm::RS256)) => Algorithm::RS256,
        (RSA(_), Some(KeyAlgorithm::RS384)) => Algorithm::RS384,
        (RSA(_), Some(KeyAlgorithm::RS512)) => Algorithm::RS512,
        (RSA(_), Some(KeyAlgorithm::PS256)) => Algorithm::PS256,
        (RSA(_), Some(KeyAlgorithm::PS384)) => Algorithm::PS384,
        (RSA(_), Some(KeyAlgorithm::PS512)) => Algorithm::PS512,
        (AlgorithmParameters::OctetKey(_), _) => {
            return Err("is a shared secret: whoever checks with it could sign with it");
        }
        _ => {
            return Err(
                "its alg must be one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, \
                        ES384 and EdDSA, and fit the key",
            );
        }
    };
    Ok(algorithm)
}
