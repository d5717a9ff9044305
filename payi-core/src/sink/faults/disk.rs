//! Disks that take no more, places that cannot be written, logs that were torn.

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::{SOON, child::Victim};
use crate::{
    ledger::{Filter, Ledger, sample},
    sink::{Writer, WriterOptions, tests::Place},
};

/// This program, run by a shell that sets a limit first.
fn limited(limit: &str) -> Command {
    let mut shell = Command::new("sh");
    // Without the trap the signal would end the child, where a full disk gives an error.
    shell.args(["-c", &format!("trap '' XFSZ; {limit}; exec \"$@\""), "sh"]);
    shell.arg(std::env::current_exe().unwrap());
    shell
}

/// What a child at `endure` says of itself.
#[derive(Clone, Copy, Debug)]
struct State {
    handed_over: u64,
    written: u64,
    recorded: u64,
    lost: u64,
    slowest: Duration,
}

fn last(log: &str, kinds: &[&str]) -> Option<State> {
    let mut words = log.lines().last()?.split(' ');
    if !kinds.contains(&words.next()?) {
        return None;
    }
    let mut number = || words.next()?.parse().ok();
    Some(State {
        handed_over: number()?,
        written: number()?,
        recorded: number()?,
        lost: number()?,
        slowest: Duration::from_micros(number()?),
    })
}

#[test]
fn fault_09_disk_full() {
    let place = Place::new("fault-09");
    let victim =
        Victim::start_by(limited("ulimit -S -f 4000"), "endure", &place.ledger(), place.0.join("log"));
    let full = victim.wait_for("the end of the disk", |log| last(log, &["state"]).filter(|now| now.lost > 0));
    assert!(full.written > 0, "it was written as long as there was room: {full:?}");
    let held = full.recorded - full.written;
    assert!(held <= 25_000, "what waits is bounded: {full:?}");
    // Somebody makes room.
    let freed =
        Command::new("prlimit").args(["--pid", &victim.pid().to_string(), "--fsize=unlimited:"]).status();
    assert!(freed.unwrap().success());
    victim.wait_for("room", |log| last(log, &["state"]).filter(|now| now.written > full.recorded));
    fs::write(place.0.join("go"), "").unwrap();
    let end = victim.wait_for("the end", |log| last(log, &["whole"]));
    victim.end();
    assert_eq!(end.written, end.recorded, "what was taken is written once there is room");
    assert_eq!(end.recorded + end.lost, end.handed_over, "and the rest is counted");
    assert!(end.slowest < Duration::from_secs(1), "no caller waited for the disk: {:?}", end.slowest);
    let ledger = Ledger::open(place.ledger()).unwrap();
    assert_eq!(ledger.users(&Filter::new()).unwrap().total.calls.ok, end.written);
    assert_eq!(ledger.losses().unwrap().iter().map(|loss| loss.count).sum::<u64>(), end.lost);
    assert_eq!(ledger.check().unwrap().problems, Vec::<String>::new());
}

#[test]
fn fault_10_a_place_that_cannot_be_written() {
    let place = Place::new("fault-10");
    fs::create_dir(place.ledger()).unwrap();
    let sealed = place.0.join("sealed");
    fs::create_dir(&sealed).unwrap();
    let mut permissions = fs::metadata(&sealed).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&sealed, permissions).unwrap();
    // For root nothing is sealed: `/proc` is, for everybody.
    for path in [place.ledger(), place.0.join("a/b/payi.db"), "/proc/payi.db".into(), sealed.join("payi.db")]
    {
        let as_root = path.starts_with(&sealed) && fs::write(&path, "").is_ok();
        let writer = Writer::start(&WriterOptions::at(&path)).unwrap();
        writer.sink().record(sample::event(1));
        writer.flush(SOON).unwrap();
        assert_eq!(writer.ledger().users(&Filter::new()).unwrap().total.calls.ok, 1, "in memory");
        assert_eq!(writer.ledger().path().is_some(), as_root, "{}", path.display());
    }
}

#[test]
fn fault_10_no_file_can_be_opened() {
    let place = Place::new("fault-10-emfile");
    let victim =
        Victim::start_by(limited("ulimit -S -n 40"), "no files", &place.ledger(), place.0.join("log"));
    let said = victim.wait_for("its word", |log| Some(log.to_owned()).filter(|log| log.contains("calls")));
    victim.end();
    assert_eq!(said.trim(), "calls 1 in memory: true");
}

#[test]
fn fault_10_the_directory_is_deleted_while_it_runs() {
    let place = Place::new("fault-10-deleted");
    let writer =
        Writer::start(&WriterOptions { capacity: 500, ..WriterOptions::at(place.ledger()) }).unwrap();
    let (sink, counts) = (writer.sink(), writer.counts());
    sink.record(sample::event(1));
    writer.flush(SOON).unwrap();
    fs::remove_dir_all(&place.0).unwrap();
    let began = Instant::now();
    for _ in 0..30_000 {
        sink.record(sample::event(1));
    }
    assert!(began.elapsed() < Duration::from_secs(5), "callers wait for nothing");
    thread::sleep(Duration::from_millis(100));
    let _ = writer.shutdown(Duration::from_secs(2));
    let metrics = counts.metrics();
    let lost: u64 = metrics.losses.iter().map(|loss| loss.1).sum();
    let refused = metrics.losses.iter().find(|loss| loss.0 == "queue_full").map_or(0, |loss| loss.1);
    assert_eq!(metrics.recorded + refused, 30_001, "{metrics:?}");
    assert_eq!(
        metrics.written + lost,
        30_001,
        "written, if only to a file without a name, or counted: {metrics:?}"
    );
}

/// A write-ahead log cut off, or with a byte flipped, at any place: every whole commit before it is there, none by half.
#[test]
fn fault_07_a_torn_log_keeps_every_commit_before_the_tear() {
    let whole = Place::new("fault-07-log");
    drop(Ledger::open(whole.ledger()).unwrap());
    let base = fs::read(whole.ledger()).unwrap();
    let ledger = Ledger::open(whole.ledger()).unwrap();
    ledger.with(|conn| conn.execute_batch("PRAGMA wal_autocheckpoint = 0")).unwrap();
    // How long the log was after each commit.
    let log = whole.0.join("payi.db-wal");
    let commits: Vec<usize> = (0..6)
        .map(|_| {
            sample::append(&ledger, &[(sample::event(1), sample::who("u"))]);
            usize::try_from(fs::metadata(&log).unwrap().len()).unwrap()
        })
        .collect();
    let log = fs::read(log).unwrap();
    drop(ledger);
    let place = Place::new("fault-07-torn-log");
    let last = commits[commits.len() - 1];
    for at in (0..last).step_by(last / 150).chain(commits.iter().map(|end| end - 1)) {
        for flip in [false, true] {
            let mut torn = log[..if flip { last } else { at }].to_vec();
            if flip {
                torn[at] ^= 0x10;
            }
            fs::write(place.ledger(), &base).unwrap();
            fs::write(place.0.join("payi.db-wal"), torn).unwrap();
            let _ = fs::remove_file(place.0.join("payi.db-shm"));
            let ledger = Ledger::open(place.ledger()).unwrap();
            let calls = ledger.users(&Filter::new()).unwrap().total.calls.ok;
            let before = commits.iter().filter(|end| **end <= at).count() as u64;
            assert_eq!(calls, before, "at {at} of {last}, flipped: {flip}");
            assert_eq!(ledger.check().unwrap().problems, Vec::<String>::new());
        }
    }
}
