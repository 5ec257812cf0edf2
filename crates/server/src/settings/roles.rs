/// What a node is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Roles {
    /// It takes commands, and streams the log.
    pub command: bool,
    /// It keeps documents and a search index, and answers queries from them.
    pub query: bool,
    /// It feeds a search index that several nodes share. An index of its own it feeds anyway.
    pub indexer: bool,
}

impl Roles {
    /// Those of a node that stands alone.
    pub const ALL: Self = Self {
        command: true,
        query: true,
        indexer: true,
    };

    /// `None` when one has no such name, or `indexer` comes without `query`: the index is fed from
    /// the documents.
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
