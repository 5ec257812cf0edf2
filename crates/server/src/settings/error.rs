use std::{
    fmt::{self, Display},
    io,
    path::PathBuf,
};

use super::sources::{FILE, NAMES};

/// What is wrong with a setting, in one line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value that breaks its setting's rule.
    #[error("{origin}: {value:?} {rule}")]
    Wrong {
        /// Where the value came from.
        origin: Origin,
        /// The value.
        value: String,
        /// The rule it breaks.
        rule: String,
    },
    /// A file that a setting names.
    #[error("{setting}: {}: {why}", path.display())]
    Unusable {
        /// The setting.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Whoever listens could take the token.
    #[error(
        "{server}: a token is not sent beyond this machine without TLS: use https, or set insecure to allow it"
    )]
    InClear {
        /// Where it would be sent.
        server: String,
    },
    /// TLS cannot be used.
    #[error("TLS cannot be used: {why}")]
    Tls {
        /// What is in the way.
        why: String,
    },
    /// The file names a setting that does not exist.
    #[error("{FILE}: there is no setting {name:?}; there are: {known}", known = NAMES.join(", "))]
    Unknown {
        /// What it says.
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
    /// For a value that may be a secret, or hold one.
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

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag(&'static str),
    /// An environment variable.
    Environment(String),
    /// `orderlog.toml`.
    File(&'static str),
}

impl Display for Origin {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(to, "--{name} (flag)"),
            Self::Environment(variable) => write!(to, "{variable} (environment variable)"),
            Self::File(name) => write!(to, "{name} ({FILE})"),
        }
    }
}
