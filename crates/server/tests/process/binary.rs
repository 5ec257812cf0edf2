//! The binary under test.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use e2e::Process;

pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_orderlog"))
}

/// Starts the server.
pub(crate) fn start(data_dir: &Path) -> Process {
    Process::start(program(), data_dir)
}

/// Builds the command that starts the server. The caller can add arguments.
pub(crate) fn serve(data_dir: &Path) -> Command {
    e2e::serve(program(), data_dir)
}

/// Builds a command of the binary.
pub(crate) fn orderlog() -> Command {
    e2e::command(program())
}

/// Returns the root of the repository.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the standard output of a command that succeeded.
pub(crate) fn succeeded(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Returns the standard error of a command that ended with this exit code.
pub(crate) fn failed(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Returns the standard error of a command that ended with this exit code, which is one line.
pub(crate) fn failed_in_one_line(output: &Output, code: i32) -> String {
    let error = failed(output, code);
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}
