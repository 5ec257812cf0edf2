use prost::Message as _;
use prost_types::{FileDescriptorSet, MethodDescriptorProto};

/// Every method of some descriptor sets, with the path that it is called at.
///
/// # Panics
/// When one is no descriptor set.
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
