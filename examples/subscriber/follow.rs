//! Follows the event stream of a server, and reconnects after a failure.

use std::time::Duration;

use contract::orders::v1::event_service_client::EventServiceClient;
use tokio::time::{error::Elapsed, sleep, timeout};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use super::{position::Position, source::Source, warehouse::Warehouse};

/// The server sends a heartbeat every 10 s. A stream without a message for 30 s, three heartbeats,
/// counts as lost.
pub(crate) const SILENCE: Duration = Duration::from_secs(30);

/// The delay before the first retry.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// Bounds the backoff of retries. A longer delay that the server asks for still applies.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The reasons for which the log does not have the events that the warehouse has seen: the log went
/// back, or the server has another log.
const OTHER_HISTORY: [&str; 3] = ["LOG_DIVERGED", "POSITION_BEYOND_HEAD", "LOG_MISMATCH"];

/// An error that ends the subscriber.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The server rejects the stream and would reject a retry.
    #[error("the server refuses: {}", .0.message())]
    Refused(Status),
    /// The log does not have the events that the warehouse has seen. Their results must go first.
    #[error(
        "{reason}: the log does not have the events{} that the warehouse has seen{}; remove \
         warehouse.db* to start over",
        up_to(" up to position", *position),
        up_to(", only those up to position", *shared_position)
    )]
    OtherHistory {
        /// The reason that the server gives.
        reason: String,
        /// The newest position that the warehouse has seen, if the server names it.
        position: Option<u64>,
        /// The newest position with the same event in both histories, if the server knows it.
        shared_position: Option<u64>,
    },
    /// The results of the events cannot be stored.
    #[error("the store failed: {0}")]
    Store(#[from] sqlx::Error),
}

fn up_to(words: &str, position: Option<u64>) -> String {
    position.map_or_else(String::new, |position| format!("{words} {position}"))
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        match status.get_details_error_info() {
            Some(info) if OTHER_HISTORY.contains(&info.reason.as_str()) => {
                let position = |name: &str| info.metadata.get(name)?.parse().ok();
                Self::OtherHistory {
                    position: position("position"),
                    shared_position: position("shared_position"),
                    reason: info.reason,
                }
            }
            _ => Self::Refused(status),
        }
    }
}

/// How a stream ends.
enum End {
    /// A retry may succeed, after this delay at the earliest.
    Broken(String, Duration),
    /// A retry with another token may succeed.
    Denied(Status),
    Fatal(Error),
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        let retry = status.get_details_retry_info();
        let after = retry.and_then(|retry| retry.retry_delay);
        match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => Self::Denied(status),
            // Without a retry delay, the code means a message above the size limit.
            Code::ResourceExhausted if after.is_none() => Self::Fatal(Error::Refused(status)),
            // A connection that breaks within a message may surface as any of the last three codes.
            Code::Unavailable
            | Code::ResourceExhausted
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal => {
                Self::Broken(status.message().to_owned(), after.unwrap_or_default())
            }
            _ => Self::Fatal(status.into()),
        }
    }
}

impl From<tonic::transport::Error> for End {
    fn from(error: tonic::transport::Error) -> Self {
        // The text of a transport error omits the cause.
        let mut cause: &dyn std::error::Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        Self::Broken(cause.to_string(), Duration::ZERO)
    }
}

impl From<Elapsed> for End {
    fn from(_: Elapsed) -> Self {
        Self::Broken("no word from the server".to_owned(), Duration::ZERO)
    }
}

impl From<sqlx::Error> for End {
    fn from(error: sqlx::Error) -> Self {
        Self::Fatal(Error::Store(error))
    }
}

/// Follows the log of `source`, and retries broken streams with exponential backoff. The future may
/// be dropped at any time.
///
/// # Errors
/// - [`Error::Refused`]: the server rejects the stream, and a retry would not help.
/// - [`Error::OtherHistory`]: the log no longer has the events that the warehouse has seen.
/// - [`Error::Store`]: the results of the events cannot be stored.
pub(crate) async fn follow(
    source: &Source,
    warehouse: &mut Warehouse,
    silence: Duration,
) -> Result<(), Error> {
    let mut pause = SHORTEST_PAUSE;
    loop {
        match stream(source, warehouse, silence, &mut pause).await {
            Ok(()) => {}
            Err(End::Broken(why, after)) => {
                pause = pause.max(after);
                eprintln!("again in {pause:?}: {why}");
            }
            Err(End::Denied(status)) if source.token_may_change() => {
                eprintln!("again in {pause:?}: {}", status.message());
            }
            Err(End::Denied(status)) => return Err(Error::Refused(status)),
            Err(End::Fatal(error)) => return Err(error),
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Applies the responses of one stream until the stream ends.
async fn stream(
    source: &Source,
    warehouse: &mut Warehouse,
    silence: Duration,
    pause: &mut Duration,
) -> Result<(), End> {
    let mut position = warehouse.position().await?;
    // Each attempt opens a connection, because a call on a lost connection fails too.
    let channel = timeout(silence, source.connect()).await??;
    let mut request = Request::new(position.clone().resume());
    let token = source.authorization().await;
    if let Some(token) = token.map_err(|why| End::Broken(why, Duration::ZERO))? {
        request.metadata_mut().insert("authorization", token);
    }
    let mut events = EventServiceClient::new(channel);
    let answer = timeout(silence, events.subscribe(request)).await??;
    let mut responses = answer.into_inner();
    let mut caught_up = false;
    while let Some(response) = timeout(silence, responses.message()).await?? {
        if !warehouse.apply(&response, &position).await? {
            let moved = "another process has moved the warehouse".to_owned();
            return Err(End::Broken(moved, Duration::ZERO));
        }
        position = Position::of(&response);
        *pause = SHORTEST_PAUSE;
        if response.caught_up && !caught_up {
            eprintln!("caught up at {}", response.position);
        }
        caught_up = response.caught_up;
    }
    Ok(())
}
