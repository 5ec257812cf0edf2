//! The `orderlog` binary.
pub mod serve;
