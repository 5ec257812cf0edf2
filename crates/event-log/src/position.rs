use bytes::{Bytes, BytesMut};
use prost::encoding;

/// The position's number in the message that a record is.
const FIELD: u32 = 1;

/// A tag and a 64-bit number at their longest.
const LONGEST_PREFIX: usize = 11;

/// Writes positions in front of records. What it makes lies in one piece of memory.
#[derive(Debug)]
pub struct Encoder {
    buffer: BytesMut,
}

impl Encoder {
    /// Room for so many records of so many bytes in all.
    #[must_use]
    pub fn with_capacity(records: usize, bytes: usize) -> Self {
        Self {
            buffer: BytesMut::with_capacity(bytes + records * LONGEST_PREFIX),
        }
    }

    /// The record with its position.
    pub fn push(&mut self, position: u64, record: &[u8]) -> Bytes {
        encoding::uint64::encode(FIELD, &position, &mut self.buffer);
        self.buffer.extend_from_slice(record);
        self.buffer.split().freeze()
    }
}
