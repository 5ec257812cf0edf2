//! Encodes the position of an event into its record.

use bytes::{Bytes, BytesMut};
use prost::encoding;

/// The field number of the position in a record.
const FIELD: u32 = 1;

/// Bytes of the longest position field: a tag of 1 byte and a 64-bit varint of up to 10.
const LONGEST_PREFIX: usize = 11;

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
            buffer: BytesMut::with_capacity(bytes + records * LONGEST_PREFIX),
        }
    }

    /// Returns the record with its position in front.
    pub fn push(&mut self, position: u64, record: &[u8]) -> Bytes {
        encoding::uint64::encode(FIELD, &position, &mut self.buffer);
        self.buffer.extend_from_slice(record);
        self.buffer.split().freeze()
    }
}
