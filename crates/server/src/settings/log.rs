//! Reads the data folder and the location of the event log.

use std::path::PathBuf;

use event_log::{Location, postgres::UrlError};

use super::{
    Error, Origin, Sources,
    sources::path,
    table::{DATA_DIR, DATABASE_URL},
};

/// The rule for a location, as error messages show it.
const LOCATION: &str = "must be sqlite:FILE or postgres://USER@HOST/DATABASE";

/// The locations of a node's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The folder of the read models. It also holds the log, unless `log` names another location.
    pub data_dir: PathBuf,
    /// The location of the event log: an SQLite file or a Postgres database.
    pub log: Location,
}

impl Sources<'_> {
    /// Reads the data folder and the location of the log.
    ///
    /// # Errors
    /// [`Error::Wrong`] for the first invalid setting. The error omits an invalid `database-url`,
    /// because the URL may contain a password.
    pub fn places(&self) -> Result<Places, Error> {
        let data_dir = self.find(DATA_DIR, path, "must be a folder")?.value;
        let log = self.optional(DATABASE_URL, |url| Some(location(url)), LOCATION)?;
        let log = match (log.value, log.given) {
            (Some(Err(rule)), Some((origin, _))) => return Err(hidden(origin, rule)),
            (Some(Ok(location)), _) => location,
            _ => Location::File(data_dir.join("events.db")),
        };
        Ok(Places { data_dir, log })
    }
}

/// Parses the location of a log from a flag.
///
/// # Errors
/// [`Error::Wrong`] when `url` is not a location of a log. The error omits the value, because the
/// URL may contain a password.
pub fn location_of(flag: &'static str, url: &str) -> Result<Location, Error> {
    location(url).map_err(|rule| hidden(Origin::Flag(flag), rule))
}

/// Returns the error of a location that breaks a rule, without its value.
fn hidden(origin: Origin, rule: String) -> Error {
    Error::Wrong {
        origin,
        value: "...".to_owned(),
        rule,
    }
}

/// Reads a location. The error is the rule that it breaks.
fn location(url: &str) -> Result<Location, String> {
    match url.strip_prefix("sqlite:") {
        Some(file) if !file.is_empty() => Ok(Location::File(PathBuf::from(file))),
        None if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
            let database: Result<_, UrlError> = url.parse();
            let database = database.map_err(|error| format!("cannot be used: {error}"))?;
            Ok(Location::Database(database))
        }
        _ => Err(LOCATION.to_owned()),
    }
}
