//! What the command prints, to the letter, on a ledger made for it.

use std::fs;

use payi_cli::Terminal;

use crate::support::{Place, ok, payi};

/// The files in a place.
fn names(place: &Place) -> Vec<String> {
    let entries = fs::read_dir(&place.0).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn users(args: &[&str]) -> String {
    let place = Place::new();
    ok(&[&["users", "--ledger", &place.sample()], args].concat())
}

#[test]
fn the_table() {
    insta::assert_snapshot!(users(&[]));
}

#[test]
fn the_table_in_a_narrow_terminal_with_emphasis() {
    let place = Place::new();
    let terminal = Terminal { width: Some(100), color: true };
    let (_, out, _) = payi(&["users", "--db", &place.sample()], Some(terminal));
    insta::assert_snapshot!(out.replace('\u{1b}', "ESC"));
}

#[test]
fn json() {
    let out = users(&["--format", "json"]);
    let as_of = out.lines().nth(1).unwrap();
    assert!(as_of.starts_with("  \"as_of\": \"2"), "{as_of}");
    insta::assert_snapshot!(out.replace(as_of, "  \"as_of\": \"…\","));
}

#[test]
fn csv_is_safe_in_a_spreadsheet() {
    insta::assert_snapshot!(users(&["--format", "csv", "--sort", "user"]));
}

#[test]
fn filters_narrow_rows_and_total_alike() {
    insta::assert_snapshot!(users(&["--account", "acme", "--model", "gpt-4o-mini", "--sort", "calls"]));
    insta::assert_snapshot!(users(&["--use-case", "nobody-ever-used-this"]));
    let (before, after) = ("2026-11-23T10:00:03Z", "2026-11-23T10:00:03Z");
    let cost = |out: &str| {
        let value: serde_json::Value = serde_json::from_str(out).unwrap();
        value["total"]["cost_usd"].as_str().unwrap().parse::<payi_core::money::Money>().unwrap()
    };
    let all = cost(&users(&["--format", "json"]));
    let early = cost(&users(&["--format", "json", "--until", before]));
    let late = cost(&users(&["--format", "json", "--since", after]));
    assert_eq!(early + late, all);
    assert!(early != all && late != all);
}

#[test]
fn what_is_not_a_ledger_is_refused_with_exit_code_2_and_left_alone() {
    let place = Place::new();
    let missing = place.0.join("missing.db");
    let (code, out, err) = payi(&["users", "--ledger", missing.to_str().unwrap()], None);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("there is no ledger at"), "{err}");
    assert_eq!(names(&place), Vec::<String>::new());

    let text = place.0.join("notes.txt");
    fs::write(&text, "not a database").unwrap();
    let (code, _, err) = payi(&["users", "--ledger", text.to_str().unwrap()], None);
    assert_eq!(code, 2);
    assert!(err.contains("is not a payi ledger"), "{err}");
    assert_eq!(fs::read_to_string(&text).unwrap(), "not a database");
    assert_eq!(names(&place), ["notes.txt"]);
}

#[test]
fn reading_leaves_no_trace() {
    let place = Place::new();
    let ledger = place.sample();
    let before =
        (names(&place), fs::read(&ledger).unwrap(), fs::metadata(&ledger).unwrap().modified().unwrap());
    assert_eq!(payi(&["users", "--ledger", &ledger], None).0, 0);
    let after =
        (names(&place), fs::read(&ledger).unwrap(), fs::metadata(&ledger).unwrap().modified().unwrap());
    assert!(before == after);
}

#[test]
fn a_wrong_option_is_exit_code_2_and_help_is_0() {
    assert_eq!(payi(&["users", "--sort", "colour"], None).0, 2);
    assert_eq!(payi(&["users", "--since", "yesterday"], None).0, 2);
    let (code, out, _) = payi(&["users", "--help"], None);
    assert_eq!(code, 0);
    assert!(out.contains("--ledger <PATH>"), "{out}");
}

#[test]
fn an_export_is_imported_into_a_ledger_with_the_same_report() {
    let place = Place::new();
    let ledger = place.sample();
    let lines = place.0.join("lines.jsonl");
    fs::write(&lines, ok(&["ledger", "export", "--ledger", &ledger])).unwrap();
    let copy = place.file("copy.db");
    let imported = ok(&["ledger", "import", "--ledger", &copy, lines.to_str().unwrap()]);
    assert_eq!(imported, "11 events written, 0 there already\n");
    assert_eq!(ok(&["users", "--ledger", &copy]), ok(&["users", "--ledger", &ledger]));
    assert_eq!(ok(&["ledger", "export", "--ledger", &ledger, "--user", "José ☕"]).lines().count(), 1);
}

#[test]
fn the_ledger_is_looked_after() {
    let place = Place::new();
    let ledger = place.sample();
    let before = ok(&["users", "--ledger", &ledger]);
    insta::assert_snapshot!(ok(&["ledger", "forget", "--ledger", &ledger, "--user", "José ☕"]));
    let after = ok(&["users", "--ledger", &ledger]);
    assert!(before.contains("José") && !after.contains("José"), "{after}");
    insta::assert_snapshot!(ok(&["ledger", "prune", "--ledger", &ledger, "--before", "2026-11-23"]));
    assert_eq!(ok(&["users", "--ledger", &ledger]), after, "totals stay");
    insta::assert_snapshot!(ok(&["ledger", "check", "--ledger", &ledger]));
    insta::assert_snapshot!(ok(&["delivery", "status", "--ledger", &ledger]));
    let (code, out, _) = payi(&["doctor", "--offline", "--ledger", &ledger], None);
    assert_eq!(code, 1, "a call of unknown price is a finding");
    insta::assert_snapshot!(out.replace(&ledger, "payi.db"));
    let missing = place.file("missing.db");
    assert_eq!(payi(&["ledger", "prune", "--ledger", &missing, "--before", "7d"], None).0, 2);
    assert_eq!(payi(&["doctor", "--offline", "--ledger", &missing], None).0, 1);
}

#[test]
fn a_delivery_in_trouble_is_seen_and_dealt_with() {
    let place = Place::new();
    let path = place.sample();
    let ledger = payi_core::ledger::Ledger::open(&path).unwrap();
    ledger.register("pay-i", true).unwrap();
    ledger.quarantine("pay-i", 3, "invalid_user_id").unwrap();
    drop(ledger);
    let status = ok(&["delivery", "status", "--ledger", &path]);
    assert_eq!(status, "pay-i: 11 events to go, 1 set aside\n  event 3: invalid_user_id (tried 1 time)\n");
    let (code, out, _) = payi(&["doctor", "--offline", "--ledger", &path], None);
    assert_eq!(code, 1);
    assert!(out.contains("wrong  pay-i has set 1 event aside"), "{out}");
    assert_eq!(ok(&["delivery", "retry", "--ledger", &path]), "pay-i: 1 event to be tried again\n");
    let (code, _, said) = payi(&["delivery", "drop", "--ledger", &path, "--deliverer", "pay-y"], None);
    assert!(code == 2 && said.contains("pay-i"), "{said}");
    let dropped = ok(&["delivery", "drop", "--ledger", &path, "--deliverer", "pay-i"]);
    assert_eq!(dropped, "pay-i: 1 event given up, and still in the ledger\n");
    assert_eq!(ok(&["delivery", "status", "--ledger", &path]), "pay-i: 11 events to go, 0 set aside\n");
}

#[test]
fn what_is_asked_in_vain_says_so_and_leaves_nothing_behind() {
    let place = Place::new();
    let file = place.file("new.db");
    for (args, says) in [
        (&["users", "--server", "127.0.0.1:8377"][..], "write the whole address"),
        (&["prices", "list", "--provider", "nobody"], "openai"),
        (&["serve", "--prices", "no-such-file", "--ledger", &file], "cannot be read"),
        (&["serve", "--listen", "8377", "--ledger", &file], "such as 127.0.0.1:8377"),
    ] {
        let (code, _, err) = payi(args, None);
        assert!(code == 2 && err.contains(says), "{args:?}: {code} {err}");
    }
    assert!(!std::path::Path::new(&file).exists(), "no ledger was made");
    drop(payi_core::ledger::Ledger::open(&file).unwrap());
    for report in ["users", "calls"] {
        assert!(ok(&[report, "--ledger", &file]).contains("no call is on record"), "{report}");
    }
}

#[test]
fn the_doctor_names_a_ledger_that_a_newer_payi_wrote() {
    let place = Place::new();
    let file = place.sample();
    // The schema's number, where SQLite's format has it: in the header of the first page.
    let mut bytes = fs::read(&file).unwrap();
    bytes[60..64].copy_from_slice(&99_u32.to_be_bytes());
    fs::write(&file, bytes).unwrap();
    let (code, out, _) = payi(&["doctor", "--offline", "--ledger", &file], None);
    assert!(code == 1 && out.contains("newer payi"), "{code} {out}");
    assert!(ok(&["users", "--ledger", &file]).contains("ada"), "it is read all the same");
}
