//! Verifies every stored event and request id of the log.

use std::{collections::HashMap, path::Path, sync::Arc};

use contract::orders::v1::{LogDifference, RecordedEvent, VerifyLogResponse};
use event_log::{InspectedEvent, InspectedRequest, Position, Reader};
use prost::Message as _;
use tokio::sync::mpsc;
use tonic::Status;

use crate::{codec::record, error::store_error, events::StreamEnd};

/// Limits the events or request ids of one read.
const MAX_PAGE_ROWS: usize = 1000;

/// Limits the missing positions of a gap that get a difference each. One more difference covers the
/// rest of the gap.
const MAX_NAMED_POSITIONS: usize = 100;

type Responses = mpsc::Sender<Result<VerifyLogResponse, Status>>;

impl From<event_log::Error> for StreamEnd<event_log::Error> {
    fn from(error: event_log::Error) -> Self {
        Self::Failed(error)
    }
}

/// Verifies the file of an exported log, and returns the first difference. Calls `report` with the
/// last verified position and the newest position.
///
/// # Errors
/// [`event_log::Error`] when the file cannot be opened or read.
pub async fn verify_file(
    file: &Path,
    report: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Option<LogDifference>, event_log::Error> {
    let reader = event_log::sqlite::reader(file, record::SCHEMA).await?;
    let (responses, mut sent) = mpsc::channel(1);
    let verification = Verification { reader, responses };
    let verified = async move { verification.verify().await };
    let first = async move {
        while let Some(Ok(response)) = sent.recv().await {
            report(response.done_position, response.total_position);
            let first = response.differences.into_iter().next();
            if first.is_some() {
                return first;
            }
        }
        None
    };
    match tokio::join!(verified, first) {
        (Err(StreamEnd::Failed(error)), _) => Err(error),
        (_, first) => Ok(first),
    }
}

/// A verification of the log up to its head at the start.
pub(crate) struct Verification {
    pub(crate) reader: Arc<dyn Reader>,
    pub(crate) responses: Responses,
}

impl Verification {
    /// Sends every difference until the whole log is verified, or ends the stream with an error.
    pub(crate) async fn run(self) {
        if let Err(StreamEnd::Failed(error)) = self.verify().await {
            let failed = Status::from(store_error(&error));
            // The send fails if the client has gone.
            let _ = self.responses.send(Err(failed)).await;
        }
    }

    async fn verify(&self) -> Result<(), StreamEnd<event_log::Error>> {
        let head = self.reader.head().await?;
        let mut after = Position::START;
        while after < head {
            let rows = self.reader.inspect(after, head, MAX_PAGE_ROWS).await?;
            let mut differences = Vec::new();
            let last = rows.last().map_or(head, |row| row.position);
            missing(after, &rows, last, &mut differences);
            for row in &rows {
                check_event(row, &mut differences);
            }
            self.check_request_ids(&rows, &mut differences).await?;
            after = last;
            self.send(after, head, differences).await?;
        }
        let mut after = String::new();
        loop {
            let requests = self.reader.requests_after(&after, MAX_PAGE_ROWS).await?;
            let Some(last) = requests.last() else {
                return Ok(());
            };
            after.clone_from(&last.id);
            let strays = requests.iter().filter(|request| !request.fits);
            let strays = strays.map(|stray| {
                let InspectedRequest {
                    aggregate_id,
                    version,
                    position,
                    ..
                } = stray;
                let problem = format!(
                    "was answered with version {version} of {aggregate_id} at position \
                     {position}, which is not there"
                );
                request(&stray.id, problem)
            });
            self.send(head, head, strays.collect()).await?;
        }
    }

    /// Checks that each event with a request id is at the position stored for that request id.
    async fn check_request_ids(
        &self,
        rows: &[InspectedEvent],
        differences: &mut Vec<LogDifference>,
    ) -> Result<(), StreamEnd<event_log::Error>> {
        let given = rows.iter().filter_map(|row| {
            let record = row.record.as_ref().ok()?;
            let request_id = RecordedEvent::decode(record.clone()).ok()?.request_id;
            (!request_id.is_empty()).then_some((request_id, row.position))
        });
        let given: Vec<_> = given.collect();
        if given.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = given.iter().map(|(id, _)| id.clone()).collect();
        let stored = self.reader.requests(&ids).await?;
        let stored: HashMap<_, _> = stored
            .into_iter()
            .map(|request| (request.id, request.position))
            .collect();
        for (id, position) in given {
            let problem = match stored.get(&id) {
                Some(answered) if *answered == position => continue,
                Some(answered) => {
                    format!("led to event {position}, and was answered with {answered}")
                }
                None => format!("led to event {position}, and is not recorded"),
            };
            differences.push(request(&id, problem));
        }
        Ok(())
    }

    async fn send(
        &self,
        done: Position,
        total: Position,
        differences: Vec<LogDifference>,
    ) -> Result<(), StreamEnd<event_log::Error>> {
        let response = VerifyLogResponse {
            done_position: done.get(),
            total_position: total.get(),
            differences,
        };
        let sent = self.responses.send(Ok(response)).await;
        sent.map_err(|_| StreamEnd::Gone)
    }
}

/// Checks an event's version, and that its record says the same as its row.
fn check_event(row: &InspectedEvent, differences: &mut Vec<LogDifference>) {
    let version = row.version.get();
    let before = version.wrapping_sub(1);
    match row.previous {
        None if version != 1 => {
            let id = &row.aggregate.id;
            let problem =
                format!("is version {version} of {id}, of which there is no version {before}");
            differences.push(event(row.position, problem));
        }
        Some(earlier) if earlier >= row.position => {
            let problem = format!("comes before version {before}, which is at {earlier}");
            differences.push(event(row.position, problem));
        }
        _ => {}
    }
    let recorded = match &row.record {
        Ok(record) => RecordedEvent::decode(record.clone()).map_err(|error| error.to_string()),
        Err(unknown) => Err(unknown.clone()),
    };
    let problem = match recorded {
        Err(error) => format!("cannot be read: {error}"),
        Ok(recorded) => {
            let aggregate = (recorded.aggregate_type, recorded.aggregate_id.as_str());
            if aggregate != (row.aggregate.kind, &row.aggregate.id) || recorded.version != version {
                format!(
                    "says that it is version {} of {}, and is stored as version {version} of {}",
                    recorded.version, recorded.aggregate_id, row.aggregate.id
                )
            } else if recorded.position != row.position.get() {
                format!("says that it is event {}", recorded.position)
            } else {
                return;
            }
        }
    };
    differences.push(event(row.position, problem));
}

/// Adds a difference for each position after `after`, up to `last`, that no row has.
fn missing(
    after: Position,
    rows: &[InspectedEvent],
    last: Position,
    differences: &mut Vec<LogDifference>,
) {
    let mut expected = after + 1;
    let found = rows.iter().map(|row| row.position);
    for position in found.chain([last + 1]) {
        let gap = position.since(expected) as usize;
        for lost in expected.onwards().take(gap.min(MAX_NAMED_POSITIONS)) {
            differences.push(event(lost, "is missing".to_owned()));
        }
        if gap > MAX_NAMED_POSITIONS {
            let problem = format!("is missing, as is every one before event {position}");
            differences.push(event(expected + MAX_NAMED_POSITIONS, problem));
        }
        expected = position + 1;
    }
}

fn event(position: Position, problem: String) -> LogDifference {
    LogDifference {
        subject: format!("event {position}"),
        problem,
    }
}

fn request(id: &str, problem: String) -> LogDifference {
    LogDifference {
        subject: format!("request id {id}"),
        problem,
    }
}
