//! Tests of exporting a log in use, and of clients after a restore.

mod backup;
mod failures;
mod read_models;

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Output,
};

use e2e::Process;
use tempfile::TempDir;
use test_support::postgres;

use crate::binary::{orderlog, serve, succeeded};

/// The storage of a node: a folder, and a database if the log is not in the folder.
struct Place {
    folder: TempDir,
    database: Option<String>,
}

impl Place {
    fn in_folder() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            database: None,
        }
    }

    async fn in_database() -> Self {
        Self {
            database: Some(postgres::database().await),
            ..Self::in_folder()
        }
    }

    fn data_dir(&self) -> PathBuf {
        self.file("data")
    }

    fn command(&self, arguments: &[&OsStr]) -> std::process::Command {
        let mut command = orderlog();
        command.env("ORDERLOG_DATA_DIR", self.data_dir());
        if let Some(database) = &self.database {
            command.env("ORDERLOG_DATABASE_URL", database);
        }
        command.args(arguments);
        command
    }

    fn serve(&self, more: &[&str]) -> Process {
        let mut serve = serve(&self.data_dir());
        if let Some(database) = &self.database {
            serve.env("ORDERLOG_DATABASE_URL", database);
        }
        serve.args(more);
        serve.into()
    }

    /// Returns the path of a file beside the data.
    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn export(&self, file: &Path) -> Output {
        let arguments = [OsStr::new("export"), file.as_os_str()];
        self.command(&arguments).output().unwrap()
    }

    fn restore(&self, file: &Path, more: &[&str]) -> Output {
        let arguments = [OsStr::new("restore"), file.as_os_str()];
        self.command(&arguments).args(more).output().unwrap()
    }
}

/// Parses the output of a command that ran with `--json`.
fn json(output: &Output) -> serde_json::Value {
    serde_json::from_str(&succeeded(output)).unwrap()
}
