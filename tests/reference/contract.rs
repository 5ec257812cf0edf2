//! Generates `docs/reference/contract.md`, with every service, message and field, from the comments
//! in `proto/`.

use std::{collections::HashMap, fmt::Write as _};

use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet, ServiceDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

const OPENING: &str = "# The contract

`tests/reference` makes this page from the comments in [`proto/orders/v1`](../../proto/orders/v1). Change
them there, then run `UPDATE_REFERENCE=1 cargo test --test reference`.

In protobuf JSON, the server writes fields in the second spelling and reads both. 64-bit numbers are
strings, and a field with its default value is left out. An absent field that is not `optional` has its
default: 0, false, an empty text or an empty list. Messages are absent or present.
";

/// The field numbers of `descriptor.proto`, which form the paths to comments.
mod path {
    pub(super) const MESSAGE: i32 = 4;
    pub(super) const ENUM: i32 = 5;
    pub(super) const SERVICE: i32 = 6;
    /// The number of fields in messages, of values in enums and of methods in services.
    pub(super) const MEMBER: i32 = 2;
}

/// The comments of a file by path.
struct Comments(HashMap<Vec<i32>, String>);

impl Comments {
    fn of(file: &FileDescriptorProto) -> Self {
        let locations = &file.source_code_info.as_ref().unwrap().location;
        let comments = locations.iter().map(|location| {
            let lines = location.leading_comments().lines();
            let lines: Vec<_> = lines
                .map(|line| line.strip_prefix(' ').unwrap_or(line))
                .collect();
            (location.path.clone(), lines.join("\n").trim().to_owned())
        });
        Self(comments.collect())
    }

    fn at(&self, path: &[i32]) -> &str {
        let comment = self.0.get(path).map_or("", String::as_str);
        assert!(!comment.is_empty(), "{path:?} has no comment");
        comment
    }

    /// Returns the comment at a path as a cell of a table.
    fn cell(&self, path: &[i32]) -> String {
        self.at(path).replace('\n', " ").replace('|', "\\|")
    }
}

/// Returns the name of a type, with a link if this page describes it.
fn link(type_name: &str) -> String {
    let name = type_name.rsplit('.').next().unwrap();
    if type_name.starts_with(".orders.v1.") {
        format!("[{name}](#{})", name.to_lowercase())
    } else {
        format!("`{}`", type_name.trim_start_matches('.'))
    }
}

fn type_of(field: &FieldDescriptorProto) -> String {
    let name = match field.r#type() {
        Type::Message | Type::Enum => link(field.type_name()),
        scalar => scalar
            .as_str_name()
            .trim_start_matches("TYPE_")
            .to_lowercase(),
    };
    match field.label() {
        Label::Repeated => format!("repeated {name}"),
        _ if field.proto3_optional() => format!("optional {name}"),
        _ => name,
    }
}

fn service(to: &mut String, service: &ServiceDescriptorProto, at: i32, comments: &Comments) {
    let path = [path::SERVICE, at];
    writeln!(to, "\n## {}\n\n{}", service.name(), comments.at(&path)).unwrap();
    for (index, method) in (0..).zip(&service.method) {
        let stream = |is_stream| if is_stream { "stream of " } else { "" };
        let about = comments.at(&[path::SERVICE, at, path::MEMBER, index]);
        writeln!(
            to,
            "\n### {}.{}\n\n{}{} → {}{}\n\n{about}",
            service.name(),
            method.name(),
            stream(method.client_streaming()),
            link(method.input_type()),
            stream(method.server_streaming()),
            link(method.output_type()),
        )
        .unwrap();
    }
}

fn message(to: &mut String, message: &DescriptorProto, at: i32, comments: &Comments) {
    assert!(message.nested_type.is_empty() && message.enum_type.is_empty());
    let about = comments.at(&[path::MESSAGE, at]);
    writeln!(to, "\n### {}\n\n{about}", message.name()).unwrap();
    if message.field.is_empty() {
        return;
    }
    writeln!(
        to,
        "\n| field | JSON | number | type | |\n|---|---|---|---|---|"
    )
    .unwrap();
    for (index, field) in (0..).zip(&message.field) {
        let oneof = match field.oneof_index {
            Some(index) if !field.proto3_optional() => {
                let oneof = message.oneof_decl[usize::try_from(index).unwrap()].name();
                format!("one `{oneof}`: ")
            }
            _ => String::new(),
        };
        writeln!(
            to,
            "| `{}` | `{}` | {} | {oneof}{} | {} |",
            field.name(),
            field.json_name(),
            field.number(),
            type_of(field),
            comments.cell(&[path::MESSAGE, at, path::MEMBER, index]),
        )
        .unwrap();
    }
}

fn enumeration(to: &mut String, of: &EnumDescriptorProto, at: i32, comments: &Comments) {
    let about = comments.at(&[path::ENUM, at]);
    writeln!(to, "\n### {}\n\n{about}", of.name()).unwrap();
    writeln!(to, "\n| value | number | |\n|---|---|---|").unwrap();
    for (index, value) in (0..).zip(&of.value) {
        let about = comments.cell(&[path::ENUM, at, path::MEMBER, index]);
        writeln!(to, "| `{}` | {} | {about} |", value.name(), value.number()).unwrap();
    }
}

pub(crate) fn page() -> String {
    let set = FileDescriptorSet::decode(contract::FILE_DESCRIPTOR_SET).unwrap();
    let mut files: Vec<_> = set
        .file
        .iter()
        .filter(|file| file.package() == "orders.v1")
        .collect();
    // Services come first, because readers search for them first.
    files.sort_by_key(|file| (file.service.is_empty(), file.name()));
    let mut reference = OPENING.to_owned();
    for file in files {
        let comments = Comments::of(file);
        for (at, of) in (0..).zip(&file.service) {
            service(&mut reference, of, at, &comments);
        }
        if file.service.is_empty() {
            writeln!(reference, "\n## {}", file.name()).unwrap();
        }
        for (at, of) in (0..).zip(&file.enum_type) {
            enumeration(&mut reference, of, at, &comments);
        }
        for (at, of) in (0..).zip(&file.message_type) {
            message(&mut reference, of, at, &comments);
        }
    }
    reference
}
