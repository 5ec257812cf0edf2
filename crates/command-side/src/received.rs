//! Requests as they came.
//!
//! A field that is not known here, from a client that is newer than this server, would be dropped
//! by decoding, and the command would be carried out without what it says. So it is refused.

use std::sync::LazyLock;

use contract::Raw;
use prost::Message;
use prost_reflect::{DescriptorError, DescriptorPool, DynamicMessage, Value};
use wire::{Error, Violations};

static POOL: LazyLock<Result<DescriptorPool, DescriptorError>> =
    LazyLock::new(|| DescriptorPool::decode(contract::FILE_DESCRIPTOR_SET));

/// The request, if nothing of it is lost. `name` is that of its message in `orders.v1`.
pub(crate) fn decode<M: Message + Default>(raw: &Raw, name: &str) -> Result<M, Error> {
    let bytes = raw.bytes();
    let mut violations = Violations::default();
    match M::decode(bytes.clone()) {
        // What is encoded again without what is not known is shorter than what came.
        Ok(message) if message.encoded_len() == bytes.len() => Ok(message),
        // Other encodings of the same are longer too: it has to be looked at.
        Ok(message) => {
            unknown(raw, name)?.into_iter().for_each(|field| {
                violations.add(field, "is a field that this server does not know")
            });
            violations.finish()?;
            Ok(message)
        }
        Err(error) => {
            violations.add("request", format!("is not a {name}: {error}"));
            Err(violations.finish().err().unwrap_or(Error::Internal))
        }
    }
}

/// The paths of the fields that are not known, which have a number and no name.
fn unknown(raw: &Raw, name: &str) -> Result<Vec<String>, Error> {
    let broken = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, name, "the contract's descriptors do not fit it");
        Error::Internal
    };
    let pool = POOL.as_ref().map_err(|error| broken(error))?;
    let descriptor = pool
        .get_message_by_name(&format!("orders.v1.{name}"))
        .ok_or_else(|| broken(&"there is no such message"))?;
    let message =
        DynamicMessage::decode(descriptor, raw.bytes().clone()).map_err(|error| broken(&error))?;
    let mut paths = Vec::new();
    collect(&message, "", &mut paths);
    Ok(paths)
}

fn collect(message: &DynamicMessage, path: &str, paths: &mut Vec<String>) {
    let below = |name: &dyn std::fmt::Display| match path {
        "" => name.to_string(),
        path => format!("{path}.{name}"),
    };
    paths.extend(message.unknown_fields().map(|field| below(&field.number())));
    for (field, value) in message.fields() {
        let path = below(&field.name());
        match value {
            Value::Message(inside) => collect(inside, &path, paths),
            Value::List(values) => {
                for (index, value) in values.iter().enumerate() {
                    if let Value::Message(inside) = value {
                        collect(inside, &format!("{path}[{index}]"), paths);
                    }
                }
            }
            _ => {}
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
    fn what_is_not_known_is_told_with_its_path() {
        let mut bytes = order().encode_to_vec();
        string::encode(99, &"as a gift".to_owned(), &mut bytes);
        // A third item, with a field that is not known in its price.
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
    fn another_encoding_of_the_same_is_the_same() {
        let mut bytes = Vec::new();
        // Defaults that are sent, and a field that is sent twice.
        string::encode(1, &String::new(), &mut bytes);
        string::encode(3, &"bob".to_owned(), &mut bytes);
        bytes.extend(order().encode_to_vec());
        assert_eq!(given(bytes), Ok(order()));
    }

    #[test]
    fn what_cannot_be_decoded_is_an_invalid_request() {
        let mut bytes = order().encode_to_vec();
        bytes.truncate(bytes.len() - 1);
        assert_eq!(fields(given(bytes).unwrap_err()), ["request"]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_panics(bytes: Vec<u8>) {
            if let Ok(request) = given(bytes.clone()) {
                let name = "orders.v1.CreateOrderRequest";
                let descriptor = POOL.as_ref().unwrap().get_message_by_name(name).unwrap();
                let dynamic = DynamicMessage::decode(descriptor, &*bytes).unwrap();
                prop_assert_eq!(dynamic.encode_to_vec().len(), request.encoded_len());
            }
        }
    }
}
