//! Reads the fields that filters compare from an encoded event, without decoding the rest.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost_reflect::Kind;

use super::DESCRIPTORS;

/// The field numbers of `RecordedEvent` in the contract.
mod field {
    pub(super) const AGGREGATE_TYPE: u32 = 3;
    pub(super) const AGGREGATE_ID: u32 = 4;
    pub(super) const CUSTOMER_ID: u32 = 6;
    pub(super) const FIRST_PAYLOAD: u32 = 20;
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Header<'a> {
    pub(crate) aggregate_type: i32,
    pub(crate) aggregate_id: &'a str,
    pub(crate) customer_id: &'a str,
    /// The number of the payload's field, which identifies the event type.
    pub(crate) payload: u32,
}

impl<'a> Header<'a> {
    /// Reads the header of an encoded event. A malformed field counts as absent, because the log
    /// holds only events that this crate encoded.
    pub(crate) fn of(record: &'a [u8]) -> Self {
        let mut header = Self::default();
        let mut rest = record;
        while let Ok((tag, wire_type)) = decode_key(&mut rest) {
            match (tag, wire_type) {
                (field::AGGREGATE_TYPE, WireType::Varint) => {
                    header.aggregate_type = number(&mut rest) as i32;
                }
                (field::AGGREGATE_ID, WireType::LengthDelimited) => {
                    header.aggregate_id = text(&mut rest);
                }
                (field::CUSTOMER_ID, WireType::LengthDelimited) => {
                    header.customer_id = text(&mut rest);
                }
                (field::FIRST_PAYLOAD.., _) => {
                    header.payload = tag;
                    break;
                }
                _ => {
                    if skip_field(wire_type, tag, &mut rest, DecodeContext::default()).is_err() {
                        break;
                    }
                }
            }
        }
        header
    }
}

fn number(rest: &mut &[u8]) -> u64 {
    decode_varint(rest).unwrap_or_default()
}

fn text<'a>(rest: &mut &'a [u8]) -> &'a str {
    let length = number(rest) as usize;
    let (text, remaining) = rest.split_at_checked(length).unwrap_or_default();
    *rest = remaining;
    std::str::from_utf8(text).unwrap_or_default()
}

/// Returns the number of the payload's field for an event type, or `None` for an unknown type.
pub(crate) fn payload_of(event_type: &str) -> Option<u32> {
    let descriptors = DESCRIPTORS.as_ref().ok()?;
    let message = descriptors.get_message_by_name("orders.v1.RecordedEvent")?;
    let payload = message.oneofs().find(|oneof| oneof.name() == "payload")?;
    let mut fields = payload.fields();
    let is_wanted = |kind| matches!(kind, Kind::Message(message) if message.name() == event_type);
    let field = fields.find(|field| is_wanted(field.kind()))?;
    Some(field.number())
}

#[cfg(test)]
mod tests {
    use contract::orders::v1::{
        AggregateType, OrderDelivered, RecordedEvent, recorded_event::Payload,
    };
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::codec::record;

    #[test]
    fn every_payload_of_the_contract_has_its_event_type_and_field_number() {
        let descriptors = DESCRIPTORS.as_ref().unwrap();
        let message = descriptors.get_message_by_name("orders.v1.RecordedEvent");
        let payload = message.unwrap().oneofs().next().unwrap();
        for field in payload.fields() {
            let mut bytes = Vec::new();
            prost::encoding::bytes::encode(field.number(), &Vec::new(), &mut bytes);
            let event = RecordedEvent::decode(bytes.as_slice()).unwrap();
            let event_type = record::event_type(&event.payload.unwrap());
            assert_eq!(event_type, field.kind().as_message().unwrap().name());
            assert_eq!(payload_of(event_type), Some(field.number()), "{event_type}");
            assert_eq!(Header::of(&bytes).payload, field.number(), "{event_type}");
        }
        assert_eq!(payload_of("OrderLost"), None);
    }

    proptest! {
        #[test]
        fn header_has_the_same_fields_as_the_decoded_event(
            position: u64, aggregate_id: String, customer_id: String, event_id: String, kind in 0..4i32,
        ) {
            let event = RecordedEvent {
                position,
                event_id,
                aggregate_type: kind,
                aggregate_id,
                version: 7,
                customer_id,
                occurred_at: Some(wire::convert::timestamp(1)),
                payload: Some(Payload::OrderDelivered(OrderDelivered {})),
                ..RecordedEvent::default()
            };
            let bytes = event.encode_to_vec();
            prop_assert_eq!(Header::of(&bytes), Header {
                aggregate_type: AggregateType::try_from(kind).unwrap().into(),
                aggregate_id: &event.aggregate_id,
                customer_id: &event.customer_id,
                payload: 22,
            });
        }

        #[test]
        fn any_bytes_have_a_header(bytes: Vec<u8>) {
            Header::of(&bytes);
        }
    }
}
