//! The index's files, written without a sync.
//!
//! tantivy syncs about twenty times for each commit, which takes some 100 ms on a plain disk before
//! one changed order is found. A process that dies loses no written data, synced or not; only a
//! power cut loses some. The log can refill the index. So it is cheaper to [`check`] every file on
//! opening, and to start empty if one is damaged.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    AntiCallToken, Directory, DirectoryLock, FileHandle, Lock, MmapDirectory, TerminatingWrite,
    WatchCallback, WatchHandle, WritePtr,
};
use tantivy::{Index, TantivyError};

/// The bytes at the end of each segment file that tell the length of its footer.
const MIN_FOOTER_BYTES: u64 = 8;

/// A folder whose files are mapped into memory for reading.
#[derive(Debug, Clone)]
pub(crate) struct UnsyncedDirectory {
    path: PathBuf,
    mapped: MmapDirectory,
}

impl UnsyncedDirectory {
    pub(crate) fn open(path: &Path) -> tantivy::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            mapped: MmapDirectory::open(path)?,
        })
    }
}

/// Checks the files of the last commit, and removes all other segment files.
///
/// A killed process leaves unfinished files, whose names the next writer may need.
///
/// # Errors
/// A file of the commit does not match its checksum.
pub(crate) fn check(folder: &Path, index: &Index) -> tantivy::Result<()> {
    let committed = index.load_metas()?.list_segment_files();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = PathBuf::from(path.file_name().unwrap_or_default());
        if committed.contains(&name) {
            // tantivy panics at a file without a whole footer.
            let has_footer = length(&path)? >= MIN_FOOTER_BYTES;
            if !has_footer || !index.directory().validate_checksum(&name)? {
                let message = format!("{} is damaged", name.display());
                return Err(TantivyError::InternalError(message));
            }
        } else if is_of_segment(&name) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn length(path: &Path) -> io::Result<u64> {
    Ok(fs::metadata(path)?.len())
}

/// Returns whether a file is named after a segment, by 32 hexadecimal digits.
fn is_of_segment(name: &Path) -> bool {
    let segment = name.to_str().and_then(|name| name.split('.').next());
    segment.is_some_and(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl Directory for UnsyncedDirectory {
    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(self.path.join(path));
        match file {
            Ok(file) => Ok(BufWriter::new(Box::new(Unsynced(file)))),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(OpenWriteError::FileAlreadyExists(path.to_owned()))
            }
            Err(error) => Err(OpenWriteError::wrap_io_error(error, path.to_owned())),
        }
    }

    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        let target = self.path.join(path);
        let new = target.with_extension("new");
        fs::write(&new, data)?;
        fs::rename(new, target)
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        self.mapped.get_file_handle(path)
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        self.mapped.delete(path)
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        self.mapped.exists(path)
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        self.mapped.atomic_read(path)
    }

    fn acquire_lock(&self, lock: &Lock) -> Result<DirectoryLock, LockError> {
        self.mapped.acquire_lock(lock)
    }

    fn watch(&self, callback: WatchCallback) -> tantivy::Result<WatchHandle> {
        self.mapped.watch(callback)
    }
}

/// A file that is complete once the operating system has its data.
struct Unsynced(File);

impl Write for Unsynced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl TerminatingWrite for Unsynced {
    fn terminate_ref(&mut self, _: AntiCallToken) -> io::Result<()> {
        self.flush()
    }
}
