//! Tests of the sources of settings and their precedence, and of wrong values.

use table::{ALL, Value};

use super::*;

#[test]
fn without_sources_the_defaults_hold() {
    assert_eq!(
        serve(&[], &[], ""),
        Ok(Serve {
            listen: "127.0.0.1:50051".parse().unwrap(),
            data_dir: "./data".into(),
            log: Location::File("./data/events.db".into()),
            meilisearch: None,
            roles: Roles::ALL,
            events: Vec::new(),
            origins: Vec::new(),
            console: true,
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
            drain_delay: Duration::from_secs(5),
            query_timeout: Duration::from_secs(2),
            max_connection_age: None,
        })
    );
}

#[test]
fn a_flag_overrides_the_environment_which_overrides_the_file() {
    let environment = [("ORDERLOG_LISTEN", "127.0.0.1:2")];
    let file = "listen = '127.0.0.1:3'\ndata-dir = 'elsewhere'\ndrain-timeout = 7";
    let port =
        |flags: &[_], environment: &[_]| serve(flags, environment, file).unwrap().listen.port();
    assert_eq!(port(&["--listen", "127.0.0.1:1"], &environment), 1);
    assert_eq!(port(&[], &environment), 2);
    assert_eq!(port(&[], &[]), 3);

    let from_file = serve(&[], &environment, file).unwrap();
    assert_eq!(from_file.data_dir, PathBuf::from("elsewhere"));
    assert_eq!(from_file.drain_timeout, Duration::from_secs(7));
}

#[test]
fn each_setting_is_read_from_a_flag_a_variable_and_the_file() {
    let nothing = |_: &str| None;
    for setting in ALL {
        let name = setting.name;
        let argument = match setting.value {
            Value::Switch => format!("--{name}"),
            Value::One(_) | Value::List(_) => format!("--{name}=true"),
        };
        let all = flags::<{ SERVE | CLIENT }>(&[&argument]);
        let given = |name: &str| (name == setting.variable()).then(|| "true".into());
        let origin = |sources: Result<Sources<'_>, Error>| {
            let found = sources
                .unwrap()
                .optional(*setting, |value| Some(value.to_owned()), "");
            let (origin, value) = found.unwrap().given.unwrap();
            assert_eq!(value, "true");
            origin
        };
        let from_flag = Sources::with_file(&nothing, "").map(|sources| sources.with(all));
        assert_eq!(origin(from_flag), Origin::Flag(name));
        let from_variable = Sources::with_file(&given, "");
        assert_eq!(
            origin(from_variable),
            Origin::Environment(setting.variable())
        );
        let from_file = Sources::with_file(&nothing, &format!("{name} = true"));
        assert_eq!(origin(from_file), Origin::File(name));
    }
}

#[test]
fn a_shutdown_serves_on_for_at_most_its_timeout() {
    let drain = |file: &str| {
        let settings = serve(&[], &[], file)?;
        Ok((
            settings.drain_timeout.as_secs(),
            settings.drain_delay.as_secs(),
        ))
    };
    assert_eq!(drain("drain-timeout = 3"), Ok((3, 3)));
    assert_eq!(drain("drain-timeout = 30\ndrain-delay = 30"), Ok((30, 30)));
    assert_eq!(drain("drain-delay = 0"), Ok((20, 0)));
    let error: Result<_, String> = drain("drain-delay = 21");
    let rule = "drain-delay (orderlog.toml): \"21\" is longer than drain-timeout";
    assert_eq!(error, Err(rule.to_owned()));
    let age = |file: &str| {
        let settings = serve(&[], &[], file)?;
        Ok::<_, String>(settings.max_connection_age)
    };
    assert_eq!(
        age("max-connection-age = 60"),
        Ok(Some(Duration::from_secs(60)))
    );
    assert!(age("max-connection-age = 0").is_err());
}

#[test]
fn a_list_is_one_value_several_flags_or_an_array() {
    let parsed = |arguments: &[&str], file: &str| {
        let serve = serve(arguments, &[], file).unwrap();
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
fn a_wrong_value_is_refused_with_its_source_and_rule() {
    let rule = "must be an address and a port, such as 127.0.0.1:50051";
    assert_eq!(
        serve(&["--listen", "here"], &[], ""),
        Err(format!("--listen (flag): \"here\" {rule}"))
    );
    assert_eq!(
        serve(&[], &[("ORDERLOG_LISTEN", "")], ""),
        Err(format!(
            "ORDERLOG_LISTEN (environment variable): \"\" {rule}"
        ))
    );
    assert_eq!(
        serve(&[], &[], "drain-timeout = 'soon'"),
        Err("drain-timeout (orderlog.toml): \"soon\" must be a whole number of seconds, at most 86400".into())
    );
    assert_eq!(
        serve(&[], &[("ORDERLOG_INSECURE", "yes")], ""),
        Err("ORDERLOG_INSECURE (environment variable): \"yes\" must be true or false".into())
    );
}

#[test]
fn a_file_with_an_unknown_setting_or_wrong_syntax_is_refused() {
    let unknown = serve(&[], &[], "port = 1").unwrap_err();
    let known = "there is no setting \"port\"; there are: listen, metrics-listen, data-dir, ";
    assert!(unknown.contains(known), "{unknown}");
    let syntax = serve(&[], &[], "\nlisten = ").unwrap_err();
    assert!(syntax.starts_with("orderlog.toml: line 2: "), "{syntax}");
    assert!(!syntax.contains('\n'), "{syntax}");
}

#[test]
fn a_setting_without_the_settings_it_needs_is_refused() {
    let refused = |file: &str| serve(&[], &[], file).unwrap_err();
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
fn the_server_of_a_client_command_is_an_http_url() {
    let nothing = |_: &str| None;
    let server = |arguments: &[&str]| {
        Sources::with_file(&nothing, "server = 'http://file:1'")
            .and_then(|sources| sources.with(flags::<CLIENT>(arguments)).server())
            .map(|(endpoint, _)| endpoint.uri().to_string())
            .map_err(|error| error.to_string())
    };
    assert_eq!(server(&[]), Ok("http://file:1/".into()));
    assert_eq!(
        server(&["--server", "http://flag:1"]),
        Ok("http://flag:1/".into())
    );
    for wrong in ["flag:1", "ftp://flag:1", "not a url"] {
        assert_eq!(
            server(&["--server", wrong]),
            Err(format!(
                "--server (flag): {wrong:?} must be a URL such as http://127.0.0.1:50051"
            ))
        );
    }
}

#[test]
fn a_query_may_work_from_a_millisecond_to_half_a_minute() {
    let timeout = |file: &str| serve(&[], &[], file).map(|settings| settings.query_timeout);
    let half_a_minute = Duration::from_secs(30);
    assert_eq!(timeout("query-timeout = 30000"), Ok(half_a_minute));
    for wrong in [0, 30_001] {
        let error = timeout(&format!("query-timeout = {wrong}"));
        let rule = "must be a whole number of milliseconds from 1 to 30000";
        let expected = format!("query-timeout (orderlog.toml): \"{wrong}\" {rule}");
        assert_eq!(error, Err(expected));
    }
}
