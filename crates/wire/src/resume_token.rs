//! The resume token of a stream of events: the place where a subscriber goes on, and the history it is
//! in (guarantee G12).

use std::{fmt, str::FromStr};

use uuid::Uuid;

/// Separates the parts of a token.
const SEPARATOR: char = ':';

/// A position of a log, with the id of the event there. Clients store the text and do not read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumeToken {
    /// The id of the log.
    pub log_id: String,
    /// The position up to which the subscriber has every event.
    pub position: u64,
    /// The id of the event at the position; nil before the first event.
    pub event_id: Uuid,
}

impl fmt::Display for ResumeToken {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            log_id,
            position,
            event_id,
        } = self;
        write!(to, "{log_id}{SEPARATOR}{position}{SEPARATOR}{event_id}")
    }
}

/// The text is not a resume token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a resume_token of a SubscribeResponse")]
pub struct NoResumeToken;

impl FromStr for ResumeToken {
    type Err = NoResumeToken;

    fn from_str(text: &str) -> Result<Self, NoResumeToken> {
        let mut parts = text.rsplitn(3, SEPARATOR);
        let mut next = || parts.next().ok_or(NoResumeToken);
        let (event_id, position, log_id) = (next()?, next()?, next()?);
        Ok(Self {
            log_id: log_id.to_owned(),
            position: position.parse().map_err(|_| NoResumeToken)?,
            event_id: event_id.parse().map_err(|_| NoResumeToken)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let token = ResumeToken {
            log_id: Uuid::now_v7().to_string(),
            position: u64::MAX,
            event_id: Uuid::now_v7(),
        };
        assert_eq!(token.to_string().parse(), Ok(token));
    }

    #[test]
    fn other_texts_are_no_tokens() {
        let nil = Uuid::nil();
        for text in [
            "",
            "a",
            "a:1",
            "a:x:b",
            "a:1:b",
            &format!("a:-1:{nil}"),
            &format!("1:{nil}"),
        ] {
            assert_eq!(text.parse::<ResumeToken>(), Err(NoResumeToken), "{text}");
        }
    }
}
