//! The limits that clients can meet. The source of `docs/reference/limits.md`.

/// A limit on clients, next to the constant that sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The limited thing.
    pub name: &'static str,
    /// The greatest number of it.
    pub max: u64,
    /// The server's reaction past the limit.
    pub effect: &'static str,
}

impl Limit {
    /// Describes a limit.
    #[must_use]
    pub const fn new(name: &'static str, max: u64, effect: &'static str) -> Self {
        Self { name, max, effect }
    }
}
