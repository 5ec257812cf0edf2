//! Compares a documents file with the log. The rows of the file and the events of the log go to files
//! by aggregate ([`Spill`]). Then each aggregate's events are folded and compared with its rows.

use std::{io, path::Path, sync::Arc};

use contract::orders::v1::RecordedEvent;
use read_model::{
    generations,
    store::{self, Checkpoint, Contents, Difference, StatisticsLine},
};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt as _};

use super::{
    Error, Finding, Found, Verifier, documents,
    record::Record,
    send,
    spill::{MAX_FILE_BYTES, Spill},
    statistics::Statistics,
};
use crate::stream::{self, Stream as EventStream};

/// Maximum number of rows in one message to the comparing thread, which has as many events as a
/// response of the stream.
const MAX_SENT_ROWS: usize = 500;

/// Maximum number of messages that wait for the comparing thread.
const SENT_CAPACITY: usize = 4;

/// A message to the comparing thread.
pub(super) enum Sent {
    Records(Vec<Record>),
    Statistics(Vec<StatisticsLine>),
    /// Everything has been sent. Without this message nothing is compared.
    All,
}

impl Verifier {
    /// Compares a documents file with a fold of the log up to the file's checkpoint. Returns whether
    /// it is as it should be.
    pub(super) async fn compare_file(&self, file: &Path, found: &Found) -> Result<bool, Error> {
        let folder = Arc::clone(&self.scratch).lock_owned().await;
        let contents = Contents::open(file).await?;
        let (sender, received) = mpsc::channel(SENT_CAPACITY);
        let findings = found.clone();
        // The thread has the folder until it ends, also if this future is dropped.
        let compare = move || compare_received(received, &folder, &findings);
        let comparing = tokio::task::spawn_blocking(compare);
        let is_whole = self.send_all(contents, sender, found).await;
        let is_same = comparing.await.map_err(io::Error::other)??;
        Ok(is_whole? && is_same)
    }

    /// Sends the contents of a file and the events of the log to the comparing thread. Returns
    /// whether both are whole and of one history.
    async fn send_all(
        &self,
        contents: Contents,
        to: mpsc::Sender<Sent>,
        found: &Found,
    ) -> Result<bool, Error> {
        let checkpoint = contents.checkpoint().cloned();
        let is_sound = match send_contents(contents, &to).await {
            Ok(faults) => {
                let is_sound = faults.is_empty();
                for fault in faults {
                    send(found, of_file(fault)).await?;
                }
                is_sound
            }
            Err(Error::Store(error)) => {
                let problem = format!("cannot be read, and is not compared with the log: {error}");
                send(found, of_file(problem)).await?;
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let mut is_same = true;
        if let Some(checkpoint) = checkpoint
            && let Some(fault) = self.send_log(&checkpoint, &to, found).await?
        {
            is_same = false;
            send(found, fault.difference).await?;
            if fault.is_end {
                return Ok(false);
            }
        }
        put(&to, Sent::All).await?;
        Ok(is_sound && is_same)
    }

    /// Sends the events up to a checkpoint. Returns the fault of the log, if it has one.
    async fn send_log(
        &self,
        checkpoint: &Checkpoint,
        to: &mpsc::Sender<Sent>,
        found: &Found,
    ) -> Result<Option<LogFault>, Error> {
        let mut stream = EventStream::open(&self.live.nodes, None, false).await?;
        let (mut log_id, mut event_id) = (String::new(), String::new());
        let mut reached = 0;
        while reached < checkpoint.position {
            let response = match stream.next().await {
                Err(stream::Error::Ended(_)) => {
                    let difference = of_another_history(checkpoint);
                    return Ok(Some(LogFault {
                        difference,
                        is_end: true,
                    }));
                }
                response => response?,
            };
            let mut events = response.events;
            events.retain(|event| event.position <= checkpoint.position);
            let end = response.position.min(checkpoint.position);
            if let Some(missing) = first_missing(reached, &events, end) {
                let difference = Difference {
                    subject: format!("event {missing}"),
                    problem: "is missing in the log: nothing behind it is compared".to_owned(),
                };
                return Ok(Some(LogFault {
                    difference,
                    is_end: true,
                }));
            }
            log_id = response.log_id;
            if let Some(last) = events.last() {
                event_id.clone_from(&last.event_id);
            }
            put(
                to,
                Sent::Records(events.into_iter().map(Record::from).collect()),
            )
            .await?;
            reached = end;
            send(found, Finding::Progress(reached, checkpoint.position)).await?;
        }
        // A file of an older version does not know the event.
        let has_id = !checkpoint.event_id.is_empty();
        let is_other = log_id != checkpoint.log_id || has_id && event_id != checkpoint.event_id;
        Ok((reached > 0 && is_other).then(|| LogFault {
            difference: of_another_history(checkpoint),
            is_end: false,
        }))
    }
}

/// A fault of the log.
struct LogFault {
    difference: Difference,
    /// Whether the events after it are missing, so that nothing can be compared.
    is_end: bool,
}

/// Sends the rows of a file, and returns the faults that SQLite finds in it. The snapshot of the file
/// ends with this function.
pub(super) async fn send_contents(
    mut contents: Contents,
    to: &mpsc::Sender<Sent>,
) -> Result<Vec<String>, Error> {
    let faults = contents.faults().await?;
    let records = |rows: Vec<_>| Sent::Records(rows.into_iter().map(Record::from).collect());
    send_pages(contents.documents(), records, to).await?;
    send_pages(contents.names(), records, to).await?;
    send_pages(contents.parked(), records, to).await?;
    send_pages(contents.statistics(), Sent::Statistics, to).await?;
    Ok(faults)
}

async fn send_pages<T>(
    mut rows: impl Stream<Item = Result<T, store::Error>> + Unpin,
    message: impl Fn(Vec<T>) -> Sent,
    to: &mpsc::Sender<Sent>,
) -> Result<(), Error> {
    let mut page = Vec::new();
    while let Some(row) = rows.next().await {
        page.push(row?);
        if page.len() == MAX_SENT_ROWS {
            put(to, message(std::mem::take(&mut page))).await?;
        }
    }
    put(to, message(page)).await
}

/// Sends a message to the comparing thread, which has failed if it takes none.
async fn put(to: &mpsc::Sender<Sent>, message: Sent) -> Result<(), Error> {
    to.send(message).await.map_err(|_| Error::Cancelled)
}

/// Returns the first position after `reached` and up to `end` that the events lack.
fn first_missing(reached: u64, events: &[RecordedEvent], end: u64) -> Option<u64> {
    let positions = events.iter().map(|event| event.position);
    let mut expected = reached + 1..=end;
    let gap = positions
        .zip(&mut expected)
        .find(|(is, should)| is != should);
    gap.map(|(_, should)| should).or_else(|| expected.next())
}

/// Takes everything that is sent, and compares it. Returns whether there is no difference. Compares
/// nothing if not everything arrives.
pub(super) fn compare_received(
    mut received: mpsc::Receiver<Sent>,
    folder: &Path,
    found: &Found,
) -> Result<bool, Error> {
    generations::remove(folder)?;
    let compared = Spill::create(folder.to_owned(), MAX_FILE_BYTES)
        .map_err(Error::from)
        .and_then(|spill| take_and_compare(&mut received, spill, found));
    generations::remove(folder)?;
    compared
}

fn take_and_compare(
    received: &mut mpsc::Receiver<Sent>,
    mut spill: Spill,
    found: &Found,
) -> Result<bool, Error> {
    let mut statistics = Statistics::default();
    loop {
        match received.blocking_recv() {
            Some(Sent::Records(records)) => {
                for record in &records {
                    spill.add(record)?;
                }
            }
            Some(Sent::Statistics(lines)) => {
                for line in lines {
                    statistics.add(line);
                }
            }
            Some(Sent::All) => break,
            None => return Ok(false),
        }
    }
    let mut is_same = true;
    let mut report = |difference: Difference| {
        is_same = false;
        let sent = found.blocking_send(difference.into());
        sent.map_err(|_| Error::Cancelled)
    };
    spill.each(&mut |records| match found.is_closed() {
        true => Err(Error::Cancelled),
        false => documents::compare(records, &mut statistics, &mut report),
    })?;
    for difference in statistics.differences() {
        report(difference)?;
    }
    Ok(is_same)
}

/// Returns the difference of a file that is faulty itself.
fn of_file(problem: String) -> Difference {
    Difference {
        subject: "read.db".to_owned(),
        problem,
    }
}

/// Returns the difference of documents that are made from another history than the log's.
fn of_another_history(checkpoint: &Checkpoint) -> Difference {
    let position = checkpoint.position;
    Difference {
        subject: "the documents".to_owned(),
        problem: format!(
            "are made from another history: event {position} of the log is another one, or missing"
        ),
    }
}
