use std::{env, path::PathBuf};

/// A program that is installed on this machine.
#[must_use]
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|program| program.is_file())
}

/// The `buf` command, which calls by reflection as `grpcurl` does.
///
/// # Panics
/// When it is not installed.
#[must_use]
pub fn buf() -> PathBuf {
    on_path("buf").expect("buf is on the path")
}

/// The `promtool` command, which knows what Prometheus makes of rules and expressions.
///
/// # Panics
/// When it is not installed.
#[must_use]
pub fn promtool() -> PathBuf {
    on_path("promtool").expect("promtool is on the path")
}
