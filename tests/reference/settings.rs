//! Generates `docs/reference/settings.md`, with every setting, from the table of settings.

use std::fmt::Write as _;

use server::settings::table::{CLIENT, LOG, SERVE, Setting, Value};

const OPENING: &str = "# Settings

`tests/reference` makes this page from `crates/server/src/settings/table.rs`. Change that, then run
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
    let mut page = OPENING.to_owned();
    section(&mut page, "`orderlog serve`", Setting::of(SERVE));
    let (shared, of_client): (Vec<_>, Vec<_>) =
        Setting::of(CLIENT).partition(|setting| setting.is_of(SERVE));
    section(&mut page, "Client commands", of_client.into_iter());
    writeln!(
        page,
        "\nClient commands also take {}.\n`orderlog export` and `orderlog restore` take {}.",
        names(shared.into_iter()),
        names(Setting::of(LOG)),
    )
    .unwrap();
    page
}

fn section(page: &mut String, title: &str, settings: impl Iterator<Item = Setting>) {
    writeln!(page, "\n## {title}\n").unwrap();
    page.push_str("| flag | environment | default | effect |\n|---|---|---|---|\n");
    for setting in settings {
        let flag = match setting.value {
            Value::One(value) | Value::List(value) => format!("--{} {value}", setting.name),
            Value::Switch => format!("--{}", setting.name),
        };
        let (variable, default, help) = (setting.variable(), setting.default, setting.help);
        writeln!(page, "| `{flag}` | `{variable}` | {default} | {help}. |").unwrap();
    }
}

/// Lists the flags of settings in a sentence.
fn names(settings: impl Iterator<Item = Setting>) -> String {
    let mut names: Vec<_> = settings.map(|it| format!("`--{}`", it.name)).collect();
    let last = names.pop().unwrap();
    format!("{} and {last}", names.join(", "))
}
