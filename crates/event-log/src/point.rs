//! Points of a log's history. A position alone does not name an event: after a failover, a restore or
//! a point-in-time recovery, a log may have another event there (guarantee G12).

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use uuid::Uuid;

use crate::{Error, Position};

/// The field number of the event id in a record. Only the position comes before it.
const EVENT_ID_FIELD: u32 = 2;

/// An event's position and id, which name the log's history up to this event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Point {
    /// The event's position.
    pub position: Position,
    /// The event's id. Nil before the first event, and if it is unknown.
    pub event_id: Uuid,
}

impl Point {
    /// The point before the first event, which all histories share.
    pub const START: Self = Self {
        position: Position::START,
        event_id: Uuid::nil(),
    };

    /// Returns the point of a record at a position.
    #[must_use]
    pub fn of(position: Position, record: &[u8]) -> Self {
        Self {
            position,
            event_id: event_id(record).unwrap_or_default(),
        }
    }

    /// Checks that the log has this point. `found` is the log's point at the position, if it has one.
    ///
    /// # Errors
    /// - [`Error::Diverged`]: the log has another event there, or none.
    /// - [`Error::Damaged`]: the record there has no id.
    pub fn check(self, found: Option<Self>) -> Result<(), Error> {
        let position = self.position;
        let start = (position == Position::START).then_some(Self::START);
        match found.or(start) {
            Some(found) if found == self => Ok(()),
            Some(found) if found.event_id.is_nil() => {
                Err(Error::Damaged(format!("event {position} has no id")))
            }
            _ => Err(Error::Diverged { position }),
        }
    }
}

/// Reads the event id of a record, with or without its position in front.
fn event_id(mut record: &[u8]) -> Option<Uuid> {
    loop {
        match decode_key(&mut record).ok()? {
            (EVENT_ID_FIELD, WireType::LengthDelimited) => {
                let length = usize::try_from(decode_varint(&mut record).ok()?).ok()?;
                return Uuid::try_parse_ascii(record.get(..length)?).ok();
            }
            (tag, wire_type) if tag < EVENT_ID_FIELD => {
                skip_field(wire_type, tag, &mut record, DecodeContext::default()).ok()?;
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::encoding;

    use super::*;
    use crate::Encoder;

    fn record(event_id: &str) -> Vec<u8> {
        let mut record = Vec::new();
        encoding::string::encode(EVENT_ID_FIELD, &event_id.to_owned(), &mut record);
        encoding::string::encode(4, &"o-1".repeat(100), &mut record);
        record
    }

    #[test]
    fn a_point_has_the_id_of_the_stored_and_of_the_sent_record() {
        let id = Uuid::now_v7();
        let position = Position::from(300);
        let point = Point {
            position,
            event_id: id,
        };
        let stored = record(&id.to_string());
        assert_eq!(Point::of(position, &stored), point);
        assert_eq!(Point::of(position, &stored[..64]), point);
        let sent = Encoder::with_capacity(0, 0).push(position, &stored);
        assert_eq!(Point::of(position, &sent), point);
        for other in [&record("no uuid")[..], &[], b"x"] {
            assert_eq!(Point::of(position, other).event_id, Uuid::nil());
        }
    }

    #[test]
    fn g12_a_point_is_of_one_history() {
        let ids = [Uuid::now_v7(), Uuid::now_v7()];
        let [stored, other] = ids.map(|id| record(&id.to_string()));
        let point = Point::of(7.into(), &stored);
        point.check(Some(point)).unwrap();
        for found in [Some(Point::of(7.into(), &other)), None] {
            let checked = point.check(found);
            let Err(Error::Diverged { position }) = checked else {
                panic!("{checked:?}");
            };
            assert_eq!(position, 7.into());
        }
        let damaged = point.check(Some(Point::of(7.into(), b"damaged")));
        assert!(matches!(damaged, Err(Error::Damaged(_))), "{damaged:?}");
        Point::START.check(None).unwrap();
    }
}
