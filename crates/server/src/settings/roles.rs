//! The roles of a node.

/// The roles that a node runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Roles {
    /// The node executes commands and streams the log.
    pub command: bool,
    /// The node keeps documents and a search index, and answers queries from them.
    pub query: bool,
    /// The node feeds a search index that several nodes share. A node always feeds its own index.
    pub indexer: bool,
}

impl Roles {
    /// Every role, for a node that runs alone.
    pub const ALL: Self = Self {
        command: true,
        query: true,
        indexer: true,
    };

    /// Parses role names, separated by commas. Returns `None` in two cases:
    ///
    /// - A name is unknown.
    /// - `indexer` comes without `query`, whose documents feed the index.
    pub(super) fn parse(value: &str) -> Option<Self> {
        let mut roles = Self::default();
        for role in value.split(',') {
            match role.trim() {
                "command" => roles.command = true,
                "query" => roles.query = true,
                "indexer" => roles.indexer = true,
                _ => return None,
            }
        }
        (roles.query || !roles.indexer).then_some(roles)
    }
}
