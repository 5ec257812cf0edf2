//! Tests of the settings: their sources, precedence and rules.

use std::{collections::HashMap, ffi::OsString};

use wire::Authorization;

use super::*;

fn serve(flags: &ServeFlags, environment: &[(&str, &str)], file: &str) -> Result<Serve, String> {
    let environment: HashMap<_, _> = environment.iter().copied().collect();
    let environment = |name: &str| environment.get(name).map(OsString::from);
    Sources::with_file(&environment, file)
        .and_then(|sources| sources.serve(flags))
        .map_err(|error| error.to_string())
}

fn listen(address: &str) -> ServeFlags {
    ServeFlags {
        listen: Some(address.into()),
        ..ServeFlags::default()
    }
}

#[test]
fn without_any_source_the_defaults_hold() {
    assert_eq!(
        serve(&ServeFlags::default(), &[], ""),
        Ok(Serve {
            listen: "127.0.0.1:50051".parse().unwrap(),
            data_dir: "./data".into(),
            log: Location::File("./data/events.db".into()),
            meilisearch: None,
            roles: Roles::ALL,
            events: Vec::new(),
            origins: Vec::new(),
            tls: None,
            credentials: None,
            caller: Caller::default(),
            telemetry: Telemetry {
                metrics: Some(Metrics {
                    listen: "127.0.0.1:9464".parse().unwrap(),
                    wanted: false,
                }),
                collector: None,
                log: LogFormat::Text,
            },
            limits: Limits::default(),
            drain_timeout: Duration::from_secs(20),
        })
    );
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file() {
    let environment = [("ORDERLOG_LISTEN", "127.0.0.1:2")];
    let file = "listen = '127.0.0.1:3'\ndata-dir = 'elsewhere'\ndrain-timeout = 7";
    let port =
        |flags: &_, environment: &[_]| serve(flags, environment, file).unwrap().listen.port();
    assert_eq!(port(&listen("127.0.0.1:1"), &environment), 1);
    assert_eq!(port(&ServeFlags::default(), &environment), 2);
    assert_eq!(port(&ServeFlags::default(), &[]), 3);

    let from_file = serve(&ServeFlags::default(), &environment, file).unwrap();
    assert_eq!(from_file.data_dir, PathBuf::from("elsewhere"));
    assert_eq!(from_file.drain_timeout, Duration::from_secs(7));
}

/// A command line of only the flags of `orderlog serve`.
#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    flags: ServeFlags,
}

#[test]
fn a_list_is_one_value_several_flags_or_an_array() {
    let parsed = |arguments: &[&str], file: &str| {
        let arguments = ["orderlog"].iter().chain(arguments);
        let line = <Line as clap::Parser>::try_parse_from(arguments).unwrap();
        let serve = serve(&line.flags, &[], file).unwrap();
        (serve.roles, serve.events, serve.origins)
    };
    let expected = parsed(
        &[
            "--roles=command,query",
            "--events-url=http://a:1,http://b:1",
            "--cors-origins=http://c,http://d",
        ],
        "",
    );
    assert_eq!(expected.1.len(), 2);
    assert_eq!(expected.2.len(), 2);
    let several = parsed(
        &[
            "--roles=command",
            "--roles=query",
            "--events-url=http://a:1",
            "--events-url=http://b:1",
            "--cors-origins=http://c",
            "--cors-origins=http://d",
        ],
        "",
    );
    assert_eq!(several, expected);
    let file = "roles = ['command', 'query']\nevents-url = ['http://a:1', 'http://b:1']\n\
                cors-origins = ['http://c', 'http://d']";
    assert_eq!(parsed(&[], file), expected);
}

#[test]
fn a_log_is_in_the_data_folder_or_where_the_url_says() {
    let at = |url: &str| {
        let environment = [("ORDERLOG_DATABASE_URL", url)];
        serve(&ServeFlags::default(), &environment, "data-dir = 'here'").map(|serve| serve.log)
    };
    let default = serve(&ServeFlags::default(), &[], "data-dir = 'here'");
    assert_eq!(
        default.unwrap().log,
        Location::File("here/events.db".into())
    );
    assert_eq!(
        at("sqlite:there/log.db"),
        Ok(Location::File("there/log.db".into()))
    );
    let database = at("postgres://ann:secret@db.example:5433/orders?sslmode=require").unwrap();
    let told = format!("{database:?}");
    assert!(
        told.contains("postgres://ann@db.example:5433/orders"),
        "{told}"
    );
    assert!(!told.contains("secret"), "{told}");
    for wrong in [
        "",
        "sqlite:",
        "mysql://ann:secret@host/db",
        "postgres://ann:secret@host:port/db",
        "postgres://ann:/secret@host/db",
        "postgres://ann:12/secret@host/db",
        "postgres://ann:12#secret@host/db",
    ] {
        assert_eq!(
            at(wrong),
            Err(
                "ORDERLOG_DATABASE_URL (environment variable): \"...\" must be sqlite:FILE or \
                 postgres://USER@HOST/DATABASE"
                    .into()
            )
        );
    }
}

#[test]
fn a_meilisearch_is_a_url_with_or_without_a_key_that_is_never_told() {
    let settings = |url: &str, key: &str| {
        let both = [
            ("ORDERLOG_MEILISEARCH_URL", url),
            ("ORDERLOG_MEILISEARCH_KEY", key),
        ];
        let given: Vec<_> = both.into_iter().filter(|(_, it)| *it != "-").collect();
        serve(&ServeFlags::default(), &given, "").map(|serve| serve.meilisearch)
    };
    let found = settings("https://search.example:7700/here/", "secret")
        .unwrap()
        .unwrap();
    assert_eq!(found.url, "https://search.example:7700/here");
    assert_eq!(found.key.as_deref(), Some("secret"));
    assert!(!format!("{found:?}").contains("secret"));
    let open = settings("http://127.0.0.1:7700", "-").unwrap().unwrap();
    assert_eq!(open.key, None);
    for wrong in [
        "",
        "search:7700",
        "ftp://a",
        "http://ann:secret@a",
        "http://a?key=1",
    ] {
        assert_eq!(
            settings(wrong, "-"),
            Err(
                "ORDERLOG_MEILISEARCH_URL (environment variable): \"...\" must be a URL such as \
                 http://127.0.0.1:7700, without a user, a password or a query"
                    .into()
            ),
            "{wrong}"
        );
    }
    assert_eq!(
        settings("http://a", "a secret"),
        Err(
            "ORDERLOG_MEILISEARCH_KEY (environment variable): \"...\" must be letters, digits and \
             signs, without spaces"
                .into()
        )
    );
    assert_eq!(
        settings("-", "secret"),
        Err(
            "ORDERLOG_MEILISEARCH_KEY (environment variable): \"...\" needs meilisearch-url".into()
        )
    );
}

#[test]
fn a_node_without_the_role_command_needs_nodes_that_have_it() {
    let roles = |roles: &str, events: &str| {
        let environment = [("ORDERLOG_ROLES", roles), ("ORDERLOG_EVENTS_URL", events)];
        let given = if events.is_empty() { 1 } else { 2 };
        serve(&ServeFlags::default(), &environment[..given], "")
            .map(|serve| (serve.roles.command, serve.roles.query, serve.events.len()))
    };
    assert_eq!(roles("command", ""), Ok((true, false, 0)));
    assert_eq!(roles("query", "http://a:1"), Ok((false, true, 1)));
    assert_eq!(
        roles("query,indexer", "http://a:1, http://b:2"),
        Ok((false, true, 2))
    );
    assert_eq!(roles("indexer, command, query", ""), Ok((true, true, 0)));
    let alone = roles("query", "").unwrap_err();
    assert!(
        alone.starts_with("ORDERLOG_ROLES (environment variable): \"query\" needs events-url"),
        "{alone}"
    );
    for wrong in ["", "indexer", "command,indexer", "command,", "reader"] {
        assert_eq!(
            roles(wrong, "http://a:1"),
            Err(format!(
                "ORDERLOG_ROLES (environment variable): {wrong:?} must be some of command, query \
                 and indexer, separated by commas; indexer needs query"
            ))
        );
    }
    for wrong in ["a:1", "ftp://a:1", "http://a:1,"] {
        assert_eq!(
            roles("query", wrong),
            Err(format!(
                "ORDERLOG_EVENTS_URL (environment variable): {wrong:?} must be URLs such as \
                 http://127.0.0.1:50051, separated by commas"
            ))
        );
    }
}

#[test]
fn a_wrong_value_is_named_with_its_source_and_rule() {
    let rule = "must be an address and a port, such as 127.0.0.1:50051";
    assert_eq!(
        serve(&listen("here"), &[], ""),
        Err(format!("--listen (flag): \"here\" {rule}"))
    );
    assert_eq!(
        serve(&ServeFlags::default(), &[("ORDERLOG_LISTEN", "")], ""),
        Err(format!(
            "ORDERLOG_LISTEN (environment variable): \"\" {rule}"
        ))
    );
    assert_eq!(
        serve(&ServeFlags::default(), &[], "drain-timeout = 'soon'"),
        Err("drain-timeout (orderlog.toml): \"soon\" must be a whole number of seconds, at most 86400".into())
    );
    assert_eq!(
        serve(&ServeFlags::default(), &[("ORDERLOG_INSECURE", "yes")], ""),
        Err("ORDERLOG_INSECURE (environment variable): \"yes\" must be true or false".into())
    );
}

#[test]
fn the_file_is_refused_for_unknown_settings_and_bad_syntax() {
    let unknown = serve(&ServeFlags::default(), &[], "port = 1").unwrap_err();
    assert_eq!(
        unknown,
        "orderlog.toml: there is no setting \"port\"; there are: \
         listen, metrics-listen, data-dir, database-url, meilisearch-url, meilisearch-key, roles, events-url, \
         cors-origins, tls-cert, tls-key, tls-client-ca, tokens, jwt-keys, jwt-issuer, \
         jwt-audience, otlp-endpoint, log-format, drain-timeout, insecure, server, token, token-file, tls-ca, \
         tls-client-cert, tls-client-key"
    );
    let syntax = serve(&ServeFlags::default(), &[], "\nlisten = ").unwrap_err();
    assert!(syntax.starts_with("orderlog.toml: line 2: "), "{syntax}");
    assert!(!syntax.contains('\n'), "{syntax}");
}

#[test]
fn beyond_loopback_it_serves_with_tls_and_credentials_or_as_insecure() {
    let refused = |file: &str| serve(&listen("0.0.0.0:50051"), &[], file).unwrap_err();
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
                &listen("0.0.0.0:50051"),
                &[],
                &format!("{tls}{credentials}")
            )
            .is_ok()
        );
    }
    assert!(serve(&listen("[::1]:50051"), &[], "").is_ok());
    assert!(serve(&listen("0.0.0.0:50051"), &[], "insecure = true").is_ok());
    let mut flags = listen("0.0.0.0:50051");
    flags.caller.insecure = true;
    assert!(serve(&flags, &[("ORDERLOG_INSECURE", "false")], "").is_ok());
}

#[test]
fn the_server_of_clients_is_an_http_url() {
    let nothing = |_: &str| None;
    let server = |url: Option<&str>| {
        let flags = ClientFlags {
            server: url.map(Into::into),
            ..ClientFlags::default()
        };
        Sources::with_file(&nothing, "server = 'http://file:1'")
            .and_then(|sources| sources.server(&flags))
            .map(|(endpoint, _)| endpoint.uri().to_string())
            .map_err(|error| error.to_string())
    };
    assert_eq!(server(None), Ok("http://file:1/".into()));
    assert_eq!(server(Some("http://flag:1")), Ok("http://flag:1/".into()));
    for wrong in ["flag:1", "ftp://flag:1", "not a url"] {
        assert_eq!(
            server(Some(wrong)),
            Err(format!(
                "--server (flag): {wrong:?} must be a URL such as http://127.0.0.1:50051"
            ))
        );
    }
}

#[test]
fn settings_that_need_each_other_are_refused_alone() {
    let refused = |file: &str| serve(&ServeFlags::default(), &[], file).unwrap_err();
    for (file, rule) in [
        (
            "tls-cert = 'x'",
            "tls-cert (orderlog.toml): \"x\" needs tls-key",
        ),
        (
            "tls-key = 'x'",
            "tls-key (orderlog.toml): \"x\" needs tls-cert",
        ),
        (
            "tls-client-ca = 'x'",
            "tls-client-ca (orderlog.toml): \"x\" needs tls-cert and tls-key",
        ),
        (
            "jwt-keys = 'x'\njwt-issuer = 'i'",
            "jwt-keys (orderlog.toml): \"x\" needs jwt-issuer and jwt-audience",
        ),
        (
            "jwt-audience = 'x'",
            "jwt-audience (orderlog.toml): \"x\" needs jwt-keys",
        ),
        (
            "jwt-issuer = 'x'",
            "jwt-issuer (orderlog.toml): \"x\" needs jwt-keys",
        ),
        (
            "tls-client-cert = 'x'",
            "tls-client-cert (orderlog.toml): \"x\" needs tls-client-key",
        ),
        (
            "token = 'secret'\ntoken-file = 'x'",
            "token-file (orderlog.toml): \"x\" is one too many: there is token beside it",
        ),
        ("tokens = ''", "tokens (orderlog.toml): \"\" must be a file"),
    ] {
        assert_eq!(refused(file), rule);
    }
}

#[test]
fn of_two_kinds_of_token_the_nearer_source_counts() {
    let token = |flags: &CallerFlags, environment: &[_], file: &str| {
        let flags = ServeFlags {
            caller: CallerFlags {
                token_file: flags.token_file.clone(),
                ..CallerFlags::default()
            },
            ..ServeFlags::default()
        };
        serve(&flags, environment, file).unwrap().caller.token
    };
    let flag = CallerFlags {
        token_file: Some("flag".into()),
        ..CallerFlags::default()
    };
    let environment = [("ORDERLOG_TOKEN", "env")];
    let here = |token: &str| Some(Token::Here(Authorization::of(token.as_bytes()).unwrap()));
    assert_eq!(
        token(&flag, &environment, "token = 'file'"),
        Some(Token::File("flag".into()))
    );
    let none = CallerFlags::default();
    assert_eq!(
        token(&none, &environment, "token-file = 'file'"),
        here("env")
    );
    assert_eq!(token(&none, &[], "token = 'file'"), here("file"));
    assert_eq!(token(&none, &[], ""), None);
}

#[test]
fn a_token_is_told_nowhere() {
    let told = serve(&ServeFlags::default(), &[], "token = 'secret'").unwrap();
    assert!(!format!("{told:?}").contains("secret"), "{told:?}");
    let wrong = serve(&ServeFlags::default(), &[], "token = 'se cret'").unwrap_err();
    assert_eq!(
        wrong,
        "token (orderlog.toml): \"...\" must be letters, digits and signs, without spaces"
    );
}

#[test]
fn origins_are_written_as_browsers_write_them() {
    let origins = |value: &str| {
        let environment = [("ORDERLOG_CORS_ORIGINS", value)];
        serve(&ServeFlags::default(), &environment, "").map(|serve| serve.origins)
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
    for wrong in [
        "",
        "*",
        "null",
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
