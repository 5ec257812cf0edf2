//! Reads each setting from its flag, else the environment, else `orderlog.toml` in the working
//! folder, else its default.
//!
//! A setting has one name. `drain-timeout` is `--drain-timeout` as a flag, `ORDERLOG_DRAIN_TIMEOUT`
//! in the environment and `drain-timeout` in the file. The module `table` has a row for each
//! setting, and `flags` makes the command line of the rows. The module `sources` reads one value,
//! and each other module validates the settings of one subject.

mod caller;
mod credentials;
mod error;
mod flags;
mod limits;
mod log;
mod meilisearch;
mod origins;
pub(crate) mod pem;
mod roles;
mod sources;
pub mod table;
mod telemetry;
mod tls;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

pub use caller::{Caller, Token};
pub use credentials::{Credentials, Jwt};
pub use error::{Error, Origin};
use event_log::Location;
pub use flags::Flags;
use http::{HeaderValue, Uri};
pub use limits::Limits;
pub use log::{Places, location_of};
pub use meilisearch::Meilisearch;
pub use roles::Roles;
use sources::Found;
pub use sources::Sources;
use table::{
    CONSOLE, DRAIN_DELAY, DRAIN_TIMEOUT, EVENTS_URL, LISTEN, MAX_CONNECTION_AGE, QUERY_TIMEOUT,
    ROLES, SERVER,
};
pub use telemetry::{Collector, LogFormat, Metrics, Telemetry};
pub use tls::Tls;
use tonic::transport::Endpoint;

/// Maximum of a setting in seconds: a day.
const MAX_SECONDS: u64 = 86_400;

/// Maximum of the query timeout in milliseconds. A call may take 60 s until its answer, half of which
/// may be the wait for a position.
const MAX_QUERY_TIMEOUT_MILLIS: u64 = 30_000;

/// The settings of `orderlog serve`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serve {
    /// The address and port of the gRPC listener.
    pub listen: SocketAddr,
    /// The folder of the read models. It also holds the log, unless `log` names another location.
    pub data_dir: PathBuf,
    /// The location of the event log: an SQLite file or a Postgres database.
    pub log: Location,
    /// The Meilisearch that answers text searches. `None` selects the embedded engine.
    pub meilisearch: Option<Meilisearch>,
    /// The roles that the node runs.
    pub roles: Roles,
    /// The command nodes whose events the read models project. An empty list selects this node.
    pub events: Vec<Uri>,
    /// The browser origins whose pages may call by gRPC-Web.
    pub origins: Vec<HeaderValue>,
    /// Whether the node serves the console.
    pub console: bool,
    /// The server's certificate and key. `None` serves plain text.
    pub tls: Option<Tls>,
    /// The files that verify clients' credentials. `None` accepts calls without credentials.
    pub credentials: Option<Credentials>,
    /// The token and TLS files for calls to the command nodes in `events`.
    pub caller: Caller,
    /// The settings of metrics, traces and log lines.
    pub telemetry: Telemetry,
    /// The limits on connections and calls.
    pub limits: Limits,
    /// The time that calls in progress have to finish at shutdown: at most 86,400 s.
    pub drain_timeout: Duration,
    /// The time for which calls are still served after SIGTERM: at most `drain_timeout`.
    pub drain_delay: Duration,
    /// The time that a list or text search may work: from 1 ms to 30 s.
    pub query_timeout: Duration,
    /// The age at which connections close. `None` does not limit it.
    pub max_connection_age: Option<Duration>,
}

impl Sources<'_> {
    /// Reads and validates the settings of `orderlog serve`.
    ///
    /// # Errors
    /// The [`Error`] of the first invalid setting.
    pub fn serve(&self) -> Result<Serve, Error> {
        let listen = self.address(LISTEN)?;
        let Places { data_dir, log } = self.places()?;
        let caller = self.caller()?;
        let meilisearch = self.meilisearch(caller.insecure)?;
        let (roles, events) = self.roles_and_nodes()?;
        let origins = self.origins()?;
        let (drain_timeout, drain_delay) = self.drain()?;
        let max_connection_age = self.optional(
            MAX_CONNECTION_AGE,
            |value| seconds(value).filter(|age| !age.is_zero()),
            &format!("must be a whole number of seconds from 1 to {MAX_SECONDS}"),
        )?;
        let query_timeout = self.query_timeout()?;
        let tls = self.tls()?;
        let credentials = self.credentials()?;
        let lacking = match (&tls, &credentials) {
            (None, None) => "tls-cert and tls-key, and tokens or jwt-keys",
            (None, Some(_)) => "tls-cert and tls-key",
            (Some(_), None) => "tokens or jwt-keys",
            (Some(_), Some(_)) => "",
        };
        let is_open = !lacking.is_empty() && !caller.insecure;
        let listen = listen.within(is_open.then_some(lacking))?;
        let is_safe = listen.ip().is_loopback() || lacking.is_empty();
        let console = self.optional(
            CONSOLE,
            |value| match value {
                "on" => Some(true),
                "off" => Some(false),
                _ => None,
            },
            "must be on or off",
        )?;
        Ok(Serve {
            listen,
            data_dir,
            log,
            meilisearch,
            roles,
            events,
            origins,
            console: console.value.unwrap_or(is_safe && roles.query),
            tls,
            credentials,
            caller,
            telemetry: self.telemetry(is_open.then_some(lacking))?,
            limits: Limits::default(),
            drain_timeout,
            drain_delay,
            query_timeout,
            max_connection_age: max_connection_age.value,
        })
    }

    /// Reads the roles of the node, and the nodes that it follows.
    fn roles_and_nodes(&self) -> Result<(Roles, Vec<Uri>), Error> {
        let roles = self.find(
            ROLES,
            Roles::parse,
            "must be some of command, query and indexer, separated by commas; indexer needs query",
        )?;
        let events = self.optional(
            EVENTS_URL,
            |value| {
                value
                    .split(',')
                    .map(|url| url_of_node(url.trim()))
                    .collect()
            },
            "must be URLs such as http://127.0.0.1:50051, separated by commas",
        )?;
        let events: Vec<_> = events.value.unwrap_or_default();
        if let Some((origin, value)) = roles.given
            && !roles.value.command
            && events.is_empty()
        {
            return Err(Error::Wrong {
                origin,
                value,
                rule: "needs events-url: without the role command a node has no events of its own"
                    .to_owned(),
            });
        }
        Ok((roles.value, events))
    }

    /// Reads the times of a shutdown: for all of it, and until calls are rejected.
    fn drain(&self) -> Result<(Duration, Duration), Error> {
        let rule = format!("must be a whole number of seconds, at most {MAX_SECONDS}");
        let timeout = self.find(DRAIN_TIMEOUT, seconds, &rule)?.value;
        let delay = self.find(DRAIN_DELAY, seconds, &rule)?;
        match delay.given {
            Some((origin, value)) if delay.value > timeout => Err(Error::Wrong {
                origin,
                value,
                rule: "is longer than drain-timeout".to_owned(),
            }),
            _ => Ok((timeout, delay.value.min(timeout))),
        }
    }

    /// Reads the time that a list or text search may work.
    fn query_timeout(&self) -> Result<Duration, Error> {
        let milliseconds = |value: &str| {
            let milliseconds = value.parse().ok()?;
            let valid = 1..=MAX_QUERY_TIMEOUT_MILLIS;
            valid.contains(&milliseconds).then_some(milliseconds)
        };
        let rule =
            format!("must be a whole number of milliseconds from 1 to {MAX_QUERY_TIMEOUT_MILLIS}");
        let found = self.find(QUERY_TIMEOUT, milliseconds, &rule)?;
        Ok(Duration::from_millis(found.value))
    }

    /// Reads the server that a client command calls, and the token and TLS files for the call.
    ///
    /// # Errors
    /// [`Error::Wrong`] when the URL's scheme is not `http` or `https`, or when another setting of
    /// the caller is invalid.
    pub fn server(&self) -> Result<(Endpoint, Caller), Error> {
        let found = self.find(
            SERVER,
            |value| url_of_node(value).map(Endpoint::from),
            "must be a URL such as http://127.0.0.1:50051",
        )?;
        Ok((found.value, self.caller()?))
    }
}

/// Parses a whole number of seconds, at most [`MAX_SECONDS`].
fn seconds(value: &str) -> Option<Duration> {
    let seconds = value.parse().ok()?;
    (seconds <= MAX_SECONDS).then_some(Duration::from_secs(seconds))
}

/// Parses an `http` or `https` URL, and returns `None` for any other text.
fn url_of_node(url: &str) -> Option<Uri> {
    let url: Uri = url.parse().ok()?;
    matches!(url.scheme_str(), Some("http" | "https")).then_some(url)
}

/// Returns whether the host of a URL is this machine.
fn is_here(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let address: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;
