//! Restores a log from an exported file.

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

/// The id that a restored log gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogId {
    /// The id of the exported log, so that its subscribers resume.
    Kept,
    /// A new id, so that the server rejects subscribers of the exported log.
    New,
}

/// An exported file, and the target of its restore.
#[derive(Debug)]
pub struct Restore {
    source: Contents,
    target: Contents,
    log_id: String,
}

impl Restore {
    /// Opens the file and the target. The target is empty, or holds an interrupted restore of this
    /// file, which continues.
    ///
    /// # Errors
    /// - [`Error::NoLog`] or [`Error::NotWhole`]: the file is missing, or is an unfinished copy.
    /// - [`Error::InUse`]: a node or a copy uses the target database.
    /// - [`Error::Occupied`]: the target holds a whole log.
    /// - [`Error::Ahead`] or [`Error::Diverged`]: the target holds events that the file does not have.
    /// - [`Error::Store`]: a store cannot be used, or another process uses the target's folder.
    pub async fn open(file: &Path, to: &Location) -> Result<Self, Error> {
        let from = Location::File(file.to_owned());
        let mut source = Contents::open_snapshot(&from).await?;
        let log_id = whole_log(&mut source, &from).await?;
        let mut target = Contents::open_or_create(to, None).await?;
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

    /// Copies the log, compares both, and lets nodes open the target. `report` receives the progress.
    ///
    /// # Errors
    /// After an error, no node opens the target.
    ///
    /// - [`Error::Different`]: file and target differ.
    /// - [`Error::SourceChanged`]: the file has changed during the restore.
    /// - [`Error::Store`]: a store fails.
    pub async fn run(
        self,
        log_id: LogId,
        report: &mut (dyn FnMut(Progress) + Send),
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
        let copied = complete(&mut source, &mut target, whole, Requests::All, report).await?;
        target.close().await;
        source.close().await;
        Ok(copied)
    }
}
