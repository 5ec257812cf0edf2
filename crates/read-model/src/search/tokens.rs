//! How text becomes words, the same for documents and queries: composed (Unicode NFC), split at
//! everything that is not a letter or a digit, without accents, in lower case.

use std::collections::BTreeSet;

use tantivy::tokenizer::{
    AsciiFoldingFilter, LowerCaser, RemoveLongFilter, SimpleTokenizer, TextAnalyzer,
    TextAnalyzerBuilder, Tokenizer,
};
use unicode_normalization::UnicodeNormalization;

/// The analyzer's name in the schema. Whoever changes what words a text has, changes the number:
/// an index made by another analyzer is then another schema's.
pub(super) const ANALYZER: &str = "words-1";

/// Bytes of the first word that is too long to be indexed.
const TOO_LONG: usize = 256;

/// The analyzer of the indexed fields.
pub(super) fn analyzer() -> TextAnalyzer {
    folding().filter(RemoveLongFilter::limit(TOO_LONG)).build()
}

/// The words of a query. One that is too long for the index stays, so that it is not found,
/// instead of being no condition.
pub(super) fn words(query: &str) -> BTreeSet<String> {
    sequence(query).into_iter().collect()
}

/// The words of a text, in its order.
pub(super) fn sequence(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    folding()
        .build()
        .token_stream(&composed(text))
        .process(&mut |token| words.push(token.text.clone()));
    words
}

/// The text with every accent in the letter that carries it, as the analyzer expects it: a letter
/// and an accent of its own would be a word and a separator.
pub(super) fn composed(text: &str) -> String {
    text.nfc().collect()
}

/// Folds before it lowers the case: `İ` in lower case is an `i` and an accent of its own.
fn folding() -> TextAnalyzerBuilder<impl Tokenizer> {
    TextAnalyzer::builder(SimpleTokenizer::default())
        .filter(AsciiFoldingFilter)
        .filter(LowerCaser)
}

#[cfg(test)]
mod tests {
    use super::words;

    fn words_of(text: &str) -> Vec<String> {
        words(text).into_iter().collect()
    }

    #[test]
    fn accents_and_case_are_folded_in_either_unicode_form() {
        for (text, folded) in [
            ("Münster", "munster"),
            ("Mu\u{308}nster", "munster"),
            ("Straße", "strasse"),
            ("STRAẞE", "strasse"),
            ("Smørrebrød", "smorrebrod"),
            ("Ærø", "aero"),
            ("Łódź", "lodz"),
            ("İstanbul", "istanbul"),
            ("ÅNGSTRÖM", "angstrom"),
            ("A\u{30a}ngstro\u{308}m", "angstrom"),
        ] {
            assert_eq!(words_of(text), [folded], "{text}");
        }
    }

    #[test]
    fn everything_but_letters_and_digits_separates() {
        assert_eq!(
            words_of("ORD-2024_17, \"x\"; (y)"),
            ["17", "2024", "ord", "x", "y"]
        );
        assert_eq!(words_of(" -_*?! "), Vec::<String>::new());
    }
}
