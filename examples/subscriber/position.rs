//! The place in the log at which a subscriber resumes.

use contract::orders::v1::{SubscribeRequest, SubscribeResponse};

/// A place in the log: the warehouse has every event up to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Position {
    pub(crate) log_id: String,
    pub(crate) position: u64,
    /// Names the position and its event. Empty at first, and in a file that an earlier version wrote.
    pub(crate) resume_token: String,
}

impl Position {
    /// Returns the position that a response leads to.
    pub(crate) fn of(response: &SubscribeResponse) -> Self {
        Self {
            log_id: response.log_id.clone(),
            position: response.position,
            resume_token: response.resume_token.clone(),
        }
    }

    /// Returns the request for the events after this position.
    pub(crate) fn resume(self) -> SubscribeRequest {
        let mut request = SubscribeRequest {
            follow: true,
            ..SubscribeRequest::default()
        };
        if self.resume_token.is_empty() {
            request.after_position = self.position;
            request.log_id = self.log_id;
        } else {
            request.resume_token = self.resume_token;
        }
        request
    }
}
