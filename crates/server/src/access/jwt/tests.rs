//! Tests of the keys of a JWKS, and of the claims of a JWT.

use serde_json::json;
use test_support::Issuer;

use super::*;

fn parsed(keys: &Value) -> Result<Jwts, String> {
    let settings = settings::Jwt {
        keys: "keys.json".into(),
        issuer: Issuer::ISSUER.to_owned(),
        audience: Issuer::AUDIENCE.to_owned(),
        roles_claim: "realm_access.roles".to_owned(),
    };
    Jwts::parse(&keys.to_string(), &settings)
}

#[test]
fn keys_that_are_private_weak_or_ambiguous_are_refused_or_not_used() {
    let issuer = Issuer::new("key-1");
    let key = issuer.keys()["keys"][0].clone();
    let with = |member: &str, value: Value| {
        let mut key = key.clone();
        key[member] = value;
        key
    };
    let private = parsed(&json!({ "keys": [with("d", json!("AQAB"))] }));
    assert!(private.unwrap_err().starts_with("keys[0] is a private key"));
    let twice = parsed(&json!({ "keys": [key, key] }));
    assert!(twice.unwrap_err().starts_with("keys[1] has the kid"));
    let other = with("kid", json!("key-2"));
    assert_eq!(
        parsed(&json!({ "keys": [key, other] })).unwrap().keys.len(),
        2
    );
    let rsa = |bytes: usize| {
        let modulus = "A".repeat((bytes * 4).div_ceil(3));
        json!({ "keys": [{ "kty": "RSA", "kid": "rsa", "n": modulus, "e": "AQAB" }] })
    };
    assert_eq!(parsed(&rsa(128)).unwrap().keys.len(), 0);
    assert_eq!(parsed(&rsa(255)).unwrap().keys.len(), 0);
    assert_eq!(parsed(&rsa(256)).unwrap().keys.len(), 1);
}

#[test]
fn what_another_issuer_could_have_signed_is_refused_without_a_signature_check() {
    let issuer = Issuer::new("key-1");
    let jwts = parsed(&issuer.keys()).unwrap();
    let claims = |name: &str, value: Value| {
        let mut claims = Issuer::claims(&["query"], 600);
        claims[name] = value;
        issuer.sign(&claims)
    };
    assert!(jwts.could_be_valid(&claims("sub", json!("ann"))));
    assert!(jwts.could_be_valid(&claims("aud", json!(["other", Issuer::AUDIENCE]))));
    for token in [
        claims("iss", json!("https://other.example")),
        claims("aud", json!("other")),
        claims("aud", json!([])),
        claims("exp", json!(1)),
        "wrong".to_owned(),
        "wrong.wrong.wrong".to_owned(),
    ] {
        assert!(!jwts.could_be_valid(&token), "{token}");
    }
    let mut other = Issuer::new("key-2");
    assert!(!jwts.could_be_valid(&other.sign(&Issuer::claims(&["query"], 600))));
    // Only the signature is wrong.
    other.key_id = "key-1";
    let forged = other.sign(&Issuer::claims(&["query"], 600));
    assert!(jwts.could_be_valid(&forged));
    assert!(jwts.check(&forged).is_none());
}

#[test]
fn roles_come_from_a_text_or_an_array_at_any_depth() {
    let mut jwts = parsed(&Issuer::new("key-1").keys()).unwrap();
    let mut roles = |claim: &str, claims: Value| {
        jwts.roles_claim = claim.to_owned();
        let Value::Object(claims) = claims else {
            panic!("{claims}");
        };
        Roles::of(&jwts.roles(&claims)).names().join(",")
    };
    let keycloak = json!({ "realm_access": { "roles": ["query", "offline_access"] } });
    assert_eq!(roles("realm_access.roles", keycloak), "query");
    let auth0 = json!({ "https://orders.example/roles": ["command", "query"] });
    assert_eq!(
        roles("https://orders.example/roles", auth0),
        "command,query"
    );
    let scope = json!({ "scope": "openid query subscribe" });
    assert_eq!(roles("scope", scope), "query,subscribe");
    assert_eq!(roles("roles", json!({ "roles": "query" })), "query");
    for other in [
        json!({}),
        json!({ "roles": 7 }),
        json!({ "roles": [7] }),
        json!({ "roles": {} }),
    ] {
        assert_eq!(roles("roles", other), "");
    }
}
