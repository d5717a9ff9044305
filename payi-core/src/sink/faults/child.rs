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
    ledger::{Filter, Ledger, StoredEvent, sample},
    sink::{Writer, WriterOptions},
};

/// What a child is told by its environment.
const LEDGER: &str = "PAYI_TEST_CHILD_LEDGER";
const WORK: &str = "PAYI_TEST_CHILD_WORK";
const LOG: &str = "PAYI_TEST_CHILD_LOG";

/// A child at work; killed when dropped.
pub(super) struct Victim {
    child: Child,
    log: PathBuf,
}

impl Victim {
    /// Starts a child. What it promises is written to `log`, a line at a time.
    pub(super) fn start(work: &str, ledger: &Path, log: PathBuf) -> Self {
        Self::start_by(Command::new(env::current_exe().unwrap()), work, ledger, log)
    }

    /// The same, by another program that runs this one.
    pub(super) fn start_by(command: Command, work: &str, ledger: &Path, log: PathBuf) -> Self {
        let child = at(command, work, ledger, &log).spawn().unwrap();
        Self { child, log }
    }

    /// Waits until `found` finds in the log what it looks for.
    pub(super) fn wait_for<T>(&self, what: &str, found: impl Fn(&str) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            // The last line may not be whole yet.
            if let Some(found) = found(log.rfind('\n').map_or("", |end| &log[..end])) {
                return found;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{what} never came: {log}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end, which is to be a good one.
    pub(super) fn end(mut self) {
        assert!(self.child.wait().unwrap().success(), "the child did not come to its end");
    }

    /// Waits until it has begun to work.
    pub(super) fn wait(self) -> Self {
        let begun = Instant::now();
        while fs::metadata(&self.log).map_or(true, |log| log.len() == 0) {
            assert!(begun.elapsed() < Duration::from_secs(30), "the child never began");
            thread::sleep(Duration::from_millis(1));
        }
        self
    }

    /// `kill -9`. What it had promised before, by kind.
    pub(super) fn kill(mut self) -> Promises {
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
pub(super) struct Promises {
    /// Calls begun, and known to the ledger.
    pub(super) opened: HashSet<Uuid>,
    /// Calls ended, and known to the ledger.
    pub(super) written: HashSet<Uuid>,
    /// Every call begun.
    pub(super) begun: HashSet<Uuid>,
}

/// The command, with what makes this program a child at `work`.
pub(super) fn at(mut command: Command, work: &str, ledger: &Path, log: &Path) -> Command {
    command.args(["--exact", "sink::faults::child::at_work", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env(LEDGER, ledger).env(WORK, work).env(LOG, log);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl Promises {
    fn read(log: &Path) -> Self {
        Self::of(&fs::read_to_string(log).unwrap_or_default())
    }

    pub(super) fn of(text: &str) -> Self {
        let mut all = Self::default();
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
        "acknowledge" => acknowledge(Path::new(&ledger), &mut log),
        "unacknowledged" => unacknowledged(Path::new(&ledger), &mut log),
        "endure" => endure(Path::new(&ledger), &mut log),
        "no files" => {
            let mut open = Vec::new();
            while let Ok(file) = fs::File::open("/dev/null") {
                open.push(file);
            }
            let writer = Writer::start(&WriterOptions::at(&ledger)).unwrap();
            writer.sink().record(sample::event(1));
            writer.flush(Duration::from_secs(30)).unwrap();
            let calls = writer.ledger().users(&Filter::new()).unwrap().total.calls.ok;
            writeln!(log, "calls {calls} in memory: {}", writer.ledger().path().is_none()).unwrap();
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
        event.outcome =
            [Outcome::Ok, Outcome::Failed, Outcome::Ok, Outcome::Aborted, Outcome::Blocked][n % 5];
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

/// A hundred events, each promised when it is durable.
fn acknowledge(ledger: &Path, log: &mut fs::File) {
    let writer = Writer::start(&WriterOptions::at(ledger)).unwrap();
    for _ in 0..110 {
        let event = sample::event(1);
        let id = event.id;
        writer.sink().record(event);
        writer.flush(Duration::from_secs(30)).unwrap();
        log.write_all(format!("begin {id}\n").as_bytes()).unwrap();
    }
}

/// Sends what there is to send, and does not live to note that it was taken.
fn unacknowledged(ledger: &Path, log: &mut fs::File) {
    let ledger = Ledger::open(ledger).unwrap();
    ledger.register("file", true).unwrap();
    ledger.lease("deliver:file", "victim", Duration::from_secs(600)).unwrap().unwrap();
    let server = ledger.path().unwrap().with_extension("server");
    send(&ledger.follow(0, 1_000).unwrap(), &server);
    writeln!(log, "sent").unwrap();
    thread::sleep(Duration::from_secs(600));
}

/// Calls without end, on a disk that takes no more; at the file `go` it comes to its end. Says how it is now and
/// then: handed over, written, taken, lost, the slowest hand-over in microseconds.
fn endure(ledger: &Path, log: &mut fs::File) {
    let writer = Writer::start(&WriterOptions { capacity: 2_000, ..WriterOptions::at(ledger) }).unwrap();
    let (sink, counts) = (writer.sink(), writer.counts());
    let go = ledger.with_file_name("go");
    let (mut handed_over, mut slowest) = (0_u64, Duration::ZERO);
    let mut say = |kind: &str, handed_over, slowest: Duration| {
        let metrics = counts.metrics();
        let lost: u64 = metrics.losses.iter().map(|loss| loss.1).sum();
        let (written, recorded) = (metrics.written, metrics.recorded);
        writeln!(log, "{kind} {handed_over} {written} {recorded} {lost} {}", slowest.as_micros()).unwrap();
    };
    while !go.exists() {
        for _ in 0..100 {
            let before = Instant::now();
            sink.record(sample::event(1));
            slowest = slowest.max(before.elapsed());
            handed_over += 1;
        }
        thread::sleep(Duration::from_millis(5));
        say("state", handed_over, slowest);
    }
    let ended = writer.shutdown(Duration::from_secs(30));
    say(if ended.is_ok() { "whole" } else { "partly" }, handed_over, slowest);
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
pub(super) fn deliver_once(ledger: &Ledger, server: &Path, owner: &str, ttl: Duration) -> bool {
    ledger.register("file", true).unwrap();
    let Ok(Some(lease)) = ledger.lease("deliver:file", owner, ttl) else { return true };
    let events = ledger.follow(ledger.cursor("file").unwrap(), 50).unwrap();
    let Some(last) = events.last().map(|event| event.seq) else { return false };
    send(&events, server);
    let _ = ledger.set_cursor(&lease, "file", last);
    true
}

fn send(events: &[StoredEvent], server: &Path) {
    let mut out = fs::OpenOptions::new().append(true).create(true).open(server).unwrap();
    let mut lines = Vec::new();
    for event in events {
        writeln!(lines, "{} {}", event.event.id, event.seq).unwrap();
    }
    out.write_all(&lines).unwrap();
}

/// After the death of all writers: settles what they left open, and counts.
pub(super) fn settle(path: &Path) -> (Ledger, HashSet<Uuid>) {
    let ledger = Ledger::open(path).unwrap();
    // As if the leases' time had passed.
    ledger.with(|conn| conn.execute("UPDATE leases SET expires_us = 0", [])).unwrap();
    ledger.recover(&mut crate::ledger::Appender::default(), "process:survivor").unwrap();
    let ids = ids(&ledger);
    assert_eq!(ledger.open_calls().unwrap(), 0);
    assert_eq!(
        ledger.users(&Filter::new()).unwrap().total.calls.total(),
        ids.len() as u64,
        "each call ended once"
    );
    (ledger, ids)
}

/// The ids of all events, each of which is there once.
pub(super) fn ids(ledger: &Ledger) -> HashSet<Uuid> {
    let mut ids = HashSet::new();
    let mut after = 0;
    loop {
        let events = ledger.follow(after, 2_000).unwrap();
        let Some(last) = events.last() else { return ids };
        after = last.seq;
        for event in &events {
            assert!(ids.insert(event.event.id), "an event is there twice");
        }
    }
}
