//! The author of a call, and what the call may take.

use std::sync::Arc;

/// The owner of the credential that a call came with: the name of a token, or the subject of a JWT.
/// The access check puts it into the extensions of a request, and the events of a command carry it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(pub Arc<str>);

/// The credential of the call has the role `operate`, so that the call may take a place that is kept
/// for operators and nodes. The access check puts it into the extensions of a request.
#[derive(Debug, Clone, Copy)]
pub struct Operator;
