//! Reads the URL of a database, as libpq does, with one server or several.

use std::{num::NonZeroU64, path::PathBuf, sync::Arc, time::Duration};

use sqlx::postgres::PgConnectOptions;
use url::form_urlencoded;

use super::{CONNECT_TIMEOUT, database::Database};

/// The parameters that sqlx reads.
const PASSED_ON: [&str; 8] = [
    "application_name",
    "dbname",
    "password",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

/// Limits the servers of a URL. Each connection is attempted on all of them at once.
const MAX_SERVERS: usize = 8;

/// Limits `connect_timeout`, in seconds.
const MAX_CONNECT_TIMEOUT: u64 = 60;

/// The reason why a URL is rejected. No reason contains a value, which may be a password.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// A reserved character is not encoded, so that a part of a password may be taken for another
    /// part of the URL.
    #[error("the characters `/`, `?`, `@` and `#` must be percent-encoded in user and password")]
    Reserved,
    /// The servers cannot be told apart.
    #[error("the URL must name 1 to {MAX_SERVERS} servers, and one port or a port for each")]
    Servers,
    /// The URL has a parameter that orderlog does not support.
    #[error("{0} is not a parameter of the URL of a database")]
    Unknown(String),
    /// The value of a parameter is not supported.
    #[error("{name} {rule}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// The rule for its values.
        rule: &'static str,
    },
    /// sqlx cannot read the URL.
    #[error("the URL cannot be read: {0}")]
    Unreadable(#[from] sqlx::Error),
}

/// One server of a database.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// A URL with this server only, as sqlx reads it.
    pub(super) url: String,
    /// The host, or the folder of the socket, and the port.
    pub(super) address: String,
}

/// The user, the database and the parameters that all servers share.
#[derive(PartialEq, Eq)]
pub(super) struct Parameters {
    pub(super) user: String,
    pub(super) name: String,
    /// The settings of a session that the URL asks for.
    pub(super) settings: Vec<(String, String)>,
    pub(super) passfile: Option<PathBuf>,
    /// Limits the time of a connection attempt, for each server.
    pub(super) connect_timeout: Duration,
    /// True if an export may read from any of several servers.
    pub(super) any_server: bool,
}

/// The part of a URL after the question mark.
struct Query {
    hosts: Vec<String>,
    ports: Vec<String>,
    /// The parameters that sqlx reads.
    passed_on: Vec<(String, String)>,
    parameters: Parameters,
}

/// Reads a URL such as `postgres://user@host:5432,other:5432/database?sslmode=verify-full`.
pub(super) fn read(url: &str) -> Result<Database, UrlError> {
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    // An unencoded part of a password could be read as the name of the database or of a parameter,
    // which messages show.
    if path.contains(['/', '@']) || query.contains('@') || url.contains('#') {
        return Err(UrlError::Reserved);
    }
    let query = Query::read(query)?;
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None => (String::new(), authority),
    };
    let has_password = user.contains(':') || query.passed_on.iter().any(|it| it.0 == "password");
    if has_password && query.parameters.passfile.is_some() {
        let rule = "must not stand beside a password in the URL";
        return Err(UrlError::Value {
            name: "passfile",
            rule,
        });
    }
    let hosts: Vec<_> = hosts.split(',').collect();
    let named = match query.hosts.as_slice() {
        [] => hosts.clone(),
        named => named.iter().map(String::as_str).collect(),
    };
    let count = named.len();
    let fits = |list: usize| list <= 1 || list == count;
    if count > MAX_SERVERS
        || (count > 1 && named.contains(&""))
        || !fits(hosts.len())
        || !fits(query.ports.len())
    {
        return Err(UrlError::Servers);
    }
    let mut servers = Vec::new();
    let mut options = PgConnectOptions::new_without_pgpass();
    for index in 0..count {
        // A `host` among the parameters takes the place of this one.
        let host = hosts.get(index).or(hosts.last()).copied();
        let host = host.unwrap_or_default();
        let parameters = query.of_server(index);
        let url = format!("{scheme}://{user}{host}/{path}?{parameters}");
        options = url.parse()?;
        let host = match options.get_socket() {
            Some(folder) => folder.display().to_string(),
            None => options.get_host().to_owned(),
        };
        let address = format!("{host}:{}", options.get_port());
        servers.push(Server { url, address });
    }
    let parameters = Parameters {
        user: options.get_username().to_owned(),
        name: options.get_database().unwrap_or_default().to_owned(),
        ..query.parameters
    };
    Ok(Database {
        servers,
        parameters: Arc::new(parameters),
    })
}

impl Query {
    fn read(query: &str) -> Result<Self, UrlError> {
        let mut read = Self {
            hosts: Vec::new(),
            ports: Vec::new(),
            passed_on: Vec::new(),
            parameters: Parameters {
                user: String::new(),
                name: String::new(),
                settings: Vec::new(),
                passfile: None,
                connect_timeout: CONNECT_TIMEOUT,
                any_server: false,
            },
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            read.add(&name, &value)?;
        }
        Ok(read)
    }

    fn add(&mut self, name: &str, value: &str) -> Result<(), UrlError> {
        let wrong = |name, rule| Err(UrlError::Value { name, rule });
        let list = || value.split(',').map(str::to_owned).collect();
        match name {
            "host" | "hostaddr" => self.hosts = list(),
            "port" => self.ports = list(),
            "options" => self.parameters.settings.extend(settings(value)?),
            "passfile" => self.parameters.passfile = Some(PathBuf::from(value)),
            "connect_timeout" => match value.parse::<NonZeroU64>() {
                Ok(seconds) if seconds.get() <= MAX_CONNECT_TIMEOUT => {
                    self.parameters.connect_timeout = Duration::from_secs(seconds.get());
                }
                _ => return wrong("connect_timeout", "must be 1 to 60 seconds"),
            },
            "target_session_attrs" => match value {
                "any" => self.parameters.any_server = true,
                "read-write" | "primary" => self.parameters.any_server = false,
                _ => {
                    return wrong(
                        "target_session_attrs",
                        "must be read-write, primary or any: a node writes",
                    );
                }
            },
            "channel_binding" => match value {
                "prefer" | "disable" => {}
                _ => {
                    return wrong(
                        "channel_binding",
                        "must be prefer or disable: sslmode=verify-full proves who the server is",
                    );
                }
            },
            passed_on if PASSED_ON.contains(&passed_on) => {
                self.passed_on.push((name.to_owned(), value.to_owned()));
            }
            unknown => return Err(UrlError::Unknown(unknown.to_owned())),
        }
        Ok(())
    }

    /// Returns the parameters of one server, as sqlx reads them.
    fn of_server(&self, index: usize) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.passed_on);
        if let Some(host) = self.hosts.get(index) {
            query.append_pair("host", host);
        }
        if let Some(port) = self.ports.get(index).or(self.ports.last()) {
            query.append_pair("port", port);
        }
        query.finish()
    }
}

/// Reads the settings in `options`: `-c name=value`, `-cname=value` or `--name=value`, separated by
/// spaces. A backslash keeps the next character.
fn settings(options: &str) -> Result<Vec<(String, String)>, UrlError> {
    const WRONG: UrlError = UrlError::Value {
        name: "options",
        rule: "must be settings such as -csearch_path=orders",
    };
    let mut settings = Vec::new();
    let mut words = words(options).into_iter();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--").or(word.strip_prefix("-c")) {
            Some("") => words.next().ok_or(WRONG)?,
            Some(setting) => setting.to_owned(),
            None => return Err(WRONG),
        };
        let (name, value) = setting.split_once('=').ok_or(WRONG)?;
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

fn words(options: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), String::new());
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => word.extend(characters.next()),
            space if space.is_ascii_whitespace() => words.push(std::mem::take(&mut word)),
            other => word.push(other),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests;
