//! The `orders.v1` contract in Rust.
//!
//! - [`orders::v1`] has the generated messages, clients and servers.
//! - [`encoded`] has servers whose events or requests stay encoded.
//! - [`CommandRequest`] is the trait of all commands.
//! - [`Raw`] is a message that keeps its bytes.
//! - [`FILE_DESCRIPTOR_SET`] describes the messages and services at run time.
//!
//! The `.proto` files next to this one are the contract, and `build.rs` compiles them.

/// Package `orders`.
#[expect(clippy::too_many_lines, reason = "generated")]
pub mod orders {
    /// Package `orders.v1`. The files in `proto/orders/v1/` document every message and field.
    #[allow(missing_docs, clippy::all, clippy::unwrap_used, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("orders.v1");
    }
}

/// Package `google`: the well-known messages that the contract uses.
pub mod google {
    /// Package `google.rpc`.
    #[allow(missing_docs, clippy::all)]
    pub mod rpc {
        tonic::include_proto!("google.rpc");
    }

    /// Package `google.type`.
    #[allow(missing_docs, clippy::all)]
    pub mod r#type {
        tonic::include_proto!("google.r#type");
    }
}

/// The servers of EventService and CommandService, with some messages left encoded. The contract on
/// the wire is the same.
///
/// EventService has events as bytes: the log stores them encoded, and the projector decodes them
/// one by one. CommandService has its requests as [`Raw`].
#[allow(missing_docs, clippy::all, unreachable_pub)]
#[expect(clippy::too_many_lines, reason = "generated")]
pub mod encoded {
    include!(concat!(env!("OUT_DIR"), "/encoded/orders.v1.rs"));
}

mod command;
mod raw;

pub use command::{CommandRequest, Replier};
pub use raw::Raw;

/// The compiled descriptors of all files, for reflection and the JSON form.
pub const FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/descriptor_set.bin"));
