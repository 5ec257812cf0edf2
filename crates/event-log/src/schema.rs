//! Schema versions of records, and the upcast to the current version.

use crate::{Error, Position};

/// The schema version of new records, and the upcast of records of other versions.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// The schema version of new records.
    pub current: u32,
    /// Converts a record of this event type and schema version to the current version. Returns
    /// `None` if the program has no upcast for the pair.
    pub upcast: fn(event_type: &str, schema_version: u32, record: &[u8]) -> Option<Vec<u8>>,
}

impl Schema {
    /// Returns a record in the current schema version.
    ///
    /// # Errors
    /// [`Error::UnknownSchema`] when the program has no upcast for the record.
    pub fn read(
        &self,
        position: Position,
        event_type: &str,
        found: u32,
        record: Vec<u8>,
    ) -> Result<Vec<u8>, Error> {
        if found == self.current {
            return Ok(record);
        }
        (self.upcast)(event_type, found, &record).ok_or_else(|| Error::UnknownSchema {
            position,
            event_type: event_type.to_owned(),
            found,
        })
    }
}
