//! The quickstart, run as a newcomer runs it, and killed as fate might.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use payi::{
    ledger::{Filter, Ledger},
    testing::Provider,
};

use serde_json::{Value, json};

use crate::support::{TempDir, child};

/// A program of this workspace, as the cargo that runs this test builds it.
fn program(path: &str, build: [&str; 2]) -> Command {
    let test = std::env::current_exe().unwrap();
    let target = test.parent().and_then(Path::parent).unwrap();
    let program = target.join(format!("{path}{}", std::env::consts::EXE_SUFFIX));
    let made = program.metadata().and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let sources = ["payi-core/src", "payi-cli/src", "payi-macros/src", "src", "examples"].map(newest);
    if sources.into_iter().any(|source| source > made) {
        // `cargo test --test it` alone builds neither examples nor other packages.
        let status = Command::new(env!("CARGO")).args(["build", "-q"]).args(build).status().unwrap();
        assert!(status.success());
    }
    let mut command = Command::new(program);
    for variable in ["PAYI_API_KEY", "PAYI_BASE_URL", "PAYI_LEDGER", "OPENAI_API_KEY", "OPENAI_BASE_URL"] {
        command.env_remove(variable);
    }
    command
}

/// When anything below `dir` was last changed.
fn newest(dir: impl AsRef<Path>) -> SystemTime {
    let entries = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(dir)).unwrap().flatten();
    let changed = entries.map(|entry| match entry.metadata().unwrap() {
        metadata if metadata.is_dir() => newest(entry.path()),
        metadata => metadata.modified().unwrap(),
    });
    changed.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}:\n{stdout}\n{stderr}");
    stdout.into_owned()
}

#[test]
fn the_quickstart_shows_who_spent_what() {
    let dir = TempDir::new("quickstart");
    let path = dir.file("q.db");
    let shown = output(program("examples/quickstart", ["--example", "quickstart"]).env("PAYI_LEDGER", &path));
    assert!(shown.contains("OPENAI_API_KEY is not set: talking to a stand-in"), "{shown}");
    for next in ["payi-cli -- users", "payi-cli -- calls", "payi-cli -- serve", "cargo test --workspace"] {
        assert!(shown.contains(next), "{next} is not named in:\n{shown}");
    }

    let ledger = Ledger::open_read_only(&path).unwrap();
    let report = ledger.users(&Filter::new()).unwrap();
    let calls = &report.total.calls;
    assert_eq!((calls.ok, calls.failed, calls.aborted, calls.blocked), (12, 1, 1, 0));
    assert_eq!(report.rows.iter().filter(|row| row.user_id.is_some()).count(), 4);
    let accounts: std::collections::BTreeSet<_> =
        report.rows.iter().filter_map(|r| r.account_name.clone()).collect();
    assert_eq!(accounts.len(), 2);
    let use_cases = ["summarize", "translate", "chat"];
    for use_case in use_cases {
        let of_it = ledger.users(&Filter::new().use_case_name(use_case)).unwrap();
        assert!(of_it.total.calls.ok > 0, "no calls of {use_case}");
    }
    let sum = report.rows.iter().fold(payi::money::Money::ZERO, |sum, row| sum + row.totals.cost);
    assert_eq!(sum, report.total.cost);
    assert!(shown.contains(&report.total.cost.to_string()), "the total shown is not the ledger's:\n{shown}");
    for row in &report.rows {
        let line =
            shown.lines().find(|line| line.starts_with(row.user_id.as_deref().unwrap_or("(Unattributed)")));
        assert!(line.is_some_and(|line| line.contains(&row.totals.cost.to_string())), "{row:?}\n{shown}");
    }

    let users = ["users", "--format", "json", "--ledger"];
    let json = output(program("payi", ["-p", "payi-cli"]).args(users).arg(&path));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["rows"].as_array().unwrap().len(), report.rows.len());
    for (row, line) in report.rows.iter().zip(json["rows"].as_array().unwrap()) {
        assert_eq!(line["user_id"], json!(row.user_id));
        assert_eq!(line["account_name"], json!(row.account_name));
        assert_eq!(line["cost_usd"], json!(row.totals.cost.to_string()));
        assert_eq!(line["calls"]["ok"], json!(row.totals.calls.ok));
    }
    assert_eq!(json["total"]["cost_usd"], json!(report.total.cost.to_string()));
}

/// How long the disk takes to write a page for good, at its worst.
struct Disk {
    slowest: Arc<Mutex<Duration>>,
    stop: Arc<AtomicBool>,
}

impl Disk {
    fn watch(path: PathBuf) -> Self {
        let disk = Self { slowest: Arc::default(), stop: Arc::default() };
        let (slowest, stop) = (Arc::clone(&disk.slowest), Arc::clone(&disk.stop));
        std::thread::spawn(move || {
            let mut file = std::fs::File::create(path).unwrap();
            while !stop.load(Relaxed) {
                let started = Instant::now();
                file.write_all(&[0; 4096]).unwrap();
                file.sync_data().unwrap();
                let mut slowest = slowest.lock().unwrap();
                *slowest = slowest.max(started.elapsed());
                drop(slowest);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        disk
    }

    fn slowest(self) -> Duration {
        self.stop.store(true, Relaxed);
        *self.slowest.lock().unwrap()
    }
}

/// What the child does: calls until it is killed, and says when each answer was there.
#[test]
#[ignore = "the child of `a_kill_loses_nothing_older_than_200_ms`"]
fn calls_until_killed() {
    let Ok(path) = std::env::var("PAYI_KILL_LEDGER") else { return };
    let provider = Provider::start().unwrap();
    let _guard = payi::instrument().ledger(path).start().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let client = payi::reqwest::Client::new();
        let url = format!("{}/v1/chat/completions", provider.url());
        for n in 0.. {
            let calls = (0..4).map(|branch| {
                let (client, url, user) = (client.clone(), url.clone(), format!("u-{n}-{branch}"));
                tokio::spawn(async move {
                    payi::track_context!(user_id = user, {
                        let body = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}"#;
                        let answer = client.post(url).body(body).send().await.unwrap();
                        let receipt = payi::receipt(&answer).unwrap();
                        answer.bytes().await.unwrap();
                        receipt.event_id()
                    })
                })
            });
            for call in calls.collect::<Vec<_>>() {
                let id = call.await.unwrap();
                let mut out = std::io::stdout().lock();
                writeln!(out, "answered {id}").unwrap();
                out.flush().unwrap();
            }
        }
    });
}

/// One process, killed right after an answer.
struct Kill {
    dir: TempDir,
    /// Each call's event, and how long before the kill its answer was there.
    answered: Vec<(String, Duration)>,
    /// What the disk took, at its worst, to write a page for good.
    stall: Duration,
}

impl Kill {
    fn after(busy_for: Duration) -> Self {
        let dir = TempDir::new("kill9");
        let mut process = child("quickstart::calls_until_killed")
            .env("PAYI_KILL_LEDGER", dir.file("k.db"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let disk = Disk::watch(dir.file("probe"));
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut answered: Vec<(String, Instant)> = Vec::new();
        for line in lines.map_while(Result::ok) {
            if let Some((_, id)) = line.split_once("answered ") {
                answered.push((id.to_owned(), Instant::now()));
                if answered.first().is_some_and(|(_, first)| first.elapsed() >= busy_for) {
                    break;
                }
            }
        }
        process.kill().unwrap(); // SIGKILL
        let killed = Instant::now();
        process.wait().unwrap();
        let ages = answered.into_iter().map(|(id, at)| (id, killed.duration_since(at)));
        Self { answered: ages.collect(), stall: disk.slowest(), dir }
    }
}

#[test]
fn a_kill_loses_nothing_older_than_200_ms() {
    const KILLS: u64 = 5;
    const PROMISE: Duration = Duration::from_millis(200);
    /// A disk that stops for longer stops the ledger with it: such a kill shows nothing, and is made again.
    const STALL: Duration = Duration::from_millis(50);
    let (mut kills, mut set_aside) = (0, 0);
    let (mut due, mut found, mut younger) = (0, 0, 0);
    while kills < KILLS {
        let Kill { dir, answered, stall } = Kill::after(Duration::from_millis(400 + 77 * kills));
        let ledger = Ledger::open(dir.file("k.db")).unwrap();
        let kept = |id: &String| ledger.find(id.parse().unwrap()).unwrap().is_some();
        let lost: Vec<_> = answered.iter().filter(|(id, age)| *age > PROMISE && !kept(id)).collect();
        if !lost.is_empty() && stall > STALL {
            set_aside += 1;
            assert!(set_aside <= 2 * KILLS, "the disk stops too often ({stall:?}) for this to be shown here");
            continue;
        }
        assert!(lost.is_empty(), "lost, and how old when killed: {lost:?}; the disk took {stall:?}");
        kills += 1;
        let (old, young): (Vec<_>, Vec<_>) = answered.iter().partition(|(_, age)| *age > PROMISE);
        due += old.len();
        found += old.iter().filter(|(id, _)| kept(id)).count();
        younger += young.iter().filter(|(id, _)| kept(id)).count();
    }
    assert!(due > 50, "only {due} calls were due");
    println!(
        "evidence kill9-quickstart: {found} of {due} calls that returned more than 200 ms before kill -9 are in \
         the ledger ({younger} younger ones too), over {KILLS} kills; {set_aside} more were set aside, because the \
         disk stood still for over {} ms",
        STALL.as_millis()
    );
}
