//! The row of an order, in SQL as in Rust.

use std::fmt;

use serde::{Deserialize, Serialize};
use sqlx::{Database, Decode, Encode, Sqlite, Type, encode::IsNull, error::BoxDynError};

/// The row of an order: the position of the event that created it. It is the order's permanent key
/// in the documents and in every index.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Row(pub u64);

impl Row {
    /// Returns the smallest row after this one.
    #[must_use]
    pub fn following(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Tests compare rows with numbers.
#[cfg(test)]
impl PartialEq<u64> for Row {
    fn eq(&self, other: &u64) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for Row {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(to)
    }
}

impl Type<Sqlite> for Row {
    fn type_info() -> <Sqlite as Database>::TypeInfo {
        <i64 as Type<Sqlite>>::type_info()
    }

    fn compatible(info: &<Sqlite as Database>::TypeInfo) -> bool {
        <i64 as Type<Sqlite>>::compatible(info)
    }
}

impl Encode<'_, Sqlite> for Row {
    fn encode_by_ref(
        &self,
        buffer: &mut <Sqlite as Database>::ArgumentBuffer,
    ) -> Result<IsNull, BoxDynError> {
        Encode::<Sqlite>::encode(self.0.cast_signed(), buffer)
    }
}

impl<'r> Decode<'r, Sqlite> for Row {
    fn decode(value: <Sqlite as Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
        let row = <i64 as Decode<Sqlite>>::decode(value)?;
        Ok(Self(row.cast_unsigned()))
    }
}
