//! Messages and errors as the JSON of the suite.

use std::error::Error;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::follow;

fn descriptor(name: &str) -> Result<MessageDescriptor, Box<dyn Error>> {
    let pool = DescriptorPool::decode(contract::FILE_DESCRIPTOR_SET)?;
    let found = pool.get_message_by_name(&format!("orders.v1.{name}"));
    Ok(found.ok_or("no such message")?)
}

/// Reads the message `name` of `orders.v1`. An unknown field is an error.
pub(crate) fn message<M: Message + Default>(name: &str, json: Value) -> Result<M, Box<dyn Error>> {
    Ok(DynamicMessage::deserialize(descriptor(name)?, json)?.transcode_to()?)
}

/// Makes the reply of a call, whose response is the message `name` of `orders.v1`.
pub(crate) fn reply(
    name: &str,
    result: Result<impl Message, Status>,
) -> Result<Value, Box<dyn Error>> {
    let response = match result {
        Ok(response) => response,
        Err(status) => return Ok(refusal(&status)),
    };
    let mut message = DynamicMessage::new(descriptor(name)?);
    message.transcode_from(&response)?;
    Ok(json!({ "ok": serde_json::to_value(message)? }))
}

/// Describes an error of a call.
pub(crate) fn refusal(status: &Status) -> Value {
    let details = status.get_error_details();
    let info = details.error_info();
    let violations = details.bad_request().map(|bad| &bad.field_violations);
    let violations = violations.into_iter().flatten();
    json!({ "error": {
        "code": name(status.code()),
        "reason": info.map_or("", |info| &info.reason),
        "metadata": info.map(|info| &info.metadata),
        "violations": violations.map(|it| (&*it.field, &*it.description)).collect::<Value>(),
        "resource": details.resource_info().map_or("", |it| &it.resource_name),
    }})
}

/// Describes the error that ended the subscriber.
///
/// # Errors
/// Fails if the warehouse failed, and not the call.
pub(crate) fn end(error: follow::Error) -> Result<Value, Box<dyn Error>> {
    match error {
        follow::Error::Refused(status) => Ok(refusal(&status)),
        follow::Error::OtherHistory {
            reason,
            position,
            shared_position,
        } => {
            let code = match &*reason {
                "POSITION_BEYOND_HEAD" => Code::OutOfRange,
                _ => Code::FailedPrecondition,
            };
            Ok(json!({ "error": {
                "code": name(code),
                "reason": reason,
                "position": position,
                "shared_position": shared_position,
            }}))
        }
        follow::Error::Store(error) => Err(error.into()),
    }
}

/// Returns the name of a code in gRPC, such as `NOT_FOUND`.
fn name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}
