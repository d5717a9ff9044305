//! Which requests are read later, and which have to be read before they are sent.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Mutex;

use super::*;
use crate::{
    context::Frame,
    events::{Event, ModelMapping, Sink, UnderWay},
    limits::{Gate, Limit, MemoryStore, Store as _, block_on},
    pricing::CostSource,
};

#[derive(Default)]
struct Told {
    begun: Mutex<Vec<UnderWay>>,
    ended: Mutex<Vec<Event>>,
}

impl Sink for Told {
    fn open_unread(&self, attempt: UnderWay) {
        self.begun.lock().unwrap().push(attempt);
    }

    fn record(&self, event: Event) {
        self.ended.lock().unwrap().push(event);
    }
}

const CHAT: &str = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Is it?"}]}"#;

fn asking<'r>(host: &'r str, path: &'r str, body: &'r str) -> Outgoing<'r> {
    let (method, scheme, port, body) = ("POST", "https", None, Some(body.as_bytes()));
    Outgoing { method, scheme, host, port, path, body, module: "test" }
}

fn chat() -> Outgoing<'static> {
    asking("api.openai.com", "/v1/chat/completions", CHAT)
}

fn is_read_later(
    pipeline: &Pipeline,
    context: &Context,
    request: &Outgoing<'_>,
    headers: &HeaderMap,
) -> bool {
    matches!(reading(pipeline, context, request, headers), Reading::Later(_))
}

#[test]
fn a_request_is_read_before_it_is_sent_where_something_has_to_be_known_of_it() {
    let pipeline = || Pipeline::new(Arc::<Told>::default());
    let (nobody, none) = (Context::default(), HeaderMap::new());
    let later = |request: &Outgoing<'_>| is_read_later(&pipeline(), &nobody, request, &none);
    assert!(later(&chat()));

    let stream = r#"{"model":"m","stream":true}"#;
    let long = format!(r#"{{"model":"m","pad":"{}"}}"#, "x".repeat(sample::KEPT_MAX));
    let background = r#"{"model":"gpt-5","input":"?","background":true}"#;
    for (host, path, body, expected) in [
        ("api.openai.com", "/v1/chat/completions", stream, false),
        ("api.anthropic.com", "/v1/messages", stream, true),
        ("api.openai.com", "/v1/chat/completions", &*long, false),
        ("api.openai.com", "/v1/responses", background, false),
        ("api.openai.com", "/v1/responses", CHAT, true),
        ("api.openai.com", "/v1/responses/resp_1/cancel", "{}", false),
        ("api.openai.com", "/v1/images/generations", r#"{"model":"dall-e-3","n":2}"#, false),
        ("api.openai.com", "/v1/audio/speech", r#"{"model":"tts-1","input":"Ha"}"#, false),
        ("llm.internal", "/ask", CHAT, false),
    ] {
        assert_eq!(
            later(&asking(host, path, body)),
            expected,
            "{host}{path} {}",
            &body[..body.len().min(60)]
        );
    }
    assert!(!later(&Outgoing { method: "GET", ..chat() }));
    assert!(!later(&Outgoing { body: None, ..chat() }));

    for name in ["xproxy-user-id", "content-encoding"] {
        let headers = HeaderMap::from_iter([(http::HeaderName::from_static(name), "x".parse().unwrap())]);
        assert!(!is_read_later(&pipeline(), &nobody, &chat(), &headers), "{name}");
    }
    for (flags, expected) in [
        (context::builder().user_id("u"), true),
        (context::builder().proxy(true), false),
        (context::builder().log_prompt_and_response(false), false),
    ] {
        let inside = flags.run(|| context::builder().use_case_name("inside").build());
        assert_eq!(is_read_later(&pipeline(), &inside, &chat(), &none), expected);
    }
    let settings: [fn(&mut Settings); 4] = [
        |settings| settings.exchange = true,
        |settings| settings.log_prompt_and_response = true,
        |settings| settings.mappings.map_host("h", "system.groq"),
        |settings| settings.mappings.map_model(ModelMapping::new("m").price_as_resource("n")),
    ];
    for set in settings {
        let mut pipeline = pipeline();
        set(&mut pipeline.settings);
        assert!(!is_read_later(&pipeline, &nobody, &chat(), &none));
    }
}

#[test]
fn a_limit_has_requests_read_before_they_are_sent() {
    let store = Arc::new(MemoryStore::new());
    let mut pipeline = Pipeline::new(Arc::<Told>::default());
    let later = |gate: Option<Gate>, pipeline: &mut Pipeline| {
        pipeline.gate = gate.map(|gate| Arc::new(gate) as _);
        is_read_later(pipeline, &Context::default(), &chat(), &HeaderMap::new())
    };
    let gate = || Gate::start(Arc::clone(&store) as Arc<_>, "p".into()).unwrap();
    assert!(later(Some(gate()), &mut pipeline), "a gate without limits asks nothing");
    block_on(store.put(Limit::block("l", "1".parse().unwrap()).everyone(), 0)).unwrap();
    assert!(!later(Some(gate()), &mut pipeline));
}

#[test]
fn what_is_under_way_can_be_read_until_it_ends_and_its_scope_says_as_what_it_is_priced() {
    let told = Arc::new(Told::default());
    let pipeline = Arc::new(Pipeline::new(Arc::<Told>::clone(&told)));
    let root = Context::of(Frame::root(Some(pipeline), Vec::new()));
    let context = root.with(context::builder().user_id("u").price_as_resource("gpt-4o"));
    let beginning = begin(context, chat(), &mut HeaderMap::new(), Repeat::NONE);
    let begun = block_on(beginning.wait()).unwrap().unwrap().begun;

    let under_way = told.begun.lock().unwrap().remove(0);
    let opening = under_way.read().unwrap();
    assert_eq!((&*opening.provider, opening.request_model.as_deref()), ("openai", Some("gpt-4o-mini")));
    assert_eq!(opening.context.user_id().as_deref(), Some("u"));

    let mut head = http::Response::new(()).into_parts().0;
    head.headers.insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    let mut watch = begun.answered(&mut head);
    let answer = r#"{"model":"gpt-4o-mini-2024-07-18","usage":{"prompt_tokens":1000,"completion_tokens":0}}"#;
    watch.data(answer.into());
    drop(head);
    drop(watch);
    assert!(under_way.read().is_none(), "it has ended");

    let event = told.ended.lock().unwrap().remove(0);
    assert_eq!((event.id, event.request_model.as_deref()), (opening.id, Some("gpt-4o-mini")));
    assert_eq!(event.cost.source, CostSource::Computed);
    assert_eq!(event.cost.amount.to_string(), "0.0025", "1,000 tokens at gpt-4o's 2.50 $ per million");
}
