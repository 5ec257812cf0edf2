//! The binary under test.

use std::{path::Path, process::Command};

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
