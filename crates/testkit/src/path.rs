use std::{env, path::PathBuf};

/// A program that is installed on this machine.
#[must_use]
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|program| program.is_file())
}

/// The `buf` command, which calls by reflection as `grpcurl` does. Where it is not installed, tests
/// are skipped, loudly; with `REQUIRE_BUF` set they fail.
///
/// # Panics
/// When there is none and there has to be.
#[must_use]
pub fn buf() -> Option<PathBuf> {
    tool("buf")
}

/// The `promtool` command, which knows what Prometheus makes of rules and expressions. Where it is
/// not installed, tests are skipped, loudly; with `REQUIRE_PROMTOOL` set they fail.
///
/// # Panics
/// When there is none and there has to be.
#[must_use]
pub fn promtool() -> Option<PathBuf> {
    tool("promtool")
}

fn tool(program: &str) -> Option<PathBuf> {
    let found = on_path(program);
    if found.is_none() {
        let required = format!("REQUIRE_{}", program.to_uppercase());
        assert!(env::var_os(required).is_none(), "no {program}");
        eprintln!("SKIPPED: {program} is not installed");
    }
    found
}
