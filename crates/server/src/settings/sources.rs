//! Reads one setting from its flag, else the environment, else the file, else its default.

use std::{collections::BTreeMap, ffi::OsString, fs, io, net::SocketAddr, path::PathBuf};

use super::{
    Error, Flags, Origin,
    table::{Commands, Setting},
};

/// The settings file in the working folder.
pub(super) const FILE: &str = "orderlog.toml";

/// The sources of settings.
pub struct Sources<'a> {
    flags: BTreeMap<&'static str, String>,
    environment: &'a dyn Fn(&str) -> Option<OsString>,
    file: toml::Table,
}

/// A value. `given` holds its source and its text, and is `None` for the default.
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) given: Option<(Origin, String)>,
}

impl<T> Found<T> {
    /// Returns the rank of the value's source. A source of lower rank takes precedence.
    pub(super) fn rank(&self) -> u8 {
        match &self.given {
            Some((Origin::Flag(_), _)) => 0,
            Some((Origin::Environment(_), _)) => 1,
            Some((Origin::File(_), _)) => 2,
            Some((Origin::Default(_), _)) | None => 3,
        }
    }

    /// Rejects a given value with `rule`. Callers use this for a setting that lacks another one.
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
    /// Rejects a given address beyond loopback if `lacking` names settings that are missing for it.
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
    /// Reads `orderlog.toml` in the working folder, if the file exists. The sources have no flags.
    ///
    /// # Errors
    /// - [`Error::Unreadable`] when the file cannot be read.
    /// - [`Error::Syntax`] when the file is not TOML.
    /// - [`Error::Unknown`] when the file names an unknown setting.
    pub fn new(environment: &'a dyn Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        Self::with_file(environment, &contents(fs::read_to_string(FILE))?)
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
        match file.keys().find(|key| Setting::named(key).is_none()) {
            Some(name) => Err(Error::Unknown { name: name.clone() }),
            None => Ok(Self {
                flags: BTreeMap::new(),
                environment,
                file,
            }),
        }
    }

    /// Adds the flags of a command.
    #[must_use]
    pub fn with<const OF: Commands>(self, flags: Flags<OF>) -> Self {
        Self {
            flags: flags.0,
            ..self
        }
    }

    /// Reads an address and a port.
    pub(super) fn address(&self, setting: Setting) -> Result<Found<SocketAddr>, Error> {
        let rule = format!("must be an address and a port, such as {}", setting.default);
        self.find(setting, |value| value.parse().ok(), &rule)
    }

    /// Reads the path of an optional file.
    pub(super) fn path(&self, setting: Setting) -> Result<Found<Option<PathBuf>>, Error> {
        self.optional(setting, path, "must be a file")
    }

    /// Reads the paths of two optional files that need each other.
    pub(super) fn paths(
        &self,
        first: Setting,
        second: Setting,
    ) -> Result<Option<(PathBuf, PathBuf)>, Error> {
        let needs = |other: Setting| format!("needs {}", other.name);
        match (self.path(first)?, self.path(second)?) {
            (
                Found {
                    value: Some(one), ..
                },
                Found {
                    value: Some(other), ..
                },
            ) => Ok(Some((one, other))),
            (one, other) => {
                one.must_be_unset(&needs(second))?;
                other.must_be_unset(&needs(first))?;
                Ok(None)
            }
        }
    }

    /// Reads the value of a setting whose default is a value. `rule` describes the values that
    /// `parse` accepts.
    pub(super) fn find<T>(
        &self,
        setting: Setting,
        parse: impl Fn(&str) -> Option<T>,
        rule: &str,
    ) -> Result<Found<T>, Error> {
        let found = self.optional(setting, &parse, rule)?;
        let value = match found.value {
            Some(value) => value,
            None => {
                let default = (Origin::Default(setting.name), setting.default.to_owned());
                parsed(&default, parse, rule)?
            }
        };
        Ok(Found {
            value,
            given: found.given,
        })
    }

    /// Reads the value of a setting that may be absent. `rule` describes the values that `parse`
    /// accepts.
    pub(super) fn optional<T>(
        &self,
        setting: Setting,
        parse: impl Fn(&str) -> Option<T>,
        rule: &str,
    ) -> Result<Found<Option<T>>, Error> {
        let name = setting.name;
        let given = match self.flags.get(name) {
            Some(value) => Some((Origin::Flag(name), value.clone())),
            None => self.environment(setting)?.or_else(|| self.file(name)),
        };
        let value = given.as_ref().map(|given| parsed(given, parse, rule));
        Ok(Found {
            value: value.transpose()?,
            given,
        })
    }

    fn environment(&self, setting: Setting) -> Result<Option<(Origin, String)>, Error> {
        let variable = setting.variable();
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

/// Returns the contents of the settings file. A file that this user cannot see is none: nobody has
/// named it, and the working folder may belong to someone else.
fn contents(read: io::Result<String>) -> Result<String, Error> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(String::new()),
        read => Ok(read?),
    }
}

/// Parses a value that a source gives.
fn parsed<T>(
    (origin, value): &(Origin, String),
    parse: impl Fn(&str) -> Option<T>,
    rule: &str,
) -> Result<T, Error> {
    parse(value).ok_or_else(|| Error::Wrong {
        origin: origin.clone(),
        value: value.clone(),
        rule: rule.to_owned(),
    })
}

/// Parses the path of a file or a folder.
pub(super) fn path(value: &str) -> Option<PathBuf> {
    (!value.is_empty()).then(|| PathBuf::from(value))
}

/// Formats a value of the file in the spelling of its flag.
fn text(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_settings_file_that_cannot_be_seen_is_none_and_a_broken_one_is_an_error() {
        for kind in [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied] {
            assert_eq!(contents(Err(kind.into())).unwrap(), "");
        }
        contents(Err(io::ErrorKind::InvalidData.into())).unwrap_err();
        assert_eq!(contents(Ok("a = 1".to_owned())).unwrap(), "a = 1");
    }
}
