//! Generates `docs/reference/settings.md`, with every setting, from the definition of the command
//! line.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};
use server::cli::Cli;

const OPENING: &str = "# Settings

`tests/reference` makes this page from `crates/server/src/settings`. Change that, then run
`UPDATE_REFERENCE=1 cargo test --test reference`.

A setting is its flag, else its environment variable, else its line in `orderlog.toml` in the working
folder, else its default. `orderlog.toml` uses the name of the flag without its dashes:

```toml
listen = \"127.0.0.1:50051\"
drain-timeout = 20
```

The program rejects a wrong value or an unknown name before it opens anything. The message names the
setting and its source, and the exit code is 2. `RUST_LOG` sets how much is logged: `info` by default.
";

pub(crate) fn page() -> String {
    let command = Cli::command();
    let serve = subcommand(&command, "serve");
    let client = subcommand(&command, "status");
    let mut page = OPENING.to_owned();
    let of_serve: Vec<_> = settings(serve).collect();
    section(&mut page, "`orderlog serve`", &of_serve);
    let is_new = |arg: &&Arg| !of_serve.iter().any(|it| it.get_id() == arg.get_id());
    let of_client: Vec<_> = settings(client).filter(is_new).collect();
    section(&mut page, "Client commands", &of_client);
    page.push_str(
        "\nClient commands also take `--token`, `--token-file`, `--tls-ca`, `--tls-client-cert`, \
         `--tls-client-key` and\n`--insecure`. `orderlog export` and `orderlog restore` take \
         `--data-dir` and `--database-url`.\n",
    );
    page
}

fn subcommand<'a>(command: &'a Command, name: &str) -> &'a Command {
    command.find_subcommand(name).unwrap()
}

/// Returns the flags that are settings: their help names an environment variable.
fn settings(command: &Command) -> impl Iterator<Item = &Arg> {
    let args = command.get_arguments();
    args.filter(|arg| help(arg).contains("[env: "))
}

fn help(arg: &Arg) -> String {
    arg.get_help().map(ToString::to_string).unwrap_or_default()
}

fn section(page: &mut String, title: &str, settings: &[&Arg]) {
    writeln!(page, "\n## {title}\n").unwrap();
    page.push_str("| flag | environment | default | effect |\n|---|---|---|---|\n");
    for arg in settings {
        let flag = arg.get_long().unwrap();
        let help = help(arg);
        let (effect, rest) = help.split_once(" [env: ").unwrap();
        let (variable, rest) = rest.split_once(']').unwrap();
        let expected = format!("ORDERLOG_{}", flag.replace('-', "_").to_uppercase());
        assert_eq!(variable, expected);
        let default = rest.trim().strip_prefix("[default: ").unwrap();
        let default = default.strip_suffix(']').unwrap();
        let value = arg.get_action().takes_values().then(|| {
            let names = arg.get_value_names().unwrap();
            format!(" {}", names[0])
        });
        writeln!(
            page,
            "| `--{flag}{}` | `{variable}` | {default} | {effect}. |",
            value.unwrap_or_default(),
        )
        .unwrap();
    }
}
