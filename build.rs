//! Compiles `proto/` without protoc: the contract's messages, clients and servers, and the
//! descriptor set that reflection and the JSON form need.

use std::{collections::HashSet, env, error::Error, fs, path::PathBuf};

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

    // The server gets a second version of two services, with some messages as bytes. The contract
    // on the wire is the same.
    // - Events: the log stores them encoded, so a stream need not decode and encode them for each
    //   subscriber.
    // - Commands: the server must see the fields that it does not know.
    let encoded = out.join("encoded");
    fs::create_dir_all(&encoded)?;
    let mut config = tonic_prost_build::configure()
        .build_client(false)
        .bytes(".")
        .out_dir(encoded);
    let mut services = compiler.file_descriptor_set();
    services.file.retain(|file| {
        file.name() == "orders/v1/event_service.proto"
            || file.name() == "orders/v1/command_service.proto"
    });
    for file in &mut services.file {
        let commands: HashSet<String> = match file.name() {
            "orders/v1/command_service.proto" => {
                let methods = file.service.iter().flat_map(|service| &service.method);
                methods
                    .map(|method| method.input_type().to_owned())
                    .collect()
            }
            _ => HashSet::new(),
        };
        for message in &mut file.message_type {
            let mut has_events = false;
            for field in &mut message.field {
                if field.type_name() == ".orders.v1.RecordedEvent" {
                    field.set_type(Type::Bytes);
                    field.type_name = None;
                    has_events = true;
                }
            }
            let path = format!(".orders.v1.{}", message.name());
            let rust = if commands.contains(&path) {
                "crate::Raw".to_owned()
            } else {
                format!("crate::orders::v1::{}", message.name())
            };
            if !has_events {
                config = config.extern_path(path, rust);
            }
        }
    }
    config.compile_fds(services)?;
    Ok(())
}
