//! Encodes the position of an event into its record.

use bytes::{Bytes, BytesMut};
use prost::encoding;

use crate::Position;

/// The field number of the position in a record.
const POSITION_FIELD: u32 = 1;

/// Limits the bytes of the position's field: a tag of 1 byte and a 64-bit varint of up to 10.
const MAX_POSITION_BYTES: usize = 11;

/// Writes positions in front of records, into one buffer for all records.
#[derive(Debug)]
pub struct Encoder {
    buffer: BytesMut,
}

impl Encoder {
    /// Creates an encoder with room for `records` records of `bytes` bytes in total.
    #[must_use]
    pub fn with_capacity(records: usize, bytes: usize) -> Self {
        Self {
            buffer: BytesMut::with_capacity(bytes + records * MAX_POSITION_BYTES),
        }
    }

    /// Returns the record with its position in front.
    pub fn push(&mut self, position: Position, record: &[u8]) -> Bytes {
        encoding::uint64::encode(POSITION_FIELD, &position.get(), &mut self.buffer);
        self.buffer.extend_from_slice(record);
        self.buffer.split().freeze()
    }
}
