//! The binary that is tested.

use std::{path::Path, process::Command};

use testkit::Process;

pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_orderlog"))
}

/// Starts the server.
pub(crate) fn start(data_dir: &Path) -> Process {
    Process::start(program(), data_dir)
}

/// The command that starts it, to be told more.
pub(crate) fn serve(data_dir: &Path) -> Command {
    testkit::serve(program(), data_dir)
}

/// A command line of the binary.
pub(crate) fn orderlog() -> Command {
    testkit::command(program())
}
