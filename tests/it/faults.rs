//! What may go wrong around the application: the fault tests 13, 15 to 18 and 49, by number.
//!
//! Each runs in a process of its own; some kill it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fmt::Write as _,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant, UNIX_EPOCH},
};

use payi::{
    events::{Event, Sink},
    ledger::{Filter, Ledger},
    testing::{PayI, PayIAnswer, Provider, TestClock},
};

use crate::{
    payi::runtime,
    support::{TempDir, alone, child},
};

const MODE: &str = "PAYI_FAULT_MODE";
const LEDGER: &str = "PAYI_FAULT_LEDGER";

/// One call for `user`, its answer read.
async fn call(provider: &Provider, user: &str) {
    payi::track_context!(user_id = user, {
        let url = format!("{}/v1/chat/completions", provider.url());
        let body = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"PROMPT-SECRET"}]}"#;
        let request = payi::reqwest::Client::new().post(url).bearer_auth("sk-openai-SECRET").body(body);
        request.send().await.unwrap().bytes().await.unwrap();
    });
}

/// An address where nobody listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn calls_in(path: &Path) -> u64 {
    let calls = Ledger::open(path).unwrap().users(&Filter::new()).unwrap().total.calls;
    calls.ok + calls.failed + calls.aborted
}

#[test]
fn fault_13_a_child_process_shares_the_ledger() {
    let name = "faults::fault_13_a_child_process_shares_the_ledger";
    if let Ok(path) = std::env::var(LEDGER) {
        // The child: it writes to its parent's ledger, and ends as programs end.
        let provider = Provider::start().unwrap();
        let guard = payi::instrument().ledger(path).start().unwrap();
        runtime().block_on(call(&provider, "child"));
        drop(guard);
        return;
    }
    alone(name, || {
        let (dir, pay_i, provider) = (TempDir::new("13"), PayI::start().unwrap(), Provider::start().unwrap());
        let builder = payi::instrument().ledger(dir.file("l.db")).api_key("k").base_url(pay_i.url());
        let guard = builder.start().unwrap();
        runtime().block_on(call(&provider, "before"));
        let status = child(name).env(LEDGER, dir.file("l.db")).stdout(Stdio::null()).status().unwrap();
        assert!(status.success());
        runtime().block_on(call(&provider, "after"));
        runtime().block_on(guard.shutdown()).unwrap();
        assert_eq!(calls_in(&dir.file("l.db")), 3);
        assert_eq!(pay_i.events().len(), 3, "each was delivered once, the child's too");
    });
}

/// Ways for a program to let go of the guard; Pay-i is down in all of them.
const ENDINGS: &[&str] =
    &["current_thread", "one_worker", "spawn_blocking", "runtime_dropped", "inside", "flushed", "leaked"];

#[test]
fn fault_15_however_it_ends_events_are_durable_and_nothing_hangs() {
    let name = "faults::fault_15_however_it_ends_events_are_durable_and_nothing_hangs";
    if let (Ok(ending), Ok(path)) = (std::env::var(MODE), std::env::var(LEDGER)) {
        return end(&ending, Path::new(&path));
    }
    for ending in ENDINGS {
        let dir = TempDir::new(ending);
        let started = Instant::now();
        let mut process = child(name);
        process.env(MODE, ending).env(LEDGER, dir.file("l.db")).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(process.status().unwrap().success(), "{ending}");
        assert!(started.elapsed() < Duration::from_secs(8), "{ending} took {:?}", started.elapsed());
        assert_eq!(calls_in(&dir.file("l.db")), 3, "{ending}");
    }
}

fn end(ending: &str, path: &Path) {
    let provider = Arc::new(Provider::start().unwrap());
    let start = || payi::instrument().ledger(path).api_key("k").base_url(nobody()).start().unwrap();
    let calls = {
        let provider = Arc::clone(&provider);
        async move {
            for user in ["a", "b", "c"] {
                call(&provider, user).await;
            }
        }
    };
    let one_worker =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    match ending {
        "current_thread" => runtime().block_on(async {
            let _guard = start();
            calls.await;
        }),
        "one_worker" => one_worker().block_on(async {
            let guard = start();
            tokio::spawn(calls).await.unwrap();
            tokio::spawn(async move { drop(guard) }).await.unwrap();
        }),
        "spawn_blocking" => one_worker().block_on(async {
            let guard = start();
            calls.await;
            tokio::task::spawn_blocking(move || drop(guard)).await.unwrap();
        }),
        "runtime_dropped" => {
            let guard = start();
            let runtime = one_worker();
            runtime.block_on(calls);
            drop(runtime);
            drop(guard);
        }
        "inside" => {
            // Dropped by a destructor that runs while a panic unwinds.
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let _guard = start();
                runtime().block_on(calls);
                panic!("on purpose");
            }));
            assert!(panicked.is_err());
        }
        "flushed" => {
            let guard = start();
            runtime().block_on(calls);
            // No runtime at all: the futures need none.
            assert!(futures::executor::block_on(guard.flush(Duration::from_secs(2))).is_err());
            assert!(futures::executor::block_on(guard.shutdown()).is_err());
        }
        "leaked" => {
            std::mem::forget(start());
            runtime().block_on(calls);
            std::thread::sleep(Duration::from_millis(250));
        }
        other => panic!("{other}"),
    }
}

#[cfg(unix)]
#[test]
fn fault_16_signals_and_sudden_ends_lose_nothing_durable() {
    let name = "faults::fault_16_signals_and_sudden_ends_lose_nothing_durable";
    if let (Ok(ending), Ok(path)) = (std::env::var(MODE), std::env::var(LEDGER)) {
        let provider = Provider::start().unwrap();
        let guard = payi::instrument().ledger(path).api_key("k").base_url(nobody()).start().unwrap();
        runtime().block_on(async {
            for n in 0..20 {
                call(&provider, &format!("u-{n}")).await;
            }
        });
        std::thread::sleep(Duration::from_millis(200));
        println!("ready");
        match ending.as_str() {
            "exit" => std::process::exit(0),
            "abort" => std::process::abort(), // as a panic does under `panic = "abort"`
            "mid-flush" => {
                let flush = futures::executor::block_on(guard.flush(Duration::from_millis(1)));
                drop(flush);
                std::process::abort();
            }
            _ => std::thread::sleep(Duration::from_secs(30)), // until the signal
        }
        return;
    }
    for ending in ["exit", "abort", "mid-flush", "TERM", "INT"] {
        let dir = TempDir::new(&format!("16-{ending}"));
        let mut command = child(name);
        command.env(MODE, ending).env(LEDGER, dir.file("l.db")).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let lines = std::io::BufRead::lines(std::io::BufReader::new(process.stdout.take().unwrap()));
        assert!(lines.map_while(Result::ok).any(|line| line.contains("ready")), "{ending}");
        if ["TERM", "INT"].contains(&ending) {
            let pid = process.id().to_string();
            assert!(Command::new("kill").args(["-s", ending, &pid]).status().unwrap().success());
        }
        process.wait().unwrap();
        assert_eq!(calls_in(&dir.file("l.db")), 20, "{ending}");
    }
}

struct Panicking;

impl Sink for Panicking {
    fn record(&self, _event: Event) {
        panic!("a sink of the application's");
    }

    fn flush(&self, _deadline: Instant) -> bool {
        panic!("again");
    }
}

#[derive(Clone, Default)]
struct Users(Arc<Mutex<Vec<String>>>);

impl Sink for Users {
    fn record(&self, event: Event) {
        self.0.lock().unwrap().extend(event.context.user_id().map(|user| user.to_string()));
    }
}

#[test]
fn fault_17_a_panic_in_a_sink_is_not_the_callers() {
    alone("faults::fault_17_a_panic_in_a_sink_is_not_the_callers", || {
        let (dir, provider, users) = (TempDir::new("17"), Provider::start().unwrap(), Users::default());
        let builder = payi::instrument().ledger(dir.file("l.db")).sink(Panicking).sink(users.clone());
        let guard = builder.start().unwrap();
        runtime().block_on(async {
            call(&provider, "a").await;
            call(&provider, "b").await;
        });
        assert!(
            runtime().block_on(guard.flush(Duration::from_secs(5))).is_err(),
            "one sink cannot say that it is done"
        );
        drop(guard);
        assert_eq!(*users.0.lock().unwrap(), ["a", "b"], "its neighbour is not hurt");
        assert_eq!(calls_in(&dir.file("l.db")), 2);
    });
}

#[test]
fn fault_18_a_clock_that_jumps_moves_no_event_and_loses_none() {
    alone("faults::fault_18_a_clock_that_jumps_moves_no_event_and_loses_none", || {
        let (dir, provider, pay_i) = (TempDir::new("18"), Provider::start().unwrap(), PayI::start().unwrap());
        let noon = UNIX_EPOCH + Duration::from_secs(1_774_692_000); // 2026-03-28, the night before DST in Europe
        let clock = TestClock::at(noon);
        let hour = Duration::from_secs(3600);
        let times = [noon, noon - hour, noon + 365 * 24 * hour, UNIX_EPOCH, noon + 24 * hour, noon];
        let builder = payi::instrument().ledger(dir.file("l.db")).clock(clock.clone());
        let guard = builder.api_key("k").base_url(pay_i.url()).start().unwrap();
        for (n, time) in times.into_iter().enumerate() {
            clock.set(time);
            runtime().block_on(call(&provider, &format!("u-{n}")));
        }
        runtime().block_on(guard.shutdown()).unwrap();
        assert_eq!(calls_in(&dir.file("l.db")), 6);
        let events = Ledger::open(dir.file("l.db")).unwrap().follow(0, 10).unwrap();
        assert_eq!(events.iter().map(|e| e.event.started_at).collect::<Vec<_>>(), times);
        let ids: std::collections::HashSet<_> = events.iter().map(|e| e.event.id).collect();
        assert_eq!((ids.len(), pay_i.events().len()), (6, 6));
    });
}

/// Writes down everything that is said.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        // What other crates log at TRACE is theirs: hyper prints what it sends.
        metadata.target().starts_with("payi")
    }

    fn new_span(&self, _span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _span: &tracing::span::Id, _values: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _span: &tracing::span::Id, _follows: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut log = self.0.lock().unwrap();
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            let _ = write!(log, "{field}={value:?} ");
        });
        log.push('\n');
    }

    fn enter(&self, _span: &tracing::span::Id) {}

    fn exit(&self, _span: &tracing::span::Id) {}
}

#[test]
fn fault_49_no_secret_is_written_down() {
    alone("faults::fault_49_no_secret_is_written_down", || {
        let log = Log::default();
        tracing::subscriber::set_global_default(log.clone()).unwrap();
        let (dir, provider, pay_i) = (TempDir::new("49"), Provider::start().unwrap(), PayI::start().unwrap());
        pay_i.script(|request| {
            PayIAnswer::Json(401, serde_json::json!({"message": request.header("xproxy-api-key")}))
        });
        let builder =
            payi::instrument().ledger(dir.file("l.db")).api_key("k-payi-SECRET").base_url(pay_i.url());
        let mut said = format!("{builder:?}");
        let guard = builder.start().unwrap();
        runtime().block_on(call(&provider, "somebody"));
        assert!(runtime().block_on(guard.flush(Duration::from_secs(5))).is_err());
        pay_i.script(|_| PayIAnswer::status(422, ""));
        assert!(runtime().block_on(guard.flush(Duration::from_secs(5))).is_ok());
        let _ = write!(said, "{guard:?} {:?} {:?}", guard.metrics(), guard.ledger());
        for wrong in ["k payi-SECRET", "k\npayi-SECRET"] {
            let error = payi::instrument().api_key(wrong).start();
            let _ = write!(said, "{error:?}");
        }
        drop(guard);
        said += &log.0.lock().unwrap();
        assert!(said.contains("invalid_api_key") && said.contains("http_422"), "it was said at all: {said}");
        for file in std::fs::read_dir(dir.file("l.db").parent().unwrap()).unwrap() {
            said += &String::from_utf8_lossy(&std::fs::read(file.unwrap().path()).unwrap());
        }
        assert!(said.contains("somebody"), "the ledger was read");
        assert!(pay_i.requests().iter().all(|r| r.header("xproxy-api-key") == Some("k-payi-SECRET")));
        for secret in ["payi-SECRET", "openai-SECRET", "PROMPT-SECRET"] {
            assert!(!said.contains(secret), "{secret} is in what was written down");
        }
    });
}

/// A subscriber of the application's that cannot hear of payi without falling over.
struct Fragile;

impl tracing::Subscriber for Fragile {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "payi"
    }

    fn new_span(&self, _span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _span: &tracing::span::Id, _values: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _span: &tracing::span::Id, _follows: &tracing::span::Id) {}

    fn event(&self, _event: &tracing::Event<'_>) {
        panic!("in the application's subscriber");
    }

    fn enter(&self, _span: &tracing::span::Id) {}

    fn exit(&self, _span: &tracing::span::Id) {}
}

#[test]
fn fault_17_a_panic_in_a_subscriber_is_not_the_callers() {
    alone("faults::fault_17_a_panic_in_a_subscriber_is_not_the_callers", || {
        tracing::subscriber::set_global_default(Fragile).unwrap();
        let (dir, provider, pay_i) =
            (TempDir::new("17b"), Provider::start().unwrap(), PayI::start().unwrap());
        let builder = payi::instrument().ledger(dir.file("l.db")).api_key("k").base_url(pay_i.url());
        let guard = builder.sink(Panicking).start().unwrap();
        pay_i.script(|_| PayIAnswer::status(422, "")); // the courier has something to say
        let user = String::from("u-1");
        runtime().block_on(async {
            payi::track_context!(user_id = user, proxy = true, {
                let url = format!("{}/v1/chat/completions", provider.url());
                let request = payi::reqwest::Client::new().post(url).body("{}");
                let request = request.header("xproxy-request-properties", "{not json");
                request.send().await.unwrap().bytes().await.unwrap();
            });
        });
        let _ = runtime().block_on(guard.flush(Duration::from_secs(5)));
        pay_i.wait_for(1, Duration::from_secs(5));
        drop(guard);
        assert_eq!(calls_in(&dir.file("l.db")), 1);
    });
}
