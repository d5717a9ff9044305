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
