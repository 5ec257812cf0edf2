//! The errors of settings, and the sources that they name.

use std::{
    fmt::{self, Display},
    io,
    path::PathBuf,
};

use super::{sources::FILE, table::ALL};

/// The reason why a setting is invalid, in one line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value breaks its setting's rule.
    #[error("{origin}: {value:?} {rule}")]
    Wrong {
        /// The source of the value.
        origin: Origin,
        /// The value, or `...` if it may be a secret.
        value: String,
        /// The rule that the value breaks.
        rule: String,
    },
    /// A file that a setting names cannot be read, or has the wrong contents.
    #[error("{setting}: {}: {why}", path.display())]
    Unusable {
        /// The setting that names the file.
        setting: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// The cause: an I/O error, or the rule that the contents break.
        why: String,
    },
    /// A token would leave this machine without TLS, so that others on the network could read it.
    #[error(
        "{server}: a token is not sent beyond this machine without TLS: use https, or set insecure to allow it"
    )]
    InClear {
        /// The URL of the server that would receive the token.
        server: String,
    },
    /// The TLS configuration is invalid.
    #[error("TLS cannot be used: {why}")]
    Tls {
        /// The cause that the TLS library reports.
        why: String,
    },
    /// The file names a setting that does not exist.
    #[error("{FILE}: there is no setting {name:?}; there are: {known}", known = ALL.iter().map(|setting| setting.name).collect::<Vec<_>>().join(", "))]
    Unknown {
        /// The unknown name in the file.
        name: String,
    },
    /// The file is not TOML.
    #[error("{FILE}: {0}")]
    Syntax(String),
    /// The file cannot be read.
    #[error("{FILE}: {0}")]
    Unreadable(#[from] io::Error),
}

impl Error {
    /// Replaces the value with `...`, because it may be or contain a secret.
    pub(super) fn without_value(self) -> Self {
        match self {
            Self::Wrong { origin, rule, .. } => Self::Wrong {
                origin,
                value: "...".to_owned(),
                rule,
            },
            other => other,
        }
    }
}

/// The source of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The flag of this name on the command line.
    Flag(&'static str),
    /// The environment variable of this name.
    Environment(String),
    /// The key of this name in `orderlog.toml`.
    File(&'static str),
    /// The default of this setting.
    Default(&'static str),
}

impl Display for Origin {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(to, "--{name} (flag)"),
            Self::Environment(variable) => write!(to, "{variable} (environment variable)"),
            Self::File(name) => write!(to, "{name} ({FILE})"),
            Self::Default(name) => write!(to, "{name} (default)"),
        }
    }
}
