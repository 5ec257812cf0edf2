use std::path::{Path, PathBuf};

use event_log::Location;

use super::{Error, Origin, Sources};

/// What a location must be.
const LOCATION: &str = "must be sqlite:FILE or postgres://USER@HOST/DATABASE";

impl Sources<'_> {
    /// Where the log is. What is wrong with it is told without the value, which may hold a password.
    pub(super) fn log(&self, flag: Option<String>, data_dir: &Path) -> Result<Location, Error> {
        let found = self.find(
            "database-url",
            flag,
            Location::File(data_dir.join("events.db")),
            location,
            LOCATION,
        );
        found.map(|found| found.value).map_err(Error::without_value)
    }
}

/// Where a log is, as a flag says.
///
/// # Errors
/// It is no URL of a log. That is told without the value, which may hold a password.
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
