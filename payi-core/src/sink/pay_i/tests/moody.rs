//! A server whose connections break in the ways that connections do.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use super::{Bench, event};

/// How the server treats a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    /// It resets the connection in the middle of its answer.
    Reset,
    /// Its answer comes a byte at a time, and never to its end.
    Drip,
    /// It will say nothing more, and does not hang up either.
    HalfOpen,
    /// It answers, promises to keep the connection, and closes it.
    Closes,
    /// It answers.
    Fine,
}

#[derive(Clone)]
struct Server {
    mood: Arc<Mutex<Mood>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// With its address.
    fn start(mood: Mood) -> (Self, String) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = Self { mood: Arc::new(Mutex::new(mood)), asked: Arc::default() };
        let serving = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = serving.clone();
                thread::spawn(move || server.serve(stream));
            }
        });
        (server, address)
    }

    /// One request after the other; a request of the tests fits into one piece.
    fn serve(&self, mut stream: TcpStream) {
        let mut piece = vec![0; 64 * 1024];
        loop {
            let mood = *self.mood.lock().unwrap();
            if mood == Mood::Reset {
                // What has not been read when a socket is closed makes it a reset.
                let _ = stream.read(&mut piece[..30]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 18\r\n\r\n{\"re");
                return;
            }
            let Ok(n @ 1..) = stream.read(&mut piece) else { return };
            let line = String::from_utf8_lossy(&piece[..n]).lines().next().unwrap_or_default().to_owned();
            self.asked.lock().unwrap().push(line);
            match mood {
                Mood::Drip => {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n");
                    while stream.write_all(b" ").is_ok() {
                        thread::sleep(Duration::from_millis(100));
                    }
                    return;
                }
                Mood::HalfOpen => {
                    let _ = stream.shutdown(Shutdown::Write);
                    thread::sleep(Duration::from_secs(5));
                    return;
                }
                _ => {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 18\r\n\r\n{\"request_id\":\"r\"}";
                    if stream.write_all(answer).is_err() || mood == Mood::Closes {
                        return;
                    }
                }
            }
        }
    }
}

#[test]
fn fault_24_connections_that_break_lose_nothing() {
    for mood in [Mood::Reset, Mood::Drip, Mood::HalfOpen] {
        let (server, address) = Server::start(mood);
        let bench = Bench::at(&address);
        bench.record(event("u", "r"));
        assert!(!bench.flush(), "{mood:?}");
        assert!(bench.quarantined().is_empty());
        *server.mood.lock().unwrap() = Mood::Fine;
        assert!(bench.flush(), "{mood:?}");
        let asked = server.asked.lock().unwrap().clone();
        assert!(asked.iter().all(|line| *line == "POST /api/v1/ingest?id=r HTTP/1.1"), "{mood:?}: {asked:?}");
    }
}

#[test]
fn fault_24_a_kept_connection_that_was_closed_is_made_anew() {
    let (server, address) = Server::start(Mood::Closes);
    let bench = Bench::at(&address);
    for n in 0..5 {
        bench.record(event("u", &format!("r-{n}")));
        // A request may meet the connection as it closes: then it is sent again.
        assert!(bench.flush() || bench.flush(), "{n}");
        thread::sleep(Duration::from_millis(30));
    }
    let mut asked = server.asked.lock().unwrap().clone();
    asked.dedup();
    assert_eq!(asked.len(), 5, "{asked:?}");
    assert!(bench.quarantined().is_empty());
}
