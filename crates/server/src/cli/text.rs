//! Makes text from others safe for a terminal.

use std::fmt::Write as _;

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// Returns whether a character could steer the terminal, or show text in another order than it has.
fn steers(char: char) -> bool {
    matches!(
        char.general_category(),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    )
}

/// Escapes control, format and separator characters, because text from other users must not control
/// the terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().fold(String::new(), |mut printable, char| {
        if steers(char) {
            printable.extend(char.escape_unicode());
        } else {
            printable.push(char);
        }
        printable
    })
}

/// Escapes the same characters in each line of a text.
pub(super) fn printable_lines(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(printable).collect();
    lines.join("\n")
}

/// Escapes the same characters in a JSON text, where only strings can contain them.
pub(super) fn printable_json(json: &str) -> String {
    json.chars().fold(String::new(), |mut printable, char| {
        if steers(char) {
            for unit in char.encode_utf16(&mut [0; 2]) {
                // Writing to a `String` cannot fail.
                let _ = write!(printable, "\\u{unit:04x}");
            }
        } else {
            printable.push(char);
        }
        printable
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_steers_the_terminal() {
        for steering in [
            '\u{1b}',
            '\u{9b}',
            '\u{202e}',
            '\u{2066}',
            '\u{200b}',
            '\u{2028}',
            '\u{e0041}',
        ] {
            let text = format!("a{steering}b");
            assert!(!printable(&text).contains(steering));
            assert!(!printable_lines(&text).contains(steering));
            let json = serde_json::to_string(&text).unwrap();
            let printable = printable_json(&json);
            assert!(!printable.contains(steering));
            assert_eq!(serde_json::from_str::<String>(&printable).unwrap(), text);
        }
        assert_eq!(printable("a\nb\u{202e}"), "a\\u{a}b\\u{202e}");
        assert_eq!(printable_lines("a\nb\u{202e}"), "a\nb\\u{202e}");
        assert_eq!(printable("Ünï 東京\u{3000}é"), "Ünï 東京\u{3000}é");
    }
}
