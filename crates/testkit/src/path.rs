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
    let found = on_path("buf");
    if found.is_none() {
        assert!(env::var_os("REQUIRE_BUF").is_none(), "no buf");
        eprintln!("SKIPPED: buf is not installed");
    }
    found
}
