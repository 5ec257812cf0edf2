//! Between bytes and the domain: requests as they arrive, events as they are stored.

pub(crate) mod header;
pub mod record;
pub mod request;
