//! Encodes the position of an event into its record.

use bytes::{Bytes, BytesMut};
use prost::encoding;

use crate::Position;

/// The field number of the position in a record.
const POSITION_FIELD: u32 = 1;

/// Limits the bytes of the position's field: a tag of 1 byte and a 64-bit varint of up to 10.
const MAX_POSITION_BYTES: usize = 11;

/// Limits the bytes of a buffer that records share, so that one record keeps no more than this
/// alive. A larger record has a buffer of its own.
const MAX_BUFFER_BYTES: usize = 16 << 10;

/// Writes positions in front of records, into buffers that neighbouring records share.
#[derive(Debug)]
pub struct Encoder {
    buffer: BytesMut,
}

impl Encoder {
    /// Creates an encoder with room for `records` records of `bytes` bytes in total.
    #[must_use]
    pub fn with_capacity(records: usize, bytes: usize) -> Self {
        Self {
            buffer: BytesMut::with_capacity(
                (bytes + records * MAX_POSITION_BYTES).min(MAX_BUFFER_BYTES),
            ),
        }
    }

    /// Returns the record with its position in front.
    pub fn push(&mut self, position: Position, record: &[u8]) -> Bytes {
        let needed = MAX_POSITION_BYTES + record.len();
        if self.buffer.capacity() < needed {
            self.buffer = BytesMut::with_capacity(needed.max(MAX_BUFFER_BYTES));
        }
        encoding::uint64::encode(POSITION_FIELD, &position.get(), &mut self.buffer);
        self.buffer.extend_from_slice(record);
        self.buffer.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g13_a_record_keeps_no_more_than_one_buffer_alive() {
        let record = [7; 1000];
        let mut encoder = Encoder::with_capacity(1000, 1000 * record.len());
        let mut records: Vec<_> = Position::from(1)
            .onwards()
            .take(1000)
            .map(|position| encoder.push(position, &record))
            .collect();
        drop(encoder);
        let kept = records.swap_remove(500);
        drop(records);
        let mut kept = kept.try_into_mut().unwrap();
        kept.clear();
        assert!(!kept.try_reclaim(MAX_BUFFER_BYTES + 1));
    }

    #[test]
    fn a_record_larger_than_a_buffer_is_whole() {
        let record = vec![7; 3 * MAX_BUFFER_BYTES];
        let encoded = Encoder::with_capacity(0, 0).push(300.into(), &record);
        assert_eq!(encoded, [&b"\x08\xac\x02"[..], &record].concat());
    }
}
