//! The service under clients that mean harm. More names than a page has room for are in `benches/scale.rs`.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use crate::{service::Served, support::Place};

/// What is at an address, and how long it took.
fn get(served: &Served, path: &str) -> (String, Duration) {
    let began = Instant::now();
    let mut stream = TcpStream::connect(&served.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {}", answer.lines().next().unwrap_or_default());
    (answer, began.elapsed())
}

/// The most memory the service has had, in bytes.
fn peak(served: &Served) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", served.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn connect(address: SocketAddr) -> Option<TcpStream> {
    TcpStream::connect_timeout(&address, Duration::from_secs(3)).ok()
}

/// What a client is told that sends this head and then these pieces, as long as they are taken.
fn told(mut stream: TcpStream, head: &str, piece: &[u8], pieces: usize, pause: Duration) -> (String, usize) {
    stream.set_read_timeout(Some(Duration::from_secs(75))).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let mut sent = 0;
    for _ in 0..pieces {
        if stream.write_all(piece).is_err() {
            break;
        }
        sent += piece.len();
        std::thread::sleep(pause);
    }
    let mut answer = [0; 64];
    let n = stream.read(&mut answer).unwrap_or(0);
    (String::from_utf8_lossy(&answer[..n]).lines().next().unwrap_or_default().to_owned(), sent)
}

const POST: &str = "POST /api/v1/ingest HTTP/1.1\r\nhost: localhost\r\nxproxy-api-key: k\r\n";

#[test]
#[ignore = "evidence"]
fn clients_that_mean_harm_are_let_go() {
    let place = Place::new();
    let served = Served::start(&place.sample(), &[]);
    let address: SocketAddr = served.address.parse().unwrap();
    get(&served, "/");
    let before = peak(&served);

    // A gigabyte, announced and not: refused long before it is sent.
    let megabyte = vec![b' '; 1 << 20];
    let head = format!("{POST}content-length: {}\r\n\r\n", 1_u64 << 30);
    let (answer, announced) = told(connect(address).unwrap(), &head, &megabyte, 1024, Duration::ZERO);
    assert!(answer.is_empty() || answer.contains("413"), "{answer}");
    let chunk = [format!("{:x}\r\n", megabyte.len()).into_bytes(), megabyte, b"\r\n".to_vec()].concat();
    let head = format!("{POST}transfer-encoding: chunked\r\n\r\n");
    let (answer, chunked) = told(connect(address).unwrap(), &head, &chunk, 1024, Duration::ZERO);
    assert!(answer.is_empty() || answer.contains("413"), "{answer}");
    assert!(announced.max(chunked) < 64 << 20, "{announced} and {chunked} bytes were taken");
    // JSON deeper than a stack.
    let deep = [b"{\"category\":".to_vec(), vec![b'['; 4 << 20]].concat();
    let head = format!("{POST}content-length: {}\r\n\r\n", deep.len());
    let (answer, _) = told(connect(address).unwrap(), &head, &deep, 1, Duration::ZERO);
    assert!(answer.contains("400"), "{answer}");
    // A head without an end.
    let (answer, _) =
        told(connect(address).unwrap(), "GET / HTTP/1.1\r\nx: ", &vec![b'x'; 1 << 20], 4, Duration::ZERO);
    assert!(answer.is_empty() || answer.contains("431"), "{answer}");

    // A body that trickles is given up; so is every head of a flood of slow ones.
    let stream = connect(address).unwrap();
    let trickle = std::thread::spawn(move || {
        let head = format!("{POST}content-length: 1000\r\n\r\n");
        told(stream, &head, b" ", 70, Duration::from_secs(1)).0
    });
    let began = Instant::now();
    // Up to ten thousand, or as many as the system's queue holds before the service.
    let mut slow: Vec<_> = (0..10_000).map_while(|_| connect(address)).collect();
    let opened = slow.len();
    for stream in &mut slow {
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n");
    }
    assert!(opened > 600, "{opened} connections");
    drop(slow.split_off(600));
    let (_, waited) = get(&served, "/healthz");
    drop(slow);
    let (_, after) = get(&served, "/healthz");
    assert!(waited < Duration::from_secs(50) && after < Duration::from_secs(5), "{waited:?}, {after:?}");
    let answer = trickle.join().unwrap();
    assert!(answer.contains("408"), "{answer:?} after {:?}", began.elapsed());
    let grown = peak(&served).saturating_sub(before) >> 20;
    assert!(grown < 256, "{grown} MB more");
    println!(
        "evidence hostile: bodies of 1 GB refused after {} MB, JSON of depth 4,194,304 refused, {opened} connections at once \
         with heads that never end: served again after {} ms, {grown} MB more memory",
        announced.max(chunked) >> 20,
        waited.as_millis()
    );
}
