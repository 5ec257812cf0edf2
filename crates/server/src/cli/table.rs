//! Formats tables for people.

use comfy_table::{Cell, CellAlignment, Table, presets};

use super::text::printable;

/// A column with its heading. Numbers are aligned right.
#[derive(Clone, Copy)]
pub(super) enum Column {
    Text(&'static str),
    Number(&'static str),
}

/// Formats rows as a table with headings.
pub(super) fn of<const N: usize>(
    columns: [Column; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(columns.map(|column| match column {
            Column::Text(heading) => Cell::new(heading),
            Column::Number(heading) => Cell::new(heading).set_alignment(CellAlignment::Right),
        }));
    for row in rows {
        let cells = columns.iter().zip(row).map(|(column, text)| {
            let cell = Cell::new(printable(&text));
            match column {
                Column::Text(_) => cell,
                Column::Number(_) => cell.set_alignment(CellAlignment::Right),
            }
        });
        table.add_row(cells.collect::<Vec<_>>());
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_at_the_right_and_nothing_steers_the_terminal() {
        let table = of(
            [Column::Text("NAME"), Column::Number("COUNT")],
            [
                ["Chai".into(), "7".into()],
                ["a\u{1b}[2J\nb".into(), "1,000".into()],
            ],
        );
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(
            lines,
            [
                " NAME              COUNT",
                " Chai                  7",
                " a\\u{1b}[2J\\u{a}b  1,000",
            ]
        );
    }
}
