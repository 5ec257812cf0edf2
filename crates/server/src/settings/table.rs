//! The table of settings. A row gives its flag, its environment variable, its key in
//! `orderlog.toml` and its line in `docs/reference/settings.md`.

use Value::{List, One, Switch};

/// The commands that take a setting. A row combines them with `|`.
pub type Commands = u8;

/// `orderlog serve`.
pub const SERVE: Commands = 1;

/// The commands that open the log themselves: `orderlog export` and `orderlog restore`.
pub const LOG: Commands = 2;

/// The commands that call a server.
pub const CLIENT: Commands = 4;

/// A setting. Only the table of this module makes one, so each setting that is read has a row.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The flag without its dashes, and the key in `orderlog.toml`.
    pub name: &'static str,
    /// The values that the flag takes.
    pub value: Value,
    commands: Commands,
    /// The default: a value in the spelling of the flag, or words for a setting that may be absent.
    pub default: &'static str,
    /// The effect, in the imperative and without the last full stop.
    pub help: &'static str,
}

/// The values of a flag, with their name in help texts.
#[derive(Debug, Clone, Copy)]
pub enum Value {
    /// The flag takes one value.
    One(&'static str),
    /// The flag takes values that commas separate, and may be repeated.
    List(&'static str),
    /// The flag takes no value. Elsewhere the setting is `true` or `false`.
    Switch,
}

impl Setting {
    /// Returns the settings of some commands, in the order of the table.
    pub fn of(commands: Commands) -> impl Iterator<Item = Self> {
        ALL.iter()
            .copied()
            .filter(move |setting| setting.is_of(commands))
    }

    /// Returns whether at least one of these commands takes the setting.
    #[must_use]
    pub fn is_of(&self, commands: Commands) -> bool {
        self.commands & commands != 0
    }

    /// Returns the setting of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        ALL.iter().copied().find(|setting| setting.name == name)
    }

    /// Returns the name of the environment variable.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("ORDERLOG_{}", self.name.replace('-', "_").to_uppercase())
    }
}

/// Defines a constant for each row, and `ALL`, which lists them in this order.
macro_rules! table {
    ($($key:ident: $name:literal, $value:expr, $commands:expr, $default:literal, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub(crate) const $key: Setting = Setting {
                name: $name,
                value: $value,
                commands: $commands,
                default: $default,
                help: $help,
            };
        )*

        /// Every setting. The file may hold no other key.
        pub(super) const ALL: &[Setting] = &[$($key),*];
    };
}

// Each row: name, values, commands, default, effect.
table! {
    LISTEN: "listen", One("ADDRESS:PORT"), SERVE, "127.0.0.1:50051",
        "Serve gRPC on this address and port";
    METRICS_LISTEN: "metrics-listen", One("ADDRESS:PORT"), SERVE, "127.0.0.1:9464",
        "Serve Prometheus metrics on this address and port, by HTTP. Beyond loopback they are served \
         with the TLS of gRPC, to tokens with the role operate";
    DATA_DIR: "data-dir", One("FOLDER"), SERVE | LOG, "./data",
        "Keep the log and the read models in this folder";
    DATABASE_URL: "database-url", One("URL"), SERVE | LOG, "sqlite:events.db in the data folder",
        "Keep the log here: sqlite:FILE, or postgres://USER@HOST/DATABASE, which several nodes can \
         share";
    MEILISEARCH_URL: "meilisearch-url", One("URL"), SERVE, "none",
        "Answer text searches from this Meilisearch, not from the index in the data folder";
    MEILISEARCH_KEY: "meilisearch-key", One("KEY"), SERVE, "none",
        "Send this key to Meilisearch. Other users of the machine can see a flag: prefer the \
         environment";
    MEILISEARCH_INDEX: "meilisearch-index", One("NAME"), SERVE, "orders",
        "Keep the orders in the Meilisearch index of this name, and another generation in NAME-beside. \
         Each log needs a name of its own";
    ROLES: "roles", List("ROLES"), SERVE, "command,query,indexer",
        "Run these roles: some of command, query and indexer, separated by commas or in several \
         flags";
    EVENTS_URL: "events-url", List("URLS"), SERVE, "this node",
        "Make the read models from the events of these command nodes, separated by commas or in \
         several flags. The node follows one of them, and turns to the next when it fails";
    CORS_ORIGINS: "cors-origins", List("ORIGINS"), SERVE, "none",
        "Answer gRPC-Web calls from pages of these origins, as browsers write them, separated by \
         commas or in several flags";
    CONSOLE: "console", One("STATE"), SERVE, "on, on loopback and with TLS and credentials, with \
        the role query",
        "Serve the console, a web page for people, on the address of gRPC: on or off";
    TLS_CERT: "tls-cert", One("FILE"), SERVE, "none",
        "Serve TLS only, with this certificate and its intermediates, in PEM";
    TLS_KEY: "tls-key", One("FILE"), SERVE, "none",
        "Use this private key for --tls-cert, in PEM";
    TLS_CLIENT_CA: "tls-client-ca", One("FILE"), SERVE, "clients need none",
        "Require a client certificate that one of these authorities has issued, in PEM";
    TOKENS: "tokens", One("FILE"), SERVE, "none",
        "Accept the tokens in this file, which `orderlog token new` writes, and reject calls without \
         a valid credential";
    JWT_KEYS: "jwt-keys", One("FILE"), SERVE, "none",
        "Accept JWTs that the keys in this JWKS file verify";
    JWT_ISSUER: "jwt-issuer", One("ISSUER"), SERVE, "none",
        "Require this issuer, `iss`, in each JWT";
    JWT_AUDIENCE: "jwt-audience", One("AUDIENCE"), SERVE, "none",
        "Require this audience, `aud`, in each JWT";
    JWT_ROLES_CLAIM: "jwt-roles-claim", One("CLAIM"), SERVE, "roles",
        "Read the roles of a JWT from this claim. Dots lead to a claim inside another";
    OTLP_ENDPOINT: "otlp-endpoint", One("URL"), SERVE, "no traces",
        "Send traces to the collector at this endpoint, by OTLP over gRPC. \
         OTEL_EXPORTER_OTLP_HEADERS adds headers";
    OTLP_CA: "otlp-ca", One("FILE"), SERVE, "those of the system",
        "Trust collector certificates that these authorities have issued, in PEM";
    LOG_FORMAT: "log-format", One("FORMAT"), SERVE, "text",
        "Write the log in this format: text or json";
    DRAIN_TIMEOUT: "drain-timeout", One("SECONDS"), SERVE, "20",
        "Let calls in progress finish for this long after SIGTERM";
    DRAIN_DELAY: "drain-delay", One("SECONDS"), SERVE, "5",
        "Serve calls for this long after SIGTERM, while health says NOT_SERVING and load balancers \
         turn away. It is part of the drain timeout";
    QUERY_TIMEOUT: "query-timeout", One("MILLISECONDS"), SERVE, "2000",
        "Stop a list, text search or statistics of a customer that work for longer than this, with \
         QUERY_TOO_SLOW";
    MAX_CONNECTION_AGE: "max-connection-age", One("SECONDS"), SERVE, "none",
        "Close each connection at about this age, so that clients spread over nodes that are new. \
         Calls in progress have 10 s to finish";
    SERVER: "server", One("URL"), CLIENT, "http://127.0.0.1:50051",
        "Call the server at this URL";
    TOKEN: "token", One("TOKEN"), SERVE | CLIENT, "none",
        "Send this token. Other users of the machine can see a flag: prefer the environment or a \
         file";
    TOKEN_FILE: "token-file", One("FILE"), SERVE | CLIENT, "none",
        "Send the token in this file, which holds nothing else";
    TLS_CA: "tls-ca", One("FILE"), SERVE | CLIENT, "those of the system",
        "Trust server certificates that these authorities have issued, in PEM";
    TLS_CLIENT_CERT: "tls-client-cert", One("FILE"), SERVE | CLIENT, "none",
        "Show this certificate to servers that require one, in PEM";
    TLS_CLIENT_KEY: "tls-client-key", One("FILE"), SERVE | CLIENT, "none",
        "Use this private key for --tls-client-cert, in PEM";
    INSECURE: "insecure", Switch, SERVE | CLIENT, "off",
        "Serve beyond this machine, and send tokens there, without TLS and credentials";
}
