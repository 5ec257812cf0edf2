//! Locks the data folder, so that one process at a time owns its files.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use crate::Error;

/// A data folder that this process owns for as long as the value lives.
///
/// The operating system releases the lock when the process ends, also after a crash.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Creates the folder if it is missing, and locks it.
    ///
    /// # Errors
    /// - [`Error::Owned`] when another process owns the folder.
    /// - [`Error::Folder`] when the folder or its lock file cannot be created or opened.
    pub fn own(path: &Path) -> Result<Self, Error> {
        let unusable = |error| Error::Folder(path.to_owned(), error);
        fs::create_dir_all(path).map_err(unusable)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("lock"))
            .map_err(unusable)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Error::Owned(path.to_owned()),
            TryLockError::Error(error) => unusable(error),
        })?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Locks the folder that holds a file. Returns `None` if that folder is `owned` already.
    ///
    /// # Errors
    /// The errors of [`Folder::own`].
    pub fn own_parent_of(file: &Path, owned: Option<&Self>) -> Result<Option<Self>, Error> {
        let folder = match file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let unusable = |error| Error::Folder(folder.to_owned(), error);
        fs::create_dir_all(folder).map_err(unusable)?;
        let canonical = |folder: &Path| fs::canonicalize(folder).map_err(unusable);
        match owned {
            Some(owned) if canonical(folder)? == canonical(&owned.path)? => Ok(None),
            _ => Self::own(folder).map(Some),
        }
    }

    /// Returns the path of the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of a file in the folder.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}
