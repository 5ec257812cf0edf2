//! Decodes requests and rejects unknown fields.
//!
//! A client that is newer than this server may send a field that the server does not know. Plain
//! decoding would drop the field, and the server would execute the command without it.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use contract::Raw;
use prost::{
    Message,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};
use prost_reflect::{Kind, MessageDescriptor};
use wire::{Error, Violations};

use super::DESCRIPTORS;

/// Limits the unknown fields that one error names. A client needs fewer to see that it is newer
/// than the server.
const MAX_NAMED_FIELDS: usize = 100;

/// Decodes a request, and rejects it if decoding would lose a field. `name` is the name of the
/// message in `orders.v1`.
///
/// # Errors
/// - [`Error::InvalidFields`] with the unknown fields, or when the bytes are no such message.
/// - [`Error::Internal`] when the contract's descriptors lack the message.
pub fn decode<M: Message + Default>(raw: &Raw, name: &str) -> Result<M, Error> {
    let bytes = raw.bytes();
    match M::decode(bytes.clone()) {
        // Decoding drops unknown fields, so that `encoded_len` is shorter than the request. A
        // negative 32-bit number may make it longer, but the checks of the fields reject that.
        Ok(message) if message.encoded_len() == bytes.len() => Ok(message),
        // Another encoding of known fields may be longer too: only reading the fields tells.
        Ok(message) => {
            let mut violations = Violations::default();
            unknown(raw, name)?.into_iter().for_each(|field| {
                violations.add(field, "is a field that this server does not know")
            });
            violations.finish()?;
            Ok(message)
        }
        Err(error) => {
            let rule = format!("is not a {name}: {error}");
            Err(Error::invalid_field("request", rule))
        }
    }
}

/// Returns the path of each unknown field once, at most [`MAX_NAMED_FIELDS`] in all. A path ends in the
/// field's number, because an unknown field has no name.
fn unknown(raw: &Raw, name: &str) -> Result<Vec<String>, Error> {
    let broken = |error: &dyn std::fmt::Display| {
        Error::internal(format!(
            "the contract's descriptors do not fit {name}: {error}"
        ))
    };
    let pool = DESCRIPTORS.as_ref().map_err(|error| broken(error))?;
    let descriptor = pool
        .get_message_by_name(&format!("orders.v1.{name}"))
        .ok_or_else(|| broken(&"there is no such message"))?;
    let mut paths = Vec::new();
    collect(
        raw.bytes(),
        &descriptor,
        &Path::ROOT,
        &mut Scope::default(),
        &mut paths,
    );
    Ok(paths)
}

/// The path of a message inside the request. It becomes text only for an unknown field, because a
/// message may repeat a field a million times.
struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    name: &'a str,
    index: Option<usize>,
}

impl Path<'_> {
    const ROOT: Self = Self {
        parent: None,
        name: "",
        index: None,
    };
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(parent) = self.parent else {
            return Ok(());
        };
        write!(to, "{parent}{}", self.name)?;
        match self.index {
            Some(index) => write!(to, "[{index}]."),
            None => write!(to, "."),
        }
    }
}

/// The fields of a message at one path that have been seen so far. A field that is no list may be
/// sent several times, and its parts then have the same path.
#[derive(Default)]
struct Scope {
    unknown: HashSet<u32>,
    lengths: HashMap<u32, usize>,
    inside: HashMap<u32, Scope>,
}

/// Collects the paths of the unknown fields of a well-formed message, without storing its values. The
/// time is linear in the bytes of the message.
fn collect(
    mut rest: &[u8],
    message: &MessageDescriptor,
    path: &Path<'_>,
    scope: &mut Scope,
    paths: &mut Vec<String>,
) {
    while let Ok((number, wire_type)) = decode_key(&mut rest) {
        if paths.len() == MAX_NAMED_FIELDS {
            return;
        }
        let field = message.get_field(number);
        if field.is_none() && scope.unknown.insert(number) {
            paths.push(format!("{path}{number}"));
        }
        let inside = field.as_ref().map(|field| (field, field.kind()));
        match inside {
            Some((field, Kind::Message(inside))) if wire_type == WireType::LengthDelimited => {
                let length = decode_varint(&mut rest).unwrap_or_default() as usize;
                let (bytes, remaining) = rest.split_at_checked(length).unwrap_or_default();
                rest = remaining;
                let mut path = Path {
                    parent: Some(path),
                    name: field.name(),
                    index: None,
                };
                if field.is_list() {
                    let length = scope.lengths.entry(number).or_default();
                    path.index = Some(*length);
                    *length += 1;
                    collect(bytes, &inside, &path, &mut Scope::default(), paths);
                } else {
                    let scope = scope.inside.entry(number).or_default();
                    collect(bytes, &inside, &path, scope, paths);
                }
            }
            _ => {
                if skip_field(wire_type, number, &mut rest, DecodeContext::default()).is_err() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use contract::{
        google::r#type::Money,
        orders::v1::{CreateOrderItem, CreateOrderRequest},
    };
    use proptest::prelude::*;
    use prost::encoding::{string, uint32};
    use wire::Violation;

    use super::*;

    fn order() -> CreateOrderRequest {
        let item = CreateOrderItem {
            product_id: "tea".into(),
            quantity: 2,
            unit_price: Some(Money {
                currency_code: "EUR".into(),
                units: 12,
                nanos: 500_000_000,
            }),
        };
        CreateOrderRequest {
            customer_id: "ann".into(),
            items: vec![item.clone(), item],
            ..CreateOrderRequest::default()
        }
    }

    fn given(bytes: Vec<u8>) -> Result<CreateOrderRequest, Error> {
        decode(&Raw::decode(&*bytes).unwrap(), "CreateOrderRequest")
    }

    fn fields(error: Error) -> Vec<String> {
        let Error::InvalidFields(violations) = error else {
            panic!("{error:?}")
        };
        violations
            .into_iter()
            .map(|Violation { field, .. }| field)
            .collect()
    }

    #[test]
    fn unknown_field_is_named_with_its_path() {
        let mut bytes = order().encode_to_vec();
        string::encode(99, &"as a gift".to_owned(), &mut bytes);
        // Adds a third item with an unknown field in its price.
        let mut price = order().items[0].unit_price.clone().unwrap().encode_to_vec();
        uint32::encode(7, &1, &mut price);
        let mut item = Vec::new();
        prost::encoding::bytes::encode(3, &price, &mut item);
        prost::encoding::bytes::encode(4, &item, &mut bytes);
        assert_eq!(
            fields(given(bytes).unwrap_err()),
            ["99", "items[2].unit_price.7"]
        );
    }

    #[test]
    fn other_encoding_of_the_same_request_is_accepted() {
        let mut bytes = Vec::new();
        // The message holds an explicit default value and a repeated field.
        string::encode(1, &String::new(), &mut bytes);
        string::encode(3, &"bob".to_owned(), &mut bytes);
        bytes.extend(order().encode_to_vec());
        assert_eq!(given(bytes), Ok(order()));
    }

    #[test]
    fn bytes_that_are_no_message_are_an_invalid_request() {
        let mut bytes = order().encode_to_vec();
        bytes.truncate(bytes.len() - 1);
        assert_eq!(fields(given(bytes).unwrap_err()), ["request"]);
    }

    #[test]
    fn unknown_field_sent_a_million_times_is_named_once() {
        let mut bytes = order().encode_to_vec();
        for _ in 0..1_000_000 {
            uint32::encode(9, &1, &mut bytes);
        }
        assert_eq!(fields(given(bytes).unwrap_err()), ["9"]);
        let mut bytes = order().encode_to_vec();
        for number in 100..100_000 {
            uint32::encode(number, &1, &mut bytes);
        }
        assert_eq!(fields(given(bytes).unwrap_err()).len(), MAX_NAMED_FIELDS);
    }

    proptest! {
        #[test]
        fn unknown_field_is_found_at_every_depth(
            number in 50..1000_u32, value: Vec<u8>, item in 0..2_usize, depth in 0..3,
        ) {
            let mut unknown = Vec::new();
            prost::encoding::bytes::encode(number, &value, &mut unknown);
            // Puts the unknown field after the price, after the item, or after the whole order.
            let mut bytes = CreateOrderRequest { items: vec![], ..order() }.encode_to_vec();
            for (index, line) in order().items.into_iter().enumerate() {
                let mut price = line.unit_price.clone().unwrap().encode_to_vec();
                let mut encoded = CreateOrderItem { unit_price: None, ..line }.encode_to_vec();
                if index == item && depth == 0 {
                    price.extend(&unknown);
                }
                prost::encoding::bytes::encode(3, &price, &mut encoded);
                if index == item && depth == 1 {
                    encoded.extend(&unknown);
                }
                prost::encoding::bytes::encode(4, &encoded, &mut bytes);
            }
            prop_assert_eq!(given(bytes.clone()).is_ok(), depth == 2);
            bytes.extend(if depth == 2 { unknown } else { Vec::new() });
            let path = match depth {
                0 => format!("items[{item}].unit_price.{number}"),
                1 => format!("items[{item}].{number}"),
                _ => number.to_string(),
            };
            prop_assert_eq!(fields(given(bytes).unwrap_err()), [path]);
        }

        #[test]
        fn any_bytes_get_a_result(bytes: Vec<u8>) {
            let _ = given(bytes);
        }
    }
}
