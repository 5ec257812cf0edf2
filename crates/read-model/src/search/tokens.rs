//! Splits text into words, in the same way for documents and queries.
//!
//! The text is composed (Unicode NFC) and split at everything except letters and digits. Words lose
//! their accents and upper case.

use std::collections::BTreeSet;

use tantivy::tokenizer::{
    AsciiFoldingFilter, LowerCaser, RemoveLongFilter, SimpleTokenizer, TextAnalyzer,
    TextAnalyzerBuilder, Tokenizer,
};
use unicode_normalization::UnicodeNormalization;

/// The analyzer's name in the schema. Raise its number with every change to the words of a text, so
/// that an index of the old analyzer has another schema.
pub(super) const ANALYZER_NAME: &str = "words-1";

/// Excludes longer words from the index: a word of this many bytes is the first to be left out.
const WORD_BYTES_LIMIT: usize = 256;

/// Returns the analyzer of the indexed fields.
pub(super) fn analyzer() -> TextAnalyzer {
    folding()
        .filter(RemoveLongFilter::limit(WORD_BYTES_LIMIT))
        .build()
}

/// Returns the words of a query. A word too long for the index stays, so that it finds nothing
/// instead of being ignored.
pub(super) fn words(query: &str) -> BTreeSet<String> {
    sequence(query).into_iter().collect()
}

/// Returns the words of a text, in the order of the text.
pub(super) fn sequence(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    folding()
        .build()
        .token_stream(&composed(text))
        .process(&mut |token| words.push(token.text.clone()));
    words
}

/// Composes each letter with its accents, because the analyzer would split at a separate accent.
pub(super) fn composed(text: &str) -> String {
    text.nfc().collect()
}

/// Folds accents before case: lower case turns `İ` into an `i` and a separate accent.
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
