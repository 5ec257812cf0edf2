//! Generates `docs/reference/limits.md`, with every limit on clients.

use std::fmt::Write as _;

const OPENING: &str = "# Limits

`tests/reference` makes this page from the constants that set the limits. Change those, then run
`UPDATE_REFERENCE=1 cargo test --test reference`.

No setting changes a limit. Past one, the server answers at once or waits, so that other calls stay fast:
`OVERLOADED` carries the time after which to retry. See [Errors](errors.md).
";

pub(crate) fn page() -> String {
    let mut page = OPENING.to_owned();
    for (heading, limits) in server::limits() {
        writeln!(page, "\n## {heading}\n").unwrap();
        writeln!(page, "| limit | at most | past it |\n|---|---|---|").unwrap();
        for limit in limits {
            writeln!(
                page,
                "| {} | {} | {} |",
                limit.name, limit.max, limit.effect
            )
            .unwrap();
        }
    }
    page
}
