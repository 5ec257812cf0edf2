//! Moving a log from one store to another: what is there is there as it was, byte for byte.
//!
//! A copy that was broken off is gone on with, and one whose source has grown since is added to. In
//! between the target says that it is not whole, and is not served.

mod contents;

use contents::{Contents, Identity};

use crate::{Batch, Location};

/// Rows that are read and written at once.
const PAGE: usize = 1000;

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
    let (before, all) = check_target(&mut source, &mut target, to, &log_id).await?;
    let identity = |whole| Identity {
        log_id: log_id.clone(),
        whole,
    };
    target.identify(&identity(false)).await?;
    copy_events(&mut source, &target, before, &mut |done| {
        tell(Progress {
            stage: Stage::Events,
            done,
            all,
        });
    })
    .await?;
    let requests = source.request_count().await?;
    copy_requests(&mut source, &target, &mut |done| {
        tell(Progress {
            stage: Stage::Requests,
            done,
            all: requests,
        });
    })
    .await?;
    compare(&mut source, &mut target, &mut |done| {
        tell(Progress {
            stage: Stage::Verifying,
            done,
            all: all + requests,
        });
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

/// Where the target ends, which is empty or a beginning of the source, and where the source does.
async fn check_target(
    source: &mut Contents,
    target: &mut Contents,
    to: &Location,
    log_id: &str,
) -> Result<(u64, u64), Error> {
    let (before, all) = (target.head().await?, source.head().await?);
    let is_empty = before == 0 && target.request_count().await? == 0;
    match target.identity().await? {
        Some(identity) if identity.log_id != log_id && !is_empty => {
            return Err(Error::Taken(to.clone()));
        }
        _ => {}
    }
    // Every event has an id of its own: who has the same newest one has the same before it.
    if before > 0 && source.events(before - 1, 1).await? != target.events(before - 1, 1).await? {
        return Err(Error::Other {
            location: to.clone(),
            position: before,
        });
    }
    Ok((before, all))
}

async fn copy_events(
    source: &mut Contents,
    target: &Contents,
    mut after: u64,
    tell: &mut (dyn FnMut(u64) + Send),
) -> Result<(), Error> {
    let mut appender = target.appender().await?;
    loop {
        tell(after);
        let events = source.events(after, PAGE).await?;
        if events.is_empty() {
            break;
        }
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
    appender.close().await;
    Ok(())
}

/// All of them, for those that are new may be anywhere between those that are there.
async fn copy_requests(
    source: &mut Contents,
    target: &Contents,
    tell: &mut (dyn FnMut(u64) + Send),
) -> Result<(), Error> {
    let mut appender = target.appender().await?;
    let (mut after, mut done) = (String::new(), 0);
    loop {
        tell(done);
        let mut requests = source.requests(&after, PAGE).await?;
        let Some(last) = requests.last() else {
            break;
        };
        after.clone_from(&last.id);
        done += requests.len() as u64;
        let ids: Vec<_> = requests.iter().map(|request| request.id.as_str()).collect();
        let there = appender.load(&[], &ids, false).await?.requests;
        requests.retain(|request| there.iter().all(|there| there.request_id != request.id));
        let batch = Batch {
            events: Vec::new(),
            requests,
        };
        appender.append(&batch).await?;
    }
    appender.close().await;
    Ok(())
}

async fn compare(
    source: &mut Contents,
    target: &mut Contents,
    tell: &mut (dyn FnMut(u64) + Send),
) -> Result<(), Error> {
    let mut position = 0;
    loop {
        tell(position);
        let (ours, theirs) =
            tokio::try_join!(source.events(position, PAGE), target.events(position, PAGE))?;
        if let Some(index) = difference(&ours, &theirs) {
            let position = position + index as u64 + 1;
            return Err(Error::Different(format!("event {position}")));
        }
        if ours.is_empty() {
            break;
        }
        position += ours.len() as u64;
    }
    let (mut after, mut done) = (String::new(), position);
    loop {
        tell(done);
        let (ours, theirs) =
            tokio::try_join!(source.requests(&after, PAGE), target.requests(&after, PAGE))?;
        if let Some(index) = difference(&ours, &theirs) {
            let request = ours.get(index).or(theirs.get(index));
            let id = request.map_or("", |request| &request.id);
            return Err(Error::Different(format!("request id {id:?}")));
        }
        let Some(last) = ours.last() else {
            break;
        };
        after.clone_from(&last.id);
        done += ours.len() as u64;
    }
    Ok(())
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
