//! Generates `docs/reference/limits.md`, with every limit on clients.

use std::fmt::Write as _;

const OPENING: &str = "# Limits

`tests/reference` makes this page from the constants that set the limits. Change those, then run
`UPDATE_REFERENCE=1 cargo test --test reference`.

No setting changes a limit. Past one, the server answers at once, so that other calls stay fast:
`OVERLOADED` carries the time after which to retry. See [Errors](errors.md).
";

pub(crate) fn page() -> String {
    let mut page = OPENING.to_owned();
    for (heading, limits) in server::limits() {
        writeln!(page, "\n## {heading}\n").unwrap();
        writeln!(page, "| limit | at most | past it |\n|---|---|---|").unwrap();
        for limit in limits {
            let max = grouped(limit.max);
            writeln!(page, "| {} | {max} | {} |", limit.name, limit.effect).unwrap();
        }
    }
    page
}

/// Formats a number with a comma between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
