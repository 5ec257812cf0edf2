//! The ids of orders, customers and products.

/// The rule of an id, as an error message says it.
pub const RULE: &str = "must match [A-Za-z0-9_-]{1,64}";

/// Limits the characters of an id, each of which is one byte.
const MAX_CHARS: usize = 64;

/// Returns whether a text is an id.
#[must_use]
pub fn is_valid(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    (1..=MAX_CHARS).contains(&text.len()) && text.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_has_1_to_64_letters_digits_underscores_or_hyphens() {
        for id in ["a", "Z", "0", "_", "-", "o-1_B", &"x".repeat(64)] {
            assert!(is_valid(id), "{id}");
        }
        for text in [
            "",
            " ",
            "a b",
            "a.b",
            "a/b",
            "\u{e9}",
            "\0",
            &"x".repeat(65),
        ] {
            assert!(!is_valid(text), "{text:?}");
        }
    }
}
