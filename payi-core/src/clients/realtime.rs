//! Realtime sessions over a WebSocket, whichever library holds the socket: show payi the messages, and each
//! response becomes an event.
//!
//! A session is not one call: every response in it is billed by itself, and says its own usage. So each of them
//! leaves an event, and so does each transcription of what the user said, which another model makes.
//!
//! The socket is another library's: messages are seen here, and neither sent nor held back. So a response can be
//! refused only where the caller asks before it ([`Session::admit`]); one that nobody asked for is charged to its
//! limits, and never refused.

use std::{sync::Arc, time::SystemTime};

#[cfg(feature = "_http")]
use crate::{Result, clients::gate, limits::Prompt};

use crate::{
    clients::{
        call::{Attempt, End, Held, PriceAs, Repeat, Request, Said},
        detect::{Endpoint, detect},
        receipt::Receipt,
    },
    context::{Context, Text},
    events::Pipeline,
    usage::{
        Api, Meter,
        pick::{Picker, Rule, Rules, Then, text},
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Type,
    Model,
    Transcriber,
    Maximum,
    Status,
    Usage,
    Content,
}

/// Level 0 is the message, 1 the session, 2 to 4 the way to the model that transcribes, 5 Gemini's setup, 6 a
/// response, 7 a part of one of Gemini's.
const RULES: &Rules<Key> = &Rules::new(&[
    Rule { level: 0, key: "type", then: Then::Keep(Key::Type) },
    Rule { level: 0, key: "usageMetadata", then: Then::Keep(Key::Usage) },
    Rule { level: 0, key: "serverContent", then: Then::Enter(7) },
    Rule { level: 7, key: "modelTurn", then: Then::Each(7, Key::Content) },
    Rule { level: 0, key: "setup", then: Then::Enter(5) },
    Rule { level: 5, key: "model", then: Then::Keep(Key::Model) },
    Rule { level: 5, key: "generationConfig", then: Then::Enter(5) },
    Rule { level: 5, key: "maxOutputTokens", then: Then::Keep(Key::Maximum) },
    Rule { level: 0, key: "session", then: Then::Enter(1) },
    Rule { level: 1, key: "model", then: Then::Keep(Key::Model) },
    Rule { level: 1, key: "max_output_tokens", then: Then::Keep(Key::Maximum) },
    Rule { level: 1, key: "max_response_output_tokens", then: Then::Keep(Key::Maximum) },
    Rule { level: 1, key: "input_audio_transcription", then: Then::Enter(4) },
    Rule { level: 1, key: "audio", then: Then::Enter(2) },
    Rule { level: 2, key: "input", then: Then::Enter(3) },
    Rule { level: 3, key: "transcription", then: Then::Enter(4) },
    Rule { level: 4, key: "model", then: Then::Keep(Key::Transcriber) },
    Rule { level: 0, key: "response", then: Then::Enter(6) },
    Rule { level: 6, key: "status", then: Then::Keep(Key::Status) },
]);

/// One realtime session of OpenAI, Azure, xAI or Gemini, whose messages pass by.
///
/// Nothing is kept of a message but its counts. Without a running `payi::instrument()` it does nothing.
///
/// ```
/// use payi_core::clients::realtime::Session;
///
/// # let socket_says = ["{\"type\":\"session.created\",\"session\":{\"model\":\"gpt-realtime\"}}"];
/// let mut session = Session::begin("wss://api.openai.com/v1/realtime?model=gpt-realtime");
/// session.sent(r#"{"type":"response.create"}"#);   // what you send
/// for message in socket_says {
///     session.received(message);                   // what you receive
/// }
/// assert!(session.last().is_none(), "no response has begun");
/// ```
///
/// # Limits
///
/// Every response is charged to the limits that it counts against. It is refused only where you ask before it, with
/// [`admit`](Self::admit), and act on the answer: the socket is not payi's to close.
#[derive(Debug)]
#[must_use = "show it the messages of the socket"]
pub struct Session {
    live: Option<Live>,
    last: Option<Receipt>,
}

#[derive(Debug)]
struct Live {
    pipeline: Arc<Pipeline>,
    context: Context,
    endpoint: Arc<Endpoint>,
    price_as: PriceAs,
    model: Option<Text>,
    transcriber: Option<Text>,
    /// The most that a response writes, and how much was said so far, in tokens.
    maximum: Option<u64>,
    kept: u64,
    /// What is reserved for the next response, since when.
    admitted: Option<(SystemTime, Box<Held>)>,
    /// The response under way.
    open: Option<Attempt>,
}

impl Session {
    /// Begins a session at the socket's address, for the context in which this is called.
    pub fn begin(url: &str) -> Self {
        let context = Context::current();
        let Some(pipeline) = context.root::<Pipeline>() else { return Self { live: None, last: None } };
        let context = context.for_call();
        let (host, path, query) = parts(url);
        let price_as = PriceAs::of(&context);
        let named = |key| query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
        let model = named("model").or_else(|| named("deployment")).filter(|name| !name.is_empty());
        let live = Live {
            pipeline,
            context,
            endpoint: detect("POST", host, path),
            price_as,
            model: model.map(Into::into),
            transcriber: None,
            maximum: None,
            kept: 0,
            admitted: None,
            open: None,
        };
        Self { live: Some(live), last: None }
    }

    /// Asks the limits whether the session may have its next response, and reserves what that may come to.
    ///
    /// Call it before you send `response.create`; where the provider answers by itself (voice detection, Gemini),
    /// before you pass on the user's sound, that is after each response. What is reserved is settled by the message
    /// that says the response's usage, and given back if the session is dropped before the response begins. To limits,
    /// the response began when it was admitted. Admitted twice is admitted once: there is one next response.
    ///
    /// Reserved are the tokens of everything said before, as the last response counted them, and the session's
    /// `max_output_tokens`, else the most that its model writes, at the model's dearest price, which is that of sound.
    /// What the user says next is not in it, so no response has a bound: limits with
    /// [`Policy::Strict`](crate::limits::Policy::Strict) or `InjectMaxTokens` refuse them all. A session whose model
    /// was not named yet, by its address or by a message, has no price.
    ///
    /// Neither transcriptions nor a session that nobody asks for are refused: both are charged.
    ///
    /// # Errors
    ///
    /// [`Error::is_limit`](crate::Error::is_limit), with the [`Refusal`](crate::limits::Refusal): let the user know,
    /// and send nothing more, or close the socket. The refusal is recorded, and the session can go on.
    ///
    /// ```
    /// use payi_core::clients::realtime::Session;
    ///
    /// async fn answer(session: &mut Session) -> Result<(), payi_core::Error> {
    ///     session.admit().await?; // the user's budget is used up: nothing is sent
    ///     let ask = r#"{"type":"response.create"}"#;
    ///     session.sent(ask); // and the socket sends it
    ///     Ok(())
    /// }
    /// ```
    #[cfg(feature = "_http")]
    pub async fn admit(&mut self) -> Result<()> {
        match &mut self.live {
            Some(live) => live.admit().await,
            None => Ok(()),
        }
    }

    /// A message that was sent, as text.
    pub fn sent(&mut self, message: &str) {
        let Some(live) = &mut self.live else { return };
        let picked = Picker::over(RULES, message.as_bytes());
        live.learn(&picked);
        if picked.last(Key::Type) == Some(b"\"response.create\"") {
            self.last = live.open().or(self.last.take());
        }
    }

    /// A message that was received, as text.
    pub fn received(&mut self, message: &str) {
        let Some(live) = &mut self.live else { return };
        let picked = Picker::over(RULES, message.as_bytes());
        live.learn(&picked);
        let kind = picked.text(Key::Type);
        match kind.as_deref() {
            Some("response.created") => self.last = live.open().or(self.last.take()),
            Some("response.done") => {
                self.last = live.open().or(self.last.take());
                live.settle(message, picked.text(Key::Status).as_deref());
            }
            Some(TRANSCRIBED) => live.transcribed(message),
            Some(kind) if kind.rsplit('.').next() == Some("delta") => live.piece(),
            // Gemini's messages have no type.
            None if picked.last(Key::Usage).is_some() => {
                self.last = live.open().or(self.last.take());
                live.settle(message, None);
            }
            None if picked.last(Key::Content).is_some() => {
                self.last = live.open().or(self.last.take());
                live.piece();
            }
            _ => {}
        }
    }

    /// The receipt of the response that began last.
    pub fn last(&self) -> Option<&Receipt> {
        self.last.as_ref()
    }
}

/// What the user said, in writing: billed at the model that wrote it.
const TRANSCRIBED: &str = "conversation.item.input_audio_transcription.completed";

impl Live {
    /// Which models take part is said once, and may change in the middle.
    fn learn(&mut self, picked: &Picker<Key>) {
        if let Some(model) = picked.last(Key::Model).and_then(text) {
            self.model = Some(model);
        }
        if let Some(model) = picked.last(Key::Transcriber).and_then(text) {
            self.transcriber = Some(model);
        }
        if let Some(most) = picked.last(Key::Maximum) {
            // Else it says that there is none (`"inf"`).
            self.maximum = std::str::from_utf8(most).ok().and_then(|most| most.parse().ok());
        }
    }

    #[cfg(feature = "_http")]
    async fn admit(&mut self) -> Result<()> {
        if self.admitted.is_none() {
            let request = self.request(Arc::clone(&self.endpoint), self.model.clone());
            let prompt = Prompt::of_session(self.kept, self.maximum);
            self.admitted = gate::reserve(&self.pipeline, &self.context, request, &prompt).await?;
        }
        Ok(())
    }

    fn request(&self, endpoint: Arc<Endpoint>, model: Option<Text>) -> Request {
        Request::read(endpoint, Said { model, price_as: self.price_as.clone(), ..Said::default() })
    }

    fn attempt(&self, request: Request, admitted: Option<(SystemTime, Box<Held>)>) -> Attempt {
        let (pipeline, context) = (Arc::clone(&self.pipeline), self.context.clone());
        let attempt = match admitted {
            Some((at, held)) => {
                Attempt::begin_held(pipeline, context, request, Repeat::NONE, (at, Some(held)))
            }
            None => Attempt::begin(pipeline, context, request, Repeat::NONE),
        };
        // How HTTP says that a socket was opened.
        attempt.head(101, true);
        attempt
    }

    /// Begins a response, unless one is under way; the receipt of one that has just begun.
    fn open(&mut self) -> Option<Receipt> {
        if self.open.is_some() {
            return None;
        }
        let admitted = self.admitted.take();
        let attempt = self.attempt(self.request(Arc::clone(&self.endpoint), self.model.clone()), admitted);
        let receipt = attempt.receipt();
        self.open = Some(attempt);
        receipt
    }

    fn piece(&self) {
        if let Some(open) = &self.open {
            open.piece();
        }
    }

    /// The response has ended, by a message that says its usage.
    fn settle(&mut self, message: &str, status: Option<&str>) {
        let Some(open) = self.open.take() else { return };
        let mut meter = Meter::json(self.endpoint.api);
        meter.push(message.as_bytes());
        let end = if status == Some("cancelled") { End::Dropped } else { End::Complete };
        let reading = meter.finish();
        if let Some(usage) = &reading.usage {
            self.kept = usage.input_tokens() + usage.output_tokens();
        }
        open.settle(reading, &end);
    }

    fn transcribed(&self, message: &str) {
        let mut meter = Meter::json(Api::Audio);
        meter.push(message.as_bytes());
        let reading = meter.finish();
        if reading.usage.is_some() {
            let operation = "realtime.transcription".into();
            let endpoint = Endpoint { operation, api: Api::Audio, ..Endpoint::clone(&self.endpoint) };
            let request = self.request(endpoint.into(), self.transcriber.clone());
            self.attempt(request, None).settle(reading, &End::Complete);
        }
    }
}

/// Host, path and query of an address.
fn parts(url: &str) -> (&str, &str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = authority.rsplit('@').next().unwrap_or_default();
    (host.split(':').next().unwrap_or_default(), path, query.split('#').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn an_address_is_taken_apart() {
        for (url, host, path, query) in [
            (
                "wss://api.openai.com/v1/realtime?model=gpt-realtime",
                "api.openai.com",
                "/v1/realtime",
                "model=gpt-realtime",
            ),
            ("ws://key@127.0.0.1:8080/v1/realtime", "127.0.0.1", "/v1/realtime", ""),
            ("wss://h?x=1#y", "h", "", "x=1"),
            ("", "", "", ""),
        ] {
            assert_eq!(parts(url), (host, path, query), "{url}");
        }
    }
}

#[cfg(all(test, feature = "testing"))]
#[path = "realtime_tests.rs"]
mod sessions;
