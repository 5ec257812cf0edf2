//! Spells Hangul as it is typed: one letter for each key of the usual Korean keyboard.
//!
//! While 철수 is being typed, the screen shows 처, 철, 첤 and 철수. In letters each of them begins the
//! next one.

/// The letters of the first consonants, from U+1100 on.
const FIRST: [&str; 19] = [
    "ㄱ", "ㄲ", "ㄴ", "ㄷ", "ㄸ", "ㄹ", "ㅁ", "ㅂ", "ㅃ", "ㅅ", "ㅆ", "ㅇ", "ㅈ", "ㅉ", "ㅊ", "ㅋ",
    "ㅌ", "ㅍ", "ㅎ",
];

/// The letters of the vowels, from U+1161 on.
const VOWELS: [&str; 21] = [
    "ㅏ", "ㅐ", "ㅑ", "ㅒ", "ㅓ", "ㅔ", "ㅕ", "ㅖ", "ㅗ", "ㅗㅏ", "ㅗㅐ", "ㅗㅣ", "ㅛ", "ㅜ",
    "ㅜㅓ", "ㅜㅔ", "ㅜㅣ", "ㅠ", "ㅡ", "ㅡㅣ", "ㅣ",
];

/// The letters of the last consonants, from U+11A8 on.
const LAST: [&str; 27] = [
    "ㄱ", "ㄲ", "ㄱㅅ", "ㄴ", "ㄴㅈ", "ㄴㅎ", "ㄷ", "ㄹ", "ㄹㄱ", "ㄹㅁ", "ㄹㅂ", "ㄹㅅ", "ㄹㅌ",
    "ㄹㅍ", "ㄹㅎ", "ㅁ", "ㅂ", "ㅂㅅ", "ㅅ", "ㅆ", "ㅇ", "ㅈ", "ㅊ", "ㅋ", "ㅌ", "ㅍ", "ㅎ",
];

/// A part of a syllable in its typed letters.
pub(super) struct Part {
    pub(super) letters: &'static str,
    /// Whether the part goes on with the syllable before it.
    pub(super) continues: bool,
}

/// Returns the part of a syllable that a decomposed character (Unicode NFKD) stands for.
pub(super) fn part(character: char) -> Option<Part> {
    let of = |letters: &'static [&'static str], first: u32, continues| {
        let index = u32::from(character).checked_sub(first)?;
        let letters = letters.get(index as usize)?;
        Some(Part { letters, continues })
    };
    of(&FIRST, 0x1100, false)
        .or_else(|| of(&VOWELS, 0x1161, true))
        .or_else(|| of(&LAST, 0x11a8, true))
}
