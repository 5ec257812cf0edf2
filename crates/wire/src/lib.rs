//! The code that every service and client shares for the messages of the contract.
//!
//! - A client calls a service on a [`Connection`], which sends the credential of its [`Bearer`].
//! - The access check of a node names the [`Actor`] of a call.
//! - A service checks the fields of a request with [`Violations`], and collects every violation.
//! - [`convert`] converts money and times to integers, and back.
//! - A service returns an [`Error`]. Only its `From` impls make a gRPC status.
//! - A [`ResumeToken`] names a place in one history of a log.
//! - [`catalogue()`] explains each error, and a [`Limit`] explains itself.

mod actor;
mod bearer;
mod catalogue;
pub mod convert;
mod error;
mod limit;
mod resume_token;
mod status;
mod violations;

pub use actor::{Actor, Operator};
pub use bearer::{Authorization, Bearer, Connection};
pub use catalogue::{Explained, catalogue};
pub use error::{Error, Incident, OrderAction, Resource};
pub use limit::Limit;
pub use resume_token::ResumeToken;
pub use status::{is_too_large, reason};
pub use violations::{Violation, Violations};
