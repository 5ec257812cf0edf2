//! Converts bytes to the domain's types and back: requests as they arrive, events as the log
//! stores them.

pub(crate) mod header;
pub mod record;
pub mod request;

use std::sync::LazyLock;

use prost_reflect::{DescriptorError, DescriptorPool};

/// The descriptors of the contract's messages.
static DESCRIPTORS: LazyLock<Result<DescriptorPool, DescriptorError>> =
    LazyLock::new(|| DescriptorPool::decode(contract::FILE_DESCRIPTOR_SET));
