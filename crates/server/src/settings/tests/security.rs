//! Tests of the settings of listeners, tokens and origins.

use wire::Authorization;

use super::*;

#[test]
fn a_listener_beyond_loopback_needs_tls_and_credentials_or_insecure() {
    let refused = |file: &str| serve(&["--listen", "0.0.0.0:50051"], &[], file).unwrap_err();
    let lacking = |what: &str| {
        format!(
            "--listen (flag): \"0.0.0.0:50051\" is not a loopback address: anyone who reaches it \
             could use it or listen; set {what}, or insecure to allow that"
        )
    };
    let (tls, tokens) = ("tls-cert = 'c'\ntls-key = 'k'\n", "tokens = 't'\n");
    let jwt = "jwt-keys = 'j'\njwt-issuer = 'i'\njwt-audience = 'a'";
    assert_eq!(
        refused(""),
        lacking("tls-cert and tls-key, and tokens or jwt-keys")
    );
    assert_eq!(refused(tokens), lacking("tls-cert and tls-key"));
    assert_eq!(refused(tls), lacking("tokens or jwt-keys"));
    // A client certificate identifies a client, but gives it no role.
    let mutual = format!("{tls}tls-client-ca = 'a'");
    assert_eq!(refused(&mutual), lacking("tokens or jwt-keys"));
    for credentials in [tokens, jwt] {
        assert!(
            serve(
                &["--listen", "0.0.0.0:50051"],
                &[],
                &format!("{tls}{credentials}")
            )
            .is_ok()
        );
    }
    assert!(serve(&["--listen", "[::1]:50051"], &[], "").is_ok());
    assert!(serve(&["--listen", "0.0.0.0:50051"], &[], "insecure = true").is_ok());
    let flags = ["--listen", "0.0.0.0:50051", "--insecure"];
    assert!(serve(&flags, &[("ORDERLOG_INSECURE", "false")], "").is_ok());
}

#[test]
fn the_token_or_token_file_of_the_nearer_source_counts() {
    let token = |flags: &[_], environment: &[_], file: &str| {
        serve(flags, environment, file).unwrap().caller.token
    };
    let environment = [("ORDERLOG_TOKEN", "env")];
    let here = |token: &str| Some(Token::Here(Authorization::of(token.as_bytes()).unwrap()));
    assert_eq!(
        token(&["--token-file", "flag"], &environment, "token = 'file'"),
        Some(Token::File("flag".into()))
    );
    assert_eq!(token(&[], &environment, "token-file = 'file'"), here("env"));
    assert_eq!(token(&[], &[], "token = 'file'"), here("file"));
    assert_eq!(token(&[], &[], ""), None);
}

#[test]
fn a_token_is_never_shown() {
    let settings = serve(&[], &[], "token = 'secret'").unwrap();
    assert!(!format!("{settings:?}").contains("secret"), "{settings:?}");
    let wrong = serve(&[], &[], "token = 'se cret'").unwrap_err();
    assert_eq!(
        wrong,
        "token (orderlog.toml): \"...\" must be letters, digits and signs, without spaces"
    );
}

#[test]
fn an_origin_is_accepted_only_as_browsers_write_it() {
    let origins = |value: &str| {
        let environment = [("ORDERLOG_CORS_ORIGINS", value)];
        serve(&[], &environment, "").map(|serve| serve.origins)
    };
    assert_eq!(
        origins("https://shop.example, http://127.0.0.1:8080,http://[::1]:443"),
        Ok([
            "https://shop.example",
            "http://127.0.0.1:8080",
            "http://[::1]:443"
        ]
        .map(HeaderValue::from_static)
        .to_vec())
    );
    assert_eq!(
        origins("capacitor://localhost,chrome-extension://abcdef,null"),
        Ok(
            ["capacitor://localhost", "chrome-extension://abcdef", "null"]
                .map(HeaderValue::from_static)
                .to_vec()
        )
    );
    for wrong in [
        "",
        "*",
        "file://localhost",
        "shop.example",
        "https://shop.example/",
        "https://Shop.example",
        "https://shop.example:443",
        "http://shop.example:80",
        "https://ann@shop.example",
        "https://*.shop.example",
        "http://shop.example:",
        "http://shop.example:99999",
        "http://shop.example:08080",
        "https://a.example,",
        "ws://shop.example",
    ] {
        let error = origins(wrong).unwrap_err();
        assert!(error.contains("must be origins"), "{wrong}: {error}");
    }
}

#[test]
fn the_console_is_on_where_nobody_else_can_use_it() {
    let console = |flags: &[&str], file: &str| serve(flags, &[], file).map(|serve| serve.console);
    let secured = "listen = '0.0.0.0:50051'\ntls-cert = 'c'\ntls-key = 'k'\ntokens = 't'";
    let insecure = "listen = '0.0.0.0:50051'\ninsecure = true";
    assert_eq!(console(&[], ""), Ok(true));
    assert_eq!(console(&[], secured), Ok(true));
    assert_eq!(console(&[], insecure), Ok(false));
    assert_eq!(console(&["--roles", "command"], ""), Ok(false));
    assert_eq!(console(&["--console", "off"], ""), Ok(false));
    assert_eq!(console(&["--console", "on"], insecure), Ok(true));
    let wrong = console(&["--console", "yes"], "").unwrap_err();
    assert_eq!(wrong, "--console (flag): \"yes\" must be on or off");
}
