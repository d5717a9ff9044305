//! What the provider on loopback plays.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use crate::{
    clients::recording::{self, Recorded},
    error::Error,
    usage::{Api, Meter},
};

/// An answer to be played, as it will go over the wire.
///
/// ```
/// use payi_core::testing::Answer;
///
/// let refused = Answer::json(r#"{"error":{"code":"rate_limit_exceeded"}}"#).status(429);
/// let broken = Answer::sse("data: {\"id\":\"chatcmpl-1\"}\n\n").cut(10);
/// # let _ = (refused, broken);
/// ```
#[derive(Clone, Debug)]
#[must_use = "an answer is played by a `Provider`"]
pub struct Answer {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    pub(super) sse: bool,
    pub(super) delay: Duration,
    pub(super) piece: usize,
    pub(super) pause: Duration,
    pub(super) cut: Option<usize>,
    pub(super) same_id: bool,
}

impl Answer {
    fn new(content_type: &str, body: Bytes, sse: bool) -> Self {
        Self {
            status: 200,
            content_type: content_type.to_owned(),
            headers: Vec::new(),
            body,
            sse,
            delay: Duration::ZERO,
            piece: usize::MAX,
            pause: Duration::ZERO,
            cut: None,
            same_id: false,
        }
    }

    /// A JSON document, with its length announced.
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self::new("application/json", body.into(), false)
    }

    /// A stream of server-sent events, as text; each event goes out by itself.
    pub fn sse(events: impl Into<Bytes>) -> Self {
        Self::new("text/event-stream; charset=utf-8", events.into(), true)
    }

    /// Anything else.
    pub fn bytes(content_type: &str, body: impl Into<Bytes>) -> Self {
        Self::new(content_type, body.into(), false)
    }

    /// An answer from a recorded exchange: a JSON object whose `response` has `status`, `headers`,
    /// and `body` (JSON), `body_text` (as it was sent) or `body_base64` (likewise).
    pub fn sample(exchange: &str) -> Result<Self, Error> {
        let answered = Recorded::read(&recording::parse(exchange)?["response"])?;
        let sse = answered.content_type.starts_with("text/event-stream");
        let mut answer = Self::new(&answered.content_type, answered.body, sse);
        answer.status = answered.status;
        answer.headers = answered.headers;
        Ok(answer)
    }

    /// The HTTP status; 200 unless set.
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Waits before the head of the answer.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sends the body in pieces of so many bytes, wherever they fall; at least one.
    pub fn pieces(mut self, bytes: usize) -> Self {
        self.piece = bytes.max(1);
        self
    }

    /// Waits between the pieces of the body (of a stream: between its events).
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Closes the connection after so many bytes of the body.
    pub fn cut(mut self, after: usize) -> Self {
        self.cut = Some(after);
        self
    }

    /// Keeps the answer's id; otherwise each playing has one of its own, as with a real provider.
    pub fn same_id(mut self) -> Self {
        self.same_id = true;
        self
    }

    /// The same with the answer's id, wherever it occurs, replaced by one that was never used.
    pub(super) fn with_fresh_id(mut self) -> Self {
        if self.same_id {
            return self;
        }
        if let Some(old) = self.read().response_id {
            let prefix = old.find(['-', '_']).map_or("", |end| &old[..=end]);
            let fresh = format!("{prefix}{}", uuid::Uuid::now_v7().simple());
            self.body = replace(&self.body, old.as_bytes(), fresh.as_bytes());
        }
        self
    }

    /// The same from another model.
    pub(super) fn with_model(mut self, model: &str) -> Self {
        if let Some(old) = self.read().model {
            let quoted = |model: &str| Value::from(model).to_string().into_bytes();
            self.body = replace(&self.body, &quoted(&old), &quoted(model));
        }
        self
    }

    /// The same without the chunk that is only sent if `include_usage` was asked for.
    pub(super) fn without_usage_chunk(mut self) -> Self {
        if !self.sse {
            return self;
        }
        let text = String::from_utf8_lossy(&self.body).into_owned();
        let events = text.split_inclusive("\n\n").filter(|event| !event.contains("\"choices\":[],"));
        self.body = events.collect::<String>().into();
        self
    }

    fn read(&self) -> crate::usage::Reading {
        let mut meter = if self.sse { Meter::sse(Api::Unknown) } else { Meter::json(Api::Unknown) };
        meter.push(&self.body);
        meter.finish()
    }

    /// What is written at once: of a stream each event, else the pieces asked for.
    pub(super) fn chunks(&self) -> Vec<Bytes> {
        let end = self.cut.unwrap_or(usize::MAX).min(self.body.len());
        let body = self.body.slice(..end);
        let mut chunks = Vec::new();
        let mut from = 0;
        while from < end {
            let rest = &body[from..];
            let event = if self.sse && self.piece == usize::MAX {
                memchr::memmem::find(rest, b"\n\n").map(|at| at + 2)
            } else {
                Some(self.piece)
            };
            let to = from + event.unwrap_or(rest.len()).min(rest.len());
            chunks.push(body.slice(from..to));
            from = to;
        }
        chunks
    }
}

fn replace(body: &Bytes, old: &[u8], new: &[u8]) -> Bytes {
    let mut made = Vec::with_capacity(body.len() + 64);
    let mut from = 0;
    for at in memchr::memmem::find_iter(body, old) {
        made.extend_from_slice(&body[from..at]);
        made.extend_from_slice(new);
        from = at + old.len();
    }
    made.extend_from_slice(&body[from..]);
    made.into()
}
