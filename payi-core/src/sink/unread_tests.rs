//! Answers that the writer reads: on its own thread, within bounds, and one that cannot be read hurts no other.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, channel},
    },
    thread::{self, ThreadId},
    time::Duration,
};

use crate::{
    events::{Event, Opening, Opens, Rest, UnderWay, Unread},
    ledger::sample,
    sink::{Writer, WriterOptions, tests::Place},
};

type Reading = Box<dyn FnOnce() -> Option<Event> + Send>;

/// What the reading of an answer comes to.
struct Answer {
    read: Mutex<Option<Reading>>,
    by: Arc<Mutex<Vec<ThreadId>>>,
}

impl Rest for Answer {
    fn read(self: Arc<Self>) -> Option<Event> {
        self.by.lock().unwrap().push(thread::current().id());
        let read = self.read.lock().unwrap().take().unwrap();
        read()
    }
}

/// A writer, and by which threads answers were read.
struct Bench {
    writer: Writer,
    by: Arc<Mutex<Vec<ThreadId>>>,
}

impl Bench {
    fn new(place: &Place) -> Self {
        let options = WriterOptions { path: Some(place.ledger()), ..WriterOptions::default() };
        Self { writer: Writer::start(&options).unwrap(), by: Arc::default() }
    }

    fn record(&self, bytes: usize, read: impl FnOnce() -> Option<Event> + Send + 'static) {
        let answer = Answer { read: Mutex::new(Some(Box::new(read))), by: Arc::clone(&self.by) };
        self.writer.sink().record_unread(Unread::new(Arc::new(answer), bytes));
    }

    /// Keeps the writer at an answer until something is sent, or the sender is gone.
    fn occupy(&self, until: Receiver<()>) {
        let (begun, at_it) = channel();
        self.record(0, move || {
            begun.send(()).unwrap();
            let _ = until.recv_timeout(Duration::from_secs(30));
            Some(sample::event(1))
        });
        at_it.recv_timeout(Duration::from_secs(30)).unwrap();
    }

    /// How many events are recorded, and how many of them written.
    fn counts(&self) -> (u64, u64) {
        self.writer.flush(Duration::from_secs(30)).unwrap();
        let metrics = self.writer.counts().metrics();
        (metrics.recorded, metrics.written)
    }

    fn read_by_caller(&self) -> usize {
        self.by.lock().unwrap().iter().filter(|by| **by == thread::current().id()).count()
    }
}

#[test]
fn answers_are_read_by_the_writer_and_what_would_take_too_much_memory_by_the_caller() {
    let place = Place::new("unread");
    let bench = Bench::new(&place);
    let (go, until) = channel();
    bench.occupy(until);
    for _ in 0..4 {
        bench.record(1024 * 1024, || Some(sample::event(1)));
    }
    assert_eq!(bench.read_by_caller(), 0);
    bench.record(1, || Some(sample::event(1)));
    assert_eq!(bench.read_by_caller(), 1, "four megabytes wait already");
    bench.record(1, || panic!("a defect of ours"));
    assert_eq!(bench.read_by_caller(), 2, "and its panic goes no further");
    go.send(()).unwrap();
    assert_eq!(bench.counts(), (7, 6));
    bench.record(1024 * 1024, || Some(sample::event(1)));
    assert_eq!((bench.counts(), bench.read_by_caller()), ((8, 7), 2), "what was read takes no memory");
    assert_eq!(bench.writer.counts().metrics().losses, [("defect", 1)]);
}

#[test]
fn an_answer_that_cannot_be_read_is_one_loss_and_one_that_announces_another_is_no_event() {
    let place = Place::new("unreadable");
    let bench = Bench::new(&place);
    bench.record(10, || Some(sample::event(1)));
    bench.record(10, || panic!("a defect of ours"));
    bench.record(10, || None);
    bench.record(10, || Some(sample::event(1)));
    assert_eq!(bench.counts(), (3, 2));
    assert_eq!(bench.writer.counts().metrics().losses, [("defect", 1)]);
}

/// An attempt under way, and what its reading comes to.
struct Call(Box<dyn Fn() -> Opening + Send + Sync>);

impl Opens for Call {
    fn opening(&self) -> Opening {
        (self.0)()
    }
}

#[test]
fn of_what_is_under_way_is_written_what_has_not_ended_and_can_be_read() {
    let place = Place::new("under-way");
    let bench = Bench::new(&place);
    let sink = bench.writer.sink();
    let (go, until) = channel();
    bench.occupy(until);
    let call = |user| Arc::new(Call(Box::new(move || sample::opening(&sample::event(user)))));
    let (lasting, over) = (call(1), call(1));
    let unreadable = Arc::new(Call(Box::new(|| panic!("a defect of ours"))));
    for call in [&lasting, &over, &unreadable] {
        sink.open_unread(UnderWay::new(call));
    }
    drop(over);
    go.send(()).unwrap();
    assert_eq!(bench.counts(), (1, 1), "the one that kept the writer busy");
    let open = bench
        .writer
        .ledger()
        .with(|conn| conn.query_row("SELECT count(*) FROM open_calls", [], |row| row.get::<_, i64>(0)));
    assert_eq!(open.unwrap(), 1);
    assert!(bench.writer.counts().metrics().losses.is_empty());
    drop(lasting);
}

#[test]
fn a_shutdown_reads_what_waits_and_what_comes_after_it_is_counted() {
    let place = Place::new("unread-end");
    let bench = Bench::new(&place);
    for _ in 0..2_000 {
        bench.record(100, || Some(sample::event(1)));
    }
    let (sink, counts) = (bench.writer.sink(), bench.writer.counts());
    bench.writer.shutdown(Duration::from_secs(30)).unwrap();
    let by = Arc::default();
    let read: Reading = Box::new(|| Some(sample::event(1)));
    let late = Answer { read: Mutex::new(Some(read)), by: Arc::clone(&by) };
    sink.record_unread(Unread::new(Arc::new(late), 1));
    let metrics = counts.metrics();
    assert_eq!((metrics.recorded, metrics.written), (2_000, 2_000));
    assert_eq!(metrics.losses, [("after_shutdown", 1)]);
    assert!(by.lock().unwrap().is_empty());
}
