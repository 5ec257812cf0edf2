//! The `orders.v1` contract as Rust: generated messages, clients and servers, one message that is
//! left as it came ([`Raw`]), and the trait of all
//! commands ([`CommandRequest`]).
//!
//! The files beside this one are the contract; `build.rs` compiles them.

/// Package `orders`.
pub mod orders {
    /// Package `orders.v1`: see `proto/orders/v1/` for what everything means.
    #[allow(missing_docs, clippy::all, clippy::unwrap_used, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("orders.v1");
    }
}

/// Package `google`: the well-known messages that the contract borrows.
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

/// The servers of EventService, with events as bytes (the log has them encoded already, and the
/// projector decodes them one by one), and of CommandService, with requests as [`Raw`]: the same
/// contract on the wire.
#[allow(missing_docs, clippy::all, unreachable_pub)]
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
