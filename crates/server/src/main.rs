//! The `orderlog` binary.

fn main() {}
