//! Which answers are read later, and that they come to the same as those that are read at once.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::{Arc, Mutex};

use http::HeaderMap;

use crate::{
    clients::{
        body::Tee,
        call::{Attempt, End, Repeat, Request, Said},
        detect::detect,
        outgoing::{self, Outgoing},
        reader::Reader,
        receipt::Receipt,
        replay::{Pieces, drain},
    },
    context::{self, Context, Frame},
    events::{Event, Outcome, Pipeline, Sink, Unread},
    limits::{Gate, Limit, MemoryStore, Store as _, block_on},
    pricing::CostSource,
    sink::Fan,
    usage::Api,
};

/// A sink that reads answers when it is asked for events.
#[derive(Default)]
struct Told {
    at_once: Mutex<Vec<Event>>,
    later: Mutex<Vec<Unread>>,
}

impl Sink for Told {
    fn record(&self, event: Event) {
        self.at_once.lock().unwrap().push(event);
    }

    fn record_unread(&self, answer: Unread) {
        self.later.lock().unwrap().push(answer);
    }
}

/// A sink that is only told what begins.
struct Openings;

impl Sink for Openings {
    fn record(&self, _: Event) {
        panic!("no event is wanted");
    }

    fn wants_events(&self) -> bool {
        false
    }
}

/// Events that were read at once, and those that were read later.
type Events = (Vec<Event>, Vec<Event>);

impl Told {
    fn take(&self) -> Events {
        let later = std::mem::take(&mut *self.later.lock().unwrap());
        (
            std::mem::take(&mut *self.at_once.lock().unwrap()),
            later.into_iter().filter_map(Unread::read).collect(),
        )
    }
}

/// A call: what is asked, and how it is answered.
struct Call {
    url_path: &'static str,
    asked: &'static str,
    content_type: &'static str,
    answer: String,
    /// The caller reads so many bytes of the answer.
    read: usize,
    /// The answer's head says how long it is.
    announced: bool,
    content_encoding: &'static str,
    /// Somebody keeps the receipt.
    kept: bool,
}

fn chat() -> Call {
    let answer = r#"{"id":"c-1","model":"gpt-4o-mini-2024-07-18","choices":[{"message":{"content":"Yes."}}],
        "usage":{"prompt_tokens":120,"completion_tokens":30,"total_tokens":150,
        "prompt_tokens_details":{"cached_tokens":64}}}"#;
    Call {
        url_path: "/v1/chat/completions",
        asked: r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Is it?"}]}"#,
        content_type: "application/json",
        answer: answer.into(),
        read: usize::MAX,
        announced: true,
        content_encoding: "identity",
        kept: false,
    }
}

impl Call {
    /// Makes it; its receipt, if the caller keeps it.
    fn make(&self, context: Context) -> Option<Receipt> {
        let request = Outgoing {
            method: "POST",
            scheme: "https",
            host: "api.openai.com",
            port: None,
            path: self.url_path,
            body: Some(self.asked.as_bytes()),
            module: "test",
        };
        let mut headers = HeaderMap::new();
        let begun = block_on(outgoing::begin(context, request, &mut headers, Repeat::NONE).wait()).unwrap();
        let mut head = http::Response::builder()
            .header("content-type", self.content_type)
            .header("content-encoding", self.content_encoding);
        if self.announced {
            head = head.header("content-length", self.answer.len());
        }
        let mut head = head.body(()).unwrap().into_parts().0;
        let watch = begun.unwrap().begun.answered(&mut head);
        let receipt = head.extensions.remove::<Receipt>().filter(|_| self.kept);
        drain(Tee::new(Pieces(self.answer.clone().into()), watch, |_| "body"), self.read);
        receipt
    }

    /// What it leaves where nothing but the sink is listening.
    fn leaves(&self) -> Events {
        let told = Arc::new(Told::default());
        drop(self.make(context(Pipeline::new(Arc::<Told>::clone(&told)))));
        told.take()
    }
}

fn context(pipeline: Pipeline) -> Context {
    Context::of(Frame::root(Some(Arc::new(pipeline)), Vec::new()))
}

/// All of an event but what differs from call to call.
fn essence(event: &Event) -> String {
    let mut event = event.clone();
    (event.id, event.call_id) = (uuid::Uuid::nil(), uuid::Uuid::nil());
    (event.started_at, event.latency) = (std::time::UNIX_EPOCH, std::time::Duration::ZERO);
    event.context = context::builder().build();
    event.limits.clear();
    format!("{event:?}")
}

/// What the call leaves where there is a limit, for which its answer is read as it passes.
fn as_it_passes(call: &Call) -> Events {
    let told = Arc::new(Told::default());
    let store = Arc::new(MemoryStore::new());
    block_on(store.put(Limit::block("l", "1".parse().unwrap()).everyone(), 0)).unwrap();
    let mut pipeline = Pipeline::new(Arc::<Told>::clone(&told));
    pipeline.gate = Some(Arc::new(Gate::start(store, "p".into()).unwrap()));
    call.make(context(pipeline));
    told.take()
}

/// Is read later; and read at its end, or piece by piece, it would have come to the same.
fn is_same(call: &Call) -> Event {
    let (at_once, later) = call.leaves();
    assert_eq!((at_once.len(), later.len()), (0, 1), "{}", call.answer);
    let (at_end, none) = Call { kept: true, answer: call.answer.clone(), ..*call }.leaves();
    assert_eq!((at_end.len(), none.len()), (1, 0), "somebody may ask the receipt");
    let (passing, none) = as_it_passes(call);
    assert_eq!((passing.len(), none.len()), (1, 0));
    for other in [&at_end[0], &passing[0]] {
        assert_eq!(essence(&later[0]), essence(other));
    }
    later[0].clone()
}

#[test]
fn an_answer_that_is_read_later_comes_to_the_same() {
    let whole = is_same(&chat());
    assert_eq!(
        (whole.outcome, whole.usage.input_tokens(), whole.usage.output_tokens()),
        (Outcome::Ok, 120, 30)
    );
    assert_eq!(
        (whole.response_model.as_deref(), whole.response_id.as_deref()),
        (Some("gpt-4o-mini-2024-07-18"), Some("c-1"))
    );
    // (64 × 0.075 + 56 × 0.15 + 30 × 0.6) $ per million tokens.
    assert_eq!(whole.cost.amount.to_string(), "0.0000312");

    let long = format!(r#"{{"choices":[{{"message":{{"content":"{}"}}}}]}}"#, "A word or two. ".repeat(300));
    let cut = is_same(&Call { answer: long, read: 2_000, ..chat() });
    assert_eq!(cut.outcome, Outcome::Aborted);
    assert!(cut.usage_estimated && cut.usage.output_tokens() > 100, "{:?}", cut.usage);

    // Whoever has all of a document need not ask whether there is more.
    let stopped = is_same(&Call { read: chat().answer.len(), announced: false, ..chat() });
    assert_eq!((stopped.outcome, stopped.usage_estimated), (Outcome::Ok, false));

    let broken = is_same(&Call { answer: "{\"usage\": [".into(), ..chat() });
    assert!(broken.usage_suspect, "{broken:?}");
}

#[test]
fn what_waits_is_counted_with_the_sample_of_what_was_asked() {
    let told = Arc::new(Told::default());
    let asked: &'static str = format!(r#"{{"model":"gpt-4o-mini","x":"{}"}}"#, "x".repeat(20_000)).leak();
    Call { asked, ..chat() }.make(context(Pipeline::new(Arc::<Told>::clone(&told))));
    let bytes = told.later.lock().unwrap()[0].bytes();
    assert!((16 * 1024..64 * 1024).contains(&bytes), "{bytes}");
}

#[test]
fn a_late_reading_takes_no_part_of_the_latency() {
    let told = Arc::new(Told::default());
    let begun = std::time::Instant::now();
    chat().make(context(Pipeline::new(Arc::<Told>::clone(&told))));
    let took = begun.elapsed();
    std::thread::sleep(std::time::Duration::from_millis(50));
    let (_, later) = told.take();
    assert!(later[0].latency <= took, "{:?} of {took:?}", later[0].latency);
}

#[test]
fn what_is_long_or_a_stream_or_made_in_the_background_is_read_on_its_way() {
    let padded = |length: usize| {
        format!(r#"{{"pad":"{}","usage":{{"prompt_tokens":1,"completion_tokens":2}}}}"#, "x".repeat(length))
    };
    let stream = "data: {\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";
    let answers = [
        (Call { answer: padded(60_000), ..chat() }, 1),
        (Call { answer: padded(70_000), ..chat() }, 0),
        (Call { answer: padded(60_000), announced: false, ..chat() }, 1),
        (Call { answer: padded(70_000), announced: false, ..chat() }, 0),
        (Call { content_encoding: "br", ..chat() }, 0),
        (Call { answer: stream.into(), content_type: "text/event-stream", ..chat() }, 0),
        (
            Call {
                asked: r#"{"model":"gpt-5","input":"?","background":true}"#,
                url_path: "/v1/responses",
                ..chat()
            },
            0,
        ),
        (Call { asked: r#"{"model":"gpt-5","input":"?"}"#, url_path: "/v1/responses", ..chat() }, 1),
    ];
    for (call, expected) in answers {
        let (at_once, later) = call.leaves();
        assert_eq!(
            (at_once.len(), later.len()),
            (1 - expected, expected),
            "{} {}",
            call.url_path,
            call.answer.len()
        );
        let event = at_once.first().or(later.first()).unwrap();
        assert!(!call.answer.contains("pad") || event.usage.output_tokens() == 2, "{event:?}");
    }
}

#[test]
fn a_defect_of_ours_costs_a_call_what_it_used_and_nothing_else() {
    let told = Arc::new(Told::default());
    let pipeline = Arc::new(Pipeline::new(Arc::<Told>::clone(&told)));
    let endpoint = detect("POST", "api.openai.com", "/v1/chat/completions");
    let request = Request::read(endpoint, Said { model: Some("gpt-4o-mini".into()), ..Said::default() });
    let attempt = Attempt::begin(pipeline, context::builder().user_id("ada").build(), request, Repeat::NONE);
    let answer = chat().answer;
    let mut reader = Reader::with_defect(Api::Chat);
    for piece in answer.as_bytes().chunks(100) {
        reader.push(piece);
    }
    attempt.answered(200, false, Vec::new);
    attempt.settle_read(reader, &End::Complete);
    let (events, _) = told.take();
    let event = &events[0];
    assert_eq!((event.outcome, event.cost.source), (Outcome::Ok, CostSource::Unpriced));
    assert!(event.usage_suspect && event.usage.is_empty(), "{event:?}");
    assert_eq!(event.context.resolve().user_id.as_deref(), Some("ada"));
}

#[test]
fn of_several_sinks_each_gets_the_event_and_it_is_read_once() {
    let (one, two) = (Arc::new(Told::default()), Arc::new(Told::default()));
    let both: [Arc<dyn Sink>; 2] = [Arc::<Told>::clone(&one), Arc::<Told>::clone(&two)];
    chat().make(context(Pipeline::new(Arc::new(Fan::new(both)))));
    let (one, two) = (one.take(), two.take());
    assert_eq!((one.0.len(), two.0.len(), one.1.len() + two.1.len()), (1, 1, 0));
    assert_eq!(one.0[0].id, two.0[0].id);

    let only = Arc::new(Told::default());
    let others: [Arc<dyn Sink>; 3] = [Arc::new(Openings), Arc::<Told>::clone(&only), Arc::new(Openings)];
    chat().make(context(Pipeline::new(Arc::new(Fan::new(others)))));
    assert_eq!(only.take().1.len(), 1, "the others want no events");
}
