//! Tests of the JWTs that a node accepts.

use contract::orders::v1::GetHeadRequest;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use test_support::{Issuer, order};
use tonic::Code;

use super::{connect, start};

/// Returns `claims` with the claim `name` replaced.
pub(super) fn but(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jwt_is_accepted_from_the_issuer_for_this_audience_until_it_expires() {
    let (issuer, other) = (Issuer::new("key-1"), Issuer::new("key-1"));
    let (server, _folder) = start(&issuer.keys()).await;
    let right = || Issuer::claims(&["command"], 600);
    let code = async |token: String| {
        let create = order::create("o", "ann");
        let created = connect(&server, &token).await.create_order(create).await;
        created.err().map(|status| status.code())
    };
    let accepted = [
        right(),
        but(right(), "aud", json!(["other", Issuer::AUDIENCE])),
        but(right(), "roles", json!(["command", "of somebody else"])),
        but(right(), "roles", json!("openid command")),
        but(right(), "nbf", json!(1)),
        but(right(), "exp", json!(99_999_999_999.5)),
    ];
    for claims in accepted {
        let code = code(issuer.sign(&claims)).await;
        assert!(
            matches!(code, None | Some(Code::AlreadyExists)),
            "{claims}: {code:?}"
        );
    }
    let refused = [
        Issuer::claims(&["command"], -60),
        but(right(), "iss", json!("https://other.example")),
        but(right(), "iss", Value::Null),
        but(right(), "aud", json!("other")),
        but(right(), "aud", Value::Null),
        but(right(), "exp", Value::Null),
        but(right(), "exp", json!("soon")),
        but(right(), "nbf", json!(u32::MAX)),
        but(right(), "exp", json!(u64::MAX)),
    ];
    for claims in refused {
        let code = code(issuer.sign(&claims)).await;
        assert_eq!(code, Some(Code::Unauthenticated), "{claims}");
    }
    for roles in [json!([]), json!(7), json!("commands"), Value::Null] {
        let code = code(issuer.sign(&but(right(), "roles", roles))).await;
        assert_eq!(code, Some(Code::PermissionDenied));
    }
    assert_eq!(
        code(other.sign(&right())).await,
        Some(Code::Unauthenticated)
    );
    let mut unknown_key = issuer;
    unknown_key.key_id = "key-2";
    assert_eq!(
        code(unknown_key.sign(&right())).await,
        Some(Code::Unauthenticated)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_unknown_kinds_are_ignored() {
    let issuer = Issuer::new("key-1");
    let mut keys = issuer.keys();
    let all = keys["keys"].as_array_mut().unwrap();
    all.insert(
        0,
        json!({ "kty": "EC", "crv": "P-521", "x": "AA", "y": "AA", "kid": "a" }),
    );
    all.insert(
        0,
        json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AA", "kid": "b" }),
    );
    all.insert(
        0,
        json!({ "kty": "OKP", "crv": "X25519", "x": "AA", "kid": "c" }),
    );
    let (server, _folder) = start(&keys).await;
    let token = issuer.sign(&Issuer::claims(&["query"], 600));
    let mut clients = connect(&server, &token).await;
    clients.head().await;
}

/// Encodes base64url without padding (RFC 7515).
fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three
            .iter()
            .fold(0, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        for digit in 0..=three.len() {
            text.push(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63].into());
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_jwt_is_refused_whatever_its_header_says() {
    let issuer = Issuer::new("key-1");
    let (server, _folder) = start(&issuer.keys()).await;
    let signed = issuer.sign(&Issuer::claims(&["query"], 600));
    let [header, claims, signature] = signed.split('.').collect::<Vec<_>>()[..] else {
        panic!("{signed}");
    };
    let plain = |header: Value| base64url(header.to_string().as_bytes());
    let more = base64url(
        Issuer::claims(&["query", "command"], 600)
            .to_string()
            .as_bytes(),
    );
    // The attack signs with the public key as a shared secret.
    let key = issuer.keys()["keys"][0].to_string();
    let hmac = |secret: &[u8]| {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("key-1".to_owned());
        let claims = Issuer::claims(&["query"], 600);
        encode(&header, &claims, &EncodingKey::from_secret(secret)).unwrap()
    };
    let forged = [
        hmac(key.as_bytes()),
        hmac(b""),
        format!(
            "{}.{claims}.",
            plain(json!({ "alg": "none", "kid": "key-1" }))
        ),
        format!(
            "{}.{claims}.{signature}",
            plain(json!({ "alg": "HS256", "kid": "key-1" }))
        ),
        format!(
            "{}.{claims}.{signature}",
            plain(json!({ "alg": "ES384", "kid": "key-1" }))
        ),
        format!("{header}.{more}.{signature}"),
        format!("{header}.{claims}."),
        format!("{header}.{claims}"),
        format!("{header}.{claims}.{signature}."),
    ];
    let head = async |token: &str| {
        let mut clients = connect(&server, token).await;
        let head = clients.get_head(GetHeadRequest {}).await;
        head.map_err(|status| status.code())
    };
    assert!(head(&signed).await.is_ok());
    for token in forged {
        assert_eq!(
            head(&token).await.unwrap_err(),
            Code::Unauthenticated,
            "{token}"
        );
    }
}
