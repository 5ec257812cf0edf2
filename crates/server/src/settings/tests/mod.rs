//! Tests of the settings: their sources, precedence and rules.

mod security;
mod sources;
mod stores;

use std::{collections::HashMap, ffi::OsString};

use clap::{Args as _, FromArgMatches as _};
use table::{CLIENT, Commands, SERVE};

use super::*;

/// Parses the flags of some commands.
fn flags<const OF: Commands>(arguments: &[&str]) -> Flags<OF> {
    let command = Flags::<OF>::augment_args(clap::Command::new("orderlog").no_binary_name(true));
    let matches = command.try_get_matches_from(arguments).unwrap();
    Flags::from_arg_matches(&matches).unwrap()
}

fn serve(arguments: &[&str], environment: &[(&str, &str)], file: &str) -> Result<Serve, String> {
    let environment: HashMap<_, _> = environment.iter().copied().collect();
    let environment = |name: &str| environment.get(name).map(OsString::from);
    Sources::with_file(&environment, file)
        .and_then(|sources| sources.with(flags::<SERVE>(arguments)).serve())
        .map_err(|error| error.to_string())
}
