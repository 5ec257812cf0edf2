//! Programs that are installed on this machine.

use std::{env, path::PathBuf};

/// Finds an installed program on the `PATH`.
#[must_use]
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|program| program.is_file())
}

/// Finds the `buf` command, which calls services by reflection as `grpcurl` does.
///
/// # Panics
/// Panics if `buf` is not installed.
#[must_use]
pub fn buf() -> PathBuf {
    on_path("buf").expect("buf is on the path")
}

/// Finds the `promtool` command, which checks rules and expressions as Prometheus does.
///
/// # Panics
/// Panics if `promtool` is not installed.
#[must_use]
pub fn promtool() -> PathBuf {
    on_path("promtool").expect("promtool is on the path")
}
