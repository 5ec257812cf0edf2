//! Copies logs byte for byte.
//!
//! - [`run`] copies a log to another store while no node uses either.
//! - [`export()`] writes a log to a file; nodes may use the log meanwhile.
//! - [`Restore`] creates a log from such a file.
//!
//! Each of the three continues its own interrupted run. Until the copy is complete, the target is
//! recorded as not whole, and no node opens the target.

mod compare;
mod contents;
mod export;
mod restore;

use std::{collections::HashSet, io, path::PathBuf};

use compare::{Requests, compare};
use contents::{Contents, Identity};
pub use export::{Export, export};
pub use restore::{LogId, Restore};

use crate::{Appender, Batch, Event, Location};

/// Bounds the rows of one page, which are read and written together.
const PAGE: usize = 1000;

/// Events in the first page, when no event's size is known yet.
const FIRST_PAGE: usize = 10;

/// Approximate bytes of events in one page. The size of the page before determines how many events
/// fit.
const PAGE_BYTES: usize = 1 << 20;

/// The reason why a copy, an export or a restore fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A store cannot be used.
    #[error(transparent)]
    Store(#[from] crate::Error),
    /// The source has no log.
    #[error("there is no log in {0}")]
    NoLog(Location),
    /// The source is an unfinished copy.
    #[error("the log in {0} is an unfinished copy itself")]
    NotWhole(Location),
    /// A node or another copy uses the database.
    #[error("{0} is in use: stop the nodes that run on it first")]
    InUse(Location),
    /// Source and target are the same file.
    #[error("a log is not copied onto itself")]
    Itself,
    /// The target holds another log.
    #[error("{0} is not empty, and holds another log")]
    Taken(Location),
    /// The target of a restore holds a whole log.
    #[error("there is a log in {location} already: it is {log_id}")]
    Occupied {
        /// The target.
        location: Location,
        /// The id of the log in the target.
        log_id: String,
    },
    /// The file to export to exists.
    #[error("{0} is there already")]
    Exists(PathBuf),
    /// The file to export to cannot be written.
    #[error("{0} cannot be written: {1}")]
    Unwritable(PathBuf, #[source] io::Error),
    /// The target has more events than the source.
    #[error("{location} has gone on: it ends at {there}, the source at {here}")]
    Ahead {
        /// The target.
        location: Location,
        /// The position of the target's newest event.
        there: u64,
        /// The position of the source's newest event.
        here: u64,
    },
    /// The target's newest event differs from the source's event at the same position.
    #[error("{location} is no copy: its event {position} is not the one of the source")]
    Other {
        /// The target.
        location: Location,
        /// The position of the event that differs.
        position: u64,
    },
    /// The source has changed during the copy.
    #[error("the source has changed meanwhile: run it again")]
    Changed,
    /// Source and target differ after the copy.
    #[error("the copy differs from its source in {0}")]
    Different(String),
}

impl Error {
    fn of_request(id: &str) -> Self {
        Self::Different(format!("request id {id:?}"))
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// The progress of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The stage.
    pub stage: Stage,
    /// Rows of the stage that are done.
    pub done: u64,
    /// All rows of the stage.
    pub all: u64,
}

/// The stages of a copy, in their order. [`run`] starts with an additional [`Stage::Verifying`] if
/// the target is already whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Copies events.
    Events,
    /// Copies request ids and their recorded replies.
    Requests,
    /// Compares all events and requests.
    Verifying,
}

/// The contents that source and target have in common after a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The log's id.
    pub log_id: String,
    /// Number of events.
    pub events: u64,
    /// Number of request ids.
    pub requests: u64,
    /// Number of events that the target did not have before.
    pub new_events: u64,
}

/// Copies a log, and compares source and target. `tell` receives the progress.
///
/// The next run continues an interrupted copy.
///
/// # Errors
/// - [`Error::NoLog`] or [`Error::NotWhole`]: the source has no log, or an unfinished copy.
/// - [`Error::InUse`]: a node or another copy uses a database.
/// - [`Error::Itself`]: source and target are the same file.
/// - [`Error::Taken`], [`Error::Ahead`] or [`Error::Other`]: the target holds another log, or
///   events that the source does not have.
/// - [`Error::Changed`]: the source has changed during the copy.
/// - [`Error::Different`]: source and target differ.
/// - [`Error::Store`]: a store cannot be used, or a file's folder is in use by another process.
pub async fn run(
    from: &Location,
    to: &Location,
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<Copied, Error> {
    let mut source = Contents::of(from).await?;
    let log_id = whole_log(&mut source, from).await?;
    let mut target = Contents::made(to, Some(&source)).await?;
    let before = check_target(&mut source, &mut target, to, &log_id).await?;
    let whole = Identity {
        log_id,
        whole: true,
    };
    if target.identity().await?.as_ref() == Some(&whole) {
        // A log that nodes have used stays unchanged until it proves to be a part of the source.
        let all = before + source.request_count().await?;
        let mut tell = |done| {
            tell(Progress {
                stage: Stage::Verifying,
                done,
                all,
            });
        };
        compare(&mut source, &mut target, (before, Requests::Any), &mut tell).await?;
    }
    let copied = complete(&mut source, &mut target, whole, Requests::All, tell).await?;
    target.close().await;
    source.close().await;
    Ok(copied)
}

/// Returns the id of a log to copy. Fails if there is no log, or an unfinished copy.
async fn whole_log(source: &mut Contents, from: &Location) -> Result<String, Error> {
    match source.identity().await? {
        None => Err(Error::NoLog(from.clone())),
        Some(Identity { whole: false, .. }) => Err(Error::NotWhole(from.clone())),
        Some(Identity { log_id, .. }) => Ok(log_id),
    }
}

/// Copies the rows that the target lacks, compares both logs, and records the target as whole.
///
/// The target is a beginning of the source. With [`Requests::All`], the source must not change
/// during the copy. With [`Requests::Any`], the target must get at least as many requests as the
/// source had at the start.
async fn complete(
    source: &mut Contents,
    target: &mut Contents,
    whole: Identity,
    wanted: Requests,
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<Copied, Error> {
    let (before, events) = (target.head().await?, source.head().await?);
    let requests = source.request_count().await?;
    let mut tell = |stage, done, all| tell(Progress { stage, done, all });
    let unfinished = Identity {
        whole: false,
        ..whole.clone()
    };
    target.identify(&unfinished).await?;
    let mut appender = target.appender().await?;
    copy_events(source, appender.as_mut(), before, &mut |done| {
        tell(Stage::Events, done, events);
    })
    .await?;
    copy_requests(source, appender.as_mut(), &mut |done| {
        tell(Stage::Requests, done, requests);
    })
    .await?;
    appender.close().await;
    compare(source, target, (events, wanted), &mut |done| {
        tell(Stage::Verifying, done, events + requests);
    })
    .await?;
    let copied = Copied {
        log_id: whole.log_id.clone(),
        events,
        requests: target.request_count().await?,
        new_events: events - before,
    };
    if copied.requests < requests {
        return Err(Error::Different("the number of request ids".to_owned()));
    }
    if wanted == Requests::All
        && (source.head().await? != events || source.request_count().await? != requests)
    {
        return Err(Error::Changed);
    }
    target.identify(&whole).await?;
    Ok(copied)
}

/// Returns the position at which the target ends. Fails if a target with rows has another id, or if
/// [`check_beginning`] fails.
async fn check_target(
    source: &mut Contents,
    target: &mut Contents,
    to: &Location,
    log_id: &str,
) -> Result<u64, Error> {
    let is_empty = target.head().await? == 0 && target.request_count().await? == 0;
    match target.identity().await? {
        Some(identity) if identity.log_id != log_id && !is_empty => Err(Error::Taken(to.clone())),
        _ => check_beginning(source, target, to).await,
    }
}

/// Returns the position at which the target ends, if its newest event equals the source's event at
/// the same position.
async fn check_beginning(
    source: &mut Contents,
    target: &mut Contents,
    to: &Location,
) -> Result<u64, Error> {
    let before = target.head().await?;
    let here = source.head().await?;
    if before > here {
        return Err(Error::Ahead {
            location: to.clone(),
            there: before,
            here,
        });
    }
    // Each event has a unique id, so logs with the same newest event have the same events before
    // it.
    if before > 0 && source.events(before - 1, 1).await? != target.events(before - 1, 1).await? {
        return Err(Error::Other {
            location: to.clone(),
            position: before,
        });
    }
    Ok(before)
}

/// Returns the number of events for the next page, from the mean size of `events`.
fn page(events: &[Event]) -> usize {
    let bytes: usize = events.iter().map(|event| event.record.len()).sum();
    (PAGE_BYTES * events.len() / bytes.max(1)).clamp(1, PAGE)
}

async fn copy_events(
    source: &mut Contents,
    appender: &mut dyn Appender,
    mut after: u64,
    tell: &mut (dyn FnMut(u64) + Send),
) -> Result<(), Error> {
    let mut limit = FIRST_PAGE;
    loop {
        tell(after);
        let events = source.events(after, limit).await?;
        if events.is_empty() {
            return Ok(());
        }
        limit = page(&events);
        let batch = Batch {
            events,
            requests: Vec::new(),
        };
        let first = appender.append(&batch).await?;
        if first != after + 1 {
            return Err(Error::Different(format!("event {first}")));
        }
        after += batch.events.len() as u64;
    }
}

/// Copies the requests that the target lacks. The copy reads every request, because new ids sort
/// anywhere among the old ones.
async fn copy_requests(
    source: &mut Contents,
    appender: &mut dyn Appender,
    tell: &mut (dyn FnMut(u64) + Send),
) -> Result<(), Error> {
    let (mut after, mut done) = (String::new(), 0);
    loop {
        tell(done);
        let mut requests = source.requests(&after, PAGE).await?;
        let Some(last) = requests.last() else {
            return Ok(());
        };
        after.clone_from(&last.id);
        done += requests.len() as u64;
        let ids: Vec<_> = requests.iter().map(|request| request.id.as_str()).collect();
        let there = appender.load(&[], &ids, false).await?.requests;
        let there: HashSet<_> = there.into_iter().map(|there| there.request_id).collect();
        requests.retain(|request| !there.contains(&request.id));
        let batch = Batch {
            events: Vec::new(),
            requests,
        };
        appender.append(&batch).await?;
    }
}

#[cfg(test)]
mod tests;
