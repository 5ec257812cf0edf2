use std::time::Duration;

use contract::orders::v1::{SubscribeRequest, event_service_client::EventServiceClient};
use tokio::time::{error::Elapsed, sleep, timeout};
use tonic::{Code, Status, transport::Endpoint};
use tonic_types::StatusExt as _;

use crate::warehouse::Warehouse;

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
    Fatal(Error),
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        let retry = status.get_details_retry_info();
        let after = retry.and_then(|retry| retry.retry_delay);
        match status.code() {
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
        Self::Broken(error.to_string(), Duration::ZERO)
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

/// Follows the log of `server`, whatever breaks in between. To be dropped at any time.
pub(crate) async fn follow(
    server: &Endpoint,
    warehouse: &mut Warehouse,
    silence: Duration,
) -> Result<(), Error> {
    let mut pause = SHORTEST_PAUSE;
    loop {
        match stream(server, warehouse, silence, &mut pause).await {
            Ok(()) => {}
            Err(End::Broken(why, after)) => {
                pause = pause.max(after);
                eprintln!("again in {pause:?}: {why}");
            }
            Err(End::Fatal(error)) => return Err(error),
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn stream(
    server: &Endpoint,
    warehouse: &mut Warehouse,
    silence: Duration,
    pause: &mut Duration,
) -> Result<(), End> {
    let (log_id, after_position) = warehouse.position().await?;
    // A connection of its own each time: another call on one that is lost is lost too.
    let channel = timeout(silence, server.connect()).await??;
    let request = SubscribeRequest {
        after_position,
        log_id,
        follow: true,
        ..SubscribeRequest::default()
    };
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
