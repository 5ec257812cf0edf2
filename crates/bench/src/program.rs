//! The program that is measured.

use std::{
    env,
    path::{Path, PathBuf},
    time::Instant,
};

use tempfile::TempDir;
use testkit::Process;

/// `orderlog` on a folder of its own.
pub(crate) struct Program {
    process: Option<Process>,
    folder: TempDir,
}

impl Program {
    /// Starts it on an empty folder. It lies beside the program: the folder for temporary files may
    /// be in memory, where a commit waits for no disk.
    pub(crate) fn start() -> Self {
        let binary = binary();
        let folder = tempfile::tempdir_in(binary.parent().unwrap()).unwrap();
        let process = Some(Process::start(&binary, &data(&folder)));
        Self { process, folder }
    }

    /// The process.
    pub(crate) fn process(&self) -> &Process {
        self.process.as_ref().unwrap()
    }

    /// Ends it and starts it again.
    pub(crate) async fn start_again(&mut self) {
        let process = self.process.take().unwrap();
        // Not on this thread, whose connections have to hear that the server wants to end.
        let ended = tokio::task::spawn_blocking(|| process.terminate()).await;
        assert_eq!(ended.unwrap(), Some(0));
        self.process = Some(Process::start(&binary(), &data(&self.folder)));
    }

    /// The same, with a Meilisearch; returns when it was started.
    pub(crate) async fn start_with(&mut self, url: &str, key: &str) -> Instant {
        let process = self.process.take().unwrap();
        let ended = tokio::task::spawn_blocking(|| process.terminate()).await;
        assert_eq!(ended.unwrap(), Some(0));
        let mut serve = testkit::command(&binary());
        serve
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data(&self.folder))
            .args(["--meilisearch-url", url])
            .env("ORDERLOG_MEILISEARCH_KEY", key);
        let started = Instant::now();
        self.process = Some(serve.into());
        started
    }

    /// A folder on the same disk.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where it listens, as `host:port`.
    pub(crate) fn address(&self) -> String {
        self.process()
            .url()
            .trim_start_matches("http://")
            .to_owned()
    }
}

fn data(folder: &TempDir) -> PathBuf {
    folder.path().join("data")
}

/// Where the program is.
pub(crate) fn binary() -> PathBuf {
    let binary = env::current_exe().unwrap().with_file_name("orderlog");
    assert!(
        binary.exists(),
        "{} is missing: `cargo build --release` makes it",
        binary.display()
    );
    binary
}
