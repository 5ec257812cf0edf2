//! Calls of a generated client, with retries and a token that can be renewed.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::{
    Code, Request, Response, Status,
    transport::{Channel, Error as Unreachable},
};
use tonic_types::StatusExt as _;

use super::source::Source;

const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// Bounds the backoff of retries. A longer delay that the server asks for still applies.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A connection that is opened again after a failure.
pub(crate) struct Client {
    pub(crate) source: Source,
    channel: Channel,
    answer_within: Duration,
    patience: Duration,
}

impl Client {
    /// Connects to the server. An attempt of a call takes at most `answer_within`; no retry comes
    /// after `patience`.
    pub(crate) async fn connect(
        source: Source,
        answer_within: Duration,
        patience: Duration,
    ) -> Result<Self, Unreachable> {
        let channel = source.connect().await?;
        Ok(Self {
            source,
            channel,
            answer_within,
            patience,
        })
    }

    /// Calls a method of a generated client. A command needs its `request_id`, so that a retry has
    /// no second effect.
    ///
    /// # Errors
    /// Fails with the status of the last attempt, if the call is refused or patience ends.
    pub(crate) async fn call<Q: Clone, R>(
        &self,
        message: Q,
        send: impl AsyncFn(Channel, Request<Q>) -> Result<Response<R>, Status>,
    ) -> Result<R, Status> {
        let deadline = Instant::now() + self.patience;
        let mut pause = SHORTEST_PAUSE;
        loop {
            let request = self.request(message.clone()).await?;
            let failed = match send(self.channel.clone(), request).await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => status,
            };
            pause = pause.max(retry_delay(&failed).unwrap_or_default());
            if !may_pass(&failed) || Instant::now() + pause > deadline {
                return Err(failed);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn request<Q>(&self, message: Q) -> Result<Request<Q>, Status> {
        let mut request = Request::new(message);
        request.set_timeout(self.answer_within);
        let token = self.source.authorization().await;
        if let Some(token) = token.map_err(Status::unauthenticated)? {
            request.metadata_mut().insert("authorization", token);
        }
        Ok(request)
    }
}

fn retry_delay(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}

/// Returns whether a retry may succeed, as `docs/reference/errors.md` says.
fn may_pass(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable => true,
        // Without a retry delay, the code means a message above the size limit.
        Code::ResourceExhausted => retry_delay(status).is_some(),
        // A timeout or a lost connection may cause these codes, without a reason of orderlog. The
        // server may notice the timeout first, and give its reason.
        Code::DeadlineExceeded | Code::Cancelled | Code::Internal | Code::Unknown => status
            .get_details_error_info()
            .is_none_or(|info| info.reason == "DEADLINE_EXCEEDED"),
        _ => false,
    }
}
