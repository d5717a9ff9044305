//! Target 4: what a tracked call adds to its caller beside the same call by plain `reqwest`, event handed over; and what
//! the target's anchor adds. The three take turns over one connection.

use std::{
    pin::Pin,
    sync::mpsc::{SyncSender, sync_channel},
    task::{Context, Poll, ready},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use payi_bench::{Busy, median, serve};
use reqwest::ResponseBuilderExt as _;
use serde::Deserialize;

/// Rounds of calls per condition; each gives one difference.
const ROUNDS: usize = 400;
/// The order in which the kinds of calls take turns, again and again: each comes as often after each of the others.
const ORDER: [usize; 6] = [0, 1, 2, 0, 2, 1];
/// How often in a round.
const CYCLES: usize = 12;

type Failure = Box<dyn std::error::Error>;

/// Microseconds that a tracked call may add, and those that the anchor added on the machine for which that was said: on
/// one where the anchor takes longer, tracking may, in proportion.
const BUSY: Target = Target { most: 2.5, anchor: 2.3 };
const QUIET: Target = Target { most: 8.0, anchor: 7.0 };

struct Target {
    most: f64,
    anchor: f64,
}

fn main() -> Result<(), Failure> {
    let ledger = std::env::temp_dir().join(format!("payi-bench-{}.db", std::process::id()));
    let payi = payi::instrument().ledger(&ledger).start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let server = serve(answer().leak())?;
    let (counter, anchor) = counter();
    // The provider's own name, so that the call goes the way that calls to it go.
    let plain = reqwest::Client::builder().resolve(PROVIDER, server).build()?;
    let calls = Calls {
        url: format!("http://{PROVIDER}:{}/v1/chat/completions", server.port()),
        tracked: payi::reqwest::Client::from(plain.clone()),
        plain,
        counter: counter.clone(),
    };

    let quiet = runtime.block_on(calls.compare())?;
    let busy = {
        let _busy = Busy::cores();
        runtime.block_on(calls.compare())?
    };
    drop((calls, counter));
    let made = 2 * (ROUNDS + ROUNDS / 10) * ORDER.len() * CYCLES / 3;
    assert_eq!(anchor.join().ok(), Some(made), "the anchor's events");
    runtime.block_on(payi.shutdown())?;
    let metrics = payi::metrics().ok_or("payi counts nothing")?;
    assert_eq!((metrics.written, &*metrics.losses), (made as u64, &[][..]), "the tracked calls' events");

    println!(
        "evidence bench-accounting: a tracked call adds {:.1} µs to its caller's {:.0} µs on a busy machine ({:.1} are \
         allowed where the anchor, a typed tee with an event, adds {:.1}), {:.1} µs to {:.0} µs on a quiet one ({:.1} \
         where it adds {:.1}); {made} calls of each kind, all recorded",
        busy.added,
        busy.plain,
        busy.allowed(&BUSY),
        busy.anchor,
        quiet.added,
        quiet.plain,
        quiet.allowed(&QUIET),
        quiet.anchor
    );
    for suffix in ["", "-wal", "-shm"] {
        let mut file = ledger.clone().into_os_string();
        file.push(suffix);
        let _ = std::fs::remove_file(file);
    }
    if busy.added <= busy.allowed(&BUSY) && quiet.added <= quiet.allowed(&QUIET) {
        return Ok(());
    }
    Err("target 4 is missed".into())
}

/// Microseconds per call.
struct Figures {
    plain: f64,
    added: f64,
    anchor: f64,
}

impl Figures {
    /// What tracking may add here.
    fn allowed(&self, target: &Target) -> f64 {
        target.most * (self.anchor / target.anchor).max(1.0)
    }
}

const PROVIDER: &str = "api.openai.com";

/// The three that are compared.
struct Calls {
    url: String,
    plain: reqwest::Client,
    tracked: payi::reqwest::Client,
    counter: SyncSender<Counted>,
}

impl Calls {
    /// What tracking adds to a call, and what the anchor does: medians over rounds of the differences of medians.
    async fn compare(&self) -> Result<Figures, Failure> {
        let mut rounds = [const { Vec::new() }; 3];
        for round in 0..ROUNDS + ROUNDS / 10 {
            let mut times = [const { Vec::new() }; 3];
            for &kind in ORDER.iter().cycle().take(ORDER.len() * CYCLES) {
                let begun = Instant::now();
                let answer = match kind {
                    0 => asking(self.plain.post(&self.url)).send().await?,
                    1 => {
                        let request = self.tracked.post(&self.url).header(TYPE.0, TYPE.1).body(REQUEST);
                        request.send().await?
                    }
                    _ => {
                        let answer = asking(self.plain.post(&self.url)).send().await?;
                        Tee::around(answer, begun, self.counter.clone())
                    }
                };
                whole(&answer.bytes().await?);
                times[kind].push(begun.elapsed().as_secs_f64() * 1e6);
            }
            // The first tenth warms caches, allocator and connection.
            if round >= ROUNDS / 10 {
                let [without, with, anchor] = times.each_mut().map(|times| median(times));
                for (all, figure) in rounds.iter_mut().zip([without, with - without, anchor - without]) {
                    all.push(figure);
                }
            }
        }
        let [plain, added, anchor] = rounds.each_mut().map(|all| median(all));
        Ok(Figures { plain, added, anchor })
    }
}

const TYPE: (&str, &str) = ("content-type", "application/json");

fn asking(request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
    request.header(TYPE.0, TYPE.1).body(REQUEST)
}

fn whole(body: &[u8]) {
    assert!(body.len() > 2000, "the server's answer is incomplete");
}

/// The anchor: a body that copies what passes, and at its end reads the counts by a typed parse, there and then, prices
/// them by constants and hands an event over. It has no context, no limits, no receipt and no ledger, does not note that
/// a call has begun, and knows one provider and one model.
struct Tee {
    inner: reqwest::Body,
    passed: Vec<u8>,
    begun: Instant,
    events: Option<SyncSender<Counted>>,
}

impl Tee {
    fn around(response: reqwest::Response, begun: Instant, events: SyncSender<Counted>) -> reqwest::Response {
        let url = response.url().clone();
        let (parts, inner) = http::Response::<reqwest::Body>::from(response).into_parts();
        let tee = reqwest::Body::wrap(Self { inner, passed: Vec::new(), begun, events: Some(events) });
        let mut made = http::Response::builder().url(url).body(tee).unwrap_or_default();
        (*made.status_mut(), *made.headers_mut()) = (parts.status, parts.headers);
        made.into()
    }

    fn end(&mut self) {
        let Some(events) = self.events.take() else { return };
        if let Ok(answer) = serde_json::from_slice::<Answer>(&self.passed) {
            let cost = answer.usage.prompt_tokens * 150_000 + answer.usage.completion_tokens * 600_000;
            let _ = events.try_send(Counted { answer, latency: self.begun.elapsed(), cost });
        }
    }
}

impl Body for Tee {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(task));
        match &frame {
            Some(Ok(frame)) => self.passed.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            Some(Err(_)) => self.events = None,
            None => self.end(),
        }
        if self.inner.is_end_stream() {
            self.end();
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}

/// What the anchor reads.
#[derive(Deserialize)]
struct Answer {
    id: String,
    model: String,
    usage: Counts,
}

#[derive(Deserialize)]
struct Counts {
    prompt_tokens: u64,
    completion_tokens: u64,
}

/// What it hands over; the cost in pico-dollars.
struct Counted {
    answer: Answer,
    latency: Duration,
    cost: u64,
}

/// Where its events go: a thread that takes them now and then, as the ledger's does, and counts those that are whole.
fn counter() -> (SyncSender<Counted>, JoinHandle<usize>) {
    let (sender, receiver) = sync_channel::<Counted>(16_384);
    let whole = |it: &Counted| {
        !it.answer.id.is_empty() && !it.answer.model.is_empty() && it.cost > 0 && it.latency > Duration::ZERO
    };
    let counted = std::thread::spawn(move || {
        let mut count = 0;
        while let Ok(first) = receiver.recv() {
            count += std::iter::once(first).chain(receiver.try_iter()).filter(whole).count();
            std::thread::sleep(Duration::from_millis(100));
        }
        count
    });
    (sender, counted)
}

const REQUEST: &str = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Summarise the minutes in five lines."}]}"#;

/// A chat completion whose body has 2 KB.
fn answer() -> Vec<u8> {
    let text = "The board met on Tuesday and agreed on the budget for the coming year. ".repeat(22);
    let body = format!(
        r#"{{"id":"chatcmpl-bench","object":"chat.completion","created":1700000000,"model":"gpt-4o-mini-2024-07-18","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}","refusal":null}},"logprobs":null,"finish_reason":"stop"}}],"usage":{{"prompt_tokens":120,"completion_tokens":310,"total_tokens":430,"prompt_tokens_details":{{"cached_tokens":64,"audio_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}},"service_tier":"default","system_fingerprint":"fp_bench"}}"#
    );
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
