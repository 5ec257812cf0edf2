//! The methods that a set of file descriptors declares.

use prost::Message as _;
use prost_types::{FileDescriptorSet, MethodDescriptorProto};

/// Returns every method of the descriptor sets, each with the path that calls it.
///
/// # Panics
/// Panics if a set is not a valid `FileDescriptorSet`.
#[must_use]
pub fn methods(sets: &[&[u8]]) -> Vec<(String, MethodDescriptorProto)> {
    let files = sets
        .iter()
        .flat_map(|set| FileDescriptorSet::decode(*set).unwrap().file);
    let mut methods = Vec::new();
    for file in files {
        for service in &file.service {
            let prefix = format!("/{}.{}", file.package(), service.name());
            let paths = service.method.iter();
            methods.extend(paths.map(|it| (format!("{prefix}/{}", it.name()), it.clone())));
        }
    }
    methods
}
