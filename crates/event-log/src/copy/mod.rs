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
mod error;
mod export;
mod restore;

use std::collections::HashSet;

use compare::{Requests, compare};
use contents::{Contents, Identity};
pub use error::Error;
pub use export::{Export, export};
pub use restore::{LogId, Restore};

use crate::{Appender, Batch, Location, NewEvent, Position};

/// Bounds the rows of one page, which are read and written together.
const MAX_PAGE_ROWS: usize = 1000;

/// Limits the events of the first page, when no event's size is known yet.
const FIRST_PAGE_EVENTS: usize = 10;

/// The approximate bytes of the events in one page. The size of the page before determines how many events
/// fit.
const TARGET_PAGE_BYTES: usize = 1 << 20;

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

/// Copies a log, and compares source and target. `report` receives the progress.
///
/// The next run continues an interrupted copy.
///
/// # Errors
/// - [`Error::NoLog`] or [`Error::NotWhole`]: the source has no log, or an unfinished copy.
/// - [`Error::InUse`]: a node or another copy uses a database.
/// - [`Error::SameFile`]: source and target are the same file.
/// - [`Error::OtherLog`], [`Error::Ahead`] or [`Error::Diverged`]: the target holds another log, or
///   events that the source does not have.
/// - [`Error::SourceChanged`]: the source has changed during the copy.
/// - [`Error::Different`]: source and target differ.
/// - [`Error::Store`]: a store cannot be used, or a file's folder is in use by another process.
pub async fn run(
    from: &Location,
    to: &Location,
    report: &mut (dyn FnMut(Progress) + Send),
) -> Result<Copied, Error> {
    let mut source = Contents::open(from).await?;
    let log_id = whole_log(&mut source, from).await?;
    let mut target = Contents::open_or_create(to, Some(&source)).await?;
    let before = check_target(&mut source, &mut target, to, &log_id).await?;
    let whole = Identity {
        log_id,
        whole: true,
    };
    if target.identity().await?.as_ref() == Some(&whole) {
        // A log that nodes have used stays unchanged until it proves to be a part of the source.
        let all = before.get() + source.request_count().await?;
        let mut report = |done| {
            report(Progress {
                stage: Stage::Verifying,
                done,
                all,
            });
        };
        compare(
            &mut source,
            &mut target,
            (before, Requests::Any),
            &mut report,
        )
        .await?;
    }
    let copied = complete(&mut source, &mut target, whole, Requests::All, report).await?;
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
    report: &mut (dyn FnMut(Progress) + Send),
) -> Result<Copied, Error> {
    let (before, head) = (target.head().await?, source.head().await?);
    let requests = source.request_count().await?;
    let mut report = |stage, done, all| report(Progress { stage, done, all });
    let unfinished = Identity {
        whole: false,
        ..whole.clone()
    };
    target.set_identity(&unfinished).await?;
    let mut appender = target.appender().await?;
    copy_events(source, appender.as_mut(), before, &mut |done| {
        report(Stage::Events, done, head.get());
    })
    .await?;
    copy_requests(source, appender.as_mut(), &mut |done| {
        report(Stage::Requests, done, requests);
    })
    .await?;
    appender.close().await;
    compare(source, target, (head, wanted), &mut |done| {
        report(Stage::Verifying, done, head.get() + requests);
    })
    .await?;
    let copied = Copied {
        log_id: whole.log_id.clone(),
        events: head.get(),
        requests: target.request_count().await?,
        new_events: head.since(before),
    };
    if copied.requests < requests {
        return Err(Error::Different("the number of request ids".to_owned()));
    }
    if wanted == Requests::All
        && (source.head().await? != head || source.request_count().await? != requests)
    {
        return Err(Error::SourceChanged);
    }
    target.set_identity(&whole).await?;
    Ok(copied)
}

/// Returns the position at which the target ends. Fails if a target with rows has another id, or if
/// [`check_beginning`] fails.
async fn check_target(
    source: &mut Contents,
    target: &mut Contents,
    to: &Location,
    log_id: &str,
) -> Result<Position, Error> {
    let is_empty = target.head().await? == Position::START && target.request_count().await? == 0;
    match target.identity().await? {
        Some(identity) if identity.log_id != log_id && !is_empty => {
            Err(Error::OtherLog(to.clone()))
        }
        _ => check_beginning(source, target, to).await,
    }
}

/// Returns the position at which the target ends, if its newest event equals the source's event at
/// the same position.
async fn check_beginning(
    source: &mut Contents,
    target: &mut Contents,
    to: &Location,
) -> Result<Position, Error> {
    let target_head = target.head().await?;
    let source_head = source.head().await?;
    if target_head > source_head {
        return Err(Error::Ahead {
            location: to.clone(),
            target_head,
            source_head,
        });
    }
    // Each event has a unique id, so logs with the same newest event have the same events before
    // it.
    let before = target_head.previous();
    if target_head > Position::START
        && source.events(before, 1).await? != target.events(before, 1).await?
    {
        return Err(Error::Diverged {
            location: to.clone(),
            position: target_head,
        });
    }
    Ok(target_head)
}

/// Returns the number of events for the next page, from the mean size of `events`.
fn page_events(events: &[NewEvent]) -> usize {
    let bytes: usize = events.iter().map(|event| event.record.len()).sum();
    (TARGET_PAGE_BYTES * events.len() / bytes.max(1)).clamp(1, MAX_PAGE_ROWS)
}

async fn copy_events(
    source: &mut Contents,
    appender: &mut dyn Appender,
    mut after: Position,
    report: &mut (dyn FnMut(u64) + Send),
) -> Result<(), Error> {
    let mut limit = FIRST_PAGE_EVENTS;
    loop {
        report(after.get());
        let events = source.events(after, limit).await?;
        if events.is_empty() {
            return Ok(());
        }
        limit = page_events(&events);
        let batch = Batch {
            events,
            requests: Vec::new(),
        };
        let before = appender.append(&batch).await?.position;
        if before != after {
            return Err(Error::Different(format!("event {}", before + 1)));
        }
        after += batch.events.len();
    }
}

/// Copies the requests that the target lacks. The copy reads every request, because new ids sort
/// anywhere among the old ones.
async fn copy_requests(
    source: &mut Contents,
    appender: &mut dyn Appender,
    report: &mut (dyn FnMut(u64) + Send),
) -> Result<(), Error> {
    let (mut after, mut done) = (String::new(), 0);
    loop {
        report(done);
        let mut requests = source.requests(&after, MAX_PAGE_ROWS).await?;
        let Some(last) = requests.last() else {
            return Ok(());
        };
        after.clone_from(&last.id);
        done += requests.len() as u64;
        let ids: Vec<_> = requests.iter().map(|request| request.id.as_str()).collect();
        let known = appender.load(&[], &ids, false).await?.requests;
        let known: HashSet<_> = known.into_iter().map(|request| request.id).collect();
        requests.retain(|request| !known.contains(&request.id));
        let batch = Batch {
            events: Vec::new(),
            requests,
        };
        appender.append(&batch).await?;
    }
}

#[cfg(test)]
mod tests;
