//! Compiles `proto/` without protoc: the contract's messages, clients and servers, and the
//! descriptor set that reflection and the JSON form need.

use std::{env, error::Error, fs, path::PathBuf};

use prost_types::field_descriptor_proto::Type;

const FILES: [&str; 6] = [
    "orders/v1/command_service.proto",
    "orders/v1/event.proto",
    "orders/v1/event_service.proto",
    "orders/v1/order.proto",
    "orders/v1/projection_service.proto",
    "orders/v1/query_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(FILES)?;
    fs::write(
        out.join("descriptor_set.bin"),
        compiler.encode_file_descriptor_set(),
    )?;
    tonic_prost_build::configure().compile_fds(compiler.file_descriptor_set())?;

    // The log keeps events in the form in which they are sent. So the server's side of
    // EventService is generated a second time, with events that are bytes already: the same on
    // the wire (both are length-delimited), without decoding and encoding for each subscriber.
    let encoded = out.join("encoded");
    fs::create_dir_all(&encoded)?;
    let mut event_service = compiler.file_descriptor_set();
    event_service
        .file
        .retain(|file| file.name() == "orders/v1/event_service.proto");
    let messages = event_service
        .file
        .iter_mut()
        .flat_map(|file| &mut file.message_type);
    for field in messages.flat_map(|message| &mut message.field) {
        if field.type_name() == ".orders.v1.RecordedEvent" {
            field.set_type(Type::Bytes);
            field.type_name = None;
        }
    }
    let mut config = tonic_prost_build::configure()
        .build_client(false)
        .bytes(".")
        .out_dir(encoded);
    for message in [
        "SubscribeRequest",
        "EventFilter",
        "GetOrderHistoryRequest",
        "GetHeadRequest",
        "GetHeadResponse",
        "VerifyLogRequest",
        "VerifyLogResponse",
        "LogDifference",
    ] {
        config = config.extern_path(
            format!(".orders.v1.{message}"),
            format!("crate::orders::v1::{message}"),
        );
    }
    config.compile_fds(event_service)?;
    Ok(())
}
