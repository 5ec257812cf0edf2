//! Fuzzes files of commands as `orderlog import` reads them. The server must decode each valid
//! line.

#![no_main]

use std::sync::LazyLock;

use command_side::{
    codec::request,
    commands::{Command, Origin},
};
use contract::{
    Raw,
    orders::v1::{ExecuteCommandsRequest, execute_commands_request::Command as Sent},
};
use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use server::cli::import::lines::{Line, Lines};

const NAME: &str = "ExecuteCommandsRequest";

/// The time of the commands: 2027-01-15, in nanoseconds since 1970.
const NOW: i64 = 1_800_000_000_000_000_000;

static DESCRIPTOR: LazyLock<MessageDescriptor> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(contract::FILE_DESCRIPTOR_SET).expect("the contract's own");
    let descriptor = pool.get_message_by_name(&format!("orders.v1.{NAME}"));
    descriptor.expect("is part of it")
});

fuzz_target!(|file: &[u8]| {
    let mut numbers = (1..).zip(file.split(|byte| *byte == b'\n'));
    for line in lines(file) {
        // Each line that is not blank keeps its own line number.
        let (number, text) = numbers
            .find(|(_, text)| !text.trim_ascii().is_empty())
            .expect("is not of nothing");
        assert_eq!(line.number, number);
        assert!(line.end <= file.len() as u64);
        match line.command {
            Err(reason) => {
                assert!(!reason.is_empty());
                assert!(!reason.contains(char::is_control), "{reason:?}");
            }
            Ok(request) => {
                let id = request_id(&request);
                assert!(!id.is_empty());
                if gives_no_request_id(text) {
                    assert!(id.starts_with(&format!("line-{number:012}-")), "{id}");
                }
                is_decoded_by_the_server(&request);
                is_a_line_again(&request);
            }
        }
    }
    assert!(numbers.all(|(_, text)| text.trim_ascii().is_empty()));
});

/// Returns whether the line certainly has no request id. The field has two names, and escapes can
/// spell it in other ways.
fn gives_no_request_id(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    !["requestId", "request_id", "\\"]
        .iter()
        .any(|name| text.contains(name))
}

fn lines(file: &[u8]) -> Vec<Line> {
    let lines = Lines::new(file, DESCRIPTOR.clone());
    lines
        .map(|line| line.expect("memory can be read"))
        .collect()
}

fn is_decoded_by_the_server(request: &ExecuteCommandsRequest) {
    let raw = Raw::decode(&*request.encode_to_vec()).expect("takes anything");
    let decoded = request::decode::<ExecuteCommandsRequest>(&raw, NAME);
    assert_eq!(decoded.as_ref(), Ok(request));
    let sent = request.command.clone().expect("is not a command without");
    let _ = Command::new(sent, &Origin::default(), NOW);
}

/// Checks that the command, written as JSON by the rules of the contract, is read as the same
/// command.
fn is_a_line_again(request: &ExecuteCommandsRequest) {
    let mut message = DynamicMessage::new(DESCRIPTOR.clone());
    message.transcode_from(request).expect("is such a message");
    // JSON cannot represent some times, which the server rejects.
    let Ok(text) = serde_json::to_vec(&message) else {
        return;
    };
    let again = lines(&text);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].command.as_ref(), Ok(request));
}

fn request_id(request: &ExecuteCommandsRequest) -> &str {
    match request.command.as_ref().expect("is not a command without") {
        Sent::CreateOrder(request) => &request.request_id,
        Sent::ShipOrder(request) => &request.request_id,
        Sent::DeliverOrder(request) => &request.request_id,
        Sent::CancelOrder(request) => &request.request_id,
        Sent::RegisterCustomer(request) => &request.request_id,
        Sent::RegisterProduct(request) => &request.request_id,
    }
}
