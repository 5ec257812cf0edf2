//! Verifies JWTs with the issuer's public keys, which a JWKS file lists.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use jsonwebtoken::{
    Algorithm, DecodingKey, TokenData, Validation,
    dangerous::insecure_decode,
    decode, decode_header,
    errors::ErrorKind,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::{Role, Roles};
use crate::settings;

/// Tolerated difference between the issuer's clock and the server's.
const LEEWAY: Duration = Duration::from_secs(30);

/// Capacity of the cache of valid JWTs, which spares most calls a signature check. A full cache is
/// cleared.
const REMEMBERED: usize = 10_000;

/// The members of a JWK that only a private key has (RFC 7518, section 6).
const PRIVATE_MEMBERS: [&str; 6] = ["d", "p", "q", "dp", "dq", "qi"];

/// Minimum bits of an RSA key (RFC 7518, section 3.3).
const MIN_MODULUS_BITS: usize = 2048;

/// Characters of that modulus in base64url, of 6 bits each.
const MIN_MODULUS_CHARS: usize = MIN_MODULUS_BITS.div_ceil(8) * 4 / 3;

/// Maximum number of characters of a subject. A longer one is not shown.
const MAX_SUBJECT_CHARS: usize = 128;

/// The usable keys of an issuer.
pub(crate) struct Jwts {
    keys: Vec<Key>,
    /// Verified JWTs by SHA-256 hash, with roles and expiry. The cache ends with its keys: a
    /// changed JWKS file makes a new `Jwts`.
    known: Mutex<HashMap<[u8; 32], Verified>>,
    issuer: String,
    audience: String,
    roles_claim: String,
    /// Whether the log has said that JWTs grant no role. Each call could say so otherwise.
    has_warned: AtomicBool,
}

/// The content of a valid JWT.
#[derive(Debug, Clone)]
pub(super) struct Verified {
    pub(super) roles: Roles,
    pub(super) until: SystemTime,
    /// The claim `sub`, if it is short and printable.
    pub(super) subject: Option<Arc<str>>,
}

/// A key, with the validation of the JWTs that the key signed.
struct Key {
    id: Option<String>,
    key: DecodingKey,
    validation: Validation,
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Claims {
    /// Expiry in seconds since 1970, which may have a fraction (RFC 7519).
    exp: f64,
    sub: Option<String>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// The claims of a JWT whose signature has not been checked.
#[derive(Deserialize)]
struct Unverified {
    iss: String,
    aud: Audience,
    exp: f64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl fmt::Debug for Jwts {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Jwts").finish_non_exhaustive()
    }
}

impl Jwts {
    /// Parses the signature keys of a JWKS file. Ignores keys of an unsupported kind with a
    /// warning, as other clients of the issuer may support them (RFC 7517).
    ///
    /// # Errors
    /// The text is no JWKS, or a key is a shared secret.
    pub(crate) fn parse(text: &str, settings: &settings::Jwt) -> Result<Self, String> {
        let Keys { keys } =
            serde_json::from_str(text).map_err(|error| format!("is no JWKS: {error}"))?;
        let mut usable = Vec::new();
        for (index, key) in keys.into_iter().enumerate() {
            if key.get("kty").is_some_and(|kind| kind == "oct") {
                return Err(format!(
                    "keys[{index}] is a shared secret: whoever checks with it could sign with it"
                ));
            }
            if PRIVATE_MEMBERS
                .iter()
                .any(|member| key.get(*member).is_some())
            {
                return Err(format!(
                    "keys[{index}] is a private key: whoever reads this file could sign with it"
                ));
            }
            match usable_key(key, settings) {
                Ok(Some(key)) if usable.iter().any(|other: &Key| other.id == key.id) => {
                    return Err(format!("keys[{index}] has the kid of another key, or none"));
                }
                Ok(Some(key)) => usable.push(key),
                Ok(None) => {}
                Err(why) => tracing::warn!(index, why, "a key of the JWKS is not used"),
            }
        }
        if usable.is_empty() {
            tracing::warn!("the JWKS has no key for signatures: no JWT is taken");
        }
        Ok(Self {
            keys: usable,
            known: Mutex::default(),
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            roles_claim: settings.roles_claim.clone(),
            has_warned: AtomicBool::new(false),
        })
    }

    /// Returns roles and expiry of a JWT that an earlier check has cached and that has not expired.
    pub(super) fn known(&self, token: &str) -> Option<Verified> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.get(&hash(token)).cloned();
        found.filter(|it| SystemTime::now() < it.until)
    }

    /// Verifies a JWT and caches its roles and expiry. Returns `None` if the JWT is invalid. The
    /// signature check takes long.
    pub(super) fn check(&self, token: &str) -> Option<Verified> {
        let checked = self.verify(token);
        // The error contains no part of the token, so the log reveals no claim.
        let checked = checked
            .inspect_err(|why| tracing::debug!(why, "a JWT is refused"))
            .ok()?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(hash(token), checked.clone());
        Some(checked)
    }

    /// Returns whether a JWT names a known key, this issuer and this audience, and has not expired.
    /// The cost is a fraction of [`Jwts::check`], which most invalid JWTs then never reach.
    pub(super) fn could_be_valid(&self, token: &str) -> bool {
        let Ok(TokenData { claims, .. }) = insecure_decode::<Unverified>(token) else {
            return false;
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.unwrap_or_default().saturating_sub(LEEWAY);
        let names_us = match &claims.aud {
            Audience::One(audience) => *audience == self.audience,
            Audience::Several(audiences) => audiences.contains(&self.audience),
        };
        names_us
            && claims.iss == self.issuer
            && claims.exp >= now.as_secs_f64().trunc()
            && self.key_of(token).is_ok()
    }

    fn verify(&self, token: &str) -> Result<Verified, String> {
        let key = self.key_of(token)?;
        let decoded = decode::<Claims>(token, &key.key, &key.validation);
        let Claims { exp, sub, others } = decoded.map_err(|error| kind(&error))?.claims;
        // The JWT is valid until the end of its last second.
        let until = Duration::try_from_secs_f64(exp.trunc() + 1.0).ok();
        let until = until.and_then(|it| it.checked_add(LEEWAY));
        let until = until.and_then(|it| SystemTime::UNIX_EPOCH.checked_add(it));
        let roles = self.roles(&others);
        let is_printable = |it: &String| {
            (1..=MAX_SUBJECT_CHARS).contains(&it.chars().count())
                && it
                    .chars()
                    .all(|char| char == ' ' || char.is_ascii_graphic())
        };
        Ok(Verified {
            roles: Roles::of(&roles),
            until: until.ok_or("exp")?,
            subject: sub.filter(is_printable).map(Arc::from),
        })
    }

    /// Returns the roles that the claims grant: an array of names, or one text with names between
    /// spaces. The server ignores unknown names, which other services may define.
    fn roles(&self, claims: &Map<String, Value>) -> Vec<Role> {
        let claim = claims.get(&self.roles_claim).or_else(|| {
            let mut path = self.roles_claim.split('.');
            let first = claims.get(path.next()?)?;
            path.try_fold(first, |claim, name| claim.get(name))
        });
        let names: Option<Vec<&str>> = match claim {
            Some(Value::String(text)) => Some(text.split_whitespace().collect()),
            Some(Value::Array(names)) => names.iter().map(Value::as_str).collect(),
            _ => None,
        };
        if names.is_none() && !self.has_warned.swap(true, Ordering::Relaxed) {
            let claim = &self.roles_claim;
            tracing::warn!(
                claim,
                "JWTs grant no role: the claim is no text and no array of texts"
            );
        }
        let names = names.unwrap_or_default().into_iter();
        names.filter_map(Role::parse).collect()
    }

    /// Returns the key that the JWT names, or the only key.
    fn key_of(&self, token: &str) -> Result<&Key, String> {
        let header = decode_header(token).map_err(|error| kind(&error))?;
        // Rejects a JWT with `crit`: the server supports no critical extensions (RFC 7515, 4.1.11).
        if header.crit.is_some() {
            return Err("crit".to_owned());
        }
        let mut keys = self.keys.iter().filter(|key| match &header.kid {
            Some(id) => key.id.as_ref() == Some(id),
            None => true,
        });
        // Exactly one key must match, so that a JWT costs one signature check and not one for each
        // key.
        match (keys.next(), keys.next()) {
            (Some(key), None) => Ok(key),
            _ => Err("no key, or several".to_owned()),
        }
    }
}

/// Returns the kind of an error. Its text may quote the token.
fn kind(error: &jsonwebtoken::errors::Error) -> String {
    match error.kind() {
        ErrorKind::Json(_) | ErrorKind::Base64(_) | ErrorKind::Utf8(_) => "malformed".to_owned(),
        kind => format!("{kind:?}"),
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// Converts a key of a JWKS. Returns `None` if the key is not for signatures.
///
/// # Errors
/// The key is malformed, or its algorithm is unsupported or does not fit the key.
fn usable_key(key: Value, settings: &settings::Jwt) -> Result<Option<Key>, String> {
    let jwk: Jwk = serde_json::from_value(key).map_err(|error| error.to_string())?;
    let used_for = jwk.common.public_key_use.as_ref();
    if used_for.is_some_and(|it| *it != PublicKeyUse::Signature) {
        return Ok(None);
    }
    if let AlgorithmParameters::RSA(key) = &jwk.algorithm
        && key.n.trim_end_matches('=').len() < MIN_MODULUS_CHARS
    {
        return Err(format!("its modulus has less than {MIN_MODULUS_BITS} bits"));
    }
    // The key decides the algorithm, never the token: its sender could choose a weaker one.
    let algorithm = algorithm(&jwk).ok_or(
        "its alg must be one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA, \
         and fit the key",
    )?;
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[&settings.issuer]);
    validation.set_audience(&[&settings.audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.validate_nbf = true;
    validation.leeway = LEEWAY.as_secs();
    Ok(Some(Key {
        key: DecodingKey::from_jwk(&jwk).map_err(|error| error.to_string())?,
        id: jwk.common.key_id,
        validation,
    }))
}

/// Returns the algorithm that the key names, or the default for its key type. Returns `None` if the
/// algorithm is unsupported or does not fit the key.
fn algorithm(jwk: &Jwk) -> Option<Algorithm> {
    use AlgorithmParameters::{EllipticCurve as Curve, OctetKeyPair, RSA};
    let algorithm = match (&jwk.algorithm, jwk.common.key_algorithm) {
        (Curve(key), None | Some(KeyAlgorithm::ES256)) if key.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        (Curve(key), None | Some(KeyAlgorithm::ES384)) if key.curve == EllipticCurve::P384 => {
            Algorithm::ES384
        }
        (OctetKeyPair(key), None | Some(KeyAlgorithm::EdDSA))
            if key.curve == EllipticCurve::Ed25519 =>
        {
            Algorithm::EdDSA
        }
        (RSA(_), None | Some(KeyAlgorithm::RS256)) => Algorithm::RS256,
        (RSA(_), Some(KeyAlgorithm::RS384)) => Algorithm::RS384,
        (RSA(_), Some(KeyAlgorithm::RS512)) => Algorithm::RS512,
        (RSA(_), Some(KeyAlgorithm::PS256)) => Algorithm::PS256,
        (RSA(_), Some(KeyAlgorithm::PS384)) => Algorithm::PS384,
        (RSA(_), Some(KeyAlgorithm::PS512)) => Algorithm::PS512,
        _ => return None,
    };
    Some(algorithm)
}

#[cfg(test)]
mod tests;
