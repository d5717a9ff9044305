//! The service as a process: asked by `--server`, asked to end under load, and what it logs.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use payi_core::ledger::{Filter, Ledger};

use crate::support::{Place, ok, payi};

/// `payi serve` over a ledger, on a port of its own.
pub(crate) struct Served {
    process: Child,
    pub(crate) address: String,
    log: String,
}

impl Served {
    pub(crate) fn start(ledger: &str, options: &[&str]) -> Self {
        // A file, because a pipe that nobody reads would hold the service up.
        let log = format!("{ledger}.log");
        let mut process = Command::new(env!("CARGO_BIN_EXE_payi"))
            .args(["serve", "--listen", "127.0.0.1:0", "--ledger", ledger])
            .args(options)
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let address = said.split_once("http://").unwrap().1.split_whitespace().next().unwrap().to_owned();
        Self { process, address, log }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Asks it to end, as a supervisor does.
    fn signal(&self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    /// How it ended, once it has.
    fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match self.process.try_wait().unwrap() {
                Some(ended) => return ended,
                None => thread::sleep(Duration::from_millis(20)),
            }
            assert!(Instant::now() < deadline, "it does not end");
        }
    }

    /// Asks it to end; its log once it has, all being well.
    fn terminate(mut self) -> String {
        self.signal();
        assert!(self.ended().success());
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_server_reports_what_its_file_does() {
    let place = Place::new();
    let ledger = place.sample();
    let served = Served::start(&ledger, &[]);
    for report in [
        "users",
        "users --since 2026-11-23 --timezone Europe/Berlin --top 2 --reverse",
        "users --user ada --breakdown --format csv",
        "users --unattributed --format jsonl",
        "accounts --format md",
        "use-cases --group-by use-case,step",
        "models --search 4o --sort calls",
        "calls --user ada --outcome failed --format jsonl",
        "calls --sort cost --limit 3",
        "diff --since 2026-11-23 --until 2026-11-24 --group-by model,user --format csv",
    ] {
        let args: Vec<_> = report.split_whitespace().collect();
        let own = ok(&[&args[..], &["--ledger", &ledger]].concat());
        let asked = ok(&[&args[..], &["--server", &served.url()]].concat());
        assert_eq!(asked, own, "{report}");
        assert!(!own.is_empty());
    }
    let calls = ok(&["calls", "--server", &served.url(), "--format", "jsonl"]);
    let first: serde_json::Value = serde_json::from_str(calls.lines().next().unwrap()).unwrap();
    let explain = |place: [&str; 2]| ok(&["explain", first["id"].as_str().unwrap(), place[0], place[1]]);
    assert_eq!(explain(["--server", &served.url()]), explain(["--ledger", &ledger]));
    let (code, _, err) = payi(&["explain", "nothing", "--server", &served.url()], None);
    assert_eq!(
        (code, err.trim_end()),
        (2, "payi: nothing is no event id, nor four digits or more of one; `payi calls` lists them")
    );
    let url = served.url();
    served.terminate();
    let (code, _, err) = payi(&["users", "--server", &url], None);
    assert!(code == 1 && err.contains("is `payi serve` running there?"), "{code} {err}");
    assert_eq!(payi(&["users", "--server", "https://payi.example"], None).0, 2);
}

#[test]
fn other_addresses_are_refused_before_anything_is_made() {
    let place = Place::new();
    let ledger = place.file("payi.db");
    let (code, _, err) = payi(&["serve", "--listen", "0.0.0.0:0", "--ledger", &ledger], None);
    assert_eq!(code, 2);
    assert!(err.contains("no keys yet") && err.contains("127.0.0.1:8377"), "{err}");
    assert!(!std::path::Path::new(&ledger).exists());
}

#[test]
fn whoever_stops_reading_is_no_error() {
    let place = Place::new();
    let ledger = place.sample();
    for args in [&["users", "--format", "json"][..], &["calls"], &["completions", "bash"]] {
        let mut process = Command::new(env!("CARGO_BIN_EXE_payi"))
            .args(args)
            .env("PAYI_LEDGER", &ledger)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(process.stdout.take());
        let done = process.wait_with_output().unwrap();
        assert!(done.status.success() && done.stderr.is_empty(), "{args:?}: {done:?}");
    }
}

/// Sends one event over a connection that stays open; whether it was acknowledged.
fn send(stream: &mut TcpStream, id: &str) -> bool {
    let body = format!(
        "{{\"category\":\"system.openai\",\"resource\":\"gpt-4o-mini\",\"units\":{{\"text\":{{\"input\":9,\"output\":1}}}},\
         \"event_timestamp\":\"2026-11-23T10:00:00Z\",\"provider_response_id\":\"{id}\"}}"
    );
    let request = format!(
        "POST /api/v1/ingest HTTP/1.1\r\nhost: localhost\r\nxproxy-api-key: secret-key\r\nxproxy-user-id: ada\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    if stream.write_all(request.as_bytes()).is_err() {
        return false;
    }
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return false,
            Ok(n) => answer.extend_from_slice(&piece[..n]),
        }
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if length.is_some_and(|length: usize| body.len() >= length) {
            return head.starts_with("HTTP/1.1 200");
        }
    }
}

#[test]
fn an_end_under_load_loses_nothing_that_was_acknowledged() {
    let place = Place::new();
    let path = place.file("payi.db");
    let served = Served::start(&path, &["--log", "info", "--log-format", "json"]);
    let ended = AtomicBool::new(false);
    let client = |n: usize, address: &str| {
        let mut acknowledged = 0_u64;
        let Ok(mut stream) = TcpStream::connect(address) else { return 0 };
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        while !ended.load(Ordering::Relaxed) && send(&mut stream, &format!("r{n}-{acknowledged}")) {
            acknowledged += 1;
        }
        acknowledged
    };
    let (acknowledged, log, took) = thread::scope(|scope| {
        let address = served.address.clone();
        let clients: Vec<_> = (0..8)
            .map(|n| {
                scope.spawn({
                    let address = address.clone();
                    move || client(n, &address)
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(400));
        let began = Instant::now();
        let log = served.terminate();
        let took = began.elapsed();
        ended.store(true, Ordering::Relaxed);
        let acknowledged: u64 = clients.into_iter().map(|client| client.join().unwrap()).sum();
        (acknowledged, log, took)
    });
    assert!(acknowledged > 0 && took < Duration::from_secs(10), "{acknowledged} in {took:?}");
    let kept = Ledger::open_read_only(&path).unwrap().users(&Filter::new()).unwrap().total.calls.ok;
    // What was written and could not be answered any more is one per client at most.
    assert!((acknowledged..=acknowledged + 8).contains(&kept), "{acknowledged} acknowledged, {kept} kept");
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["route"] == "/api/v1/ingest" && line["status"] == 200), "{log}");
    assert!(!log.contains("ada") && !log.contains("secret-key") && !log.contains("r0-"), "{log}");
}

#[test]
fn a_book_of_ones_own_prices_what_arrives_and_explains_it() {
    let place = Place::new();
    let (ledger, book) = (place.file("payi.db"), place.file("prices.txt"));
    let text = "payi prices 1\nsource contract 2026 2026-11-01 - -\nprovider openai\nmodel gpt-4o-mini\nprice input=1000 output=1\n";
    fs::write(&book, text).unwrap();
    let served = Served::start(&ledger, &["--prices", &book]);
    let body = r#"{"category": "system.openai", "resource": "gpt-4o-mini", "units": {"text": {"input": 3, "output": 0}}}"#;
    let mut stream = TcpStream::connect(&served.address).unwrap();
    write!(
        stream,
        "POST /api/v1/ingest HTTP/1.1\r\nhost: localhost\r\nxproxy-api-key: k\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(r#""base":0.003"#), "{answer}");
    let calls = ok(&["calls", "--server", &served.url(), "--format", "jsonl"]);
    let id = calls.split("\"id\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let explained = ok(&["explain", id, "--server", &served.url()]);
    assert!(explained.contains("1000 USD per million tokens") && explained.contains("0.003"), "{explained}");
    served.terminate();
}

#[test]
fn who_is_asked_twice_to_end_waits_for_nobody() {
    let place = Place::new();
    let mut served = Served::start(&place.file("payi.db"), &[]);
    // A request that is never complete would be waited for.
    let mut stream = TcpStream::connect(&served.address).unwrap();
    let head =
        "POST /api/v1/ingest HTTP/1.1\r\nhost: localhost\r\nxproxy-api-key: k\r\ncontent-length: 99\r\n\r\n{";
    stream.write_all(head.as_bytes()).unwrap();
    thread::sleep(Duration::from_millis(200));
    let began = Instant::now();
    served.signal();
    thread::sleep(Duration::from_millis(200));
    assert!(served.process.try_wait().unwrap().is_none(), "the first signal lets requests end");
    served.signal();
    assert!(!served.ended().success() && began.elapsed() < Duration::from_secs(5));
}

/// Somebody who reads page by page, and sees the server end before the second page.
struct Pager<'s> {
    served: Option<Served>,
    text: &'s mut Vec<u8>,
}

impl std::io::Write for Pager<'_> {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        if let Some(served) = self.served.take() {
            served.terminate();
        }
        self.text.write(text)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_report_is_whole_however_slowly_it_is_read() {
    let place = Place::new();
    let path = place.file("payi.db");
    let mut load = payi_core::testing::Load::default();
    load.events = 10_000;
    payi_core::testing::load_ledger(&path, &load).unwrap();
    let report = ["calls", "--limit", "10000", "--since", "2020-01-01", "--format", "jsonl"];
    let own = ok(&[&report[..], &["--ledger", &path]].concat());
    assert!(own.len() > 2_000_000, "more than sockets hold: {}", own.len());
    let served = Served::start(&path, &[]);
    let url = served.url();
    let (mut asked, mut err) = (Vec::new(), Vec::new());
    let mut out = Pager { served: Some(served), text: &mut asked };
    let args = [&["payi"], &report[..], &["--server", &url]].concat();
    assert_eq!(payi_cli::execute(args, None, &mut out, &mut err), 0, "{}", String::from_utf8_lossy(&err));
    assert_eq!(asked, own.as_bytes());
}
