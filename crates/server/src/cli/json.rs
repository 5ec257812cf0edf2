//! Formats the contract's messages as protobuf JSON.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{
    DescriptorError, DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions,
};

use super::{Failure, text::printable_json};

static POOL: LazyLock<Result<DescriptorPool, DescriptorError>> =
    LazyLock::new(|| DescriptorPool::decode(contract::FILE_DESCRIPTOR_SET));

/// Returns the descriptor of a message of `orders.v1`.
pub(super) fn descriptor(name: &str) -> Result<MessageDescriptor, Failure> {
    let pool = POOL.as_ref().map_err(|error| broken(name, error))?;
    pool.get_message_by_name(&format!("orders.v1.{name}"))
        .ok_or_else(|| broken(name, "it is not part of it"))
}

/// Formats a message of `orders.v1` as one line of JSON. Includes fields with default values, so
/// that scripts find them.
pub(super) fn text<M: Message>(name: &str, message: &M) -> Result<String, Failure> {
    let mut dynamic = DynamicMessage::new(descriptor(name)?);
    dynamic
        .transcode_from(message)
        .map_err(|error| broken(name, error))?;
    let mut json = serde_json::Serializer::new(Vec::new());
    let options = SerializeOptions::new().skip_default_fields(false);
    dynamic
        .serialize_with_options(&mut json, &options)
        .map_err(|error| broken(name, error))?;
    let json = String::from_utf8(json.into_inner()).map_err(|error| broken(name, error))?;
    Ok(printable_json(&json))
}

fn broken(name: &str, cause: impl std::fmt::Display) -> Failure {
    Failure::Operation(format!("{name} does not fit the contract: {cause}"))
}

#[cfg(test)]
mod tests {
    use contract::orders::v1::{
        Order, OrderStatus, RecordedEvent, SearchOrdersResponse, recorded_event::Payload,
    };

    use super::*;

    #[test]
    fn messages_are_protobuf_json_with_defaults() {
        let event = RecordedEvent {
            position: 7,
            occurred_at: Some(prost_types::Timestamp {
                seconds: 0,
                nanos: 500_000_000,
            }),
            payload: Some(Payload::OrderDelivered(Default::default())),
            ..RecordedEvent::default()
        };
        let json: serde_json::Value =
            serde_json::from_str(&text("RecordedEvent", &event).unwrap()).unwrap();
        assert_eq!(json["position"], "7");
        assert_eq!(json["occurredAt"], "1970-01-01T00:00:00.500Z");
        assert_eq!(json["requestId"], "");
        assert_eq!(json["orderDelivered"], serde_json::json!({}));
        assert_eq!(json.get("orderShipped"), None);

        let found = SearchOrdersResponse {
            orders: vec![Order {
                status: OrderStatus::Shipped.into(),
                ..Order::default()
            }],
            ..SearchOrdersResponse::default()
        };
        let json = text("SearchOrdersResponse", &found).unwrap();
        assert!(
            json.contains(r#""status":"ORDER_STATUS_SHIPPED""#),
            "{json}"
        );
    }
}
