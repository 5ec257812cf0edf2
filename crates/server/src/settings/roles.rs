/// What a node is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Roles {
    /// It takes commands, and streams the log.
    pub command: bool,
    /// It keeps documents and a search index, and answers queries from them.
    pub query: bool,
}

impl Roles {
    /// Those of a node that stands alone.
    pub const ALL: Self = Self {
        command: true,
        query: true,
    };

    /// `None` when one has no such name, or `indexer` comes without `query`: the index is fed from
    /// the documents. An embedded one is part of the node that answers from it, and is fed there
    /// whether `indexer` is named or not.
    pub(super) fn parse(value: &str) -> Option<Self> {
        let mut roles = Self::default();
        let mut indexer = false;
        for role in value.split(',') {
            match role.trim() {
                "command" => roles.command = true,
                "query" => roles.query = true,
                "indexer" => indexer = true,
                _ => return None,
            }
        }
        (roles.query || !indexer).then_some(roles)
    }
}
