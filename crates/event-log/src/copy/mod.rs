//! Copying a log: what is there is there as it was, byte for byte.
//!
//! [`run`] moves one from one store to another while nobody uses either, [`export`] makes a file of one
//! that is in use, and [`Restore`] makes a log of such a file. What was broken off is gone on with. In
//! between the target says that it is not whole, and is not served.

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

/// Rows that are read and written at once, at most.
const PAGE: usize = 1000;

/// Events that are read at first, when their size is not known.
const FIRST_PAGE: usize = 10;

/// Bytes of events that are read and written at once, more or less.
const PAGE_BYTES: usize = 1 << 20;

/// Why a log is not copied, or not to the end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A store cannot be used.
    #[error(transparent)]
    Store(#[from] crate::Error),
    /// There is nothing to copy.
    #[error("there is no log in {0}")]
    NoLog(Location),
    /// The source is an unfinished copy itself.
    #[error("the log in {0} is an unfinished copy itself")]
    NotWhole(Location),
    /// Nodes are running on it, or another copy.
    #[error("{0} is in use: stop the nodes that run on it first")]
    InUse(Location),
    /// The source is the target.
    #[error("a log is not copied onto itself")]
    Itself,
    /// The target holds something else.
    #[error("{0} is not empty, and holds another log")]
    Taken(Location),
    /// What a log is restored to is one.
    #[error("there is a log in {location} already: it is {log_id}")]
    Occupied {
        /// The target.
        location: Location,
        /// The id of the log there.
        log_id: String,
    },
    /// What a log is exported to is there.
    #[error("{0} is there already")]
    Exists(PathBuf),
    /// The file that a log is exported to cannot be made.
    #[error("{0} cannot be written: {1}")]
    Unwritable(PathBuf, #[source] io::Error),
    /// The target has more than the source.
    #[error("{location} has gone on: it ends at {there}, the source at {here}")]
    Ahead {
        /// The target.
        location: Location,
        /// Where it ends.
        there: u64,
        /// Where the source ends.
        here: u64,
    },
    /// The target was written to by somebody else since it was the same.
    #[error("{location} is no copy: its event {position} is not the one of the source")]
    Other {
        /// The target.
        location: Location,
        /// Where it is known to differ.
        position: u64,
    },
    /// The source was written to.
    #[error("the source has changed meanwhile: run it again")]
    Changed,
    /// The two are not the same in the end.
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

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What it does.
    pub stage: Stage,
    /// So many of the stage's rows are done.
    pub done: u64,
    /// So many there are.
    pub all: u64,
}

/// What a copy does, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Copies events.
    Events,
    /// Copies what was answered to request ids.
    Requests,
    /// Compares all of it.
    Verifying,
}

/// What is the same on both sides now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The log's id.
    pub log_id: String,
    /// So many events.
    pub events: u64,
    /// So many request ids.
    pub requests: u64,
    /// Of the events, those that were not there before.
    pub new_events: u64,
}

/// Copies a log, and compares it. `tell` hears how far it is.
///
/// # Errors
/// When it is not there whole and unchanged afterwards. What has been copied is gone on from by the
/// next copy.
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
        // What has been used is not touched before it is known to be a part of the source.
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

/// The id of a log to be copied.
async fn whole_log(source: &mut Contents, from: &Location) -> Result<String, Error> {
    match source.identity().await? {
        None => Err(Error::NoLog(from.clone())),
        Some(Identity { whole: false, .. }) => Err(Error::NotWhole(from.clone())),
        Some(Identity { log_id, .. }) => Ok(log_id),
    }
}

/// Copies what the target, a beginning of the source, does not have, and compares all of it. Then it is
/// this log, whole. `wanted`: all request ids, of a source that stays as it is; or at least those that
/// are there by now.
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

/// Where the target ends, which is empty or, it seems, a beginning of the source.
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

/// Where the target ends, if it seems to be a beginning of the source.
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
    // Every event has an id of its own: who has the same newest one has the same before it.
    if before > 0 && source.events(before - 1, 1).await? != target.events(before - 1, 1).await? {
        return Err(Error::Other {
            location: to.clone(),
            position: before,
        });
    }
    Ok(before)
}

/// How many events to read next, after these.
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

/// All of them, for those that are new may be anywhere between those that are there.
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
