//! Tests of the binary as a child process: its command line, its signals and its crashes.

#![cfg(test)]

mod access;
mod binary;
mod chaos;
mod command_line;
mod copy;
mod crash;
mod deploy;
mod export;
mod import;
mod load;
mod logs;
mod manager;
#[cfg(target_os = "linux")]
mod memory;
mod operations;
mod readme;
mod rebuilds;
mod reflection;
mod security;
mod shutdown;
mod telemetry;
mod traces;
