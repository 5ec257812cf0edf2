//! The program under measurement.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use e2e::Process;
use tempfile::TempDir;

/// The program `orderlog` on its own data folder.
pub(crate) struct Program {
    process: Option<Process>,
    folder: PathBuf,
    /// Removes the folder in the end, unless it is kept.
    _temporary: Option<TempDir>,
}

impl Program {
    /// Starts the program on an empty folder next to the binary. The folder for temporary files may
    /// be in memory, where a commit waits for no disk.
    pub(crate) fn start() -> Self {
        Self::start_with_arguments(|_| ())
    }

    /// Starts the program on the data in a folder, which stays there.
    pub(crate) fn start_in(folder: &Path) -> Self {
        let process = Some(Process::start(&binary(), &data(folder)));
        Self {
            process,
            folder: folder.to_owned(),
            _temporary: None,
        }
    }

    /// Starts the program like [`Program::start`], with more arguments.
    pub(crate) fn start_with_arguments(add: impl FnOnce(&mut Command)) -> Self {
        let binary = binary();
        let folder = tempfile::tempdir_in(binary.parent().unwrap()).unwrap();
        let mut serve = e2e::serve(&binary, &data(folder.path()));
        add(&mut serve);
        Self {
            process: Some(serve.into()),
            folder: folder.path().to_owned(),
            _temporary: Some(folder),
        }
    }

    /// Returns the running process.
    pub(crate) fn process(&self) -> &Process {
        self.process.as_ref().unwrap()
    }

    /// Stops the program with SIGTERM and restarts it on the same folder.
    pub(crate) async fn start_again(&mut self) {
        let process = self.process.take().unwrap();
        // The wait must not block this thread, whose connections react to the shutdown of the
        // server.
        let ended = tokio::task::spawn_blocking(|| process.terminate()).await;
        assert_eq!(ended.unwrap(), Some(0));
        self.process = Some(Process::start(&binary(), &data(&self.folder)));
    }

    /// Restarts the program with an index of a Meilisearch server. Returns the time of the start.
    pub(crate) async fn start_with(&mut self, url: &str, key: &str, index: &str) -> Instant {
        let process = self.process.take().unwrap();
        let ended = tokio::task::spawn_blocking(|| process.terminate()).await;
        assert_eq!(ended.unwrap(), Some(0));
        let mut serve = e2e::command(&binary());
        serve
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data(&self.folder))
            .args(["--meilisearch-url", url, "--meilisearch-index", index])
            .env("ORDERLOG_MEILISEARCH_KEY", key);
        let started = Instant::now();
        self.process = Some(serve.into());
        started
    }

    /// Returns a folder on the same disk as the data.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the listener address as `host:port`.
    pub(crate) fn address(&self) -> String {
        self.process()
            .url()
            .trim_start_matches("http://")
            .to_owned()
    }
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

/// Returns the path of the program, next to the benchmark binary.
///
/// # Panics
/// Panics if the program is not built.
pub(crate) fn binary() -> PathBuf {
    let binary = env::current_exe().unwrap().with_file_name("orderlog");
    assert!(
        binary.exists(),
        "{} is missing: `cargo build --release` makes it",
        binary.display()
    );
    binary
}
