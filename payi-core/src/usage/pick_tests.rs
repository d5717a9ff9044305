//! The picker on documents split anywhere, cut short, or not what they claim.

#![allow(clippy::expect_used, clippy::panic, reason = "tests")]

use super::{Picker, Rule, Rules, Then};

const RULES: &Rules<&str> = &Rules::new(&[
    Rule { level: 0, key: "id", then: Then::Keep("id") },
    Rule { level: 0, key: "usage", then: Then::Keep("usage") },
    Rule { level: 0, key: "n", then: Then::Keep("n") },
    Rule { level: 0, key: "response", then: Then::Enter(1) },
    Rule { level: 1, key: "id", then: Then::Keep("inner") },
    Rule { level: 0, key: "output", then: Then::Each(2, "item") },
    Rule { level: 2, key: "type", then: Then::Keep("type") },
]);

const DOCUMENT: &str = r#" {"a":[1,{"id":"no","]":"}"},"\"]"],"id":"x\"y","usage" : {"t":{"c":1},"s":"}"},
    "n":-1.5e3,"response":{"z":{"id":"no"},"id":"in"},"output":[{"type":"p","c":[{"type":"no"}]},[],7,{"type":"q"}],
    "longer than any key that a rule may name here":"id","k\\":{"id":1},"end":null}"#;

fn picked(picker: &Picker<&'static str>) -> Vec<(&'static str, String)> {
    picker.all().map(|(name, value)| (name, String::from_utf8_lossy(value).into_owned())).collect()
}

#[test]
fn picks_by_place_and_passes_over_the_rest_wherever_the_document_is_split() {
    let whole = Picker::over(RULES, DOCUMENT.as_bytes());
    assert!(whole.is_done() && !whole.is_broken() && !whole.is_clipped());
    let expected = [
        ("id", r#""x\"y""#),
        ("usage", r#"{"t":{"c":1},"s":"}"}"#),
        ("n", "-1.5e3"),
        ("inner", r#""in""#),
        ("item", ""),
        ("type", r#""p""#),
        ("item", ""),
        ("type", r#""q""#),
    ];
    assert_eq!(picked(&whole), expected.map(|(k, v)| (k, v.to_owned())));
    assert_eq!(whole.text("id").as_deref(), Some("x\"y"));
    let place = whole.place("usage").expect("kept");
    assert!(DOCUMENT[place..].starts_with(r#"{"t""#));
    for size in 1..40 {
        let mut pieces = Picker::new(RULES);
        DOCUMENT.as_bytes().chunks(size).for_each(|piece| pieces.push(piece));
        assert_eq!(picked(&pieces), picked(&whole), "pieces of {size}");
        assert_eq!(pieces.place("usage"), Some(place));
    }
}

#[test]
fn says_what_is_cut_short_or_no_json() {
    for (document, done, broken) in [
        ("", false, false),
        ("{", false, false),
        ("{}", true, false),
        ("[]", true, false),
        ("{\"id\":\"x\"", false, false),
        ("<html>", false, true),
        ("{\"id\" 1}", false, true),
        ("{]", false, true),
        ("{\"id\":1]", false, true),
        ("\"text\"", true, false),
        ("{}{}", true, false),
    ] {
        let picker = Picker::over(RULES, document.as_bytes());
        assert_eq!((picker.is_done(), picker.is_broken()), (done, broken), "{document}");
    }
}

#[test]
fn a_value_too_long_to_be_wanted_is_not_kept() {
    let document = format!(r#"{{"id":"{}","n":7}}"#, "x".repeat(200_000));
    let mut picker = Picker::new(RULES);
    document.as_bytes().chunks(1000).for_each(|piece| picker.push(piece));
    assert!(picker.is_done() && picker.is_clipped());
    assert_eq!(picked(&picker), [("n", "7".to_owned())]);
    assert!(picker.arena.capacity() < 200_000);
}

#[test]
fn whatever_is_wrong_is_so_in_one_piece_and_byte_by_byte() {
    let long = |length| format!(r#"{{"{}":1,"id":2}}"#, "k".repeat(length));
    let documents = [
        r#"{"id":1,}"#,
        r#"{"a":1,}"b":2}"#,
        r#"{"id" 1}"#,
        r#"{"id":x}"#,
        r#"{"":1,"id":""}"#,
        "{\"id\":1 ,\t\"id\" : 2}",
        r#"{"a":"\"#,
        r#"{"a":["\""#,
        r#"{"a":"\\","id":"\\\""}"#,
        r#"[1,{"id":1},"id"]"#,
        r#"{"response":7,"output":"none","id":null}"#,
        r#"{"response":{"id":1,"id":[{"]":"}"}]},"n":1"#,
        &long(38),
        &long(39),
        &long(40),
        &long(41),
    ];
    for document in documents {
        let whole = Picker::over(RULES, document.as_bytes());
        let mut bytes = Picker::new(RULES);
        document.as_bytes().chunks(1).for_each(|byte| bytes.push(byte));
        let said = |picker: &Picker<&'static str>| {
            let places = ["id", "n", "inner"].map(|name| picker.place(name));
            (picked(picker), places, picker.is_done(), picker.is_broken(), picker.is_clipped())
        };
        assert_eq!(said(&whole), said(&bytes), "{document}");
    }
}

#[test]
fn the_longest_value_is_kept_and_of_too_many_no_byte_stays() {
    for (length, kept) in [(super::KEEP_MAX, true), (super::KEEP_MAX + 1, false)] {
        let document = format!(r#"{{"n":7,"id":"{}"}}"#, "x".repeat(length - 2));
        let picker = Picker::over(RULES, document.as_bytes());
        assert_eq!((picker.last("id").is_some(), picker.is_clipped()), (kept, !kept), "{length}");
    }
    let document = format!(r#"{{"output":[{}]}}"#, vec![r#"{"type":"x"}"#; 100_000].join(","));
    let picker = Picker::over(RULES, document.as_bytes());
    assert!(picker.is_done() && picker.is_clipped());
    assert!(picker.arena.capacity() < 20_000, "{}", picker.arena.capacity());
}

#[test]
fn a_rule_is_found_by_its_level_and_its_key_also_beside_others_of_its_slot() {
    const CROWDED: &Rules<u8> = &Rules::new(&[
        Rule { level: 0, key: "aa", then: Then::Keep(0) },
        Rule { level: 0, key: "ab", then: Then::Keep(1) },
        Rule { level: 1, key: "aa", then: Then::Keep(2) },
        Rule { level: 0, key: "aa", then: Then::Keep(3) },
        Rule { level: 0, key: "", then: Then::Keep(4) },
    ]);
    let found = |level, key: &str| match CROWDED.find(level, key.as_bytes()).map(|rule| rule.then) {
        Some(Then::Keep(name)) => Some(name),
        _ => None,
    };
    assert_eq!(found(0, "aa"), Some(0), "the first of two");
    assert_eq!((found(0, "ab"), found(1, "aa"), found(0, "")), (Some(1), Some(2), Some(4)));
    assert_eq!((found(0, "ac"), found(1, "ab"), found(200, "aa")), (None, None, None));
}
