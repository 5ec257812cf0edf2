//! Tests of the settings: their sources, precedence and rules.

mod security;
mod sources;
mod stores;

use std::{collections::HashMap, ffi::OsString};

use super::*;

fn serve(flags: &ServeFlags, environment: &[(&str, &str)], file: &str) -> Result<Serve, String> {
    let environment: HashMap<_, _> = environment.iter().copied().collect();
    let environment = |name: &str| environment.get(name).map(OsString::from);
    Sources::with_file(&environment, file)
        .and_then(|sources| sources.serve(flags))
        .map_err(|error| error.to_string())
}

fn listen(address: &str) -> ServeFlags {
    ServeFlags {
        listen: Some(address.into()),
        ..ServeFlags::default()
    }
}
