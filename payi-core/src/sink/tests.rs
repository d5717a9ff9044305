//! The writer as its users feel it: nothing lost, nothing waited for.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use crate::{
    ledger::{Filter, Ledger, sample},
    sink::{Writer, WriterOptions},
};

/// A directory that is gone with the test.
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    pub(crate) fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("payi-core-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.0.join("payi.db")
    }

    fn options(&self) -> WriterOptions {
        WriterOptions { path: Some(self.ledger()), ..WriterOptions::default() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn calls(place: &Place) -> u64 {
    Ledger::open_read_only(place.ledger()).unwrap().users(&Filter::new()).unwrap().total.calls.ok
}

#[test]
fn an_event_is_in_the_file_soon_without_any_flush() {
    let place = Place::new("soon");
    let writer = Writer::start(&place.options()).unwrap();
    let sink = writer.sink();
    let mut slowest = Duration::ZERO;
    for n in 1..=20 {
        // Long enough for the writer to fall asleep.
        thread::sleep(Duration::from_millis(if n % 5 == 0 { 230 } else { 3 }));
        let handed_over = Instant::now();
        sink.record(sample::event(1));
        while calls(&place) < n {
            assert!(handed_over.elapsed() < Duration::from_secs(5), "event {n} never came");
            thread::sleep(Duration::from_millis(2));
        }
        slowest = slowest.max(handed_over.elapsed());
    }
    // The promise is 200 ms on a machine that has time for us; the tests of others run beside this one.
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    println!("evidence durable-within: {} ms, slowest of 20", slowest.as_millis());
}

#[test]
fn dropping_the_writer_writes_what_is_left() {
    let place = Place::new("drop");
    let writer = Writer::start(&place.options()).unwrap();
    let sink = writer.sink();
    for _ in 0..3000 {
        sink.record(sample::event(1));
    }
    drop(writer);
    assert_eq!(calls(&place), 3000);
}

#[test]
fn after_a_shutdown_the_file_alone_has_everything() {
    let place = Place::new("alone");
    let writer = Writer::start(&place.options()).unwrap();
    // As in a service, whose handles of the ledger live as long as its process.
    let held = writer.ledger().another().unwrap();
    for _ in 0..50 {
        writer.sink().record(sample::event(1));
    }
    writer.shutdown(Duration::from_secs(5)).unwrap();
    let copy = place.0.join("copy.db");
    fs::copy(place.ledger(), &copy).unwrap();
    let report = Ledger::open_read_only(&copy).unwrap().users(&Filter::new()).unwrap();
    assert_eq!(report.total.calls.ok, 50);
    drop(held);
}

#[test]
fn a_flush_covers_what_was_handed_over_before_it() {
    let place = Place::new("flush");
    let writer = Writer::start(&place.options()).unwrap();
    let sink = writer.sink();
    for n in 1..=5 {
        sink.record(sample::event(1));
        writer.flush(Duration::from_secs(5)).unwrap();
        assert_eq!(calls(&place), n);
    }
}

#[test]
fn what_comes_after_the_end_is_counted() {
    let place = Place::new("late");
    let writer = Writer::start(&place.options()).unwrap();
    let sink = writer.sink();
    sink.record(sample::event(1));
    let counts = writer.counts();
    writer.shutdown(Duration::from_secs(5)).unwrap();
    sink.record(sample::event(1));
    assert_eq!(calls(&place), 1);
    let metrics = counts.metrics();
    assert_eq!((metrics.recorded, metrics.written), (1, 1));
    assert_eq!(metrics.losses, [("after_shutdown", 1)]);
}

#[test]
fn a_shutdown_writes_more_than_one_gathers_worth_and_counts_what_slips_in() {
    let place = Place::new("rush");
    let options = WriterOptions { capacity: 60_000, ..place.options() };
    let writer = Writer::start(&options).unwrap();
    let (counts, sink) = (writer.counts(), writer.sink());
    let handed_over: u64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let before = Instant::now();
                    let mut n = 0;
                    // Until after the end.
                    while before.elapsed() < Duration::from_millis(600) {
                        sink.record(sample::event(1));
                        n += 1;
                    }
                    n
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(300));
        writer.shutdown(Duration::from_secs(60)).unwrap();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    let metrics = counts.metrics();
    let lost = |reason| metrics.losses.iter().find(|loss| loss.0 == reason).map_or(0, |loss| loss.1);
    assert_eq!(metrics.written, calls(&place));
    assert_eq!(metrics.recorded, metrics.written + lost("unwritten"), "{metrics:?}");
    assert_eq!(metrics.recorded + lost("queue_full") + lost("after_shutdown"), handed_over, "{metrics:?}");
    assert!(lost("after_shutdown") > 0, "{metrics:?}");
}

#[test]
fn received_and_refused_is_what_was_handed_over_when_the_queue_is_full() {
    let place = Place::new("full");
    let options = WriterOptions { capacity: 64, ..place.options() };
    let writer = Writer::start(&options).unwrap();
    let handed_over: u64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let sink = writer.sink();
                scope.spawn(move || {
                    for _ in 0..5000 {
                        sink.record(sample::event(1));
                    }
                    5000
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    writer.flush(Duration::from_secs(10)).unwrap();
    let metrics = writer.metrics();
    let refused: u64 = metrics.losses.iter().map(|(_, n)| n).sum();
    assert!(refused > 0, "the queue was never full");
    assert_eq!(metrics.recorded + refused, handed_over);
    assert_eq!(metrics.written, metrics.recorded);
    assert_eq!(calls(&place), metrics.recorded);
    drop(writer);
    let ledger = Ledger::open(place.ledger()).unwrap();
    assert_eq!(
        ledger.losses().unwrap().iter().map(|loss| loss.count).sum::<u64>(),
        refused,
        "the file says it too"
    );
}

#[test]
fn a_place_that_cannot_be_written_falls_back_to_memory() {
    let place = Place::new("unwritable");
    let options =
        WriterOptions { path: Some(place.0.join("no/such/dir/payi.db")), ..WriterOptions::default() };
    let writer = Writer::start(&options).unwrap();
    writer.sink().record(sample::event(1));
    writer.flush(Duration::from_secs(5)).unwrap();
    assert_eq!(writer.ledger().users(&Filter::new()).unwrap().total.calls.ok, 1);
    assert_eq!(writer.ledger().path(), None);
}

#[test]
fn somebody_elses_file_is_an_error_at_the_start() {
    let place = Place::new("foreign");
    fs::write(place.ledger(), "dear diary").unwrap();
    let error = Writer::start(&place.options()).err().unwrap();
    assert!(error.is_ledger() && error.is_foreign_ledger(), "{error}");
    assert_eq!(fs::read_to_string(place.ledger()).unwrap(), "dear diary");
}

#[test]
fn several_writers_share_one_file() {
    let place = Place::new("shared");
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let writer = Writer::start(&place.options()).unwrap();
                assert!(writer.ledger().path().is_some(), "it fell back to memory");
                let sink = writer.sink();
                for n in 0..2000 {
                    sink.record(sample::event(1));
                    if n % 100 == 0 {
                        thread::sleep(Duration::from_millis(1));
                    }
                }
                writer.shutdown(Duration::from_secs(20)).unwrap();
            });
        }
    });
    assert_eq!(calls(&place), 6000);
}
