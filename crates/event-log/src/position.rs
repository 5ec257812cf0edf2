//! Positions of events in the log, and versions of aggregates.

use std::{
    fmt,
    ops::{Add, AddAssign},
};

/// The position of an event in the log: 1, 2, 3, ... in commit order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type)]
#[sqlx(transparent)]
pub struct Position(i64);

impl Position {
    /// The position before the first event, which is the head of an empty log.
    pub const START: Self = Self(0);

    /// The largest position that the stores can hold. No log reaches it.
    pub const MAX: Self = Self(i64::MAX);

    /// Returns the position as the contract writes it.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.cast_unsigned()
    }

    /// Returns the position before this one, or [`Position::START`] if there is none.
    #[must_use]
    pub fn previous(self) -> Self {
        Self(self.0 - 1).max(Self::START)
    }

    /// Returns the number of positions after `earlier` through this one.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.get().saturating_sub(earlier.get())
    }

    /// Returns this position and all later ones, in order.
    pub fn onwards(self) -> impl Iterator<Item = Self> {
        (self.0..).map(Self)
    }
}

/// A number that no log reaches becomes [`Position::MAX`].
impl From<u64> for Position {
    fn from(number: u64) -> Self {
        i64::try_from(number).map_or(Self::MAX, Self)
    }
}

impl Add<usize> for Position {
    type Output = Self;

    fn add(self, count: usize) -> Self {
        Self(self.0.saturating_add(count as i64))
    }
}

impl AddAssign<usize> for Position {
    fn add_assign(&mut self, count: usize) {
        *self = *self + count;
    }
}

impl fmt::Display for Position {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(to)
    }
}

/// The version of an aggregate, which is the number of its events: 0 without events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type)]
#[sqlx(transparent)]
pub struct Version(i64);

impl Version {
    /// Returns the version as the contract writes it.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.cast_unsigned()
    }

    /// Returns the version after one more event.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A number that no aggregate reaches becomes the largest version.
impl From<u64> for Version {
    fn from(number: u64) -> Self {
        Self(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(to)
    }
}

/// The position in a reply, which may depend on the position that the batch gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PendingPosition {
    /// The position of an event in the log.
    Known(Position),
    /// The position of the batch's event with this index, from 0.
    InBatch(usize),
}

/// Stands for an aggregate without events.
impl Default for PendingPosition {
    fn default() -> Self {
        Self::Known(Position::START)
    }
}

impl PendingPosition {
    /// Returns the position, for a batch whose first event is at position `first`.
    #[must_use]
    pub fn resolve(self, first: Position) -> Position {
        match self {
            Self::Known(position) => position,
            Self::InBatch(index) => first + index,
        }
    }
}
