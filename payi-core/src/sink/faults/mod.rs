//! What can go wrong with the ledger and its processes, each by its number in the list of faults.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod child;
#[cfg(target_os = "linux")]
mod disk;
#[cfg(target_os = "linux")]
mod power;

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, SystemTime},
};

use uuid::Uuid;

use crate::{
    ledger::{Filter, Ledger, sample},
    sink::{Writer, WriterOptions, tests::Place},
};

use child::{Victim, deliver_once, settle};

const SOON: Duration = Duration::from_secs(20);

/// A number below `most`, another one each time.
fn any(most: u64) -> u64 {
    (Uuid::new_v4().as_u64_pair().0 >> 12) % most
}

/// Kills `rounds` children at random moments of their work on one ledger; what was promised is kept.
fn kill_writers(place: &Place, rounds: usize) -> String {
    let path = place.ledger();
    let (mut promised, mut begun) = (HashSet::new(), HashSet::new());
    for round in 0..rounds {
        let victim = Victim::start("write", &path, place.0.join(format!("log-{round}"))).wait();
        thread::sleep(Duration::from_micros(any(80_000)));
        let word = victim.kill();
        promised.extend(word.written.iter().copied().chain(word.opened.iter().copied()));
        begun.extend(word.begun);
    }
    let (ledger, ids) = settle(&path);
    let lost = promised.difference(&ids).count();
    assert_eq!(lost, 0, "of {} calls that were promised", promised.len());
    assert!(ids.is_subset(&begun), "nothing is made up");
    assert_eq!(ledger.check().unwrap().problems, Vec::<String>::new());
    let calls = ledger.users(&Filter::new()).unwrap().total.calls;
    let ended = [calls.ok, calls.failed, calls.aborted, calls.blocked, calls.abandoned];
    assert!(calls.ok > 0 && calls.abandoned > 0, "{calls:?}");
    assert_eq!(ended.iter().sum::<u64>(), ids.len() as u64, "each started call ended in one way");
    let mut lines = Vec::new();
    ledger.export(None, &mut lines).unwrap();
    assert_eq!(ledger.import(&lines[..]).unwrap().written, 0, "sent again, nothing counts twice");
    format!(
        "{rounds} kills: {} started = {} settled + {} failed + {} aborted + {} blocked + {} abandoned; of {} promised \
         0 lost, 0 duplicated ({} were begun too late to be promised)",
        ids.len(),
        calls.ok,
        calls.failed,
        calls.aborted,
        calls.blocked,
        calls.abandoned,
        promised.len(),
        begun.difference(&ids).count(),
    )
}

#[test]
fn fault_01_killed_before_the_commit() {
    kill_writers(&Place::new("fault-01"), 6);
}

#[test]
#[ignore = "evidence"]
fn kill9() {
    println!("evidence kill9: {}", kill_writers(&Place::new("kill9"), 200));
}

#[test]
fn fault_02_killed_after_the_commit_and_before_the_send() {
    let place = Place::new("fault-02");
    let victim = Victim::start("write", &place.ledger(), place.0.join("log")).wait();
    thread::sleep(Duration::from_millis(100));
    victim.kill();
    let (ledger, ids) = settle(&place.ledger());
    let server = place.0.join("server");
    while deliver_once(&ledger, &server, "me", SOON) {}
    let sent = received(&server);
    assert_eq!(sent.len(), ids.len());
    assert!(sent.values().all(|&times| times == 1), "each once");
}

/// How often the server was sent each event.
fn received(server: &Path) -> HashMap<String, u32> {
    let mut times = HashMap::new();
    for line in fs::read_to_string(server).unwrap_or_default().lines() {
        *times.entry(line.split(' ').next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    times
}

#[test]
fn fault_03_killed_after_the_send_and_before_the_acknowledgement() {
    let place = Place::new("fault-03");
    let ledger = Ledger::open(place.ledger()).unwrap();
    let events: Vec<_> = (0..20).map(|n| (sample::event(n), sample::who("u"))).collect();
    sample::append(&ledger, &events);
    let server = place.0.join("payi.server");
    let victim = Victim::start("unacknowledged", &place.ledger(), place.0.join("log"));
    victim.wait_for("the send", |log| log.contains("sent").then_some(()));
    victim.kill();
    assert_eq!(ledger.cursor("file").unwrap(), 0);
    // As if the time of the dead one's lease had passed.
    ledger.with(|conn| conn.execute("UPDATE leases SET expires_us = 0", [])).unwrap();
    while deliver_once(&ledger, &server, "survivor", SOON) {}
    let sent = received(&server);
    assert_eq!(sent.len(), 20);
    assert!(sent.values().all(|&times| times == 2), "each twice, under the same id");
    // Whoever collects them charges each once.
    let theirs = Ledger::in_memory().unwrap();
    let mut collector = crate::ledger::Collector::new(&theirs, false).unwrap();
    let placed = [&events, &events].map(|sent| collector.place(sent).unwrap());
    assert!(placed[0].iter().all(|it| !it.duplicate) && placed[1].iter().all(|it| it.duplicate));
    assert_eq!(theirs.users(&Filter::new()).unwrap().total, ledger.users(&Filter::new()).unwrap().total);
}

#[test]
fn fault_04_killed_while_pruning() {
    let place = Place::new("fault-04");
    let ledger = Ledger::open(place.ledger()).unwrap();
    let events: Vec<_> = (0..3_000_u64)
        .map(|n| {
            let mut event = sample::event(1);
            event.started_at = SystemTime::now() - Duration::from_secs(n % 100 * 86_400);
            (event, sample::who("u"))
        })
        .collect();
    sample::append(&ledger, &events);
    let total = ledger.users(&Filter::new()).unwrap().total;
    drop(ledger);
    for round in 0..5 {
        let victim = Victim::start("prune", &place.ledger(), place.0.join(format!("log-{round}"))).wait();
        thread::sleep(Duration::from_micros(any(60_000)));
        victim.kill();
        let ledger = Ledger::open(place.ledger()).unwrap();
        assert_eq!(ledger.users(&Filter::new()).unwrap().total, total, "totals outlive the facts");
        assert_eq!(ledger.check().unwrap().problems, Vec::<String>::new());
    }
}

#[test]
fn fault_05_killed_while_the_file_is_made() {
    for round in 0..10 {
        let place = Place::new(&format!("fault-05-{round}"));
        let victim = Victim::start("create", &place.ledger(), place.0.join("log")).wait();
        thread::sleep(Duration::from_micros(any(6_000)));
        victim.kill();
        let ledger = Ledger::open(place.ledger()).unwrap();
        sample::append(&ledger, &[(sample::event(1), sample::who("u"))]);
        assert_eq!(ledger.check().unwrap().problems, Vec::<String>::new());
    }
}

#[test]
fn fault_07_flipped_and_missing_bytes() {
    let whole = Place::new("fault-07");
    let ledger = Ledger::open(whole.ledger()).unwrap();
    sample::append(&ledger, &[(sample::event(1), sample::who("u"))]);
    ledger.with(|conn| crate::ledger::fold::finish(conn, None)).unwrap();
    drop(ledger);
    let bytes = fs::read(whole.ledger()).unwrap();
    let place = Place::new("fault-07-torn");
    let (mut opened, mut refused) = (0, 0);
    for at in (0..bytes.len()).step_by(bytes.len() / 60) {
        for cut in [false, true] {
            let mut torn = bytes.clone();
            if cut {
                torn.truncate(at);
            } else {
                torn[at] ^= 0xff;
            }
            for suffix in ["", "-wal", "-shm"] {
                let _ = fs::remove_file(place.0.join(format!("payi.db{suffix}")));
            }
            fs::write(place.ledger(), torn).unwrap();
            // No panic, whatever comes of it; and the user's program starts.
            let read = Ledger::open_read_only(place.ledger()).and_then(|ledger| ledger.users(&Filter::new()));
            let started = Writer::start(&WriterOptions {
                deadline: Duration::ZERO,
                ..WriterOptions::at(place.ledger())
            });
            match (read, started) {
                (Ok(_), Ok(_)) => opened += 1,
                (_, Ok(_)) => refused += 1,
                (_, Err(error)) => assert!(error.is_ledger(), "{error}"),
            }
        }
    }
    assert!(opened > 0 && refused > 0, "{opened} opened, {refused} refused");
}

#[test]
fn fault_08_what_is_beside_or_instead_of_the_file() {
    let place = Place::new("fault-08");
    let fill =
        |path: &Path| sample::append(&Ledger::open(path).unwrap(), &[(sample::event(1), sample::who("u"))]);
    fs::write(place.ledger(), "").unwrap();
    fill(&place.ledger());
    for suffix in ["-wal", "-shm"] {
        fs::write(place.0.join(format!("payi.db{suffix}")), vec![7; 5_000]).unwrap();
        let ledger = Ledger::open(place.ledger()).unwrap();
        assert_eq!(ledger.users(&Filter::new()).unwrap().total.calls.ok, 1, "an extra {suffix}");
    }
    let ledger = Ledger::open(place.ledger()).unwrap();
    ledger.with(|conn| conn.execute_batch("PRAGMA user_version = 99")).unwrap();
    drop(ledger);
    let error = Ledger::open(place.ledger()).unwrap_err();
    assert!(error.to_string().contains("newer payi"), "{error}");
    let report = Ledger::open_read_only(place.ledger()).unwrap().users(&Filter::new()).unwrap();
    assert_eq!(report.total.calls.ok, 1, "a newer ledger can be read");
    let foreign = place.0.join("foreign.db");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t(a)").unwrap();
    let before = fs::read(&foreign).unwrap();
    assert!(Ledger::open(&foreign).unwrap_err().is_foreign_ledger());
    assert!(Ledger::open_read_only(&foreign).unwrap_err().is_foreign_ledger());
    assert_eq!(fs::read(&foreign).unwrap(), before);
}

#[test]
fn fault_11_two_processes_on_one_file() {
    two_processes("fault-11", 2);
}

#[test]
#[ignore = "evidence"]
fn two_processes_killed_and_restarted() {
    let (facts, sent, twice) = two_processes("two-processes", 20);
    println!(
        "evidence two-processes: 20 rounds of two, {facts} events, rollups equal facts, {sent} delivered, {twice} sent twice and charged once"
    );
}

fn two_processes(name: &str, rounds: usize) -> (usize, usize, usize) {
    let place = Place::new(name);
    let path = place.ledger();
    drop(Ledger::open(&path).unwrap());
    let mut promised = HashSet::new();
    for round in 0..rounds {
        let victims =
            ["a", "b"].map(|who| Victim::start("deliver", &path, place.0.join(format!("log-{round}-{who}"))));
        let victims = victims.map(Victim::wait);
        thread::sleep(Duration::from_millis(100 + any(200)));
        for victim in victims {
            promised.extend(victim.kill().written);
        }
    }
    let (ledger, ids) = settle(&path);
    assert_eq!(promised.difference(&ids).count(), 0, "nothing promised is lost");
    assert_eq!(ledger.check().unwrap().problems, Vec::<String>::new(), "rollups equal facts");
    let server = place.0.join("payi.db.server");
    while deliver_once(&ledger, &server, "survivor", SOON) {}
    let sent = received(&server);
    assert_eq!(sent.len(), ids.len(), "every event arrives");
    let twice = sent.values().filter(|&&times| times > 1).count();
    (ids.len(), sent.len(), twice)
}

#[test]
fn fault_12_leases_of_the_dead() {
    let place = Place::new("fault-12");
    let ledger = Ledger::open(place.ledger()).unwrap();
    ledger.lease("deliver:x", "1234", Duration::from_secs(1)).unwrap().unwrap();
    let set = |expires: &str| {
        let sql = format!("UPDATE leases SET expires_us = {expires}, owner = '1234'");
        ledger.with(|conn| conn.execute(&sql, [])).unwrap();
    };
    set("1");
    assert!(ledger.lease("deliver:x", "me", Duration::from_secs(1)).unwrap().is_some(), "its time is over");
    // Written by a clock that was a year ahead.
    set("expires_us + 31536000000000");
    assert!(
        ledger.lease("deliver:x", "me", Duration::from_secs(1)).unwrap().is_some(),
        "no lease is that long"
    );
}

/// A service that is started again and again while its machine's clock goes wrong.
#[test]
fn fault_18_clocks_that_jump_between_one_run_and_the_next() {
    if Command::new("faketime").arg("--version").output().is_err() {
        return eprintln!("SKIPPED: faketime is missing, so this test proves nothing here");
    }
    let place = Place::new("fault-18");
    let mut promised = HashSet::new();
    for (n, clock) in ["+0", "-1h", "@1970-01-01 12:00:00", "+365d"].into_iter().enumerate() {
        let mut faked = Command::new(std::env::current_exe().unwrap());
        // The dynamic linker knows what `$LIB` is. Time limits are kept by the clock that cannot be set.
        faked.env("LD_PRELOAD", "/usr/$LIB/faketime/libfaketime.so.1");
        faked.env("FAKETIME", clock).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let victim =
            Victim::start_by(faked, "deliver", &place.ledger(), place.0.join(format!("log-{n}"))).wait();
        thread::sleep(Duration::from_millis(200));
        promised.extend(victim.kill().written);
    }
    let ledger = Ledger::open(place.ledger()).unwrap();
    // The last one lived a year ahead: neither its open calls nor its lease are waited for.
    let server = place.0.join("payi.db.server");
    assert!(ledger.lease("deliver:file", "survivor", SOON).unwrap().is_some(), "no lease is that long");
    ledger.recover(&mut crate::ledger::Appender::default(), "process:survivor").unwrap();
    let ahead = "SELECT count(*) FROM open_calls WHERE at_us > 1e6 * unixepoch('now', '+300 days')";
    let open: i64 = ledger.with(|conn| conn.query_row(ahead, [], |row| row.get(0))).unwrap();
    assert_eq!(open, 0, "calls of the one that was ahead");
    drop(ledger);
    let (ledger, ids) = settle(&place.ledger());
    assert_eq!(promised.difference(&ids).count(), 0, "of {} promised", promised.len());
    assert_eq!(ledger.check().unwrap().problems, Vec::<String>::new());
    while deliver_once(&ledger, &server, "survivor", SOON) {}
    assert_eq!(received(&server).len(), ids.len(), "every event arrives");
    let days: HashSet<u64> = times(&ledger).into_iter().map(|at| at / 86_400).collect();
    assert!(days.contains(&0) && days.len() >= 3, "events keep the time they were given: {days:?}");
}

/// When each event began, in seconds since 1970.
fn times(ledger: &Ledger) -> Vec<u64> {
    let events = ledger.follow(0, 100_000).unwrap().into_iter();
    events.map(|it| it.event.started_at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()).collect()
}

#[test]
fn a_reader_changes_nothing_and_sees_what_comes_later() {
    let place = Place::new("reader");
    let victim = Victim::start("write", &place.ledger(), place.0.join("log")).wait();
    thread::sleep(Duration::from_millis(60));
    // While somebody writes.
    Ledger::open_read_only(place.ledger()).unwrap().users(&Filter::new()).unwrap();
    victim.kill();
    // With the log that a dead process left.
    let wal = place.0.join("payi.db-wal");
    let before = (fs::read(place.ledger()).unwrap(), fs::read(&wal).unwrap());
    assert!(!before.1.is_empty(), "it died writing");
    let reader = Ledger::open_read_only(place.ledger()).unwrap();
    let calls = reader.users(&Filter::new()).unwrap().total.calls.total();
    assert!(calls > 0);
    drop(reader);
    assert!(
        before == (fs::read(place.ledger()).unwrap(), fs::read(&wal).unwrap()),
        "neither file was touched"
    );
    drop(settle(&place.ledger()));
    // At rest, and later awake: a reader that stays sees what is written after it came.
    assert!(!wal.exists());
    let reader = Ledger::open_read_only(place.ledger()).unwrap();
    let calls = reader.users(&Filter::new()).unwrap().total.calls.ok;
    let writer = Ledger::open(place.ledger()).unwrap();
    for n in 1..=3 {
        sample::append(&writer, &[(sample::event(1), sample::who("u"))]);
        assert_eq!(reader.users(&Filter::new()).unwrap().total.calls.ok, calls + n);
    }
    drop(writer);
    assert_eq!(reader.users(&Filter::new()).unwrap().total.calls.ok, calls + 3);
}

/// Memory of this process's own in KiB, without the pages of its program; `None` where the system does not say.
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Target 10. Alone in its process, or other tests' memory is counted.
#[test]
#[ignore = "evidence"]
fn memory_stays_small_and_flat() {
    let place = Place::new("memory");
    let Some(before) = resident() else {
        return eprintln!("SKIPPED: this system does not say what memory is used");
    };
    let writer = Writer::start(&WriterOptions::at(place.ledger())).unwrap();
    writer.ledger().register("down", true).unwrap();
    let sink = writer.sink();
    let mut highest = Vec::new();
    for _ in 0..20 {
        for _ in 0..10_000 {
            sink.record(sample::event(1));
            // About as fast as the disk takes them on a busy machine.
            thread::sleep(Duration::from_micros(20));
        }
        highest.push(resident().unwrap_or(0).saturating_sub(before) / 1024);
    }
    writer.flush(Duration::from_secs(60)).unwrap();
    let (early, late) = (highest[..5].iter().max().copied(), highest[15..].iter().max().copied());
    println!(
        "evidence bench-ledger-10: {} MB above the plain program after 50,000 events, {} MB after 200,000, nothing delivered",
        early.unwrap_or(0),
        late.unwrap_or(0)
    );
    assert!(late <= early.map(|mb| mb + 4), "memory grows: {highest:?} MB");
    assert!(late <= Some(10), "{highest:?} MB");
}
