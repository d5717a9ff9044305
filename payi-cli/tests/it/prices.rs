//! What is in the book, as the command shows it, and what a file of usages comes to.

use payi_core::pricing::PriceBook;
use serde_json::{Value, json};

use crate::support::{Place, ok, payi};

#[test]
fn shows_a_model_by_every_name_that_it_is_priced_under() {
    for (asked, heading) in [
        ("openai/gpt-4o-mini", "openai/gpt-4o-mini"),
        ("OpenAI/GPT-4o-mini", "openai/gpt-4o-mini"),
        (
            "anthropic/claude-sonnet-4-5-20250929",
            "anthropic/claude-sonnet-4-5 (snapshot: anthropic/claude-sonnet-4-5-20250929)",
        ),
        ("google/gemini-2.0-flash-exp", "google/gemini-2.0-flash (snapshot: google/gemini-2.0-flash-exp)"),
        ("google/models/gemini-2.5-pro", "google/gemini-2.5-pro (normalised: google/models/gemini-2.5-pro)"),
        ("azure/gpt-4o", "openai/gpt-4o (exact: azure/gpt-4o)"),
        (
            "anthropic/claude-sonnet-4-5-turbo",
            "anthropic/claude-sonnet-4-5 (similar, and so estimated: anthropic/claude-sonnet-4-5-turbo)",
        ),
    ] {
        let shown = ok(&["prices", "show", asked]);
        assert_eq!(shown.lines().next(), Some(heading));
    }
    for entry in PriceBook::embedded().models() {
        let name = format!("{}/{}", entry.provider(), entry.model());
        assert_eq!(ok(&["prices", "show", &name]).lines().next(), Some(&*name));
    }
}

#[test]
fn a_model_that_is_not_in_the_book_says_which_list_to_look_at() {
    for (asked, list) in [
        ("openai/none", "`payi prices list --provider openai`"),
        ("OpenAI/none", "`payi prices list --provider openai`"),
        ("nope/gpt-4o", "`payi prices list`"),
    ] {
        let (code, out, err) = payi(&["prices", "show", asked], None);
        assert!(code == 2 && out.is_empty() && err.contains(asked) && err.contains(list), "{asked}: {err}");
    }
}

#[test]
fn shows_all_prices_of_a_model_and_lists_those_of_a_provider() {
    let text = ok(&["prices", "show", "openai/gpt-5.6"]);
    assert!(text.contains("from 2026-08-21T00:00:00Z: input 4 (above 272000: 8)"), "{text}");
    assert!(text.contains("tier batch") && text.contains("region us × 11/10\n"), "{text}");
    for format in ["table", "json", "csv"] {
        let text = ok(&["prices", "list", "--provider", "anthropic", "--format", format]);
        assert!(text.contains("claude-opus-5") && !text.contains("gpt-4o"));
    }
}

#[test]
fn a_key_that_is_not_known_is_told_once_and_its_lines_are_priced() {
    let place = Place::new();
    let file = place.file("usages.jsonl");
    let usual = r#"{"provider": "openai", "model": "gpt-4o", "usage": {"input_tokens": 1000}}"#;
    let more = r#"{"tier": "batch", "a\u001b": 1, "provider": "openai", "model": "gpt-4o", "usage": {"input_tokens": 1000}}"#;
    std::fs::write(&file, format!("{usual}\n{more}\n{more}\n")).unwrap();
    let (code, out, err) = payi(&["prices", "cost", &file], None);
    assert_eq!(
        err.lines().collect::<Vec<_>>(),
        [
            r#"payi: line 2: the key "a\u{1b}" is not known, and is ignored"#,
            r#"payi: line 2: the key "tier" is not known, and is ignored; the service tier is "service_tier""#,
        ]
    );
    let costs = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["cost_usd"].clone());
    assert_eq!((code, costs.collect::<Vec<_>>()), (0, vec![json!("0.0025"); 3]));
}

#[test]
fn a_model_without_a_price_is_an_answer_and_no_failure() {
    let place = Place::new();
    let file = place.file("usages.jsonl");
    std::fs::write(&file, r#"{"provider": "openai", "model": "none", "usage": {"input_tokens": 1}}"#)
        .unwrap();
    let answer: Value = serde_json::from_str(&ok(&["prices", "cost", &file])).unwrap();
    assert_eq!((&answer["source"], &answer["cost_usd"]), (&json!("unpriced"), &Value::Null));
    assert_eq!(answer["match"], Value::Null);
}
