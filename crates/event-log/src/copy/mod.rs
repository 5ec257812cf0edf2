//! Moving a log from one store to another: what is there is there as it was, byte for byte.
//!
//! A copy that was broken off is gone on with, and one whose source has grown since is added to. In
//! between the target says that it is not whole, and is not served.

mod contents;

use std::collections::HashSet;

use contents::{Contents, Identity};

use crate::{Appender, Batch, Event, Location, Request};

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
    let Some(Identity { log_id, whole }) = source.identity().await? else {
        return Err(Error::NoLog(from.clone()));
    };
    if !whole {
        return Err(Error::NotWhole(from.clone()));
    }
    let mut target = Contents::made(to, Some(&source)).await?;
    let all = source.head().await?;
    let before = check_target(&mut source, &mut target, to, &log_id).await?;
    let identity = |whole| Identity {
        log_id: log_id.clone(),
        whole,
    };
    let requests = source.request_count().await?;
    let mut tell = |stage, done, all| tell(Progress { stage, done, all });
    if target.identity().await? == Some(identity(true)) {
        // What has been used is not touched before it is known to be a part of the source.
        let whole = (before, Requests::Any);
        compare(&mut source, &mut target, whole, &mut |done| {
            tell(Stage::Verifying, done, before + requests);
        })
        .await?;
    }
    target.identify(&identity(false)).await?;
    let mut appender = target.appender().await?;
    copy_events(&mut source, appender.as_mut(), before, &mut |done| {
        tell(Stage::Events, done, all);
    })
    .await?;
    copy_requests(&mut source, appender.as_mut(), &mut |done| {
        tell(Stage::Requests, done, requests);
    })
    .await?;
    appender.close().await;
    let whole = (all, Requests::All);
    compare(&mut source, &mut target, whole, &mut |done| {
        tell(Stage::Verifying, done, all + requests);
    })
    .await?;
    if source.head().await? != all || source.request_count().await? != requests {
        return Err(Error::Changed);
    }
    target.identify(&identity(true)).await?;
    target.close().await;
    source.close().await;
    Ok(Copied {
        log_id,
        events: all,
        requests,
        new_events: all - before,
    })
}

/// Where the target ends, which is empty or, it seems, a beginning of the source.
async fn check_target(
    source: &mut Contents,
    target: &mut Contents,
    to: &Location,
    log_id: &str,
) -> Result<u64, Error> {
    let before = target.head().await?;
    let is_empty = before == 0 && target.request_count().await? == 0;
    match target.identity().await? {
        Some(identity) if identity.log_id != log_id && !is_empty => {
            return Err(Error::Taken(to.clone()));
        }
        _ => {}
    }
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

/// How many of the source's requests the target has to have. It never may have others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Requests {
    /// It is a copy.
    All,
    /// It may become one.
    Any,
}

/// Compares the events up to a position, and the requests.
async fn compare(
    source: &mut Contents,
    target: &mut Contents,
    (upto, wanted): (u64, Requests),
    tell: &mut (dyn FnMut(u64) + Send),
) -> Result<(), Error> {
    let (mut position, mut limit) = (0, FIRST_PAGE);
    while position < upto {
        tell(position);
        let limit_here = limit.min((upto - position) as usize);
        let (ours, theirs) = tokio::try_join!(
            source.events(position, limit_here),
            target.events(position, limit_here)
        )?;
        if let Some(index) = difference(&ours, &theirs) {
            let position = position + index as u64 + 1;
            return Err(Error::Different(format!("event {position}")));
        }
        limit = page(&ours);
        position += ours.len() as u64;
    }
    let (mut ours, mut theirs) = (Cursor::default(), Cursor::default());
    let mut their = theirs.next(target).await?;
    let mut done = position;
    while let Some(our) = ours.next(source).await? {
        let is_absent = their.as_ref().is_none_or(|their| their.id > our.id);
        if their.as_ref() == Some(&our) {
            their = theirs.next(target).await?;
        } else if !is_absent || wanted == Requests::All {
            return Err(Error::of_request(match &their {
                Some(their) if their.id < our.id => &their.id,
                _ => &our.id,
            }));
        }
        done += 1;
        if done % PAGE as u64 == 0 {
            tell(done);
        }
    }
    their.map_or(Ok(()), |their| Err(Error::of_request(&their.id)))
}

/// One request after the other, in the order of their ids.
#[derive(Debug, Default)]
struct Cursor {
    page: std::vec::IntoIter<Request>,
    last: String,
}

impl Cursor {
    async fn next(&mut self, contents: &mut Contents) -> Result<Option<Request>, Error> {
        if self.page.len() == 0 {
            self.page = contents.requests(&self.last, PAGE).await?.into_iter();
        }
        let next = self.page.next();
        if let Some(next) = &next {
            self.last.clone_from(&next.id);
        }
        Ok(next)
    }
}

/// The index of the first row that one does not have, or has differently.
fn difference<T: PartialEq>(ours: &[T], theirs: &[T]) -> Option<usize> {
    let same = ours
        .iter()
        .zip(theirs)
        .take_while(|(ours, theirs)| ours == theirs);
    let same = same.count();
    (same < ours.len().max(theirs.len())).then_some(same)
}

#[cfg(test)]
mod tests;
