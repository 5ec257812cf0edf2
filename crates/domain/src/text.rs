//! Rules of texts that people write.

use unicode_normalization::UnicodeNormalization as _;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory as _};

/// Returns whether a text has a character that can be seen: no space, and no control or format
/// character.
#[must_use]
pub fn is_visible(text: &str) -> bool {
    text.chars().any(|char| {
        let group = char.general_category_group();
        let is_hidden = matches!(
            group,
            GeneralCategoryGroup::Separator | GeneralCategoryGroup::Other
        );
        !is_hidden && !char.is_whitespace()
    })
}

/// Returns a text in the Normalization Form C of Unicode, so that a name is the same however a
/// keyboard composes its letters.
#[must_use]
pub fn composed(text: &str) -> String {
    text.nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_only_hidden_characters_then_a_text_is_not_visible() {
        for hidden in [
            "",
            " ",
            "\t\n",
            "\u{200b}",
            "\u{2060}\u{feff}",
            "\u{3000}",
            "\u{202e} \u{ad}",
        ] {
            assert!(!is_visible(hidden), "{hidden:?}");
        }
        for visible in ["a", "東京", "a\u{200d}b", "!", "\u{301}", "👩\u{200d}🔬"] {
            assert!(is_visible(visible), "{visible:?}");
        }
    }

    #[test]
    fn given_two_spellings_of_a_letter_then_they_become_one() {
        assert_eq!(composed("Zoe\u{308}"), "Zo\u{eb}");
        assert_eq!(composed("Zo\u{eb}"), "Zo\u{eb}");
    }
}
