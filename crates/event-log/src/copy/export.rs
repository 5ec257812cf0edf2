//! Exports a log to a file.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::{
    Copied, Error, Progress, check_target,
    compare::Requests,
    complete,
    contents::{Contents, Identity},
    whole_log,
};
use crate::Location;

/// The suffix of the folder that holds the file until the export is complete.
const UNFINISHED_SUFFIX: &str = ".unfinished";

/// A complete export, whose file does not have its name yet.
#[derive(Debug)]
pub struct Export {
    file: PathBuf,
    folder: PathBuf,
    copied: Copied,
    /// Keeps other exports from the same folder.
    _lock: Option<::sqlite::Folder>,
}

/// Copies a log through its present head to `file`, and compares both. `report` receives the
/// progress.
///
/// Nodes may use the log meanwhile. The file grows in a folder named after it, with the suffix
/// `.unfinished`; the next export to the same file continues an interrupted one.
///
/// # Errors
/// - [`Error::FileExists`]: `file` exists.
/// - [`Error::NoLog`] or [`Error::NotWhole`]: the source has no log, or an unfinished copy.
/// - [`Error::Unwritable`]: the folder of `file` cannot be read.
/// - [`Error::OtherLog`], [`Error::Ahead`] or [`Error::Diverged`]: the unfinished file is of another log.
/// - [`Error::Different`]: the file differs from the log.
/// - [`Error::Store`]: a store cannot be used, or another export to `file` is running.
pub async fn export(
    from: &Location,
    file: &Path,
    report: &mut (dyn FnMut(Progress) + Send),
) -> Result<Export, Error> {
    check_is_free(file)?;
    let parent = folder_of(file);
    // The export does not create the folder: its disk may not be mounted, and another would fill
    // up.
    fs::metadata(parent).map_err(|error| Error::Unwritable(parent.to_owned(), error))?;
    let mut source = Contents::open_snapshot(from).await?;
    let log_id = whole_log(&mut source, from).await?;
    let mut folder = file.as_os_str().to_owned();
    folder.push(UNFINISHED_SUFFIX);
    let folder = PathBuf::from(folder);
    // Another user who may write here could have made a link to a folder of ours.
    if fs::symlink_metadata(&folder).is_ok_and(|it| !it.is_dir()) {
        return Err(Error::Unwritable(
            folder,
            io::ErrorKind::NotADirectory.into(),
        ));
    }
    let to = Location::File(unfinished_in(&folder));
    let mut target = Contents::open_or_create(&to, None).await?;
    check_target(&mut source, &mut target, &to, &log_id).await?;
    let whole = Identity {
        log_id,
        whole: true,
    };
    let copied = complete(&mut source, &mut target, whole, Requests::Any, report).await?;
    source.close().await;
    Ok(Export {
        file: file.to_owned(),
        folder,
        copied,
        _lock: target.close_as_one_file().await?,
    })
}

impl Export {
    /// Returns the path of the file before [`Export::finish`].
    #[must_use]
    pub fn unfinished(&self) -> PathBuf {
        unfinished_in(&self.folder)
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// - [`Error::FileExists`]: another file got the name meanwhile.
    /// - [`Error::Unwritable`]: the file cannot be renamed and synced, or the unfinished folder
    ///   cannot be removed.
    pub fn finish(self) -> Result<Copied, Error> {
        check_is_free(&self.file)?;
        let parent = folder_of(&self.file);
        let unfinished = fs::symlink_metadata(self.unfinished());
        if !unfinished.is_ok_and(|it| it.is_file()) {
            return Err(Error::Unwritable(
                self.file,
                io::ErrorKind::InvalidData.into(),
            ));
        }
        fs::rename(self.unfinished(), &self.file)
            .and_then(|()| File::open(parent)?.sync_all())
            .and_then(|()| fs::remove_dir_all(&self.folder))
            .map_err(|error| Error::Unwritable(self.file.clone(), error))?;
        Ok(self.copied)
    }
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn unfinished_in(folder: &Path) -> PathBuf {
    folder.join("events.db")
}

fn check_is_free(file: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(file) {
        Ok(_) => Err(Error::FileExists(file.to_owned())),
        Err(_) => Ok(()),
    }
}
