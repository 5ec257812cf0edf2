use std::path::Path;

use uuid::Uuid;

use super::{
    Copied, Error, Progress, check_beginning,
    compare::Requests,
    complete,
    contents::{Contents, Identity},
    whole_log,
};
use crate::Location;

/// Which id a restored log has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogId {
    /// That of the log that was exported: who follows it goes on.
    Kept,
    /// One of its own: who followed the log that was exported is refused.
    New,
}

/// A file that a log was exported to, and the place for a log that is to be made of it.
#[derive(Debug)]
pub struct Restore {
    source: Contents,
    target: Contents,
    log_id: String,
}

impl Restore {
    /// Opens both. The place is empty, or was left by a restore of this file that was broken off,
    /// which is gone on with.
    ///
    /// # Errors
    /// When there is nothing to restore, or the place is in use, or holds something else.
    pub async fn open(file: &Path, to: &Location) -> Result<Self, Error> {
        let from = Location::File(file.to_owned());
        let mut source = Contents::so_far(&from).await?;
        let log_id = whole_log(&mut source, &from).await?;
        let mut target = Contents::made(to, None).await?;
        if let Some(Identity {
            log_id,
            whole: true,
        }) = target.identity().await?
        {
            let location = to.clone();
            return Err(Error::Occupied { location, log_id });
        }
        check_beginning(&mut source, &mut target, to).await?;
        Ok(Self {
            source,
            target,
            log_id,
        })
    }

    /// Copies the log, and compares it. `tell` hears how far it is.
    ///
    /// # Errors
    /// When it is not there whole afterwards: then it is not served.
    pub async fn run(
        self,
        log_id: LogId,
        tell: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Copied, Error> {
        let Self {
            mut source,
            mut target,
            log_id: kept,
        } = self;
        let whole = Identity {
            log_id: match log_id {
                LogId::Kept => kept,
                LogId::New => Uuid::now_v7().to_string(),
            },
            whole: true,
        };
        let copied = complete(&mut source, &mut target, whole, Requests::All, tell).await?;
        target.close().await;
        source.close().await;
        Ok(copied)
    }
}
