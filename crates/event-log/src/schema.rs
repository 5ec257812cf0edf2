use crate::Error;

/// How the records that are written now look, and how older ones are made to look so.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// The version of what is written now.
    pub current: u32,
    /// Turns a record of this event type and older schema version into one of the current
    /// version; `None` if it is not known how.
    pub upcast: fn(event_type: &str, schema_version: u32, record: &[u8]) -> Option<Vec<u8>>,
}

impl Schema {
    /// A record as it would be written now.
    ///
    /// # Errors
    /// [`Error::UnknownSchema`].
    pub fn read(
        &self,
        position: u64,
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
