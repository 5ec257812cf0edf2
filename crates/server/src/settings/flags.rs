//! The flags of the settings on the command line, which follow from the table.

use std::collections::BTreeMap;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::table::{CLIENT, Commands, Setting, Value};

/// The texts of the settings that the command line of some commands gives.
#[derive(Debug)]
pub struct Flags<const OF: Commands>(pub(super) BTreeMap<&'static str, String>);

impl<const OF: Commands> FromArgMatches for Flags<OF> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |setting: Setting| Some((setting.name, text(setting, matches)?));
        Ok(Self(Setting::of(OF).filter_map(given).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.extend(Self::from_arg_matches(matches)?.0);
        Ok(())
    }
}

impl<const OF: Commands> Args for Flags<OF> {
    fn augment_args(command: Command) -> Command {
        // The flags of client commands may follow the subcommand's name.
        command.args(Setting::of(OF).map(|setting| flag(setting).global(OF == CLIENT)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn flag(setting: Setting) -> Arg {
    let (variable, default) = (setting.variable(), setting.default);
    let flag = Arg::new(setting.name).long(setting.name).help(format!(
        "{} [env: {variable}] [default: {default}]",
        setting.help
    ));
    match setting.value {
        Value::One(name) => flag.value_name(name),
        Value::List(name) => flag.value_name(name).action(ArgAction::Append),
        Value::Switch => flag.action(ArgAction::SetTrue),
    }
}

/// Returns a flag's value. Joins the values of a repeated flag with commas.
fn text(setting: Setting, matches: &ArgMatches) -> Option<String> {
    match setting.value {
        Value::One(_) => matches.get_one(setting.name).cloned(),
        Value::List(_) => {
            let values = matches.get_many::<String>(setting.name)?;
            Some(values.map(String::as_str).collect::<Vec<_>>().join(","))
        }
        Value::Switch => matches.get_flag(setting.name).then(|| true.to_string()),
    }
}
