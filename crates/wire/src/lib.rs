//! Between the contract and the rest: what every service does with messages, in one place.
//!
//! [`Connection`] is what clients call on: it shows their credential. [`convert`] turns money and
//! times into numbers and back. [`Violations`] collects everything that is wrong with a request.
//! [`Error`] is every error a client can meet, and its `From` impls the only place where a gRPC status
//! is made; [`catalogue()`] explains each of them.

mod bearer;
mod catalogue;
pub mod convert;
mod error;
mod violations;

pub use bearer::{Authorization, Bearer, Connection};
pub use catalogue::{Explained, catalogue};
pub use error::{Error, Forbidden, Resource, is_too_large};
pub use violations::{Violation, Violations};
