//! What the benchmarks share: a server that costs the client nothing, a busy machine, and medians.
//!
//! On a virtual machine most of a loopback round trip is the waking of an idle core, so absolute
//! times say little. Variants are interleaved in one process, over one connection, and only the
//! differences between neighbours are kept.

pub mod context;

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
};

/// Serves `answer` to every request, byte for byte, on its own threads; returns where.
///
/// # Errors
///
/// Loopback cannot be listened on.
pub fn serve(answer: &'static [u8]) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            thread::spawn(move || answer_all(connection, answer));
        }
    });
    Ok(address)
}

/// Reads requests with a `content-length` off one connection, and answers each with one write.
fn answer_all(mut connection: TcpStream, answer: &[u8]) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut held = Vec::with_capacity(8192);
    let mut chunk = [0; 8192];
    loop {
        let whole = loop {
            if let Some(length) = request_length(&held).filter(|&length| held.len() >= length) {
                break length;
            }
            match connection.read(&mut chunk)? {
                0 => return Ok(()),
                n => held.extend_from_slice(&chunk[..n]),
            }
        };
        held.drain(..whole);
        connection.write_all(answer)?;
    }
}

/// The length of the request at the start of `held`, body included, once its head is complete.
fn request_length(held: &[u8]) -> Option<usize> {
    let body_at = held.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&held[..body_at]).ok()?;
    let body = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    Some(body_at + body.unwrap_or(0))
}

/// Processes of the lowest priority that keep every core awake for as long as this lives.
#[derive(Debug)]
pub struct Busy(Vec<Child>);

impl Busy {
    /// One per core; none where there is no `nice`.
    pub fn cores() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let spin = || {
            Command::new("nice")
                .args(["-n", "19", "sh", "-c", "while :; do :; done"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .ok()
        };
        Self((0..cores).filter_map(|_| spin()).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The middle of `values`; NaN if there are none.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
