//! Verifies every stored event and request id of the log.

use std::{collections::HashMap, path::Path, sync::Arc};

use contract::orders::v1::{LogDifference, RecordedEvent, VerifyLogResponse};
use event_log::{Answer, Inspected, Reader};
use prost::Message as _;
use tokio::sync::mpsc;
use tonic::Status;

use crate::{codec::record, error::store_error};

/// Limits the events or request ids of one read.
const PAGE: usize = 1000;

/// Limits the missing positions of a gap that get a difference each. One more difference covers the
/// rest of the gap.
const NAMED: u64 = 100;

type Responses = mpsc::Sender<Result<VerifyLogResponse, Status>>;

/// The reason for which a verification ends early.
pub(crate) enum End {
    /// The client has gone.
    Gone,
    /// A read of the store failed.
    Failed(event_log::Error),
}

impl From<event_log::Error> for End {
    fn from(error: event_log::Error) -> Self {
        Self::Failed(error)
    }
}

/// Verifies the file of an exported log, and returns the first difference. Calls `tell` with the
/// last verified position and the newest position.
///
/// # Errors
/// [`event_log::Error`] when the file cannot be opened or read.
pub async fn verify_file(
    file: &Path,
    tell: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Option<LogDifference>, event_log::Error> {
    let reader = event_log::sqlite::reader(file, record::SCHEMA).await?;
    let (responses, mut sent) = mpsc::channel(1);
    let look = async move { Look { reader, responses }.look().await };
    let first = async move {
        while let Some(Ok(response)) = sent.recv().await {
            tell(response.done_position, response.total_position);
            let first = response.differences.into_iter().next();
            if first.is_some() {
                return first;
            }
        }
        None
    };
    match tokio::join!(look, first) {
        (Err(End::Failed(error)), _) => Err(error),
        (_, first) => Ok(first),
    }
}

/// A verification of the log up to its head at the start.
pub(crate) struct Look {
    pub(crate) reader: Arc<dyn Reader>,
    pub(crate) responses: Responses,
}

impl Look {
    /// Sends every difference until the whole log is verified, or ends the stream with an error.
    pub(crate) async fn run(self) {
        if let Err(End::Failed(error)) = self.look().await {
            let failed = Status::from(store_error(&error));
            // The send fails if the client has gone.
            let _ = self.responses.send(Err(failed)).await;
        }
    }

    async fn look(&self) -> Result<(), End> {
        let head = self.reader.head().await?;
        let mut after = 0;
        while after < head {
            let rows = self.reader.inspect(after, head, PAGE).await?;
            let mut differences = Vec::new();
            let last = rows.last().map_or(head, |row| row.position);
            missing(after, &rows, last, &mut differences);
            for row in &rows {
                self.event(row, &mut differences);
            }
            self.records_of_requests(&rows, &mut differences).await?;
            after = last;
            self.tell(after, head, differences).await?;
        }
        let mut after = String::new();
        loop {
            let answers = self.reader.requests_after(&after, PAGE).await?;
            let Some(last) = answers.last() else {
                return Ok(());
            };
            after = last.request_id.clone();
            let strays = answers.iter().filter(|answer| !answer.fits);
            let strays = strays.map(|answer| {
                let Answer {
                    aggregate_id,
                    version,
                    position,
                    ..
                } = answer;
                let problem = format!(
                    "was answered with version {version} of {aggregate_id} at position \
                     {position}, which is not there"
                );
                request(&answer.request_id, problem)
            });
            self.tell(head, head, strays.collect()).await?;
        }
    }

    fn event(&self, row: &Inspected, differences: &mut Vec<LogDifference>) {
        let version = row.version;
        let before = version.wrapping_sub(1);
        match row.before {
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
                if aggregate != (row.aggregate.kind, &row.aggregate.id)
                    || recorded.version != version
                {
                    format!(
                        "says that it is version {} of {}, and is stored as version {version} of {}",
                        recorded.version, recorded.aggregate_id, row.aggregate.id
                    )
                } else if recorded.position != row.position {
                    format!("says that it is event {}", recorded.position)
                } else {
                    return;
                }
            }
        };
        differences.push(event(row.position, problem));
    }

    /// Checks that each event with a request id is at the position stored for that request id.
    async fn records_of_requests(
        &self,
        rows: &[Inspected],
        differences: &mut Vec<LogDifference>,
    ) -> Result<(), End> {
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
        let answers = self.reader.requests(&ids).await?;
        let answers: HashMap<_, _> = answers
            .into_iter()
            .map(|answer| (answer.request_id, answer.position))
            .collect();
        for (id, position) in given {
            let problem = match answers.get(&id) {
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

    async fn tell(
        &self,
        done_position: u64,
        total_position: u64,
        differences: Vec<LogDifference>,
    ) -> Result<(), End> {
        let response = VerifyLogResponse {
            done_position,
            total_position,
            differences,
        };
        let told = self.responses.send(Ok(response)).await;
        told.map_err(|_| End::Gone)
    }
}

/// Adds a difference for each position after `after`, up to `last`, that no row has.
fn missing(after: u64, rows: &[Inspected], last: u64, differences: &mut Vec<LogDifference>) {
    let mut expected = after + 1;
    let found = rows.iter().map(|row| row.position);
    for position in found.chain([last + 1]) {
        let gap = position.saturating_sub(expected);
        for lost in (expected..).take(gap.min(NAMED) as usize) {
            differences.push(event(lost, "is missing".to_owned()));
        }
        if gap > NAMED {
            let problem = format!("is missing, as is every one before event {position}");
            differences.push(event(expected + NAMED, problem));
        }
        expected = position + 1;
    }
}

fn event(position: u64, problem: String) -> LogDifference {
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
