//! A provider on loopback, so that examples and tests make real calls without a key.
//!
//! It speaks HTTP/1.1 on its own thread and runtime, so that it works under any executor, or none,
//! and tests beside each other do not share it.

use std::{
    collections::VecDeque,
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use crate::testing::{
    answer::Answer,
    http1::{Connection, Request},
};

/// A provider on loopback that plays answers.
///
/// Out of the box it answers as OpenAI (`/v1/chat/completions`, `/v1/responses`, `/v1/embeddings`) and
/// Anthropic (`/v1/messages`) would, for whatever model is asked for, and as Gemini, Bedrock (converse and
/// invoke) and Ollama (`/api/chat`); streams too. Each answer has an id of its own, where its form has one.
/// Scripted answers come first.
///
/// ```
/// # use payi_core as payi;
/// # fn main() -> std::io::Result<()> {
/// use payi::testing::{Answer, Provider};
///
/// let provider = Provider::start()?;
/// provider.next(Answer::json(r#"{"error":{"code":"rate_limit_exceeded"}}"#).status(429));
/// let base = format!("{}/v1", provider.url()); // for OPENAI_BASE_URL, `with_api_base` and the like
/// # assert!(base.starts_with("http://127.0.0.1:"));
/// # Ok(()) }
/// ```
pub struct Provider {
    url: String,
    played: Arc<Played>,
    stop: Option<oneshot::Sender<()>>,
}

#[derive(Default)]
struct Played {
    next: Mutex<VecDeque<Answer>>,
    paths: Mutex<Vec<(String, Answer)>>,
    requests: Mutex<Vec<Asked>>,
}

/// A request that the provider received.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Asked {
    /// The method.
    pub method: String,
    /// The path, with its query.
    pub path: String,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Asked {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Provider {
    /// Starts one on a free port of 127.0.0.1; it stops when dropped.
    pub fn start() -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}", listener.local_addr()?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let played = Arc::new(Played::default());
        let (stop, stopped) = oneshot::channel();
        let playing = Arc::clone(&played);
        thread::Builder::new().name("payi-provider".into()).spawn(move || {
            runtime.block_on(async move {
                tokio::spawn(accept(listener, playing));
                // Until the provider is dropped; what is still being played ends with the runtime.
                let _ = stopped.await;
            });
        })?;
        Ok(Self { url, played, stop: Some(stop) })
    }

    /// Its address, `http://127.0.0.1:PORT`, without a path.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Plays this answer to one request, whatever it asks; several are played in their order.
    pub fn next(&self, answer: Answer) -> &Self {
        lock(&self.played.next).push_back(answer);
        self
    }

    /// Plays this answer to every request whose path ends so.
    pub fn on(&self, path: impl Into<String>, answer: Answer) -> &Self {
        lock(&self.played.paths).insert(0, (path.into(), answer));
        self
    }

    /// What it has been asked so far.
    pub fn requests(&self) -> Vec<Asked> {
        lock(&self.played.requests).clone()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // Its thread ends by itself, and every connection with it.
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: std::net::TcpListener, played: Arc<Played>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, Arc::clone(&played)));
            }
            // Out of file descriptors, most likely: some will come back.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    }
}

async fn serve(stream: TcpStream, played: Arc<Played>) {
    let _ = stream.set_nodelay(true);
    let mut connection = Connection::new(stream);
    while let Ok(Some(request)) = connection.read().await {
        let answer = played.answer(&request);
        lock(&played.requests).push(Asked {
            method: request.method,
            path: request.path,
            headers: request.headers,
            body: request.body,
        });
        if !matches!(connection.write(&answer.with_fresh_id()).await, Ok(true)) {
            return;
        }
    }
}

impl Played {
    fn answer(&self, request: &Request) -> Answer {
        if let Some(answer) = lock(&self.next).pop_front() {
            return answer;
        }
        let path = request.path.split('?').next().unwrap_or_default();
        let scripted =
            lock(&self.paths).iter().find(|(end, _)| path.ends_with(end.as_str())).map(|(_, a)| a.clone());
        scripted.unwrap_or_else(|| built_in(path, &request.body))
    }
}

/// Written by us, in the form of recorded exchanges: the path's end, the JSON answer, the stream.
const BUILT_IN: &[(&str, &str, Option<&str>)] = &[
    ("/chat/completions", include_str!("answers/chat.json"), Some(include_str!("answers/chat_stream.json"))),
    (
        "/responses",
        include_str!("answers/responses.json"),
        Some(include_str!("answers/responses_stream.json")),
    ),
    ("/messages", include_str!("answers/messages.json"), Some(include_str!("answers/messages_stream.json"))),
    ("/embeddings", include_str!("answers/embeddings.json"), None),
    ("/converse", include_str!("answers/converse.json"), None),
    ("/converse-stream", include_str!("answers/converse_stream.json"), None),
    ("/invoke", include_str!("answers/invoke.json"), None),
    ("/invoke-with-response-stream", include_str!("answers/invoke_stream.json"), None),
    (":generateContent", include_str!("answers/gemini.json"), None),
    (":streamGenerateContent", include_str!("answers/gemini_stream.json"), None),
    ("/api/chat", include_str!("answers/ollama.json"), Some(include_str!("answers/ollama_stream.json"))),
];

fn built_in(path: &str, body: &[u8]) -> Answer {
    let asked: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    // Ollama streams unless it is told not to.
    let streamed = asked["stream"].as_bool().unwrap_or(path.ends_with("/api/chat"));
    let found = BUILT_IN.iter().find(|(end, ..)| path.ends_with(end));
    let text = found.and_then(|(_, json, stream)| if streamed { *stream } else { Some(*json) });
    let Some(answer) = text.and_then(|text| Answer::sample(text).ok()) else {
        return Answer::json(r#"{"error":{"message":"nothing is played here","type":"invalid_request_error","code":"not_found"}}"#)
            .status(404);
    };
    let answer = match asked["model"].as_str() {
        Some(model) => answer.with_model(model),
        None => answer,
    };
    if asked["stream_options"]["include_usage"] == true { answer } else { answer.without_usage_chunk() }
}
