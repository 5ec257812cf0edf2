//! Tests of the settings that name stores and other nodes.

use super::*;

/// The rule for a location, as error messages show it.
const LOCATION: &str = "must be sqlite:FILE or postgres://USER@HOST/DATABASE";

#[test]
fn the_log_is_in_the_data_folder_or_at_the_database_url() {
    let at = |url: &str| {
        let environment = [("ORDERLOG_DATABASE_URL", url)];
        serve(&[], &environment, "data-dir = 'here'").map(|serve| serve.log)
    };
    let default = serve(&[], &[], "data-dir = 'here'");
    assert_eq!(
        default.unwrap().log,
        Location::File("here/events.db".into())
    );
    assert_eq!(
        at("sqlite:there/log.db"),
        Ok(Location::File("there/log.db".into()))
    );
    let database = at("postgres://ann:secret@db.example:5433/orders?sslmode=require").unwrap();
    let shown = format!("{database:?}");
    assert!(
        shown.contains("postgres://ann@db.example:5433/orders"),
        "{shown}"
    );
    assert!(!shown.contains("secret"), "{shown}");
    for (wrong, rule) in [
        ("", LOCATION),
        ("sqlite:", LOCATION),
        ("mysql://ann:secret@host/db", LOCATION),
        ("postgres://ann:secret@host:port/db", "cannot be used: "),
        ("postgres://ann:/secret@host/db", "percent-encoded"),
        ("postgres://ann:12/secret@host/db", "percent-encoded"),
        ("postgres://ann:12#secret@host/db", "percent-encoded"),
        (
            "postgres://ann@host/db?secrets=7",
            "secrets is not a parameter",
        ),
        (
            "postgres://ann@host/db?channel_binding=require",
            "channel_binding ",
        ),
    ] {
        let error = at(wrong).unwrap_err();
        let place = "ORDERLOG_DATABASE_URL (environment variable): \"...\" ";
        assert!(error.starts_with(place) && error.contains(rule), "{error}");
        assert!(!error.contains("secret@"), "{error}");
    }
}

#[test]
fn a_meilisearch_key_leaves_the_machine_over_tls_only() {
    let settings = |url: &str, file: &str| {
        let given = [
            ("ORDERLOG_MEILISEARCH_URL", url),
            ("ORDERLOG_MEILISEARCH_KEY", "secret"),
        ];
        serve(&[], &given, file)
    };
    for url in [
        "http://localhost:7700",
        "http://[::1]:7700",
        "https://search.example",
    ] {
        settings(url, "").unwrap();
    }
    for url in [
        "http://search.example",
        "http://10.0.0.1:7700",
        "http://localhost.example",
    ] {
        let error = settings(url, "").unwrap_err();
        assert!(
            error.contains("is not sent beyond this machine without TLS"),
            "{error}"
        );
        assert!(!error.contains("secret"), "{error}");
        settings(url, "insecure = true").unwrap();
    }
}

#[test]
fn a_meilisearch_is_a_url_with_an_optional_key_that_is_never_shown() {
    let settings = |url: &str, key: &str| {
        let both = [
            ("ORDERLOG_MEILISEARCH_URL", url),
            ("ORDERLOG_MEILISEARCH_KEY", key),
        ];
        let given: Vec<_> = both.into_iter().filter(|(_, it)| *it != "-").collect();
        serve(&[], &given, "").map(|serve| serve.meilisearch)
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
fn index_in_meilisearch_has_a_name_that_meilisearch_accepts() {
    let settings = |file: &str| serve(&[], &[], file).map(|serve| serve.meilisearch);
    let url = "meilisearch-url = 'http://127.0.0.1:7700'\n";
    let named = |name: &str| settings(&format!("{url}meilisearch-index = '{name}'"));
    assert_eq!(settings(url).unwrap().unwrap().index, "orders");
    for name in ["Shop-2_orders", &"a".repeat(64)] {
        assert_eq!(named(name).unwrap().unwrap().index, name);
    }
    for wrong in ["", "a b", "a/b", "ä", &"a".repeat(65)] {
        let error = named(wrong).unwrap_err();
        let rule = format!("{wrong:?} must match [A-Za-z0-9_-]{{1,64}}");
        assert!(error.contains(&rule), "{error}");
    }
    let error = settings("meilisearch-index = 'shop'").unwrap_err();
    assert!(error.ends_with("\"shop\" needs meilisearch-url"), "{error}");
}

#[test]
fn a_node_without_the_role_command_needs_an_events_url() {
    let roles = |roles: &str, events: &str| {
        let environment = [("ORDERLOG_ROLES", roles), ("ORDERLOG_EVENTS_URL", events)];
        let given = if events.is_empty() { 1 } else { 2 };
        serve(&[], &environment[..given], "")
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
