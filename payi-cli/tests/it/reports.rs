//! Reports by any dimension: whatever rows are made of, they add up to what `payi users` says.

use payi_core::money::Money;
use serde_json::Value;

use crate::support::{self, payi};

/// The small ledger, and the command over it.
struct Place {
    ledger: String,
    _place: support::Place,
}

impl Place {
    fn new() -> Self {
        let place = support::Place::new();
        Self { ledger: place.sample(), _place: place }
    }

    fn run(&self, args: &str) -> (u8, String, String) {
        let args: Vec<_> = args.split_whitespace().chain(["--ledger", &self.ledger]).collect();
        payi(&args, None)
    }

    fn json(&self, args: &str) -> Value {
        let (code, out, err) = self.run(&format!("{args} --format json"));
        assert_eq!((code, err.as_str()), (0, ""), "{args}");
        serde_json::from_str(&out).unwrap()
    }
}

fn sum(rows: &Value, field: &str) -> Money {
    rows.as_array().unwrap().iter().map(|row| row[field].as_str().unwrap().parse::<Money>().unwrap()).sum()
}

#[test]
fn every_report_adds_up_to_the_users() {
    let place = Place::new();
    let total = place.json("users")["total"]["cost_usd"].clone();
    for report in [
        "accounts",
        "use-cases",
        "models",
        "models --group-by user,model,outcome",
        "accounts --breakdown",
        "use-cases --group-by use-case,step",
    ] {
        let json = place.json(report);
        assert_eq!(json["total"]["cost_usd"], total, "{report}");
        assert_eq!(sum(&json["rows"], "cost_usd").to_string(), total.as_str().unwrap(), "{report}");
    }
    let calls = place.json("calls");
    let costs = calls["rows"].as_array().unwrap().iter().filter_map(|row| row["cost_usd"].as_str());
    let sum: Money = costs.map(|cost| cost.parse::<Money>().unwrap()).sum();
    assert_eq!(sum.to_string(), total.as_str().unwrap());
}

#[test]
fn a_call_explains_itself_and_others_are_refused() {
    let place = Place::new();
    let calls = place.json("calls --user ada --outcome ok --sort cost");
    let id = calls["rows"][0]["id"].as_str().unwrap();
    let (code, out, _) = place.run(&format!("explain {id}"));
    assert_eq!(code, 0);
    assert!(
        out.contains("gpt-4o") && out.contains("per million tokens") && out.contains("in the ledger: "),
        "{out}"
    );
    let (code, _, err) = place.run("explain nothing");
    assert_eq!(code, 2, "{err}");
    let (code, _, err) = place.run("calls --outcome nope");
    assert!(code == 2 && err.contains("ok, failed, aborted"), "{err}");
    let missing = "01a20a45-f8c3-7ae1-9a74-aa22fdf22b06";
    assert_eq!(place.run(&format!("explain {missing}")).0, 1);
}

#[test]
fn formats_carry_the_same_rows_and_names_stay_text() {
    let place = Place::new();
    let rows = place.json("models --group-by user")["rows"].as_array().unwrap().len();
    let (_, jsonl, _) = place.run("models --group-by user --format jsonl");
    assert_eq!(jsonl.lines().count(), rows);
    let (_, csv, _) = place.run("models --group-by user --format csv");
    assert!(csv.contains("'=cmd()"), "{csv}");
    for format in ["table", "md"] {
        let (_, out, _) = place.run(&format!("models --group-by user --format {format}"));
        assert!(!out.contains('\u{1b}') && !out.contains('\u{202e}'), "{out}");
        assert!(out.contains("TOTAL"));
    }
}

#[test]
fn a_difference_is_the_after_without_the_before() {
    let place = Place::new();
    let json = place.json("diff --since 2026-11-23 --until 2026-11-24 --group-by model");
    let total = place.json("users")["total"]["cost_usd"].clone();
    assert_eq!(json["total"]["after_usd"], total);
    assert_eq!(json["total"]["before_usd"], "0");
    assert_eq!(sum(&json["rows"], "change_usd").to_string(), total.as_str().unwrap());
}
