//! A file of commands, as `orderlog import` reads it, and each of them as the server decodes it.

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

/// 2027-01-15.
const NOW: i64 = 1_800_000_000_000_000_000;

static DESCRIPTOR: LazyLock<MessageDescriptor> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(contract::FILE_DESCRIPTOR_SET).expect("the contract's own");
    let descriptor = pool.get_message_by_name(&format!("orders.v1.{NAME}"));
    descriptor.expect("is part of it")
});

fuzz_target!(|file: &[u8]| {
    let mut numbers = (1..).zip(file.split(|byte| *byte == b'\n'));
    for line in lines(file) {
        // Each that is not blank, by its own number.
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

/// For certain: it may be named in two ways, and in any with escapes.
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

/// The same command, when it is written by the contract's own rules.
fn is_a_line_again(request: &ExecuteCommandsRequest) {
    let mut message = DynamicMessage::new(DESCRIPTOR.clone());
    message.transcode_from(request).expect("is such a message");
    // Times that JSON cannot say, a server would refuse.
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
