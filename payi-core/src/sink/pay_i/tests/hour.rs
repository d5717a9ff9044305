//! An hour at 1,000 calls a second with every place down, and then they come back.
//!
//! Time is simulated: events carry the hour's times, and are handed over as fast as the writer takes them.
//! `PAYI_HOUR_EVENTS` makes the hour shorter; the everyday test runs a few seconds of it.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, UNIX_EPOCH},
};

use uuid::Uuid;

use super::{NAME, PayI, SOON};
use crate::{
    events::{Event, sample},
    sink::{
        Writer, WriterOptions,
        deliver::{Courier, OfLedger},
        files::{Files, Form},
    },
};

/// The resident memory of this process, in MiB.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4 / 1024
}

/// A Pay-i that keeps nothing but a count, and an eye on the order.
struct Counting {
    listener: TcpListener,
    taken: Arc<AtomicU64>,
    disordered: Arc<AtomicU64>,
}

impl Counting {
    fn serve(self) {
        std::thread::spawn(move || {
            for stream in self.listener.incoming().flatten() {
                let (taken, disordered) = (Arc::clone(&self.taken), Arc::clone(&self.disordered));
                std::thread::spawn(move || drop(answer(stream, &taken, &disordered)));
            }
        });
    }
}

fn answer(stream: TcpStream, taken: &AtomicU64, disordered: &AtomicU64) -> std::io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let (mut length, mut single) = (0, None);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(n) = line.strip_prefix("content-length: ") {
                length = n.parse().unwrap_or(0);
            }
            single = line.strip_prefix("xproxy-user-id: ").map(str::to_owned).or(single);
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body = String::from_utf8_lossy(&body);
        let users =
            body.split("\"user_id\":\"").skip(1).map(|rest| rest.split('"').next().unwrap_or_default());
        for user in users.chain(single.as_deref()) {
            // Users are numbered in the order of their calls.
            let n = taken.fetch_add(1, Relaxed);
            if user.parse() != Ok(n) {
                disordered.fetch_add(1, Relaxed);
            }
        }
        writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 18\r\n\r\n{\"request_id\":\"r\"}")?;
    }
}

/// Memory is looked at where this is the only test that uses it.
fn hour(events: u64, alone: bool) {
    let dir = std::env::temp_dir().join(format!("payi-hour-{}-{events}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener); // down
    let file = dir.join("not-there-yet").join("lines.jsonl");

    let options =
        WriterOptions { path: Some(dir.join("l.db")), keep_exchanges: true, ..WriterOptions::default() };
    let writer = Writer::start(&options).unwrap();
    let source = |name| OfLedger::new(writer.ledger().another().unwrap(), name).unwrap();
    let pay_i = PayI::new(&format!("http://{address}"), "k", true).unwrap();
    let couriers = [
        Courier::start(source(NAME), pay_i).unwrap(),
        Courier::start(source(Files::cursor(Form::Lines)), Files::new(Form::Lines, file.clone())).unwrap(),
    ];

    let sink = writer.sink();
    let start = UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    let (mut early, mut late) = (0, 0);
    let began = Instant::now();
    for n in 0..events {
        let id = Uuid::now_v7();
        let context = crate::context::builder().user_id(n).build();
        let started_at = start + Duration::from_millis(n);
        let response_id = Some(format!("r-{n}").into());
        sink.record(Event { id, call_id: id, context, started_at, response_id, ..sample::chat() });
        // The hour goes by faster than the clock: no faster than the disk.
        if n % 4096 == 4095 {
            writer.flush(Duration::from_secs(60)).unwrap();
        }
        if n == events / 10 {
            early = resident();
        }
    }
    writer.flush(Duration::from_secs(60)).unwrap();
    late = resident().max(late);
    let recorded = began.elapsed();
    assert!(writer.metrics().losses.is_empty(), "{:?}", writer.metrics().losses);
    assert!(
        couriers.iter().all(|courier| !courier.wait(courier.ask(), Instant::now() + SOON)),
        "both are down"
    );
    assert!(!alone || late <= early + 24, "memory grew from {early} to {late} MiB");

    let (taken, disordered) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let listener = TcpListener::bind(address).unwrap();
    Counting { listener, taken: Arc::clone(&taken), disordered: Arc::clone(&disordered) }.serve();
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let back = Instant::now();
    let asked = couriers.each_ref().map(Courier::ask);
    for (courier, asked) in couriers.iter().zip(asked) {
        assert!(courier.wait(asked, Instant::now() + Duration::from_secs(3600)), "it did not catch up");
    }
    let caught_up = back.elapsed();
    assert_eq!((taken.load(Relaxed), disordered.load(Relaxed)), (events, 0));
    let mut lines = 0_u64;
    for line in BufReader::new(std::fs::File::open(&file).unwrap()).lines() {
        assert!(line.unwrap().contains(&format!("\"user_id\":\"{lines}\"")), "line {lines} is out of order");
        lines += 1;
    }
    assert_eq!(lines, events);
    let behind = resident();
    assert!(!alone || behind <= early + 64, "memory grew from {early} to {behind} MiB while catching up");
    drop(couriers);
    drop(writer);
    std::fs::remove_dir_all(&dir).unwrap();
    if !alone {
        return;
    }
    println!(
        "evidence backend-down: {events} events ({} s at 1,000/s, recorded in {:.0} s) with both places down: 0 lost, \
         memory {early} -> {late} MiB; caught up in {:.0} s, in order at each place ({behind} MiB)",
        events / 1000,
        recorded.as_secs_f64(),
        caught_up.as_secs_f64(),
    );
}

#[test]
fn fault_14_a_few_seconds_with_every_place_down() {
    hour(5_000, false);
}

#[test]
#[ignore = "evidence"]
fn backend_down_for_an_hour() {
    hour(std::env::var("PAYI_HOUR_EVENTS").ok().and_then(|n| n.parse().ok()).unwrap_or(3_600_000), true);
}
