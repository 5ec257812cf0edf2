//! The README's command lines, as they stand there.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
    process::Command,
};

use crate::binary::{program, start};

const README: &str = include_str!("../../../../README.md");

/// `grpcurl`, as far as the README uses it, by `buf curl`. It ends with the stream, or when that has
/// reached the head of the log and would wait for ever.
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

/// The shell's part of a section.
fn commands(section: &str) -> String {
    let (_, behind) = README.split_once(&format!("\n## {section}\n")).unwrap();
    let section = behind.split("\n## ").next().unwrap();
    let blocks = section.split("```sh\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap())
        .collect()
}

#[test]
fn a_first_order_goes_as_the_readme_says() {
    if testkit::buf().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = start(&folder.path().join("data"));
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).unwrap();
    symlink(program(), bin.join("orderlog")).unwrap();
    fs::write(bin.join("grpcurl"), GRPCURL).unwrap();
    fs::set_permissions(bin.join("grpcurl"), Permissions::from_mode(0o755)).unwrap();

    let commands = commands("A first order");
    assert_eq!(commands.matches("grpcurl -plaintext").count(), 5);
    let path = std::env::var("PATH").unwrap();
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &commands])
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("ORDERLOG_SERVER", server.url())
        .current_dir(&folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    // Both orders, from the stream at the latest, which ends with the last of them.
    for expected in [
        "Ann Müller",
        "Green Tea",
        "T-4711",
        "T-4712",
        "\"position\": \"6\"",
    ] {
        assert!(told.contains(expected), "{expected} in {told}");
    }
}
