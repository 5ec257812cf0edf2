use std::{
    fs::{self, File},
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

/// What the name of the folder ends with in which the file is made.
const UNFINISHED: &str = ".unfinished";

/// A file that has all of a log, and not its name yet.
#[derive(Debug)]
pub struct Export {
    file: PathBuf,
    folder: PathBuf,
    copied: Copied,
    /// So that no other export makes it.
    _lock: Option<::sqlite::Folder>,
}

/// Copies a log, which may be in use, as far as it is now, and compares it. `tell` hears how far it is.
///
/// The file is made in a folder beside, where an export that was broken off is gone on with.
///
/// # Errors
/// When there is such a file already, or it is not the same as the log.
pub async fn export(
    from: &Location,
    file: &Path,
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<Export, Error> {
    check_is_free(file)?;
    let parent = folder_of(file);
    // It is not made: a disk that is not mounted is not to be filled in another place.
    fs::metadata(parent).map_err(|error| Error::Unwritable(parent.to_owned(), error))?;
    let mut source = Contents::so_far(from).await?;
    let log_id = whole_log(&mut source, from).await?;
    let mut folder = file.as_os_str().to_owned();
    folder.push(UNFINISHED);
    let folder = PathBuf::from(folder);
    let to = Location::File(made_in(&folder));
    let mut target = Contents::made(&to, None).await?;
    check_target(&mut source, &mut target, &to, &log_id).await?;
    let whole = Identity {
        log_id,
        whole: true,
    };
    let copied = complete(&mut source, &mut target, whole, Requests::Any, tell).await?;
    source.close().await;
    Ok(Export {
        file: file.to_owned(),
        folder,
        copied,
        _lock: target.close_alone().await?,
    })
}

impl Export {
    /// Where it is as long as it has not its name.
    #[must_use]
    pub fn unfinished(&self) -> PathBuf {
        made_in(&self.folder)
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// When there is one of that name meanwhile, or it cannot be done.
    pub fn finish(self) -> Result<Copied, Error> {
        check_is_free(&self.file)?;
        let parent = folder_of(&self.file);
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

fn made_in(folder: &Path) -> PathBuf {
    folder.join("events.db")
}

fn check_is_free(file: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(file) {
        Ok(_) => Err(Error::Exists(file.to_owned())),
        Err(_) => Ok(()),
    }
}
