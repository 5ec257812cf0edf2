//! Reads each setting from its flag, else the environment, else `orderlog.toml` in the working
//! folder, else its default.
//!
//! A setting has one name. `drain-timeout` is `--drain-timeout` as a flag, `ORDERLOG_DRAIN_TIMEOUT`
//! in the environment and `drain-timeout` in the file. The module `sources` reads one value, and
//! each other module validates the settings of one subject.

mod caller;
mod credentials;
mod error;
mod limits;
mod log;
mod meilisearch;
mod origins;
pub(crate) mod pem;
mod roles;
mod sources;
mod telemetry;
mod tls;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

pub use caller::{Caller, CallerFlags, Token};
pub use credentials::{Credentials, Jwt};
pub use error::{Error, Origin};
use event_log::Location;
use http::{HeaderValue, Uri};
pub use limits::Limits;
pub use log::{LogFlags, Places, location_of};
pub use meilisearch::Meilisearch;
pub use roles::Roles;
pub use sources::Sources;
use sources::{Found, list};
pub use telemetry::{Collector, LogFormat, Metrics, Telemetry};
pub use tls::Tls;
use tonic::transport::Endpoint;

/// Maximum of a setting in seconds: a day.
const MAX_SECONDS: u64 = 86_400;

/// Default time for which calls are still served after SIGTERM.
const DRAIN_DELAY: Duration = Duration::from_secs(5);

/// The flags of `orderlog serve`, unparsed.
#[derive(Debug, Default, clap::Args)]
pub struct ServeFlags {
    /// Serve gRPC on this address and port [env: ORDERLOG_LISTEN] [default: 127.0.0.1:50051]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Serve Prometheus metrics on this address and port, by HTTP. Beyond loopback they are served with
    /// the TLS of gRPC, to tokens with the role operate [env: ORDERLOG_METRICS_LISTEN]
    /// [default: 127.0.0.1:9464]
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics_listen: Option<String>,
    #[command(flatten)]
    log: LogFlags,
    /// Answer text searches from this Meilisearch, not from the index in the data folder
    /// [env: ORDERLOG_MEILISEARCH_URL] [default: none]
    #[arg(long, value_name = "URL")]
    meilisearch_url: Option<String>,
    /// Send this key to Meilisearch. Other users of the machine can see a flag: prefer the environment
    /// [env: ORDERLOG_MEILISEARCH_KEY] [default: none]
    #[arg(long, value_name = "KEY")]
    meilisearch_key: Option<String>,
    /// Run these roles: some of command, query and indexer, separated by commas or in several flags
    /// [env: ORDERLOG_ROLES] [default: command,query,indexer]
    #[arg(long, value_name = "ROLES")]
    roles: Vec<String>,
    /// Make the read models from the events of these command nodes, separated by commas or in several
    /// flags. The node follows one of them, and turns to the next when it fails
    /// [env: ORDERLOG_EVENTS_URL] [default: this node]
    #[arg(long, value_name = "URLS")]
    events_url: Vec<String>,
    /// Answer gRPC-Web calls from pages of these origins, as browsers write them, separated by commas or
    /// in several flags [env: ORDERLOG_CORS_ORIGINS] [default: none]
    #[arg(long, value_name = "ORIGINS")]
    cors_origins: Vec<String>,
    /// Serve TLS only, with this certificate and its intermediates, in PEM
    /// [env: ORDERLOG_TLS_CERT] [default: none]
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// Use this private key for --tls-cert, in PEM [env: ORDERLOG_TLS_KEY] [default: none]
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// Require a client certificate that one of these authorities has issued, in PEM
    /// [env: ORDERLOG_TLS_CLIENT_CA] [default: clients need none]
    #[arg(long, value_name = "FILE")]
    tls_client_ca: Option<String>,
    /// Accept the tokens in this file, which `orderlog token new` writes, and reject calls without a
    /// valid credential [env: ORDERLOG_TOKENS] [default: none]
    #[arg(long, value_name = "FILE")]
    tokens: Option<String>,
    /// Accept JWTs that the keys in this JWKS file verify [env: ORDERLOG_JWT_KEYS] [default: none]
    #[arg(long, value_name = "FILE")]
    jwt_keys: Option<String>,
    /// Require this issuer, `iss`, in each JWT [env: ORDERLOG_JWT_ISSUER] [default: none]
    #[arg(long, value_name = "ISSUER")]
    jwt_issuer: Option<String>,
    /// Require this audience, `aud`, in each JWT [env: ORDERLOG_JWT_AUDIENCE] [default: none]
    #[arg(long, value_name = "AUDIENCE")]
    jwt_audience: Option<String>,
    /// Read the roles of a JWT from this claim. Dots lead to a claim inside another
    /// [env: ORDERLOG_JWT_ROLES_CLAIM] [default: roles]
    #[arg(long, value_name = "CLAIM")]
    jwt_roles_claim: Option<String>,
    /// Send traces to the collector at this endpoint, by OTLP over gRPC. OTEL_EXPORTER_OTLP_HEADERS adds
    /// headers [env: ORDERLOG_OTLP_ENDPOINT] [default: no traces]
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// Trust collector certificates that these authorities have issued, in PEM
    /// [env: ORDERLOG_OTLP_CA] [default: those of the system]
    #[arg(long, value_name = "FILE")]
    otlp_ca: Option<String>,
    /// Write the log in this format: text or json [env: ORDERLOG_LOG_FORMAT] [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Let calls in progress finish for this long after SIGTERM [env: ORDERLOG_DRAIN_TIMEOUT]
    /// [default: 20]
    #[arg(long, value_name = "SECONDS")]
    drain_timeout: Option<String>,
    /// Serve calls for this long after SIGTERM, while health says NOT_SERVING and load balancers turn
    /// away. It is part of the drain timeout [env: ORDERLOG_DRAIN_DELAY] [default: 5]
    #[arg(long, value_name = "SECONDS")]
    drain_delay: Option<String>,
    /// Close each connection at about this age, so that clients spread over nodes that are new. Calls in
    /// progress have 10 s to finish [env: ORDERLOG_MAX_CONNECTION_AGE] [default: none]
    #[arg(long, value_name = "SECONDS")]
    max_connection_age: Option<String>,
    #[command(flatten)]
    caller: CallerFlags,
}

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
    /// The age at which connections close. `None` does not limit it.
    pub max_connection_age: Option<Duration>,
}

/// The flags of client commands, unparsed.
#[derive(Debug, Default, clap::Args)]
pub struct ClientFlags {
    /// Call the server at this URL [env: ORDERLOG_SERVER] [default: http://127.0.0.1:50051]
    #[arg(long, value_name = "URL", global = true)]
    server: Option<String>,
    #[command(flatten)]
    caller: CallerFlags,
}

impl Sources<'_> {
    /// Reads and validates the settings of `orderlog serve`.
    ///
    /// # Errors
    /// The [`Error`] of the first invalid setting.
    pub fn serve(&self, flags: &ServeFlags) -> Result<Serve, Error> {
        let at = SocketAddr::from(([127, 0, 0, 1], 50051));
        let listen = self.address("listen", flags.listen.clone(), at)?;
        let Places { data_dir, log } = self.places(&flags.log)?;
        let caller = self.caller(&flags.caller)?;
        let meilisearch = self.meilisearch(flags, caller.insecure)?;
        let (roles, events) = self.roles_and_nodes(flags)?;
        let origins = self.origins(flags)?;
        let (drain_timeout, drain_delay) = self.drain(flags)?;
        let max_connection_age = self.find(
            "max-connection-age",
            flags.max_connection_age.clone(),
            None,
            |value| seconds(value).filter(|age| !age.is_zero()).map(Some),
            &format!("must be a whole number of seconds from 1 to {MAX_SECONDS}"),
        )?;
        let tls = self.tls(flags)?;
        let credentials = self.credentials(flags)?;
        let lacking = match (&tls, &credentials) {
            (None, None) => "tls-cert and tls-key, and tokens or jwt-keys",
            (None, Some(_)) => "tls-cert and tls-key",
            (Some(_), None) => "tokens or jwt-keys",
            (Some(_), Some(_)) => "",
        };
        let is_open = !lacking.is_empty() && !caller.insecure;
        let listen = listen.within(is_open.then_some(lacking))?;
        Ok(Serve {
            listen,
            data_dir,
            log,
            meilisearch,
            roles,
            events,
            origins,
            tls,
            credentials,
            caller,
            telemetry: self.telemetry(flags, is_open.then_some(lacking))?,
            limits: Limits::default(),
            drain_timeout,
            drain_delay,
            max_connection_age: max_connection_age.value,
        })
    }

    /// Reads the roles of the node, and the nodes that it follows.
    fn roles_and_nodes(&self, flags: &ServeFlags) -> Result<(Roles, Vec<Uri>), Error> {
        let roles = self.find(
            "roles",
            list(&flags.roles),
            Roles::ALL,
            Roles::parse,
            "must be some of command, query and indexer, separated by commas; indexer needs query",
        )?;
        let events = self.find(
            "events-url",
            list(&flags.events_url),
            Vec::new(),
            |value| {
                value
                    .split(',')
                    .map(|url| url_of_node(url.trim()))
                    .collect()
            },
            "must be URLs such as http://127.0.0.1:50051, separated by commas",
        )?;
        if let Some((origin, value)) = roles.given
            && !roles.value.command
            && events.value.is_empty()
        {
            return Err(Error::Wrong {
                origin,
                value,
                rule: "needs events-url: without the role command a node has no events of its own"
                    .to_owned(),
            });
        }
        Ok((roles.value, events.value))
    }

    /// Reads the times of a shutdown: for all of it, and until calls are rejected.
    fn drain(&self, flags: &ServeFlags) -> Result<(Duration, Duration), Error> {
        let rule = format!("must be a whole number of seconds, at most {MAX_SECONDS}");
        let default = Duration::from_secs(20);
        let flag = flags.drain_timeout.clone();
        let timeout = self.find("drain-timeout", flag, default, seconds, &rule)?;
        let default = DRAIN_DELAY.min(timeout.value);
        let flag = flags.drain_delay.clone();
        let delay = self.find("drain-delay", flag, default, seconds, &rule)?;
        match delay.given {
            Some((origin, value)) if delay.value > timeout.value => Err(Error::Wrong {
                origin,
                value,
                rule: "is longer than drain-timeout".to_owned(),
            }),
            _ => Ok((timeout.value, delay.value)),
        }
    }

    /// Reads the server that a client command calls, and the token and TLS files for the call.
    ///
    /// # Errors
    /// [`Error::Wrong`] when the URL's scheme is not `http` or `https`, or when another setting of
    /// the caller is invalid.
    pub fn server(&self, flags: &ClientFlags) -> Result<(Endpoint, Caller), Error> {
        let found = self.find(
            "server",
            flags.server.clone(),
            Endpoint::from_static("http://127.0.0.1:50051"),
            |value| url_of_node(value).map(Endpoint::from),
            "must be a URL such as http://127.0.0.1:50051",
        )?;
        Ok((found.value, self.caller(&flags.caller)?))
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
