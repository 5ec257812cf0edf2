//! Tests of the segments of texts.

use super::{forms::separated, segments, texts};

#[test]
fn texts_of_every_script_are_folded_in_either_unicode_form() {
    for (text, folded) in [
        ("Münster", "munster"),
        ("Mu\u{308}nster", "munster"),
        ("Straße", "strasse"),
        ("STRAẞE", "strasse"),
        ("Smørrebrød", "smorrebrod"),
        ("Ærø", "aero"),
        ("Łódź", "lodz"),
        ("İstanbul", "istanbul"),
        ("IŞIK", "isik"),
        ("ışık", "isik"),
        ("Đặng Thị", "dang thi"),
        ("ÅNGSTRÖM", "angstrom"),
        ("A\u{30a}ngstro\u{308}m", "angstrom"),
        ("ﬁn ｆｕｌｌ", "fin full"),
        ("ΟΔΥΣΣΕΎΣ", "οδυσσευσ"),
        ("Οδυσσεύς", "οδυσσευσ"),
        ("Королёв", "королев"),
        ("שָׁלוֹם", "שלומ"),
        ("مُحَمَّد", "محمد"),
        ("أحمد إيمان آية", "احمد ايمان ايه"),
        ("محـــمد", "محمد"),
        ("हिन्दी", "हिन्दी"),
        ("١٢٣ ۴۵ १२ １２", "123 45 12 12"),
        ("김철수", "ㄱㅣㅁㅊㅓㄹㅅㅜ"),
        ("김철수", "ㄱㅣㅁㅊㅓㄹㅅㅜ"),
        ("과 닭 ㄱ ㅏ ﾡ", "ㄱㅗㅏ ㄷㅏㄹㄱ ㄱ ㅏ ㄱ"),
        ("ｶﾞｰ", "カ\u{3099}ー"),
        ("zero\u{200d}width\u{ad}", "zerowidth"),
        ("Демʼянюк", "дем янюк"),
        ("Hawaiʻi", "hawai i"),
        ("№45, Acme™", "no 45 acme tm"),
    ] {
        assert_eq!(texts(text).join(" "), folded, "{text}");
    }
}

#[test]
fn everything_but_letters_and_digits_separates() {
    let words = texts("ORD-2024_17, \"x\"; (y)");
    assert_eq!(words, ["ord", "2024", "17", "x", "y"]);
    for text in ["", " -_*?! ", "🎉", "\u{301}", "\u{200d}"] {
        assert_eq!(texts(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_text_is_split_between_dense_and_other_scripts() {
    for (text, words) in [
        ("테헤란로123", &["ㅌㅔㅎㅔㄹㅏㄴㄹㅗ", "123"][..]),
        ("LG전자", &["lg", "ㅈㅓㄴㅈㅏ"]),
        ("渋谷区ビル2階", &["渋谷区ヒ\u{3099}ル", "2", "階"]),
        ("น้ำ7", &["น\u{e49}\u{e4d}า", "7"]),
    ] {
        assert_eq!(texts(text), words, "{text}");
    }
}

#[test]
fn a_segment_knows_its_letters_and_whether_it_goes_on() {
    let segments = segments("김 철수, 港区 x 区");
    let parts: Vec<_> = segments
        .iter()
        .map(|segment| (segment.letters.len(), segment.continues))
        .collect();
    assert_eq!(
        parts,
        [(1, false), (2, true), (2, false), (1, false), (1, false)]
    );
    assert_eq!(segments[1].part(1..9), "ㅅㅜ");
}

#[test]
fn codes_with_separators_are_runs_of_words_with_a_digit_and_without_a_space() {
    for (text, codes) in [
        ("Book 978-3-16-148410-0, new", &[(1, "9783161484100")][..]),
        ("GR-123 X.Y.Z-99", &[(0, "gr123"), (2, "xyz99")]),
        ("12/34 C", &[(0, "1234")]),
        ("Jean-Luc", &[]),
        ("테헤란로-12-3", &[(1, "123")]),
        ("1-2-3-4-5-6-7-8-9-10-11-12-13", &[]),
    ] {
        let found = separated(&segments(text));
        let found: Vec<_> = found.iter().map(|(at, code)| (*at, &*code.text)).collect();
        assert_eq!(found, codes, "{text}");
    }
}
