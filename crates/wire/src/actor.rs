//! The author of a call.

use std::sync::Arc;

/// The owner of the credential that a call came with: the name of a token, or the subject of a JWT.
/// The access check puts it into the extensions of a request, and the events of a command carry it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(pub Arc<str>);
