//! The pages of `docs/reference`, which tests make from code.

use std::{env, fs, path::Path};

/// Checks that a page of `docs/reference` is this text. With the variable `UPDATE_REFERENCE` set,
/// writes the page first. `test` is the command that runs the test.
///
/// # Panics
/// Panics if the page is another text, or cannot be written.
pub fn assert_reference(name: &str, page: &str, test: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let file = root.join("docs/reference").join(name);
    if env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(&file, page).unwrap();
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        written == page,
        "docs/reference/{name} is not current: UPDATE_REFERENCE=1 {test}"
    );
}
