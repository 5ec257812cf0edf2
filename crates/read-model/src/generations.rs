//! Generations of a file or folder: one is live, and a rebuild fills the next one.
//!
//! `read.db` is a symbolic link, to `read-3.db` for example. A switch replaces the link in one
//! step, so one complete generation is live whenever the process dies. An unfinished generation has
//! a mark, `read-4.db.unfinished`; [`Generations::open`] removes every generation with a mark that
//! is not live.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// The suffixes of the files that SQLite keeps next to a database.
const SQLITE_SUFFIXES: [&str; 2] = ["-wal", "-shm"];

/// The suffix of the empty file that marks an unfinished generation.
const UNFINISHED_SUFFIX: &str = ".unfinished";

/// The generations of one name, in a folder that only this process uses.
#[derive(Debug, Clone)]
pub struct Generations {
    folder: PathBuf,
    name: &'static str,
}

/// Selects the generation that a rebuild fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextGeneration {
    /// A new, empty generation.
    New,
    /// The generation that was live before.
    Previous,
}

/// One generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// The number in the path; the first generation is 1.
    pub number: u64,
    /// The path of the file or folder, which need not exist yet.
    pub path: PathBuf,
}

impl Generations {
    /// Opens the generations of a name, and removes those that were unfinished when the process
    /// ended.
    ///
    /// # Errors
    /// The folder cannot be read or changed.
    pub fn open(folder: &Path, name: &'static str) -> io::Result<Self> {
        let generations = Self {
            folder: folder.to_owned(),
            name,
        };
        generations.create_link()?;
        let live = generations.live()?;
        for other in generations.all()? {
            let mark = unfinished_mark(&other.path);
            if !mark.exists() {
                continue;
            }
            if other != live {
                remove(&other.path)?;
            }
            fs::remove_file(mark)?;
        }
        Ok(generations)
    }

    /// Returns the link of this name, or else the path of its first generation, or `None`.
    ///
    /// # Errors
    /// The folder cannot be read, although it exists.
    pub fn found(folder: &Path, name: &'static str) -> io::Result<Option<PathBuf>> {
        let generations = Self {
            folder: folder.to_owned(),
            name,
        };
        let link = generations.link();
        if fs::symlink_metadata(&link).is_ok() {
            return Ok(Some(link));
        }
        match generations.all() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            all => Ok(all?.into_iter().next().map(|first| first.path)),
        }
    }

    /// Returns the live generation.
    ///
    /// # Errors
    /// The link cannot be read, or its target is not named like a generation.
    pub fn live(&self) -> io::Result<Generation> {
        let target = fs::read_link(self.link())?;
        let number = target.to_str().and_then(|target| self.number(target));
        let number = number.ok_or_else(|| {
            let link = self.link();
            let text = format!("{} leads to {}", link.display(), target.display());
            io::Error::new(io::ErrorKind::InvalidData, text)
        })?;
        Ok(self.generation(number))
    }

    /// Returns the generation that a rebuild fills. A new one is unfinished, and replaces every
    /// other one except the live generation. Returns `None` if there is no previous one.
    ///
    /// # Errors
    /// The folder or the link cannot be read or changed.
    pub fn open_next(&self, next: NextGeneration) -> io::Result<Option<Generation>> {
        match next {
            NextGeneration::New => self.begin().map(Some),
            NextGeneration::Previous => self.previous(),
        }
    }

    /// Returns the generation that was live before, if it still exists.
    fn previous(&self) -> io::Result<Option<Generation>> {
        let live = self.live()?;
        let mut others = self.all()?;
        others.retain(|other| *other != live && !unfinished_mark(&other.path).exists());
        Ok(others.pop())
    }

    fn begin(&self) -> io::Result<Generation> {
        let live = self.live()?;
        let all = self.all()?;
        let newest = all.last().map_or(live.number, |last| last.number);
        for other in all.into_iter().filter(|other| *other != live) {
            self.discard(&other)?;
        }
        let new = self.generation(newest.max(live.number) + 1);
        File::create(unfinished_mark(&new.path))?.sync_all()?;
        Ok(new)
    }

    /// Makes `to` the live generation.
    ///
    /// # Errors
    /// The generation is gone, or the link cannot be replaced. The old generation then stays live.
    pub fn switch(&self, to: &Generation) -> io::Result<()> {
        fs::metadata(&to.path)?;
        self.link_to(to)
    }

    /// Makes the link lead to a generation, whose file need not exist yet.
    fn link_to(&self, to: &Generation) -> io::Result<()> {
        let new = self.folder.join(format!("{}.new", self.name));
        remove_file(&new)?;
        symlink(to.path.file_name().unwrap_or_default(), &new)?;
        fs::rename(&new, self.link())?;
        // The new generation is live from here on, whatever fails. A removal cannot be undone, so
        // the folder is synced first.
        let synced = File::open(&self.folder).and_then(|folder| folder.sync_all());
        if let Err(error) = synced.and_then(|()| remove_file(&unfinished_mark(&to.path))) {
            tracing::warn!(%error, path = %to.path.display(), "the switched generation could not be marked as finished");
        }
        Ok(())
    }

    /// Removes a generation that has never been live. Keeps any other one.
    ///
    /// # Errors
    /// The folder or the link cannot be read, or the generation cannot be removed.
    pub fn discard_unfinished(&self, generation: &Generation) -> io::Result<()> {
        if *generation == self.live()? || !unfinished_mark(&generation.path).exists() {
            return Ok(());
        }
        self.discard(generation)
    }

    fn discard(&self, other: &Generation) -> io::Result<()> {
        remove(&other.path)?;
        remove_file(&unfinished_mark(&other.path))
    }

    fn link(&self) -> PathBuf {
        self.folder.join(self.name)
    }

    fn generation(&self, number: u64) -> Generation {
        let (stem, extension) = self.parts();
        let path = self.folder.join(format!("{stem}-{number}{extension}"));
        Generation { number, path }
    }

    fn parts(&self) -> (&'static str, &'static str) {
        self.name
            .split_at(self.name.find('.').unwrap_or(self.name.len()))
    }

    fn number(&self, file: &str) -> Option<u64> {
        let (stem, extension) = self.parts();
        let number = file.strip_prefix(stem)?.strip_prefix('-')?;
        number.strip_suffix(extension)?.parse().ok()
    }

    /// Returns all existing generations by number.
    fn all(&self) -> io::Result<Vec<Generation>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let name = name
                .to_str()
                .map(|name| name.strip_suffix(UNFINISHED_SUFFIX).unwrap_or(name));
            numbers.extend(name.and_then(|name| self.number(name)));
        }
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers.into_iter().map(|n| self.generation(n)).collect())
    }

    /// Creates the link if it is missing.
    ///
    /// Older versions kept the file itself at the path of the link: it becomes generation 1. The
    /// link then leads to the newest finished generation, or to generation 1 if none exists.
    fn create_link(&self) -> io::Result<()> {
        let link = self.link();
        match fs::symlink_metadata(&link) {
            Ok(there) if there.is_symlink() => return Ok(()),
            Ok(_) => {
                let first = self.generation(1).path;
                for side in SQLITE_SUFFIXES {
                    let from = with_suffix(&link, side);
                    if from.exists() {
                        fs::rename(from, with_suffix(&first, side))?;
                    }
                }
                fs::rename(&link, first)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut whole = self.all()?;
        whole.retain(|generation| !unfinished_mark(&generation.path).exists());
        let live = whole.pop().unwrap_or_else(|| self.generation(1));
        self.link_to(&live)
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Returns the folder of the index of lists that belongs to a file of documents: `lists-3` beside
/// `read-3.db`.
#[must_use]
pub fn lists_folder(path: &Path) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("lists{}", stem.trim_start_matches("read")))
}

fn unfinished_mark(path: &Path) -> PathBuf {
    with_suffix(path, UNFINISHED_SUFFIX)
}

/// Removes a folder, or a file with what is kept next to it: SQLite's files and the index of lists.
/// A missing path is no error.
///
/// # Errors
/// The path exists and cannot be removed.
pub fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|there| there.is_dir()) {
        return fs::remove_dir_all(path);
    }
    // The folder goes first: without the file nothing leads to it.
    match fs::remove_dir_all(lists_folder(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    remove_file(path)?;
    for side in SQLITE_SUFFIXES {
        remove_file(&with_suffix(path, side))?;
    }
    Ok(())
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_of_an_older_version_is_the_first_generation() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["read.db", "read.db-wal"] {
            fs::write(folder.path().join(file), file).unwrap();
        }
        let generations = Generations::open(folder.path(), "read.db").unwrap();
        assert_eq!(generations.live().unwrap().number, 1);
        assert_eq!(
            names(folder.path()),
            ["read-1.db", "read-1.db-wal", "read.db"]
        );
        let through = fs::read_to_string(folder.path().join("read.db")).unwrap();
        assert_eq!(through, "read.db");
    }

    #[test]
    fn g9_one_generation_is_live_at_every_step_and_unfinished_ones_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Generations::open(folder.path(), "read.db").unwrap();
        let first = open().live().unwrap();
        fs::write(&first.path, "one").unwrap();

        let second = open().begin().unwrap();
        assert_eq!(second.number, 2);
        fs::write(&second.path, "half").unwrap();
        fs::write(with_suffix(&second.path, "-wal"), "half").unwrap();
        assert_eq!(open().live().unwrap(), first);
        assert_eq!(names(folder.path()), ["read-1.db", "read.db"]);

        let second = open().begin().unwrap();
        fs::write(&second.path, "two").unwrap();
        open_without_cleaning(folder.path())
            .switch(&second)
            .unwrap();
        // The process ends before it removes the mark.
        fs::write(unfinished_mark(&second.path), "").unwrap();
        let generations = open();
        assert_eq!(generations.live().unwrap(), second);
        assert_eq!(generations.previous().unwrap(), Some(first.clone()));

        generations.switch(&first).unwrap();
        assert_eq!(generations.live().unwrap(), first);
        assert_eq!(generations.previous().unwrap(), Some(second));
        let third = generations.begin().unwrap();
        assert_eq!(third.number, 3);
        assert_eq!(generations.previous().unwrap(), None);
        fs::remove_file(folder.path().join("read.db")).unwrap();
        assert_eq!(open().live().unwrap(), first);
    }

    #[test]
    fn a_generation_that_another_one_has_replaced_is_not_switched_to() {
        let folder = tempfile::tempdir().unwrap();
        let generations = Generations::open(folder.path(), "read.db").unwrap();
        let first = generations.live().unwrap();
        fs::write(&first.path, "one").unwrap();
        let replaced = generations.begin().unwrap();
        fs::write(&replaced.path, "half").unwrap();
        let next = generations.begin().unwrap();
        generations.switch(&replaced).unwrap_err();
        assert_eq!(generations.live().unwrap(), first);
        fs::write(&next.path, "next").unwrap();
        generations.switch(&next).unwrap();
        assert_eq!(generations.live().unwrap(), next);
    }

    fn open_without_cleaning(folder: &Path) -> Generations {
        Generations {
            folder: folder.to_owned(),
            name: "read.db",
        }
    }
}
