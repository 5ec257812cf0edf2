//! The gRPC middleware, in the order in which a call passes it.
//!
//! [`web`] answers browsers, [`observed`] measures each call, [`limits`] bounds its time, [`access`]
//! checks its credential and [`traced`] records its span. [`elsewhere`] moves a service to another
//! runtime.
//! [`ending`] and [`until`] end streams at shutdown or when a credential expires.

/// Maximum bytes of a message: the default of the gRPC library.
pub(crate) const MAX_MESSAGE_BYTES: u64 = 4 << 20;

pub(crate) mod access;
pub(crate) mod elsewhere;
pub(crate) mod ending;
pub(crate) mod limits;
pub(crate) mod observed;
pub(crate) mod traced;
pub(crate) mod until;
pub(crate) mod web;
