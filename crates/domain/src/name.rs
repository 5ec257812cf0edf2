//! Customers and products: of either, only the name is known, and it may change.

/// What registering leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The name is known now.
    Registered(String),
    /// The name is another now.
    Renamed(String),
}

/// The event of registering `wanted` where `known` is the name so far; none if nothing changes.
#[must_use]
pub fn decide(known: Option<&str>, wanted: String) -> Option<Event> {
    match known {
        None => Some(Event::Registered(wanted)),
        Some(known) if known == wanted => None,
        Some(_) => Some(Event::Renamed(wanted)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_one_is_registered() {
        assert_eq!(
            decide(None, "Ann".into()),
            Some(Event::Registered("Ann".into()))
        );
    }

    #[test]
    fn another_name_renames() {
        assert_eq!(
            decide(Some("Ann"), "Anna".into()),
            Some(Event::Renamed("Anna".into()))
        );
    }

    #[test]
    fn the_same_name_changes_nothing() {
        assert_eq!(decide(Some("Ann"), "Ann".into()), None);
    }
}
