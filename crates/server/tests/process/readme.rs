//! Runs the command lines of the README and the user guide, and compares their output.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
    process::Command,
};

use crate::binary::{program, repository, start, succeeded};

const README: &str = include_str!("../../../../README.md");
const USING: &str = include_str!("../../../../docs/guide/using.md");

/// Replaces `grpcurl` with `buf curl` for the calls of the README. The script ends with the stream,
/// or when the stream reaches the head of the log.
const GRPCURL: &str = r#"#!/bin/bash
set -euo pipefail
[ $# = 5 ] && [ "$1 $2 $4" = "-plaintext -d 127.0.0.1:50051" ]
exec 3< <(exec buf curl --protocol grpc --http2-prior-knowledge -d "$3" "$ORDERLOG_SERVER/$5")
while IFS= read -r line <&3; do
    echo "$line"
    if [[ "$line" == *'"caughtUp": true'* ]]; then
        kill $!
        exit
    fi
done
wait $!
"#;

/// Replaces `cargo` for the commands of the README: the program is already built, and its tests are
/// running.
const CARGO: &str = r#"#!/bin/bash
case "$*" in
    "run --release -- serve") exec orderlog serve --help ;;
    "test --workspace") ;;
    "install --path crates/server") grep -q '^name = "orderlog"' crates/server/Cargo.toml ;;
    *) echo "cargo $*: unknown here" >&2; exit 1 ;;
esac
"#;

/// Returns a document's blocks in a language.
fn blocks(document: &'static str, language: &str) -> impl Iterator<Item = &'static str> {
    let begin = format!("```{language}\n");
    let mut rest = document;
    std::iter::from_fn(move || {
        let (_, behind) = rest.split_once(&begin)?;
        let (block, behind) = behind.split_once("```")?;
        rest = behind;
        Some(block)
    })
}

/// Replaces every digit with 0, because times and positions differ between runs.
fn without_digits(line: &str) -> String {
    let digit = |char: char| if char.is_ascii_digit() { '0' } else { char };
    line.trim_end().chars().map(digit).collect()
}

/// Runs command lines against a new server and returns their output.
///
/// # Panics
/// Panics if a command fails.
fn printed_by(commands: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let server = start(&folder.join("data"));
    let bin = folder.join("bin");
    fs::create_dir(&bin).unwrap();
    symlink(program(), bin.join("orderlog")).unwrap();
    for (name, script) in [("grpcurl", GRPCURL), ("cargo", CARGO)] {
        fs::write(bin.join(name), script).unwrap();
        fs::set_permissions(bin.join(name), Permissions::from_mode(0o755)).unwrap();
    }
    for name in ["crates", "examples"] {
        symlink(repository().join(name), folder.join(name)).unwrap();
    }
    let path = std::env::var("PATH").unwrap();
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", commands])
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("ORDERLOG_SERVER", server.url())
        .current_dir(folder)
        .output()
        .unwrap();
    succeeded(&output)
}

#[test]
#[ignore = "needs buf"]
fn readme_command_lines_run_and_print_what_it_shows() {
    // The script needs `buf` on the `PATH`.
    let _ = test_support::buf();
    let commands: String = blocks(README, "sh").collect();
    assert_eq!(commands.matches("grpcurl -plaintext").count(), 4);
    assert_eq!(commands.matches("orderlog ").count(), 7);
    let printed = printed_by(&commands);
    let lines: Vec<_> = printed.lines().map(without_digits).collect();
    let shown = blocks(README, "text").flat_map(str::lines);
    for shown in shown.map(without_digits) {
        assert!(lines.contains(&shown), "{shown} in {printed}");
    }
    // The text search finds the order at the position it waits for, and the stream delivers all
    // events.
    let (_, found) = printed.split_once("\"orders\": [").unwrap();
    let (found, streamed) = found.split_once("\"events\": [").unwrap();
    assert!(found.contains("\"trackingNumber\": \"T-4712\""), "{found}");
    for expected in ["Ann Müller", "Green Tea", "T-4711", "T-4712"] {
        assert!(streamed.contains(expected), "{expected} in {streamed}");
    }
}

#[test]
fn user_guide_command_lines_run() {
    let commands: String = blocks(USING, "sh").collect();
    // `orderlog watch` never ends, so `timeout` ends it after 2 s.
    let watch = "timeout 2 orderlog watch || [ $? = 124 ]\n";
    let printed = printed_by(&commands.replacen("orderlog watch\n", watch, 1));
    assert!(printed.contains("OrderDelivered"), "{printed}");
}
