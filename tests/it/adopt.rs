//! The lines that the README asks for, applied to its program, built and run as a crate outside.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a step that fails is a failed test")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use payi::testing::Provider;
use serde_json::Value;

/// The README's diffs: what they add, and the program before and after.
struct Adoption {
    added: Vec<String>,
    before: String,
    after: String,
}

fn from_readme() -> Adoption {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let mut found = Adoption { added: Vec::new(), before: String::new(), after: String::new() };
    for block in readme.split("```diff\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            let (mark, text) = line.split_at(usize::from(!line.is_empty()));
            if mark == "+" {
                found.added.push(text.to_owned());
            }
            if block.contains("fn main") {
                let sides: &mut [&mut String] = match mark {
                    "+" => &mut [&mut found.after],
                    "-" => &mut [&mut found.before],
                    _ => &mut [&mut found.before, &mut found.after],
                };
                for side in sides {
                    side.push_str(text);
                    side.push('\n');
                }
            }
        }
    }
    found
}

/// A crate outside that knows this repository only through `dependency`, a line of the README, if at all.
fn outside(name: &str, program: &str, dependency: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("adopt").join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(dir.join("src")).unwrap();
    let patch = if dependency.is_empty() {
        String::new()
    } else {
        format!("\n[patch.crates-io]\npayi = {{ path = \"{}\" }}\n", root.display())
    };
    let manifest = format!(
        "[package]\nname = {name:?}\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n{dependency}\n\
         reqwest = {{ version = \"0.13\", default-features = false, features = [\"json\"] }}\n\
         serde_json = \"1\"\ntokio = {{ version = \"1\", features = [\"macros\", \"rt-multi-thread\"] }}\n{patch}",
    );
    fs::write(dir.join("Cargo.toml"), manifest).unwrap();
    fs::write(dir.join("src/main.rs"), program).unwrap();
    fs::copy(root.join("Cargo.lock"), dir.join("Cargo.lock")).unwrap();
    dir
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("adopt-target")
}

fn cargo(arguments: &[&str], dir: &Path) -> Output {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(cargo).arg("-q").args(arguments).current_dir(dir).env("CARGO_TARGET_DIR", target()))
}

/// Builds the crate in `dir` and runs it there, against the provider at `host`.
fn build_and_run(dir: &Path, host: &str) -> Output {
    cargo(&["build"], dir);
    let name = dir.file_name().unwrap();
    let mut program = Command::new(target().join("debug").join(name));
    run(program.current_dir(dir).env("OPENAI_BASE_URL", host).env("OPENAI_API_KEY", "sk-none"))
}

fn run(command: &mut Command) -> Output {
    for (name, _) in env::vars().filter(|(name, _)| name.starts_with("PAYI_")) {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    output
}

#[test]
fn the_readme_adds_five_lines() {
    let adoption = from_readme();
    assert!(adoption.added.len() <= 5, "more than five lines: {:#?}", adoption.added);
    let version = env!("CARGO_PKG_VERSION").rsplit_once('.').unwrap().0;
    assert_eq!(adoption.added[0], format!("payi = \"{version}\""), "`cargo add payi` writes another line");
    assert!(!adoption.before.contains("payi") && adoption.after.contains("payi::instrument"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "evidence"]
async fn the_readme_works_from_outside() {
    let provider = Provider::start().unwrap();
    let host = format!("{}/v1", provider.url());
    let figure = tokio::task::spawn_blocking(move || {
        let adoption = from_readme();
        let before = build_and_run(&outside("before", &adoption.before, ""), &host);
        let dir = outside("after", &adoption.after, &adoption.added[0]);
        let after = build_and_run(&dir, &host);
        assert!(String::from_utf8_lossy(&after.stdout).starts_with("for u-7: \""), "{after:?}");
        assert_eq!(before.stdout.len(), after.stdout.len(), "the program's own output has changed");
        assert!(
            after.stderr.is_empty(),
            "the program has begun to talk: {}",
            String::from_utf8_lossy(&after.stderr)
        );

        let ledger = dir.join("payi.db");
        let users =
            ["users", "--use-case", "summarize", "--format", "json", "--ledger", ledger.to_str().unwrap()];
        let users = [["run", "-p", "payi-cli", "--"].as_slice(), users.as_slice()].concat();
        let users = cargo(&users, Path::new(env!("CARGO_MANIFEST_DIR")));
        let users: Value = serde_json::from_slice(&users.stdout).unwrap();
        let rows = users["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 1, "{users:#}");
        assert_eq!(rows[0]["user_id"], "u-7");
        assert_eq!(rows[0]["calls"]["ok"], 1);
        let cost = rows[0]["cost_usd"].as_str().unwrap();
        assert!(cost.chars().any(|c| ('1'..='9').contains(&c)), "a call that cost nothing: {users:#}");
        format!(
            "{} lines added to a program outside; `payi users`: u-7, 1 call, USD {cost}",
            adoption.added.len()
        )
    })
    .await
    .unwrap();
    println!("evidence adopt: {figure}");
}
