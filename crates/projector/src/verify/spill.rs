//! Distributes records to files by the hash of their aggregate, so that everything about one
//! aggregate is in one file, and a file fits into memory. Each record is written a few times,
//! however many there are.

use std::{
    fs::{self, File},
    hash::{BuildHasher as _, RandomState},
    io::{self, BufReader, BufWriter, ErrorKind, Read as _, Write as _},
    path::{Path, PathBuf},
};

use prost::Message as _;

use super::record::Record;

/// The number of files that a file is distributed to, as a power of 2.
const FAN_OUT_BITS: u32 = 6;

/// A larger file is distributed once more, unless it is at the last level.
pub(super) const MAX_FILE_BYTES: u64 = 16 << 20;

/// The levels of files: 64^3 files of 16 MiB are 4 TiB.
const MAX_LEVEL: u32 = 3;

/// The memory for each file that is written.
const BUFFER_BYTES: usize = 32 << 10;

/// The files of one level, while they are written.
pub(super) struct Spill {
    folder: PathBuf,
    level: u32,
    max_file_bytes: u64,
    /// No client can know the seed, and so fill one file with aggregates of its choice.
    hasher: RandomState,
    files: Vec<Option<BufWriter<File>>>,
}

impl Spill {
    /// Begins with empty files in a new folder.
    ///
    /// # Errors
    /// The folder exists, or cannot be created.
    pub(super) fn create(folder: PathBuf, max_file_bytes: u64) -> io::Result<Self> {
        fs::create_dir(&folder)?;
        Ok(Self::at_level(
            1,
            folder,
            max_file_bytes,
            RandomState::new(),
        ))
    }

    fn at_level(level: u32, folder: PathBuf, max_file_bytes: u64, hasher: RandomState) -> Self {
        Self {
            folder,
            level,
            max_file_bytes,
            hasher,
            files: (0..1 << FAN_OUT_BITS).map(|_| None).collect(),
        }
    }

    /// Adds a record to the file of its aggregate.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn add(&mut self, record: &Record) -> io::Result<()> {
        let hash = self.hasher.hash_one(record.aggregate());
        self.write(hash, &record.encode_to_vec())
    }

    fn write(&mut self, hash: u64, record: &[u8]) -> io::Result<()> {
        let number = (hash >> (64 - FAN_OUT_BITS * self.level)) % (1 << FAN_OUT_BITS);
        let path = self.path(number as usize);
        let file = match &mut self.files[number as usize] {
            Some(file) => file,
            none => none.insert(BufWriter::with_capacity(
                BUFFER_BYTES,
                File::create_new(path)?,
            )),
        };
        // A record comes from a message of at most some MiB.
        let length = u32::try_from(record.len()).map_err(|_| ErrorKind::FileTooLarge)?;
        file.write_all(&hash.to_le_bytes())?;
        file.write_all(&length.to_le_bytes())?;
        file.write_all(record)
    }

    fn path(&self, number: usize) -> PathBuf {
        self.folder.join(format!("{}-{number}", self.level))
    }

    /// Calls `work` with the records of each file, in the order in which they were added, and removes
    /// the file.
    ///
    /// # Errors
    /// An error of `work`, or one of a file.
    pub(super) fn each<E: From<io::Error>>(
        mut self,
        work: &mut impl FnMut(Records) -> Result<(), E>,
    ) -> Result<(), E> {
        let files = std::mem::take(&mut self.files).into_iter().enumerate();
        let mut written = Vec::new();
        for (number, file) in files {
            if let Some(mut file) = file {
                file.flush()?;
                written.push(self.path(number));
            }
        }
        for path in written {
            if fs::metadata(&path)?.len() > self.max_file_bytes && self.level < MAX_LEVEL {
                self.distribute(&path)?.each(work)?;
            } else {
                work(Records::open(&path)?)?;
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Distributes a file to the files of the next level, and removes it.
    fn distribute(&self, path: &Path) -> io::Result<Self> {
        let (folder, hasher) = (self.folder.clone(), self.hasher.clone());
        let mut next = Self::at_level(self.level + 1, folder, self.max_file_bytes, hasher);
        let mut records = Records::open(path)?;
        while let Some((hash, record)) = records.read()? {
            next.write(hash, record)?;
        }
        fs::remove_file(path)?;
        Ok(next)
    }
}

/// The records of a file.
pub(super) struct Records {
    file: BufReader<File>,
    record: Vec<u8>,
}

impl Records {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: BufReader::with_capacity(BUFFER_BYTES, File::open(path)?),
            record: Vec::new(),
        })
    }

    /// Returns the next record with its hash; `None` at the end.
    fn read(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        let mut hash = [0; 8];
        match self.file.read_exact(&mut hash) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let mut length = [0; 4];
        self.file.read_exact(&mut length)?;
        self.record.resize(u32::from_le_bytes(length) as usize, 0);
        self.file.read_exact(&mut self.record)?;
        Ok(Some((u64::from_le_bytes(hash), &self.record)))
    }
}

impl Iterator for Records {
    type Item = io::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.read().transpose()?;
        Some(record.and_then(|(_, record)| {
            Record::decode(record).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
        }))
    }
}
