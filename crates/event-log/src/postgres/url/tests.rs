//! Tests of the URLs of databases.

use super::*;

fn addresses(url: &str) -> Vec<String> {
    let database = read(url).unwrap();
    let servers = database.servers.into_iter();
    servers.map(|server| server.address).collect()
}

fn refusal(url: &str) -> String {
    read(url).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn url_names_one_server_or_several() {
    assert_eq!(addresses("postgres://ann@one/db"), ["one:5432"]);
    let two = ["one:5433", "two:5432"];
    assert_eq!(addresses("postgres://ann:pw@one:5433,two/db"), two);
    assert_eq!(
        addresses("postgres:///db?host=one,two&port=5433,5432"),
        two,
        "as libpq's parameters"
    );
    assert_eq!(addresses("postgres://a@one,two/db?port=7")[1], "two:7");
    let sockets = addresses("postgres://a@localhost/db?host=/run/one,/run/two&port=1");
    assert_eq!(sockets, ["/run/one:1", "/run/two:1"]);
    let shown = read("postgres://ann:secret@one,two:7/db?password=secret").unwrap();
    assert_eq!(shown.to_string(), "postgres://ann@one:5432,two:7/db");
    assert!(!format!("{shown:?}").contains("secret"));
    for wrong in [
        "postgres://a@one,,two/db",
        "postgres://a@one,two/db?port=1,2,3",
        "postgres://a@1,2,3,4,5,6,7,8,9/db",
        "postgres://a@one,two/db?host=1,2,3",
    ] {
        assert!(refusal(wrong).contains("1 to 8 servers"), "{wrong}");
    }
}

#[test]
fn every_server_gets_the_parameters_of_the_url() {
    let url = "postgres://ann@one,two/db?sslmode=verify-full&application_name=a%26b&user=bob";
    for server in read(url).unwrap().servers {
        let options: PgConnectOptions = server.url.parse().unwrap();
        assert_eq!(options.get_application_name(), Some("a&b"));
        assert_eq!(options.get_username(), "bob");
        let mode = format!("{:?}", options.get_ssl_mode());
        assert_eq!(mode, "VerifyFull");
    }
}

#[test]
fn parameters_are_honoured_or_refused_by_name() {
    let parameters = |query: &str| {
        let database = read(&format!("postgres://ann@one/db?{query}"));
        database.unwrap().parameters
    };
    assert_eq!(parameters("").connect_timeout, CONNECT_TIMEOUT);
    let timeout = parameters("connect_timeout=10&channel_binding=prefer").connect_timeout;
    assert_eq!(timeout, Duration::from_secs(10));
    assert!(parameters("target_session_attrs=any").any_server);
    assert!(!parameters("target_session_attrs=read-write").any_server);
    let settings = &parameters("options=-c%20a=1%20-cb%3Dx%5C%20y%20--c-d=2").settings;
    let expected = [("a", "1"), ("b", "x y"), ("c_d", "2")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(settings, &expected);
    for (query, named) in [
        ("passfile=a&password=b", "passfile must not"),
        ("gssencmode=disable", "gssencmode is not a parameter"),
        ("a=1&pgbouncer=true", "a is not a parameter"),
        ("channel_binding=require", "channel_binding must be"),
        (
            "target_session_attrs=standby",
            "target_session_attrs must be",
        ),
        ("connect_timeout=0", "connect_timeout must be"),
        ("connect_timeout=61", "connect_timeout must be"),
        ("options=-e", "options must be"),
        ("options=-csearch_path", "options must be"),
        ("sslmode=perhaps", "ssl_mode"),
    ] {
        let refused = refusal(&format!("postgres://ann@one/db?{query}"));
        assert!(refused.contains(named), "{query}: {refused}");
    }
}

#[test]
fn no_refusal_shows_a_part_of_a_password() {
    for url in [
        "postgres://ann:/secret@one/db",
        "postgres://ann:1/secret@one/db",
        "postgres://ann:1#secret@one/db",
        "postgres://ann:1?secret@one/db",
        "postgres://ann:1?secret=1&@one/db",
    ] {
        let refused = refusal(url);
        assert!(refused.contains("must be percent-encoded"), "{refused}");
        assert!(!refused.contains("secret"), "{refused}");
    }
}
