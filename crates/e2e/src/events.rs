//! A subscription to events.

use contract::orders::v1::{RecordedEvent, SubscribeResponse};
use test_support::DEADLINE;
use tokio::time::timeout;
use tonic::{Status, Streaming};

/// A subscription. Each wait for a response ends after [`DEADLINE`].
#[derive(Debug)]
pub struct Events(Streaming<SubscribeResponse>);

impl From<Streaming<SubscribeResponse>> for Events {
    fn from(stream: Streaming<SubscribeResponse>) -> Self {
        Self(stream)
    }
}

impl Events {
    /// Returns the next response, or `None` at the end. Asserts that the position to resume from
    /// covers all its events.
    ///
    /// # Errors
    /// Returns the error that ends the stream.
    ///
    /// # Panics
    /// Panics if no response arrives in time, or if the position is behind an event.
    pub async fn message(&mut self) -> Result<Option<SubscribeResponse>, Status> {
        let response = timeout(DEADLINE, self.0.message()).await;
        let response = response.expect("a response in time")?;
        if let Some(response) = &response {
            let last = response.events.last().map(|event| event.position);
            assert!(last <= Some(response.position), "{response:?}");
        }
        Ok(response)
    }

    /// Returns the next response.
    ///
    /// # Panics
    /// Panics if the stream ends.
    pub async fn response(&mut self) -> SubscribeResponse {
        self.message().await.unwrap().unwrap()
    }

    /// Reads responses until at least `count` events have arrived, and returns the events.
    ///
    /// # Panics
    /// Panics if the stream ends before.
    pub async fn take(&mut self, count: usize) -> Vec<RecordedEvent> {
        let mut events = Vec::new();
        while events.len() < count {
            events.extend(self.response().await.events);
        }
        events
    }

    /// Reads responses until the stream has reached `position`, and returns the events.
    ///
    /// # Panics
    /// Panics if the stream ends before.
    pub async fn up_to(&mut self, position: u64) -> Vec<RecordedEvent> {
        let mut events = Vec::new();
        let mut reached = 0;
        while reached < position {
            let response = self.response().await;
            reached = response.position;
            events.extend(response.events);
        }
        events
    }

    /// Reads all responses of a subscription that ends, and returns the events.
    ///
    /// # Panics
    /// Panics if the stream breaks off.
    pub async fn rest(mut self) -> Vec<RecordedEvent> {
        let mut events = Vec::new();
        while let Some(response) = self.message().await.unwrap() {
            events.extend(response.events);
        }
        events
    }

    /// Reads the stream to the error that ends it.
    ///
    /// # Panics
    /// Panics if the stream ends without an error.
    pub async fn error(self) -> Status {
        end_of(self.0).await
    }
}

/// Reads a stream to the error that ends it.
///
/// # Panics
/// Panics if the stream ends without an error, or lasts longer than [`DEADLINE`].
pub async fn end_of<T>(mut stream: Streaming<T>) -> Status {
    let end = async {
        while stream.message().await?.is_some() {}
        panic!("the stream ends as if it were complete")
    };
    let end: Result<Status, Status> = timeout(DEADLINE, end).await.expect("the stream ends");
    end.unwrap_err()
}

/// Returns the positions of events.
#[must_use]
pub fn positions(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.position).collect()
}
