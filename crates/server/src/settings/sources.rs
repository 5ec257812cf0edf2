//! How one setting is found: in its flag, the environment or the file, or else its default.

use std::{ffi::OsString, fs, io, net::SocketAddr, path::PathBuf};

use super::{Error, Origin};

/// The file's name.
pub(super) const FILE: &str = "orderlog.toml";

/// Every setting there is.
pub(super) const NAMES: [&str; 26] = [
    "listen",
    "metrics-listen",
    "data-dir",
    "database-url",
    "meilisearch-url",
    "meilisearch-key",
    "roles",
    "events-url",
    "cors-origins",
    "tls-cert",
    "tls-key",
    "tls-client-ca",
    "tokens",
    "jwt-keys",
    "jwt-issuer",
    "jwt-audience",
    "otlp-endpoint",
    "log-format",
    "drain-timeout",
    "insecure",
    "server",
    "token",
    "token-file",
    "tls-ca",
    "tls-client-cert",
    "tls-client-key",
];

/// Where settings come from, besides flags.
pub struct Sources<'a> {
    environment: &'a dyn Fn(&str) -> Option<OsString>,
    file: toml::Table,
}

/// A value and, unless it is the default, where it came from.
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) given: Option<(Origin, String)>,
}

impl<T> Found<T> {
    /// Which source it is from: the less, the more it counts.
    pub(super) fn rank(&self) -> u8 {
        match &self.given {
            Some((Origin::Flag(_), _)) => 0,
            Some((Origin::Environment(_), _)) => 1,
            Some((Origin::File(_), _)) => 2,
            None => 3,
        }
    }
}

impl<T> Found<Option<T>> {
    /// Refuses a value that is of no use as things are.
    pub(super) fn must_be_unset(self, rule: &str) -> Result<(), Error> {
        match self.given {
            Some((origin, value)) => Err(Error::Wrong {
                origin,
                value,
                rule: rule.to_owned(),
            }),
            None => Ok(()),
        }
    }
}

impl Found<SocketAddr> {
    /// Refuses an address that others can reach, if something is lacking for that.
    pub(super) fn within(self, lacking: Option<&str>) -> Result<SocketAddr, Error> {
        match (self.given, lacking) {
            (Some((origin, value)), Some(lacking)) if !self.value.ip().is_loopback() => {
                Err(Error::Wrong {
                    origin,
                    value,
                    rule: format!(
                        "is not a loopback address: anyone who reaches it could use it or listen; \
                         set {lacking}, or insecure to allow that"
                    ),
                })
            }
            _ => Ok(self.value),
        }
    }
}

impl<'a> Sources<'a> {
    /// The environment, and `orderlog.toml` in the working folder if there is one.
    ///
    /// # Errors
    /// The file is there but wrong.
    pub fn new(environment: &'a dyn Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        let file = match fs::read_to_string(FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            file => file?,
        };
        Self::with_file(environment, &file)
    }

    pub(super) fn with_file(
        environment: &'a dyn Fn(&str) -> Option<OsString>,
        file: &str,
    ) -> Result<Self, Error> {
        let file: toml::Table = file.parse().map_err(|error: toml::de::Error| {
            let before = error.span().and_then(|span| file.get(..span.start));
            let line = before.map_or(1, |before| before.matches('\n').count() + 1);
            Error::Syntax(format!(
                "line {line}: {}",
                error.message().replace('\n', ": ")
            ))
        })?;
        match file.keys().find(|key| !NAMES.contains(&key.as_str())) {
            Some(name) => Err(Error::Unknown { name: name.clone() }),
            None => Ok(Self { environment, file }),
        }
    }

    /// Where to listen.
    pub(super) fn address(
        &self,
        name: &'static str,
        flag: Option<String>,
        default: SocketAddr,
    ) -> Result<Found<SocketAddr>, Error> {
        let rule = format!("must be an address and a port, such as {default}");
        self.find(name, flag, default, |value| value.parse().ok(), &rule)
    }

    /// A file that may be named.
    pub(super) fn path(
        &self,
        name: &'static str,
        flag: Option<String>,
    ) -> Result<Found<Option<PathBuf>>, Error> {
        let parse = |value: &str| (!value.is_empty()).then(|| Some(PathBuf::from(value)));
        self.find(name, flag, None, parse, "must be a file")
    }

    /// A text that may be given.
    pub(super) fn text(
        &self,
        name: &'static str,
        flag: Option<String>,
    ) -> Result<Found<Option<String>>, Error> {
        let parse = |value: &str| (!value.is_empty()).then(|| Some(value.to_owned()));
        self.find(name, flag, None, parse, "must not be empty")
    }

    /// The value of one setting; `rule` says what `parse` accepts.
    pub(super) fn find<T>(
        &self,
        name: &'static str,
        flag: Option<String>,
        default: T,
        parse: impl Fn(&str) -> Option<T>,
        rule: &str,
    ) -> Result<Found<T>, Error> {
        let given = match flag {
            Some(value) => Some((Origin::Flag(name), value)),
            None => self.environment(name)?.or_else(|| self.file(name)),
        };
        let Some((origin, value)) = given else {
            return Ok(Found {
                value: default,
                given: None,
            });
        };
        match parse(&value) {
            Some(parsed) => Ok(Found {
                value: parsed,
                given: Some((origin, value)),
            }),
            None => Err(Error::Wrong {
                origin,
                value,
                rule: rule.to_owned(),
            }),
        }
    }

    fn environment(&self, name: &str) -> Result<Option<(Origin, String)>, Error> {
        let variable = format!("ORDERLOG_{}", name.replace('-', "_").to_uppercase());
        let value = (self.environment)(&variable).map(OsString::into_string);
        let origin = Origin::Environment(variable);
        match value {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some((origin, value))),
            Some(Err(value)) => Err(Error::Wrong {
                origin,
                value: value.to_string_lossy().into_owned(),
                rule: "must be UTF-8".to_owned(),
            }),
        }
    }

    fn file(&self, name: &'static str) -> Option<(Origin, String)> {
        Some((Origin::File(name), text(self.file.get(name)?)))
    }
}

/// The value of a flag that may be given several times, as if it had been given once.
pub(super) fn list(values: &[String]) -> Option<String> {
    (!values.is_empty()).then(|| values.join(","))
}

/// A value of the file, as its flag would have it.
fn text(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}
