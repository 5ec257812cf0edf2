//! Customers and products. Both have only a name, which may change.

/// An event of a customer or product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameEvent {
    /// The customer or product got its first name.
    Registered(String),
    /// The customer or product got another name.
    Renamed(String),
}

/// The state of a customer or product that is registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named<'a> {
    /// The newest name.
    pub name: &'a str,
    /// The number of the customer's or product's events.
    pub version: u64,
}

/// The customer or product is at another version than the command expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected version {expected}, but the version is {actual}")]
pub struct OtherVersion {
    /// The version that the command expects.
    pub expected: u64,
    /// The newest version, which is 0 before the first name.
    pub actual: u64,
}

/// Returns the event that registers the name `wanted`. Returns `None` if the name does not change.
///
/// # Errors
/// [`OtherVersion`] when the customer or product is at another version than `expected_version`, also
/// if the name does not change.
pub fn decide(
    known: Option<Named<'_>>,
    expected_version: Option<u64>,
    wanted: String,
) -> Result<Option<NameEvent>, OtherVersion> {
    let actual = known.map_or(0, |known| known.version);
    match expected_version {
        Some(expected) if expected != actual => return Err(OtherVersion { expected, actual }),
        _ => {}
    }
    Ok(match known {
        None => Some(NameEvent::Registered(wanted)),
        Some(known) if known.name == wanted => None,
        Some(_) => Some(NameEvent::Renamed(wanted)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: Option<Named<'_>> = Some(Named {
        name: "Ann",
        version: 3,
    });

    fn decided(known: Option<Named<'_>>, wanted: &str) -> Option<NameEvent> {
        decide(known, None, wanted.into()).unwrap()
    }

    #[test]
    fn unknown_customer_is_registered() {
        let registered = NameEvent::Registered("Ann".into());
        assert_eq!(decided(None, "Ann"), Some(registered));
    }

    #[test]
    fn other_name_renames() {
        let renamed = NameEvent::Renamed("Anna".into());
        assert_eq!(decided(ANN, "Anna"), Some(renamed));
    }

    #[test]
    fn same_name_changes_nothing() {
        assert_eq!(decided(ANN, "Ann"), None);
    }

    #[test]
    fn g4_other_version_than_expected_is_refused() {
        for (known, actual) in [(None, 0), (ANN, 3)] {
            for expected in 0..5 {
                for wanted in ["Ann", "Bob"] {
                    let decided = decide(known, Some(expected), wanted.into());
                    let refused = (expected != actual).then_some(OtherVersion { expected, actual });
                    assert_eq!(decided.err(), refused);
                }
            }
        }
    }
}
