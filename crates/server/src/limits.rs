//! All limits that clients can meet. The source of `docs/reference/limits.md`.

use domain::{items, limits};
use wire::Limit;

use crate::{access, layers, listener, node, settings};

/// Returns every limit, in sections with a heading each.
#[must_use]
pub fn limits() -> [(&'static str, Vec<Limit>); 5] {
    [
        ("Commands", business_rules().collect()),
        (
            "Command and event services",
            command_side::limits().collect(),
        ),
        ("Queries", query_side::limits().collect()),
        ("Connections and calls", connections()),
        ("Clients without a valid credential", strangers()),
    ]
}

fn business_rules() -> impl Iterator<Item = Limit> {
    [
        ("items of an order", *items::LINE_COUNT.end()),
        ("characters of a name", limits::MAX_NAME_CHARS),
        (
            "characters of an address or a reason",
            limits::MAX_TEXT_CHARS,
        ),
        (
            "characters of a tracking number",
            limits::MAX_TRACKING_NUMBER_CHARS,
        ),
    ]
    .into_iter()
    .map(|(name, max)| Limit::new(name, max as u64, "`INVALID_FIELD`"))
}

fn connections() -> Vec<Limit> {
    let settings::Limits {
        connections,
        strangers: _,
        streams,
        patience,
        call_time,
    } = settings::Limits::default();
    vec![
        Limit::new(
            "bytes of a message",
            layers::MAX_MESSAGE_BYTES,
            "`INVALID_FIELD` for the field `request`",
        ),
        Limit::new(
            "bytes of a call's metadata",
            layers::limits::MAX_METADATA_BYTES as u64,
            "`INVALID_FIELD` for the field `metadata`",
        ),
        Limit::new(
            "connections",
            connections.into(),
            "the server closes further ones",
        ),
        Limit::new(
            "calls in flight on a connection",
            streams.into(),
            "the client library queues further ones",
        ),
        Limit::new(
            "seconds of a call until its answer begins",
            call_time.as_secs(),
            "`OVERLOADED`",
        ),
        Limit::new(
            "seconds of a new connection until it speaks",
            patience.as_secs(),
            "the server closes it",
        ),
        Limit::new(
            "connections for metrics",
            crate::ops::scrape::MAX_CONNECTIONS.into(),
            "the oldest closes for a new one",
        ),
    ]
}

fn strangers() -> Vec<Limit> {
    let all = settings::Limits::default().strangers;
    let mut limits = vec![Limit::new(
        "connections without an admitted call",
        all.into(),
        "the oldest closes for a new one",
    )];
    limits.extend(listener::LIMITS);
    limits.extend(layers::access::LIMITS);
    limits.extend(node::LIMITS);
    limits.extend(access::credentials::LIMITS);
    limits
}
