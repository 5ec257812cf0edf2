//! Converts bytes to the domain's types and back: requests as they arrive, events as the log
//! stores them.

pub(crate) mod header;
pub mod record;
pub mod request;
