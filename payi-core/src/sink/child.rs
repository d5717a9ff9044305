//! Processes that are killed: the test binary, run again as a child that writes a ledger until its end.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::HashSet,
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use uuid::Uuid;

use crate::{
    events::Outcome,
    ledger::{Filter, Ledger, sample},
    sink::{Writer, WriterOptions},
};

/// What a child is told by its environment.
const LEDGER: &str = "PAYI_TEST_CHILD_LEDGER";
const WORK: &str = "PAYI_TEST_CHILD_WORK";
const LOG: &str = "PAYI_TEST_CHILD_LOG";

/// A child at work; killed when dropped.
pub(crate) struct Victim {
    child: Child,
    log: PathBuf,
}

impl Victim {
    /// Starts a child. What it promises is written to `log`, a line at a time.
    pub(crate) fn start(work: &str, ledger: &Path, log: PathBuf) -> Self {
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "sink::child::at_work", "--ignored", "--nocapture", "--test-threads=1"])
            .env(LEDGER, ledger)
            .env(WORK, work)
            .env(LOG, &log)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, log }
    }

    /// Waits until it has begun to work.
    pub(crate) fn wait(self) -> Self {
        let begun = Instant::now();
        while fs::metadata(&self.log).map_or(true, |log| log.len() == 0) {
            assert!(begun.elapsed() < Duration::from_secs(30), "the child never began");
            thread::sleep(Duration::from_millis(1));
        }
        self
    }

    /// `kill -9`. What it had promised before, by kind.
    pub(crate) fn kill(mut self) -> Promises {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        Promises::read(&self.log)
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a child wrote down before its end.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    /// Calls begun, and known to the ledger.
    pub(crate) opened: HashSet<Uuid>,
    /// Calls ended, and known to the ledger.
    pub(crate) written: HashSet<Uuid>,
    /// Every call begun.
    pub(crate) begun: HashSet<Uuid>,
}

impl Promises {
    fn read(log: &Path) -> Self {
        let mut all = Self::default();
        let text = fs::read_to_string(log).unwrap_or_default();
        // The last line may be cut off.
        let lines = text.rfind('\n').map_or("", |end| &text[..end]);
        let (mut opened, mut ended) = (Vec::new(), Vec::new());
        for line in lines.lines() {
            let (kind, id) = line.split_once(' ').unwrap_or((line, ""));
            match (kind, id.parse::<Uuid>()) {
                ("begin", Ok(id)) => {
                    all.begun.insert(id);
                    opened.push(id);
                }
                ("end", Ok(id)) => ended.push(id),
                ("flushed", _) => {
                    all.opened.extend(opened.drain(..));
                    all.written.extend(ended.drain(..));
                }
                _ => {}
            }
        }
        all
    }
}

#[test]
#[ignore = "the child of other tests"]
fn at_work() {
    let (Ok(ledger), Ok(work), Ok(log)) = (env::var(LEDGER), env::var(WORK), env::var(LOG)) else { return };
    let mut log = fs::File::create(log).unwrap();
    match work.as_str() {
        "write" => write(Path::new(&ledger), &mut log),
        "deliver" => {
            let (path, server) = (ledger.clone(), format!("{ledger}.server"));
            thread::spawn(move || deliver(Path::new(&path), Path::new(&server)));
            write(Path::new(&ledger), &mut log);
        }
        "create" => {
            writeln!(log, "ready").unwrap();
            drop(Ledger::open(ledger));
        }
        "prune" => {
            writeln!(log, "ready").unwrap();
            let ledger = Ledger::open(ledger).unwrap();
            let day = |n: u64| SystemTime::now() - Duration::from_secs(n * 86_400);
            for n in (1..90).rev() {
                ledger.prune(day(n)).unwrap();
            }
        }
        other => panic!("no such work: {other}"),
    }
}

/// Calls that begin and end, three at a time, until the end of the world; now and then a flush, and a note of it.
fn write(ledger: &Path, log: &mut fs::File) {
    let writer = Writer::start(&WriterOptions::at(ledger)).unwrap();
    assert!(writer.ledger().path().is_some(), "the ledger could not be opened");
    let sink = writer.sink();
    let mut open = Vec::new();
    for n in 0_usize.. {
        let mut event = sample::event(1);
        event.outcome = [Outcome::Ok, Outcome::Ok, Outcome::Failed, Outcome::Aborted][n % 4];
        writeln!(log, "begin {}", event.id).unwrap();
        sink.open(sample::opening(&event));
        open.push(event);
        if open.len() > 3 {
            let event = open.remove(0);
            let id = event.id;
            sink.record(event);
            writeln!(log, "end {id}").unwrap();
        }
        if n % 16 == 15 && writer.flush(Duration::from_secs(30)).is_ok() {
            writeln!(log, "flushed").unwrap();
        }
    }
}

/// A deliverer whose server is a file that takes one line per event.
fn deliver(ledger: &Path, server: &Path) {
    let ledger = Ledger::open(ledger).unwrap();
    let owner = Uuid::now_v7().to_string();
    loop {
        deliver_once(&ledger, server, &owner, Duration::from_secs(1));
        thread::sleep(Duration::from_millis(2));
    }
}

/// Sends what there is to send; whether there was any.
pub(crate) fn deliver_once(ledger: &Ledger, server: &Path, owner: &str, ttl: Duration) -> bool {
    ledger.register("file", true).unwrap();
    let Ok(Some(lease)) = ledger.lease("deliver:file", owner, ttl) else { return true };
    let events = ledger.follow(ledger.cursor("file").unwrap(), 50).unwrap();
    let Some(last) = events.last().map(|event| event.seq) else { return false };
    let mut out = fs::OpenOptions::new().append(true).create(true).open(server).unwrap();
    let mut lines = Vec::new();
    for event in &events {
        writeln!(lines, "{} {}", event.event.id, event.seq).unwrap();
    }
    out.write_all(&lines).unwrap();
    let _ = ledger.set_cursor(&lease, "file", last);
    true
}

/// After the death of all writers: settles what they left open, and counts.
pub(crate) fn settle(path: &Path) -> (Ledger, HashSet<Uuid>) {
    let ledger = Ledger::open(path).unwrap();
    // As if the leases' time had passed.
    ledger.with(|conn| conn.execute("UPDATE leases SET expires_us = 0", [])).unwrap();
    ledger.recover(&mut crate::ledger::Appender::default(), "process:survivor").unwrap();
    let mut ids = HashSet::new();
    let mut after = 0;
    loop {
        let events = ledger.follow(after, 2_000).unwrap();
        let Some(last) = events.last() else { break };
        after = last.seq;
        for event in &events {
            assert!(ids.insert(event.event.id), "an event is there twice");
        }
    }
    assert_eq!(ledger.open_calls().unwrap(), 0);
    assert_eq!(
        ledger.users(&Filter::new()).unwrap().total.calls.total(),
        ids.len() as u64,
        "each call ended once"
    );
    (ledger, ids)
}
