//! Rules of the house that no compiler checks: files say why they exist, imports flow one way,
//! tables that must agree do, and what the documents name exists.

#![allow(clippy::expect_used, reason = "a file that cannot be read is a failed test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Modules of `payi-core`; left may not import right. Those in one group do not know each other.
const ORDER: &[&[&str]] = &[
    &["defect", "error"],
    &["context"],
    &["money"],
    &["usage"],
    &["pricing"],
    &["events"],
    &["limits"],
    &["ledger"],
    &["sink"],
    &["clients"],
    &["runtime"],
    &["private", "testing"],
];

/// A file of ours: its path from the root of the repository, with `/`, and its text.
struct File {
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file below `dir` whose name `wanted` accepts, in order; build output is left out.
fn files(dir: &str, wanted: impl Fn(&str) -> bool) -> Vec<File> {
    let mut found = Vec::new();
    let mut open = vec![root().join(dir)];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).expect("a readable directory") {
            let path: PathBuf = entry.expect("a readable entry").path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
            if path.is_dir() {
                if name != "target" && name != ".git" {
                    open.push(path);
                }
            } else if wanted(&name)
                && let Ok(text) = fs::read_to_string(&path)
            {
                let path = path.strip_prefix(root()).expect("below the root");
                found.push(File { path: path.to_string_lossy().replace('\\', "/"), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "nothing to check below {dir}: the test looks in the wrong place");
    found
}

fn rust_files(dir: &str) -> Vec<File> {
    files(dir, |name| name.ends_with(".rs"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Fails with all of `complaints`, one to a line.
fn none(rule: &str, complaints: &[String]) {
    assert!(complaints.is_empty(), "{rule}:\n  {}", complaints.join("\n  "));
}

#[test]
fn every_file_says_why_it_exists() {
    let silent: Vec<_> = rust_files(".")
        .iter()
        .filter(|f| {
            let first = f.text.lines().find(|l| !l.trim().is_empty() && !l.starts_with("#!"));
            first.and_then(|l| l.strip_prefix("//! ")).is_none_or(|why| why.trim().len() < 10)
        })
        .map(|f| f.path.clone())
        .collect();
    none("start the file with `//!` and why it exists", &silent);
}

#[test]
fn no_file_is_too_long() {
    let long: Vec<_> = rust_files(".")
        .iter()
        .map(|f| (f, f.text.lines().count()))
        .filter(|&(_, lines)| lines > 500)
        .map(|(f, lines)| format!("{}: {lines} lines", f.path))
        .collect();
    none("split the idea: no file over 500 lines", &long);
}

#[test]
fn imports_flow_one_way() {
    let mut wrong = Vec::new();
    for file in rust_files("payi-core/src") {
        let inside = file.path.trim_start_matches("payi-core/src/");
        let steps: Vec<&str> = inside.trim_end_matches(".rs").split('/').filter(|s| *s != "mod").collect();
        // Tests may look at everything.
        if steps == ["lib"] || steps.last().is_some_and(|name| *name == "tests" || name.ends_with("_tests")) {
            continue;
        }
        let Some(own) = rank(steps[0]) else {
            wrong.push(format!("{}: `{}` has no place in ORDER", file.path, steps[0]));
            continue;
        };
        let code = code_of(&file.text);
        if climbs(&code) >= steps.len() {
            wrong.push(format!("{}: `super` reaches the crate's root; write `crate::`", file.path));
        }
        for name in imports(&code) {
            let name = re_exported(&name).unwrap_or(&name);
            match rank(name) {
                None => wrong.push(format!("{}: `crate::{name}` is no module of ORDER", file.path)),
                Some(other) if other > own || (other == own && name != steps[0]) => {
                    wrong.push(format!("{}: may not import `crate::{name}`", file.path));
                }
                Some(_) => {}
            }
        }
    }
    none("payi-core's modules import leftwards only (see ARCHITECTURE.md)", &wrong);
}

fn rank(module: &str) -> Option<usize> {
    ORDER.iter().position(|group| group.contains(&module))
}

/// The module that a name at the crate's root comes from.
fn re_exported(name: &str) -> Option<&'static str> {
    matches!(name, "Error" | "Result").then_some("error")
}

/// The text without comments, without literals, and without the tests at its end.
fn code_of(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .map(|line| line.split('"').step_by(2).collect::<Vec<_>>().join("\"\""))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The longest `super::super::…` of the code.
fn climbs(code: &str) -> usize {
    let mut most = 0;
    for (at, _) in code.match_indices("super") {
        let steps = code[at..].split("::").take_while(|s| s.trim() == "super").count();
        most = most.max(steps);
    }
    most
}

/// What follows each `crate::`: the first segment of every path, groups opened.
fn imports(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c == '$' || c == '_' || c.is_alphanumeric()) {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => names.extend(identifier(rest)),
            Some(group) => {
                let mut depth = 0;
                let mut start = true;
                for (i, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && !c.is_whitespace() => {
                            names.extend(identifier(&group[i..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    names
}

fn identifier(text: &str) -> Option<String> {
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

#[test]
fn the_import_check_can_fail() {
    let code = code_of(
        "use crate::{\n    ledger::{self, Ledger}, error::Error,\n};\nfn f() { crate::sink::g() } // crate::no\n",
    );
    assert_eq!(imports(&code).into_iter().collect::<Vec<_>>(), ["error", "ledger", "sink"]);
    assert!(rank("ledger") > rank("events") && rank("error") < rank("context"));
    assert_eq!(climbs("use super::super::x; use super::y"), 2);
}

#[test]
fn the_changelog_is_kept() {
    let changelog = read("CHANGELOG.md");
    let unreleased = changelog.split("## [Unreleased]").nth(1).expect("a section `## [Unreleased]`");
    let unreleased = unreleased.split("\n## [").next().unwrap_or_default();
    assert!(
        unreleased.lines().any(|l| l.starts_with("- ")),
        "CHANGELOG.md: nothing under Unreleased; write a line for what a user will notice"
    );
}

#[test]
fn no_trace_of_the_machine_it_was_written_on() {
    let traces = [concat!("/wo", "rk/"), concat!("/tm", "p/w/"), concat!("/ro", "ot/"), concat!("fa", "rm-")];
    let mut found = Vec::new();
    for file in files(".", |name| {
        let text =
            [".rs", ".md", ".toml", ".sh", ".py", ".json", ".jsonl", ".stderr", ".snap", ".sql", ".css"];
        text.iter().any(|end| name.ends_with(end)) || !name.contains('.')
    }) {
        for (n, line) in file.text.lines().enumerate() {
            if traces.iter().any(|t| line.contains(t)) {
                found.push(format!("{}:{}: {}", file.path, n + 1, line.trim()));
            }
        }
    }
    none("paths of one machine mean nothing to a reader", &found);
}

/// A key's name and what kind of value it takes, from each package's table.
#[test]
fn the_key_tables_are_in_step() {
    let core = read("payi-core/src/context/field.rs");
    let core = core.split("$with! {").nth(1).and_then(|t| t.split("};").next()).expect("the table of fields");
    let core: Vec<_> = core
        .split("\n            (")
        .skip(1)
        .map(|row| {
            let mut cells = row.split(',').map(str::trim);
            (cells.next().unwrap_or_default().to_owned(), cells.nth(1).unwrap_or_default().to_owned())
        })
        .collect();
    let macros = read("payi-macros/src/keys.rs");
    let macros = macros.split("KEYS: &[Key] = &[").nth(1).and_then(|t| t.split("];").next());
    let macros: Vec<_> = macros
        .expect("the table of keys")
        .split("key(")
        .skip(1)
        .map(|row| {
            let kind = row.split("Kind::").nth(1).and_then(identifier).unwrap_or_default();
            (literals(row).first().copied().unwrap_or_default().to_owned(), kind.to_lowercase())
        })
        .collect();
    assert!(core.len() >= 15, "the test looks in the wrong place: {core:?}");
    assert_eq!(core, macros, "payi-core's context/field.rs and payi-macros' keys.rs must list the same keys");
}

/// What stands between double quotes, in order.
fn literals(code: &str) -> Vec<&str> {
    code.split('"').skip(1).step_by(2).collect()
}

#[test]
fn every_option_is_documented_once() {
    // What is there with a feature only is linked by its place in the page.
    let docs = read("payi-core/src/runtime/mod.rs").replace("(Builder#method.", "(Builder::");
    let builder = code_of(&read("payi-core/src/runtime/builder.rs"));
    let methods = builder.split("pub fn ").skip(1).filter(|m| m.contains("(mut self"));
    let methods = methods.filter_map(identifier).map(|name| format!("(Builder::{name})"));
    let options = read("payi-core/src/runtime/options.rs");
    let variables = options.split("VARIABLES: &[&str] =").nth(1).and_then(|v| v.split(['[', ']']).nth(1));
    let variables = literals(variables.expect("the list of VARIABLES")).into_iter().map(|v| format!("`{v}`"));
    let wanted: Vec<_> = methods.chain(variables).collect();
    assert!(wanted.len() > 6, "the test looks in the wrong place: {wanted:?}");
    let table: Vec<_> = docs.lines().filter(|l| l.starts_with("/// | ")).collect();
    let wrong: Vec<_> = wanted
        .iter()
        .map(|option| (option, table.iter().filter(|row| row.contains(option.as_str())).count()))
        .filter(|&(_, rows)| rows != 1)
        .map(|(option, rows)| format!("{option}: in {rows} rows"))
        .collect();
    none("each option has one row in the table at `instrument` (payi-core/src/runtime/mod.rs)", &wrong);
}

#[test]
fn every_evidence_can_be_asked_for() {
    let table = read(".ci/evidence");
    let listed: BTreeSet<&str> = table
        .lines()
        .filter_map(|l| l.strip_prefix("long ").unwrap_or(l).strip_prefix("claim "))
        .filter_map(|l| l.split_whitespace().next())
        .collect();
    assert!(!listed.is_empty(), ".ci/evidence has no lines `claim NAME …`");
    let needle = concat!("\"evid", "ence ");
    let mut printed: BTreeMap<String, String> = BTreeMap::new();
    for file in rust_files(".") {
        for (at, _) in file.text.match_indices(needle) {
            let rest = &file.text[at + needle.len()..];
            let name: String = rest.chars().take_while(|c| *c == '-' || c.is_ascii_alphanumeric()).collect();
            if !name.is_empty() && rest[name.len()..].starts_with(':') {
                printed.insert(name, file.path.clone());
            }
        }
    }
    let missing: Vec<_> = printed
        .iter()
        .filter(|(name, _)| !listed.contains(name.as_str()))
        .map(|(name, path)| format!("[{name}] of {path}"))
        .collect();
    none("each evidence is run by a line of .ci/evidence", &missing);
}

#[test]
fn the_architecture_names_what_exists() {
    let text = read("ARCHITECTURE.md");
    let all: BTreeSet<String> = files(".", |_| true).into_iter().map(|f| f.path).collect();
    let mut gone = Vec::new();
    for (i, name) in text.split('`').enumerate() {
        let file = [".rs", ".md", ".toml", ".json"].iter().any(|end| name.ends_with(end));
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
        if i % 2 == 1 && file && plain && !all.contains(name) {
            gone.push(format!("`{name}`"));
        }
    }
    none("ARCHITECTURE.md names files that are not there (full paths from the root)", &gone);
}

#[test]
fn what_has_one_place_is_named_there_alone() {
    let sync = "payi-core/src/limits/sync.rs";
    let schema = "payi-core/src/ledger/schema.rs";
    let waits = ["Mutex", "RwLock", "Condvar", "OnceLock", "atomic", "mpsc", "thread", "Instant"];
    let clock: &[&str] = &["SystemTime::now"];
    let mut wrong = Vec::new();
    for (below, home, names) in [
        ("payi-core/src/limits", sync, clock),
        ("payi-core/src/ledger/limits", sync, clock),
        ("payi-core/src", schema, &["TransactionBehavior", "new_unchecked"]),
        ("payi-cli/src", schema, &["TransactionBehavior", "new_unchecked"]),
    ] {
        for file in rust_files(below).iter().filter(|f| f.path != home && !is_test(&f.path)) {
            let code = code_of(&file.text);
            let of_std = if below == "payi-core/src/limits" { from_std(&code) } else { BTreeSet::new() };
            let waits = waits.iter().filter(|name| of_std.contains(**name));
            let named = names.iter().filter(|name| code.contains(**name)).chain(waits);
            wrong.extend(named.map(|name| format!("{}: `{name}` belongs to {home}", file.path)));
        }
    }
    none("use what the one place offers (see ARCHITECTURE.md)", &wrong);
    assert!(from_std("use std::{\n    sync::{Arc, Mutex},\n};\n").contains("Mutex"), "the check can fail");
}

fn is_test(path: &str) -> bool {
    ["tests.rs", "conformance.rs"].iter().any(|end| path.ends_with(end)) || path.contains("/tests/")
}

/// The names in what the code takes from the standard library.
fn from_std(code: &str) -> BTreeSet<String> {
    let uses = code.split("std::").skip(1).filter_map(|rest| rest.split([';', '(']).next());
    let names = uses.flat_map(|names| names.split(|c: char| !c.is_alphanumeric() && c != '_'));
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[test]
fn every_guide_is_part_of_the_docs() {
    let lib = read("src/lib.rs") + &read("src/guides.rs");
    let missing: Vec<_> = files("src/guides", |name| name.ends_with(".md"))
        .iter()
        .map(|f| f.path.trim_start_matches("src/").to_owned())
        .filter(|path| !lib.contains(&format!("include_str!(\"{path}\")")))
        .collect();
    none("include the guide in src/guides.rs, so that its examples are tested", &missing);
}
