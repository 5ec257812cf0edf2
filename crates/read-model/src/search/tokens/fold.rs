//! Folds letters: forms of a letter that readers take for the same one become the same.

use std::{iter::once, ops::RangeInclusive};

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{DefaultIgnorableCodePoint, GeneralCategory, Script},
};
use tantivy::tokenizer::{AsciiFoldingFilter, RawTokenizer, TextAnalyzer};
use unicode_normalization::UnicodeNormalization as _;

const CATEGORIES: icu_properties::CodePointMapDataBorrowed<'static, GeneralCategory> =
    CodePointMapData::<GeneralCategory>::new();
const SCRIPTS: icu_properties::CodePointMapDataBorrowed<'static, Script> =
    CodePointMapData::<Script>::new();
const IGNORABLE: icu_properties::CodePointSetDataBorrowed<'static> =
    CodePointSetData::new::<DefaultIgnorableCodePoint>();

/// The voice marks of Kana, of the script *Inherited* as accents are. They make another letter.
const VOICE_MARKS: [char; 2] = ['\u{3099}', '\u{309a}'];

/// Apostrophes that Unicode takes for letters: of Ukrainian, and of Hawaiian and Uzbek.
const APOSTROPHES: [char; 2] = ['\u{2bc}', '\u{2bb}'];

/// Lengthens a word in Arabic type, and is no letter of it.
const TATWEEL: char = '\u{640}';

/// Syllables of Hangul, which have neither case nor accents.
const SYLLABLES: RangeInclusive<char> = '\u{ac00}'..='\u{d7a3}';

/// Calls `add` with each character of another one's folded form, without case, accent and width
/// (Unicode NFKD and full case folding). Marks that tell words apart stay, such as the vowels of
/// Devanagari and Thai.
pub(super) fn fold(character: char, mut add: impl FnMut(char)) {
    if character.is_ascii() {
        return add(character.to_ascii_lowercase());
    }
    let parts = once(character).nfkd();
    // The next steps would not change a syllable, and take longer than all other work on a text.
    if SYLLABLES.contains(&character) {
        return parts.for_each(add);
    }
    parts
        .filter(|part| !is_dropped(*part))
        .flat_map(without_case)
        .map(|part| usual_form(digit(part)))
        .for_each(add);
}

/// Returns whether the character stands for a word of its own, which no space separates from others.
pub(super) fn is_sign_of_a_word(character: char) -> bool {
    matches!(character, '№' | '℡' | '℻' | '™' | '℠')
}

/// Returns whether the character is of a word: a letter, a digit, or a mark on one.
pub(super) fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || is_mark(character)
}

/// Returns whether the character is a mark on the letter before it.
pub(super) fn is_mark(character: char) -> bool {
    !character.is_ascii()
        && matches!(
            CATEGORIES.get(character),
            GeneralCategory::NonspacingMark
                | GeneralCategory::SpacingMark
                | GeneralCategory::EnclosingMark
        )
}

/// Returns whether the script of the character is written without spaces between words, or often
/// without them. The mark that lengthens a vowel in Kana has no script of its own.
pub(super) fn is_dense(character: char) -> bool {
    character == 'ー'
        || !character.is_ascii()
            && matches!(
                SCRIPTS.get(character),
                Script::Hangul
                    | Script::Han
                    | Script::Hiragana
                    | Script::Katakana
                    | Script::Bopomofo
                    | Script::Thai
                    | Script::Lao
                    | Script::Khmer
                    | Script::Myanmar
            )
}

/// Appends a letter, or the ASCII letters for one of Latin that consists of no letter and accent, such
/// as `ø`, `æ` and `đ`.
pub(super) fn push_ascii(letter: char, word: &mut String) {
    if letter.is_ascii() || !matches!(SCRIPTS.get(letter), Script::Latin | Script::Common) {
        return word.push(letter);
    }
    TextAnalyzer::builder(RawTokenizer::default())
        .filter(AsciiFoldingFilter)
        .build()
        .token_stream(letter.encode_utf8(&mut [0; 4]))
        .process(&mut |token| word.push_str(&token.text));
}

/// Returns whether a part of a decomposed character is left out: an accent, a vowel point of Hebrew
/// or Arabic, or an invisible character.
fn is_dropped(part: char) -> bool {
    if part.is_ascii() {
        return false;
    }
    let is_accent = || {
        CATEGORIES.get(part) == GeneralCategory::NonspacingMark
            && matches!(
                SCRIPTS.get(part),
                Script::Inherited
                    | Script::Latin
                    | Script::Greek
                    | Script::Cyrillic
                    | Script::Hebrew
                    | Script::Arabic
                    | Script::Syriac
            )
            && !VOICE_MARKS.contains(&part)
    };
    part == TATWEEL || IGNORABLE.contains(part) || is_accent()
}

/// Returns the full case folding. The upper case of `ß` is `SS`, that of `ς` is `Σ`, and that of the
/// dotless `ı` is `I`.
fn without_case(character: char) -> impl Iterator<Item = char> {
    character
        .to_lowercase()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
}

/// Returns the ASCII digit of the same value. Unicode keeps the ten digits of each script together
/// and in their order.
fn digit(character: char) -> char {
    let is_digit = |code| CATEGORIES.get32(code) == GeneralCategory::DecimalNumber;
    if character.is_ascii() || !is_digit(character.into()) {
        return character;
    }
    let before = (0..u32::from(character)).rev();
    let value = before.take_while(|code| is_digit(*code)).count() % 10;
    char::from_digit(value as u32, 10).unwrap_or(character)
}

/// Returns the form of a letter under which it is found. Arabic is often typed without the distinction
/// of these forms. Hebrew has other forms at the end of a word, which no beginning of one has.
fn usual_form(letter: char) -> char {
    match letter {
        letter if APOSTROPHES.contains(&letter) => '\'',
        'ٱ' => 'ا',
        'ى' | 'ی' => 'ي',
        'ة' => 'ه',
        'ک' => 'ك',
        'ך' => 'כ',
        'ם' => 'מ',
        'ן' => 'נ',
        'ף' => 'פ',
        'ץ' => 'צ',
        letter => letter,
    }
}
