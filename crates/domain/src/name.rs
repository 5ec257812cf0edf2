//! Customers and products. Both have only a name, which may change.

/// An event of a customer or product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameEvent {
    /// The customer or product got its first name.
    Registered(String),
    /// The customer or product got another name.
    Renamed(String),
}

/// Returns the event that registers the name `wanted`, where `known` is the name so far. Returns
/// `None` if the name does not change.
#[must_use]
pub fn decide(known: Option<&str>, wanted: String) -> Option<NameEvent> {
    match known {
        None => Some(NameEvent::Registered(wanted)),
        Some(known) if known == wanted => None,
        Some(_) => Some(NameEvent::Renamed(wanted)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_customer_is_registered() {
        assert_eq!(
            decide(None, "Ann".into()),
            Some(NameEvent::Registered("Ann".into()))
        );
    }

    #[test]
    fn other_name_renames() {
        assert_eq!(
            decide(Some("Ann"), "Anna".into()),
            Some(NameEvent::Renamed("Anna".into()))
        );
    }

    #[test]
    fn same_name_changes_nothing() {
        assert_eq!(decide(Some("Ann"), "Ann".into()), None);
    }
}
