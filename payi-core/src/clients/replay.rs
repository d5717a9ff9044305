//! What payi makes of a recorded exchange: the same code as a live call, without a network.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context as Task, Poll, Waker},
    time::SystemTime,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use http_body::{Body, Frame as Piece};
use serde_json::Value;

use crate::{
    Error,
    clients::{
        body::Tee,
        call::Repeat,
        outgoing::{self, Outgoing, Ready},
        realtime::Session,
        recording::{self, Recorded, refused},
    },
    context::{Context, Frame},
    events::{Clock, Event, Pipeline, Sink, Unread},
    limits::block_on,
    pricing::PriceBook,
};

/// How the body arrives: in pieces that respect no boundary, as from a network.
const PIECE: usize = 700;

/// A recorded exchange with a provider, or a recorded realtime session.
///
/// ```
/// use std::time::SystemTime;
/// use payi_core::{clients::Recording, pricing::PriceBook};
///
/// let recording = Recording::read(r#"{
///     "request": {"method": "POST", "url": "https://api.openai.com/v1/chat/completions",
///                 "body": {"model": "gpt-4o-mini", "messages": []}},
///     "response": {"status": 200, "body": {"id": "chatcmpl-1", "model": "gpt-4o-mini-2024-07-18",
///                  "usage": {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}}}
/// }"#)?;
/// let events = recording.replay(PriceBook::embedded(), SystemTime::now())?;
/// assert_eq!((&*events[0].provider, events[0].cost.amount.to_string()), ("openai", "0.00027".to_owned()));
/// # Ok::<(), payi_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Recording(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Exchange { request: Value, answered: Recorded },
    Realtime { url: String, frames: Vec<(bool, String)> },
}

impl Recording {
    /// Reads a recording: one JSON object, with `request` and `response`, or with the `frames` of a realtime
    /// session.
    ///
    /// # Errors
    ///
    /// [`Error::is_config`] if it is none.
    pub fn read(text: &str) -> Result<Self, Error> {
        let recorded = recording::parse(text)?;
        if let Some(frames) = recorded["frames"].as_array() {
            let frames =
                frames.iter().map(|frame| (frame["direction"] == "sent", frame["event"].to_string()));
            return Ok(Self(Kind::Realtime { url: address(&recorded), frames: frames.collect() }));
        }
        let answered = Recorded::read(&recorded["response"])?;
        if recorded["request"]["url"].as_str().is_none() {
            return Err(refused("its `request` has no `url`"));
        }
        Ok(Self(Kind::Exchange { request: recorded["request"].clone(), answered }))
    }

    /// The events that the exchange leaves, as if it began at `at` and were priced by `book`: one for each
    /// attempt; of a realtime session one for each response.
    ///
    /// # Errors
    ///
    /// [`Error::is_config`] if the request is none.
    pub fn replay(&self, book: &'static PriceBook, at: SystemTime) -> Result<Vec<Event>, Error> {
        self.replay_until(usize::MAX, book, at)
    }

    /// The same, of a caller who stops reading after so many bytes of the answer.
    pub(crate) fn replay_until(
        &self,
        bytes: usize,
        book: &'static PriceBook,
        at: SystemTime,
    ) -> Result<Vec<Event>, Error> {
        let seen = Arc::new(Seen::default());
        let mut pipeline = Pipeline::new(Arc::<Seen>::clone(&seen));
        (pipeline.book, pipeline.clock) = (book, Arc::new(Then(at)));
        let context = Context::of(Frame::root(Some(Arc::new(pipeline)), Vec::new()));
        match &self.0 {
            Kind::Exchange { request, answered } => exchange(context, request, answered, bytes)?,
            Kind::Realtime { url, frames } => {
                let mut session = context.run(|| Session::begin(url));
                for (sent, message) in frames {
                    if *sent { session.sent(message) } else { session.received(message) }
                }
            }
        }
        Ok(seen.events())
    }
}

/// The address of a recorded session, where the recording has none: told by who answered.
fn address(recorded: &Value) -> String {
    if let Some(url) = recorded["request"]["url"].as_str().or(recorded["url"].as_str()) {
        return url.to_owned();
    }
    let model = recorded["model"].as_str().unwrap_or_default();
    let provider = recorded["provider"].as_str().unwrap_or_default();
    match () {
        () if provider.contains("azure") => {
            format!("wss://resource.openai.azure.com/openai/v1/realtime?model={model}")
        }
        () if model.contains("gemini") => {
            "wss://generativelanguage.googleapis.com/ws/google.ai.generativelanguage.v1beta.GenerativeService.\
             BidiGenerateContent"
                .to_owned()
        }
        () if model.contains("grok") => format!("wss://api.x.ai/v1/realtime?model={model}"),
        () => format!("wss://api.openai.com/v1/realtime?model={model}"),
    }
}

fn exchange(context: Context, asked: &Value, answered: &Recorded, until: usize) -> Result<(), Error> {
    let url = asked["url"].as_str().and_then(|url| url.parse::<Uri>().ok());
    let url = url.filter(|url| url.host().is_some()).ok_or_else(|| refused("its `url` is none"))?;
    let mut headers = headers(&recording::headers(&asked["headers"]))
        .ok_or_else(|| refused("a header of its request is none"))?;
    let body = match &asked["body"] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        json => Some(json.to_string()),
    };
    let request = Outgoing {
        method: asked["method"].as_str().unwrap_or("POST"),
        scheme: url.scheme_str().unwrap_or("https"),
        host: url.host().unwrap_or_default(),
        port: url.port_u16(),
        path: url.path(),
        body: body.as_deref().map(str::as_bytes),
        module: "recorded",
    };
    let begun = block_on(outgoing::begin(context, request, &mut headers, Repeat::NONE).wait())?;
    let Some(Ready { begun, .. }) = begun else { return Ok(()) };
    let mut head = http::Response::builder()
        .status(answered.status)
        .header(http::header::CONTENT_TYPE, &answered.content_type)
        .body(())
        .map_err(|_| refused("the status of its response is none"))?
        .into_parts()
        .0;
    let more = self::headers(&answered.headers);
    head.headers.extend(more.ok_or_else(|| refused("a header of its response is none"))?);
    drain(Tee::new(Pieces(answered.body.clone()), begun.answered(&mut head), |_| "body"), until);
    Ok(())
}

fn headers(pairs: &[(String, String)]) -> Option<HeaderMap> {
    let header = |(name, value): &(String, String)| {
        Some((name.parse::<HeaderName>().ok()?, value.parse::<HeaderValue>().ok()?))
    };
    pairs.iter().map(header).collect()
}

/// Reads an answer to its end, or until so many bytes have been read. Nothing of it waits for a network.
pub(crate) fn drain(body: Tee<Pieces>, until: usize) {
    let mut body = std::pin::pin!(body);
    let mut task = Task::from_waker(Waker::noop());
    let mut read = 0;
    while read < until
        && let Poll::Ready(Some(Ok(piece))) = body.as_mut().poll_frame(&mut task)
    {
        read += piece.data_ref().map_or(0, Bytes::len);
    }
}

/// A body that is all there, and handed out piece by piece.
pub(crate) struct Pieces(pub(crate) Bytes);

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Task<'_>,
    ) -> Poll<Option<Result<Piece<Bytes>, Self::Error>>> {
        let taken = self.0.len().min(PIECE);
        let piece = self.0.split_to(taken);
        Poll::Ready((!piece.is_empty()).then(|| Ok(Piece::data(piece))))
    }
}

/// What the replay left. As in a ledger, answers are read when all is over.
#[derive(Default)]
struct Seen {
    events: Mutex<Vec<Event>>,
    unread: Mutex<Vec<Unread>>,
}

impl Seen {
    fn events(&self) -> Vec<Event> {
        let unread = std::mem::take(&mut *self.unread.lock().unwrap_or_else(PoisonError::into_inner));
        unread.into_iter().filter_map(Unread::read).for_each(|event| self.record(event));
        std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sink for Seen {
    fn record(&self, event: Event) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    fn record_unread(&self, answer: Unread) {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
    }
}

/// A clock that stands still.
struct Then(SystemTime);

impl Clock for Then {
    fn now(&self) -> SystemTime {
        self.0
    }
}
