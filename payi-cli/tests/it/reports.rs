//! Reports by any dimension: whatever rows are made of, they add up to what `payi users` says.

use payi_core::{
    money::Money,
    pricing::{PriceBook, Priced},
    usage::{Bucket, Usage},
};
use serde_json::{Value, json};

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
fn tokens_are_counted_in_the_same_groups_for_calls_as_for_users() {
    let place = Place::new();
    let (users, calls) = (place.json("users"), place.json("calls"));
    let column = |csv: &str, name: &str| -> u64 {
        let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let heads = lines.next().unwrap();
        let at = heads.iter().position(|head| *head == name).unwrap_or_else(|| panic!("{name}: {heads:?}"));
        // Counted from the end: names may have commas in them, and line breaks, before which there are fewer cells.
        let from_end = heads.len() - at;
        lines
            .filter_map(|cells| cells.len().checked_sub(from_end).map(|at| cells[at].parse::<u64>().unwrap()))
            .sum()
    };
    let csv = |report: &str| place.run(&format!("{report} --format csv")).1;
    let mut cached = 0;
    for group in ["input", "cache_read", "cache_write", "output", "reasoning"] {
        let total = users["total"]["tokens"][group].as_u64().unwrap();
        let rows = calls["rows"].as_array().unwrap().iter();
        assert_eq!(rows.map(|row| row["tokens"][group].as_u64().unwrap()).sum::<u64>(), total, "{group}");
        let name = format!("{group}_tokens");
        assert_eq!((column(&csv("users"), &name), column(&csv("calls"), &name)), (total, total), "{group}");
        cached += if group.starts_with("cache") { total } else { 0 };
    }
    assert!(cached > 0, "or the groups could overlap unseen");
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
fn a_narrow_list_of_calls_tells_them_apart_and_its_ids_are_taken() {
    let place = Place::new();
    let terminal = Some(payi_cli::Terminal { width: Some(80), color: false });
    let (code, out, _) = payi(&["calls", "--ledger", &place.ledger], terminal);
    assert_eq!(code, 0, "{out}");
    let heads: Vec<_> = out.lines().next().unwrap().split("  ").map(str::trim).collect();
    assert!(heads.contains(&"ID ENDS") && out.lines().all(|line| line.chars().count() <= 80), "{out}");
    let calls = place.json("calls");
    for row in calls["rows"].as_array().unwrap() {
        let (id, at) = (row["id"].as_str().unwrap(), row["at"].as_str().unwrap());
        let (tail, began) = (&id[24..], at[5..19].replace('T', " "));
        let line = out.lines().find(|line| line.contains(tail)).unwrap_or_else(|| panic!("{id}: {out}"));
        assert!(line.starts_with(&began), "{line}");
        for part in [tail, &id[4..], id] {
            let (code, out, err) = place.run(&format!("explain {part}"));
            // `id[4..]` is an ending, too, with hyphens in it.
            assert!(code == 0 && out.starts_with(id), "{part}: {out}{err}");
        }
    }
    let first = calls["rows"][0]["id"].as_str().unwrap();
    let alike = calls["rows"].as_array().unwrap().iter();
    let alike = alike.filter(|row| row["id"].as_str().unwrap().starts_with(&first[..4])).count();
    assert!(alike > 1);
    let (code, _, err) = place.run(&format!("explain {}", &first[..4]));
    assert!(code == 2 && err.contains(&format!("the ids of {alike} calls begin or end with")), "{err}");
    assert_eq!(place.run("explain 000000000000").0, 1);
    assert_eq!(place.run("explain 01a").0, 2, "it is too short");
}

#[test]
fn an_estimated_call_says_why_it_is_one() {
    let place = support::Place::new();
    let (ledger, lines) = (place.file("payi.db"), place.file("lines.jsonl"));
    let id = "019ac2f1-5c00-7ae1-9a74-aa22fdf22b06";
    let line = json!({
        "event_id": id, "call_id": id, "attempt": 1, "provider": "anthropic", "operation": "messages",
        "category": "system.anthropic", "request_model": "claude-sonnet-4-5", "streamed": true,
        "started_at": "2026-11-23T12:00:00Z", "latency_us": 5, "outcome": "aborted", "http_status": 200,
        "usage": {"input": 100, "output": 10}, "usage_estimated": true,
        "cost_usd": "0.00045", "cost_source": "estimated",
    });
    std::fs::write(&lines, line.to_string()).unwrap();
    support::ok(&["ledger", "import", &lines, "--ledger", &ledger]);
    let told = support::ok(&["explain", "aa22fdf22b06", "--ledger", &ledger]);
    assert!(told.contains("(estimated)\nusage: estimated: the answer does not say\n"), "{told}");
    assert!(told.contains(" USD, estimated\n"), "a price is no better than its counts: {told}");
}

#[test]
fn several_models_in_one_call_are_explained_line_by_line_to_the_last_digit() {
    let place = support::Place::new();
    let (ledger, lines) = (place.file("payi.db"), place.file("lines.jsonl"));
    let own = Usage::new().with(Bucket::Input, 1_234).with(Bucket::Output, 77);
    let others = Usage::new().with(Bucket::Input, 5_001).with(Bucket::CacheRead, 13).with(Bucket::Output, 9);
    let at_us = 1_795_435_200_000_000;
    let cost = |model, usage| {
        PriceBook::embedded().price(&Priced {
            provider: "anthropic",
            model,
            at_us,
            service_tier: None,
            geo: None,
            usage,
        })
    };
    let whole = cost("claude-sonnet-4-5", &own) + cost("claude-opus-4-5", &others);
    let id = "019ac2f1-5c00-7ae1-9a74-aa22fdf22b06";
    let line = json!({
        "event_id": id, "call_id": id, "attempt": 1, "provider": "anthropic", "operation": "messages",
        "category": "system.anthropic", "request_model": "claude-sonnet-4-5", "streamed": false,
        "started_at": "2026-11-23T12:00:00Z", "latency_us": 5, "outcome": "ok", "http_status": 200,
        "usage": {"input": 1_234 + 5_001, "cache_read": 13, "output": 77 + 9},
        "usage_elsewhere": [["claude-opus-4-5", {"input": 5_001, "cache_read": 13, "output": 9}]],
        "cost_usd": whole.amount.to_string(), "cost_source": whole.source.name(),
    });
    std::fs::write(&lines, line.to_string()).unwrap();
    support::ok(&["ledger", "import", &lines, "--ledger", &ledger]);
    let told = support::ok(&["explain", id, "--ledger", &ledger]);
    assert!(
        told.contains("anthropic/claude-sonnet-4-5") && told.contains("anthropic/claude-opus-4-5"),
        "{told}"
    );
    assert!(told.contains(&format!("2 models together: {} USD", whole.amount)), "{told}");
    assert!(told.contains(&format!("in the ledger: {} USD (computed)", whole.amount)), "{told}");
    assert!(!told.contains("The ledger says"), "{told}");
    // `        1234 input     0.003702  at 3 USD per million tokens`
    let amounts = told
        .lines()
        .filter(|line| line.contains("  at "))
        .map(|line| line.split_whitespace().nth(2).unwrap().parse::<Money>().unwrap());
    let amounts: Vec<Money> = amounts.collect();
    assert_eq!((amounts.len(), amounts.into_iter().sum::<Money>()), (5, whole.amount), "{told}");
    let exported = support::ok(&["ledger", "export", "--ledger", &ledger]);
    let exported: Value = serde_json::from_str(exported.trim()).unwrap();
    assert_eq!(exported["usage_elsewhere"], line["usage_elsewhere"]);
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
    let (_, table, _) = place.run("diff --since 2026-11-23 --until 2026-11-24 --group-by model");
    let ranges = "Before: 2026-11-22 00:00:00 to 2026-11-23 00:00:00. \
                  After: 2026-11-23 00:00:00 to 2026-11-24 00:00:00 (UTC).";
    assert_eq!(table.lines().next(), Some(ranges));
    let new = table.lines().filter(|line| line.ends_with(" new")).count();
    assert_eq!(new, json["rows"].as_array().unwrap().len(), "{table}");
    let total = table.lines().last().unwrap();
    assert!(total.starts_with("TOTAL") && !total.ends_with("new"), "{table}");
    let (_, csv, _) = place.run("diff --since 2026-11-23 --until 2026-11-24 --group-by model --format csv");
    assert!(!csv.contains("Before:") && !csv.contains("new"), "{csv}");
}
