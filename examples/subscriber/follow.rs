use std::time::Duration;

use contract::orders::v1::{SubscribeRequest, event_service_client::EventServiceClient};
use tokio::time::{error::Elapsed, sleep, timeout};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use super::{source::Source, warehouse::Warehouse};

/// A stream says every ten seconds that it is there; after three times that it is taken for lost.
pub(crate) const SILENCE: Duration = Duration::from_secs(30);

const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why it does not go on.
#[derive(Debug)]
pub(crate) enum Error {
    /// The server says so, and will say it again: the log is another one, for instance.
    Refused(Status),
    /// What was made of the events cannot be kept.
    Store(sqlx::Error),
}

impl std::fmt::Display for Error {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(status) => write!(to, "the server refuses: {}", status.message()),
            Self::Store(error) => write!(to, "the store failed: {error}"),
        }
    }
}

impl std::error::Error for Error {}

/// How a stream ends.
enum End {
    /// Another one may do better, after that time.
    Broken(String, Duration),
    /// Another token may do better.
    Denied(Status),
    Fatal(Error),
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        let retry = status.get_details_retry_info();
        let after = retry.and_then(|retry| retry.retry_delay);
        match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => Self::Denied(status),
            // Without a time to try again after, it is a message that is too large.
            Code::ResourceExhausted if after.is_none() => Self::Fatal(Error::Refused(status)),
            // The last three are how a connection that is cut in the midst of a message may look.
            Code::Unavailable
            | Code::ResourceExhausted
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal => {
                Self::Broken(status.message().to_owned(), after.unwrap_or_default())
            }
            _ => Self::Fatal(Error::Refused(status)),
        }
    }
}

impl From<tonic::transport::Error> for End {
    fn from(error: tonic::transport::Error) -> Self {
        // Itself it says no more than that there is one.
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

/// Follows the log of `source`, whatever breaks in between. To be dropped at any time.
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

async fn stream(
    source: &Source,
    warehouse: &mut Warehouse,
    silence: Duration,
    pause: &mut Duration,
) -> Result<(), End> {
    let (log_id, after_position) = warehouse.position().await?;
    // A connection of its own each time: another call on one that is lost is lost too.
    let channel = timeout(silence, source.connect()).await??;
    let mut request = Request::new(SubscribeRequest {
        after_position,
        log_id,
        follow: true,
        ..SubscribeRequest::default()
    });
    let token = source.authorization().await;
    if let Some(token) = token.map_err(|why| End::Broken(why, Duration::ZERO))? {
        request.metadata_mut().insert("authorization", token);
    }
    let mut events = EventServiceClient::new(channel);
    let answer = timeout(silence, events.subscribe(request)).await??;
    let mut responses = answer.into_inner();
    let mut caught_up = false;
    while let Some(response) = timeout(silence, responses.message()).await?? {
        warehouse.apply(&response).await?;
        *pause = SHORTEST_PAUSE;
        if response.caught_up && !caught_up {
            eprintln!("caught up at {}", response.position);
        }
        caught_up = response.caught_up;
    }
    Ok(())
}
