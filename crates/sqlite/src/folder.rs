//! Locks the data folder, so that one process at a time owns its files.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::{fs::OFlags, process};

use crate::Error;

/// A data folder that this process owns for as long as the value lives.
///
/// The operating system releases the lock when the process ends, also after a crash.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    lock: File,
}

impl Folder {
    /// Creates the folder for this user only if it is missing, and locks it.
    ///
    /// # Errors
    /// - [`Error::Owned`] when another process owns the folder.
    /// - [`Error::Unsafe`] when another user could change the files in the folder.
    /// - [`Error::Folder`] when the folder or its lock file cannot be created or opened.
    pub fn own(path: &Path) -> Result<Self, Error> {
        let unusable = |error| Error::Folder(path.to_owned(), error);
        create(path).map_err(unusable)?;
        let metadata = fs::metadata(path).map_err(unusable)?;
        if let Some(why) = danger(&metadata) {
            return Err(Error::Unsafe(path.to_owned(), why));
        }
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            // A link could make the lock that of another folder.
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(path.join("lock"))
            .map_err(unusable)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Error::Owned(path.to_owned()),
            TryLockError::Error(error) => unusable(error),
        })?;
        Ok(Self {
            path: path.to_owned(),
            lock,
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
        create(folder).map_err(unusable)?;
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

impl Drop for Folder {
    /// Releases the lock. To close the file is not enough: a program that this process is starting
    /// has it open as well, until it runs.
    fn drop(&mut self) {
        // The end of the process releases the lock if this fails.
        let _ = self.lock.unlock();
    }
}

/// Creates a folder and its missing parents, for this user only.
fn create(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Returns the reason why others could plant or replace files in a folder, or `None` if they cannot.
///
/// A container that runs as an arbitrary user owns nothing, but has a folder of its own group.
fn danger(folder: &fs::Metadata) -> Option<&'static str> {
    let is_ours = folder.uid() == process::geteuid().as_raw();
    let is_of_our_group = || {
        let groups = process::getgroups().unwrap_or_default();
        let mut ours = groups.into_iter().chain([process::getegid()]);
        ours.any(|group| group.as_raw() == folder.gid())
    };
    let for_group = folder.mode() & 0o020 != 0;
    if folder.mode() & 0o002 != 0 {
        Some("everybody may write in it")
    } else if is_ours || for_group && is_of_our_group() {
        None
    } else {
        Some("it belongs to another user")
    }
}

#[cfg(test)]
mod tests;
