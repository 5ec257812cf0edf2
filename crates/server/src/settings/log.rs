//! Reads the data folder and the location of the event log.

use std::path::PathBuf;

use event_log::Location;

use super::{Error, Origin, Sources};

/// The rule for a location, as error messages show it.
const LOCATION: &str = "must be sqlite:FILE or postgres://USER@HOST/DATABASE";

/// The flags of the data folder and the event log, unparsed.
#[derive(Debug, Default, clap::Args)]
pub struct LogFlags {
    /// Keep the log and the read models in this folder [env: ORDERLOG_DATA_DIR] [default: ./data]
    #[arg(long, value_name = "FOLDER")]
    pub(super) data_dir: Option<String>,
    /// Keep the log here: sqlite:FILE, or postgres://USER@HOST/DATABASE, which several nodes can share
    /// [env: ORDERLOG_DATABASE_URL] [default: sqlite:events.db in the data folder]
    #[arg(long, value_name = "URL")]
    pub(super) database_url: Option<String>,
}

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
    pub fn places(&self, flags: &LogFlags) -> Result<Places, Error> {
        let data_dir = self.find(
            "data-dir",
            flags.data_dir.clone(),
            PathBuf::from("./data"),
            |value| (!value.is_empty()).then(|| PathBuf::from(value)),
            "must be a folder",
        )?;
        let log = self.find(
            "database-url",
            flags.database_url.clone(),
            Location::File(data_dir.value.join("events.db")),
            location,
            LOCATION,
        );
        Ok(Places {
            data_dir: data_dir.value,
            log: log.map_err(Error::without_value)?.value,
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
