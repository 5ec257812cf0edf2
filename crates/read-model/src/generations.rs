//! Generations of a file or folder: one is used, and others are made beside it.
//!
//! `read.db` is a link to `read-3.db`, say. Another generation takes its place when the link is
//! replaced, which is one step; so whenever the process dies, one of them is the one that is used,
//! whole. One
//! that is being made has a mark, `read-4.db.unfinished`, and is removed when it is found with it.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// What SQLite has beside a file.
const SIDES: [&str; 2] = ["-wal", "-shm"];

/// What marks a generation that is being made.
const MARK: &str = ".unfinished";

/// The generations of one name in a folder that is ours.
#[derive(Debug, Clone)]
pub struct Generations {
    folder: PathBuf,
    name: &'static str,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// The first is 1.
    pub number: u64,
    /// Where it is, or is to be.
    pub path: PathBuf,
}

impl Generations {
    /// Those of a name, without what was being made when the process ended.
    ///
    /// # Errors
    /// When the folder cannot be read or changed.
    pub fn open(folder: &Path, name: &'static str) -> io::Result<Self> {
        let generations = Self {
            folder: folder.to_owned(),
            name,
        };
        generations.adopt()?;
        let live = generations.live()?;
        for other in generations.all()? {
            let mark = marked(&other.path);
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

    /// The first path of this name in a folder, or of one of its generations, if there is any.
    ///
    /// # Errors
    /// When the folder cannot be read.
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

    /// The one that is used.
    ///
    /// # Errors
    /// When the link cannot be read, or is no link of ours.
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

    /// The one that was used before, if it is still there.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn previous(&self) -> io::Result<Option<Generation>> {
        let live = self.live()?;
        let mut others = self.all()?;
        others.retain(|other| *other != live && !marked(&other.path).exists());
        Ok(others.pop())
    }

    /// A new one, to be made; the previous one and what is unfinished are removed.
    ///
    /// # Errors
    /// When the folder cannot be changed.
    pub fn begin(&self) -> io::Result<Generation> {
        let live = self.live()?;
        let all = self.all()?;
        let newest = all.last().map_or(live.number, |last| last.number);
        for other in all.into_iter().filter(|other| *other != live) {
            self.discard(&other)?;
        }
        let new = self.generation(newest.max(live.number) + 1);
        File::create(marked(&new.path))?.sync_all()?;
        Ok(new)
    }

    /// Puts one in the place of the one that is used.
    ///
    /// # Errors
    /// When the link cannot be replaced; it leads where it did then.
    pub fn switch(&self, to: &Generation) -> io::Result<()> {
        let new = self.folder.join(format!("{}.new", self.name));
        remove_file(&new)?;
        symlink(to.path.file_name().unwrap_or_default(), &new)?;
        fs::rename(&new, self.link())?;
        // It is used from here on, whatever fails. What is removed after this is removed for good.
        let synced = File::open(&self.folder).and_then(|folder| folder.sync_all());
        if let Err(error) = synced.and_then(|()| remove_file(&marked(&to.path))) {
            tracing::warn!(%error, path = %to.path.display(), "a change of places was not tidied up");
        }
        Ok(())
    }

    /// Removes one that is not used.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn discard(&self, other: &Generation) -> io::Result<()> {
        remove(&other.path)?;
        remove_file(&marked(&other.path))
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

    /// All that are there, by number.
    fn all(&self) -> io::Result<Vec<Generation>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let name = name
                .to_str()
                .map(|name| name.strip_suffix(MARK).unwrap_or(name));
            numbers.extend(name.and_then(|name| self.number(name)));
        }
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers.into_iter().map(|n| self.generation(n)).collect())
    }

    /// Makes the link if there is none: to what lies in its place, which older versions had there,
    /// or to what is there already.
    fn adopt(&self) -> io::Result<()> {
        let link = self.link();
        match fs::symlink_metadata(&link) {
            Ok(there) if there.is_symlink() => return Ok(()),
            Ok(_) => {
                let first = self.generation(1).path;
                for side in SIDES {
                    let from = beside(&link, side);
                    if from.exists() {
                        fs::rename(from, beside(&first, side))?;
                    }
                }
                fs::rename(&link, first)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut whole = self.all()?;
        whole.retain(|generation| !marked(&generation.path).exists());
        let live = whole.pop().unwrap_or_else(|| self.generation(1));
        self.switch(&live)
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn marked(path: &Path) -> PathBuf {
    beside(path, MARK)
}

/// Removes a file, with what SQLite has beside it, or a folder; it need not be there.
///
/// # Errors
/// When it is there and cannot be removed.
pub fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|there| there.is_dir()) {
        return fs::remove_dir_all(path);
    }
    remove_file(path)?;
    for side in SIDES {
        remove_file(&beside(path, side))?;
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
    fn g9_at_any_step_one_generation_is_used_and_what_was_being_made_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Generations::open(folder.path(), "read.db").unwrap();
        let first = open().live().unwrap();
        fs::write(&first.path, "one").unwrap();

        let second = open().begin().unwrap();
        assert_eq!(second.number, 2);
        fs::write(&second.path, "half").unwrap();
        fs::write(beside(&second.path, "-wal"), "half").unwrap();
        assert_eq!(open().live().unwrap(), first);
        assert_eq!(names(folder.path()), ["read-1.db", "read.db"]);

        let second = open().begin().unwrap();
        fs::write(&second.path, "two").unwrap();
        open_without_cleaning(folder.path())
            .switch(&second)
            .unwrap();
        // As if it had ended before the mark was removed.
        fs::write(marked(&second.path), "").unwrap();
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

    fn open_without_cleaning(folder: &Path) -> Generations {
        Generations {
            folder: folder.to_owned(),
            name: "read.db",
        }
    }
}
