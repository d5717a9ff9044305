//! A Pay-i on loopback that remembers what it is sent and answers as it is told.
//!
//! It is made of threads and blocking sockets, so that it can misbehave in every way a server can, and
//! so that it needs no runtime.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// How long a connection without a request is kept.
const IDLE: Duration = Duration::from_secs(30);

/// A request that was made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PayIRequest {
    /// `POST`.
    pub method: String,
    /// The path with its query: `/api/v1/ingest?id=chatcmpl-1`.
    pub path: String,
    /// Names in lower case, and values as UTF-8.
    pub headers: Vec<(String, String)>,
    /// The body; null if it is not JSON.
    pub body: Value,
    /// The body as it came.
    pub bytes: Vec<u8>,
    /// When it had arrived.
    pub at: Instant,
}

impl PayIRequest {
    /// The value of a header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The events in it: one, or those of a bulk.
    pub fn events(&self) -> Vec<Value> {
        match &self.body {
            Value::Array(events) => events.clone(),
            Value::Null => Vec::new(),
            event => vec![event.clone()],
        }
    }
}

/// What to answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PayIAnswer {
    /// As Pay-i does when all is well.
    Ok,
    /// This status and this JSON.
    Json(u16, Value),
    /// These bytes, status line and all; then the connection is closed.
    Raw(Vec<u8>),
    /// Nothing: the connection is closed.
    Close,
    /// Nothing for this long; then the connection is closed.
    Silence(Duration),
    /// After this long, as Pay-i does when all is well.
    Late(Duration),
}

impl PayIAnswer {
    /// A status, with a header line and no body.
    pub fn status(status: u16, header: &str) -> Self {
        let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
        Self::Raw(
            format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n{header}connection: close\r\n\r\n").into(),
        )
    }
}

type Script = Box<dyn FnMut(&PayIRequest) -> PayIAnswer + Send>;

/// A Pay-i on loopback.
///
/// ```
/// let pay_i = payi_core::testing::PayI::start()?;
/// // payi::instrument().base_url(pay_i.url()).api_key("test") ..
/// assert!(pay_i.requests().is_empty());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct PayI {
    address: SocketAddr,
    url: String,
    shared: Arc<Shared>,
}

struct Shared {
    requests: Mutex<Vec<PayIRequest>>,
    script: Mutex<Script>,
    stopped: AtomicBool,
}

impl PayI {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// If no port can be had.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            requests: Mutex::default(),
            script: Mutex::new(Box::new(|_| PayIAnswer::Ok)),
            stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::Builder::new().name("test-pay-i".into()).spawn(move || {
            for stream in listener.incoming().flatten() {
                if accepting.stopped.load(Relaxed) {
                    break;
                }
                let shared = Arc::clone(&accepting);
                // A connection that breaks off is the other side's affair.
                std::thread::spawn(move || drop(serve(stream, &shared)));
            }
        })?;
        Ok(Self { address, url: format!("http://{address}"), shared })
    }

    /// Its address, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Answers from now on as `script` says.
    pub fn script(&self, script: impl FnMut(&PayIRequest) -> PayIAnswer + Send + 'static) {
        *self.shared.script.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(script);
    }

    /// Every request so far, in the order of arrival.
    pub fn requests(&self) -> Vec<PayIRequest> {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every event so far, bulks taken apart.
    pub fn events(&self) -> Vec<Value> {
        self.requests().iter().flat_map(PayIRequest::events).collect()
    }

    /// Waits until there are `n` requests, for `within` at the most; what there is then.
    pub fn wait_for(&self, n: usize, within: Duration) -> Vec<PayIRequest> {
        let until = Instant::now() + within;
        loop {
            let requests = self.requests();
            if requests.len() >= n || Instant::now() > until {
                return requests;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for PayI {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Relaxed);
        // Wakes the accepting thread, so that the port is given back.
        let _ = TcpStream::connect(self.address);
    }
}

impl std::fmt::Debug for PayI {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PayI").field("url", &self.url).finish_non_exhaustive()
    }
}

fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader)? {
        if shared.stopped.load(Relaxed) {
            return Ok(());
        }
        let answer = (shared.script.lock().unwrap_or_else(PoisonError::into_inner))(&request);
        // Before the answer: who has been answered is here.
        shared.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
        let answered = match &answer {
            PayIAnswer::Ok => write_json(&mut writer, 200, &fine(&request)).map(|()| true),
            PayIAnswer::Late(duration) => {
                std::thread::sleep(*duration);
                write_json(&mut writer, 200, &fine(&request)).map(|()| true)
            }
            PayIAnswer::Json(status, body) => write_json(&mut writer, *status, body).map(|()| true),
            PayIAnswer::Raw(bytes) => writer.write_all(bytes).map(|()| false),
            PayIAnswer::Close => Ok(false),
            PayIAnswer::Silence(duration) => {
                std::thread::sleep(*duration);
                Ok(false)
            }
        };
        if !answered? {
            break;
        }
    }
    Ok(())
}

fn read(reader: &mut BufReader<TcpStream>) -> io::Result<Option<PayIRequest>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (mut headers, mut length) = (Vec::new(), 0);
    loop {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line)?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
        if name == "content-length" {
            length = value.parse().unwrap_or(0);
        }
        headers.push((name, value));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let json = serde_json::from_slice(&body).unwrap_or_default();
    Ok(Some(PayIRequest { method, path, headers, body: json, bytes: body, at: Instant::now() }))
}

fn write_json(writer: &mut TcpStream, status: u16, body: &Value) -> io::Result<()> {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    writer.write_all(&[head.as_bytes(), body.as_bytes()].concat())
}

fn fine(request: &PayIRequest) -> Value {
    if let Value::Array(events) = &request.body {
        let n = events.len();
        return json!({
            "ingest_count": n, "total_count": n, "error_count": 0, "item_error_count": 0,
            "ingest_timestamp": "2026-01-01T00:00:01Z", "request_id": "req_payi", "errors": [],
        });
    }
    json!({
        "event_timestamp": "2026-01-01T00:00:00Z", "ingest_timestamp": "2026-01-01T00:00:01Z",
        "request_id": "req_payi",
        "xproxy_result": {
            "request_id": "req_payi", "resource_id": "42", "limits": {},
            "cost": {"currency": "usd", "input": {"base": 0.001}, "output": {"base": 0.002}, "total": {"base": 0.003}},
        },
    })
}
