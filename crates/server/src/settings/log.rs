//! Reads the data folder and the location of the event log.

use std::path::PathBuf;

use event_log::Location;

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
        let log = self.optional(DATABASE_URL, location, LOCATION);
        let log = log.map_err(Error::without_value)?.value;
        Ok(Places {
            log: log.unwrap_or_else(|| Location::File(data_dir.join("events.db"))),
            data_dir,
        })
    }
}

/// Parses the location of a log from a flag.
///
/// # Errors
/// [`Error::Wrong`] when `url` is not a location of a log. The error omits the value, because the
/// URL may contain a password.
pub fn location_of(flag: &'static str, url: &str) -> Result<Location, Error> {
    location(url).ok_or_else(|| Error::Wrong {
        origin: Origin::Flag(flag),
        value: "...".to_owned(),
        rule: LOCATION.to_owned(),
    })
}

fn location(url: &str) -> Option<Location> {
    match url.strip_prefix("sqlite:") {
        Some(file) => (!file.is_empty()).then(|| Location::File(PathBuf::from(file))),
        None if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
            url.parse().ok().map(Location::Database)
        }
        None => None,
    }
}
