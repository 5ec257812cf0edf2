//! The binary as a process of its own: on the command line, and when it dies.

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
mod manager;
#[cfg(target_os = "linux")]
mod memory;
mod operations;
mod readme;
mod rebuilds;
mod reflection;
mod shutdown;
mod telemetry;
mod traces;
