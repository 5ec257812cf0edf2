//! The binary as a process of its own: on the command line, and when it dies.

#![cfg(test)]

mod access;
mod binary;
mod command_line;
mod copy;
mod crash;
mod deploy;
mod export;
mod import;
mod manager;
#[cfg(target_os = "linux")]
mod memory;
mod operations;
mod readme;
mod reflection;
mod shutdown;
mod telemetry;
mod traces;
