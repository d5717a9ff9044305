//! Limits before real calls: what is refused never leaves, and what was reserved comes back.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use payi::{
    events::{Clock, Outcome},
    limits::{Limit, LimitState, Policy, Subject, Unbounded, Unpriced, Window},
    pricing::CostSource,
    testing::{Answer, Provider, Recorder},
};

const CHAT: &str = r#"{"model":"gpt-4o","service_tier":"default","max_tokens":100,"messages":[{"role":"user","content":"hello"}]}"#;

fn answer(output: u32) -> Answer {
    Answer::json(format!(
        r#"{{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-4o-2024-08-06","choices":[],
            "usage":{{"prompt_tokens":10,"completion_tokens":{output},"total_tokens":{}}}}}"#,
        10 + output
    ))
}

async fn ask(
    http: &payi::reqwest::Client,
    provider: &Provider,
    body: &str,
) -> Result<payi::Receipt, payi::reqwest::Error> {
    let request = http.post(format!("{}/v1/chat/completions", provider.url()));
    let answer = request.body(body.to_owned()).send().await?;
    let receipt = payi::receipt(&answer).unwrap();
    answer.bytes().await?;
    Ok(receipt)
}

#[tokio::test]
async fn a_refused_call_never_leaves_and_says_why() {
    let (provider, http) = (Provider::start().unwrap(), payi::reqwest::Client::new());
    provider.on("/v1/chat/completions", answer(100));
    // One call reserves a little over 0.001 USD and costs 0.001025.
    let limit = Limit::block("mini", "0.0025".parse().unwrap()).strict().threshold_percent(75);
    let recorder = Recorder::new().limit(limit).unwrap();
    let work = async {
        payi::track_context!(user_id = "ada", limit_ids = ["mini", "nobody"], {
            let first = ask(&http, &provider, CHAT).await.unwrap();
            assert_eq!(first.limits(), [("mini".into(), LimitState::Ok)]);
            let second = ask(&http, &provider, CHAT).await.unwrap();
            assert_eq!(second.limits(), [("mini".into(), LimitState::Exceeded)]);
            ask(&http, &provider, CHAT).await.unwrap_err()
        })
    };
    let refused = recorder.scope(work).await;
    assert_eq!(provider.requests().len(), 2, "it never left the process");
    assert!(refused.is_limit() && !refused.is_connect());
    let error = payi::Error::find(&refused).unwrap();
    let refusal = error.refusal().unwrap();
    assert_eq!((&*refusal.limit_id, refusal.state), ("mini", LimitState::Blocked));
    assert_eq!(refusal.show(refusal.spent), "0.00205 USD");
    assert_eq!((refusal.reserved, refusal.max, refusal.frees_at), (0, 2_500_000_000, None));
    assert!(error.to_string().contains("0.00205 USD spent and 0 USD reserved of 0.0025 USD"), "{error}");
    assert!(error.to_string().ends_with("(max_tokens) needs less"), "something is left: {error}");

    let events = recorder.events();
    let outcomes: Vec<_> = events.iter().map(|event| event.outcome).collect();
    assert_eq!(outcomes, [Outcome::Ok, Outcome::Ok, Outcome::Blocked]);
    assert_eq!(events[2].cost.amount, payi::money::Money::ZERO);
    assert_eq!(events[2].error.as_deref(), Some("limit_reached"));
    assert_eq!(recorder.open_calls(), 0);
    let limits = recorder.limits().unwrap();
    let tally = limits.tally("mini").unwrap();
    assert_eq!((tally.ok, tally.exceeded, tally.blocked), (1, 1, 1));
    // A reset lets calls through again.
    limits.reset("mini", None).unwrap();
    let again =
        async { payi::track_context!(limit_ids = ["mini"], { ask(&http, &provider, CHAT).await.map(drop) }) };
    recorder.scope(again).await.unwrap();
}

#[tokio::test]
async fn a_limit_on_calls_says_nothing_of_what_a_call_used() {
    let (provider, http) = (Provider::start().unwrap(), payi::reqwest::Client::new());
    let recorder = Recorder::new().limit(Limit::calls("c", 10).everyone()).unwrap();
    provider.next(answer(1).delay(Duration::from_secs(5)));
    let sending = recorder.scope(ask(&http, &provider, CHAT));
    assert!(tokio::time::timeout(Duration::from_millis(300), sending).await.is_err());
    let aborted = recorder.events().pop().unwrap();
    assert_eq!((aborted.outcome, aborted.cost.source), (Outcome::Aborted, CostSource::Unpriced));
    assert!(aborted.usage.is_empty() && !aborted.usage_estimated, "no money and no tokens were reserved");
    let counted = recorder.limits().unwrap().standing("c", &Subject::default()).unwrap().unwrap();
    assert_eq!(counted.settled, 1, "it was sent");
}

#[tokio::test]
async fn every_end_gives_back_what_it_did_not_use() {
    let (provider, http) = (Provider::start().unwrap(), payi::reqwest::Client::new());
    let limit = Limit::block("l", "1".parse().unwrap()).everyone();
    let recorder =
        Recorder::new().limit(limit).unwrap().limit(Limit::concurrent("two", 2).everyone()).unwrap();
    let limits = recorder.limits().unwrap();
    let spent = || limits.standing("l", &Subject::default()).unwrap().unwrap();
    let calls = || limits.standing("two", &Subject::default()).unwrap().unwrap().held;

    provider.next(Answer::json(r#"{"error":{"code":"rate_limit_exceeded"}}"#).status(429));
    recorder.scope(ask(&http, &provider, CHAT)).await.unwrap();
    settled(|| calls() == 0).await;
    assert_eq!(spent().settled, 0, "a refusal by the provider costs nothing");

    // Dropped while it waits for its answer: it may have been billed, so what was reserved is charged.
    provider.next(answer(1).delay(Duration::from_secs(5)));
    let sending = recorder.scope(ask(&http, &provider, CHAT));
    assert!(tokio::time::timeout(Duration::from_millis(300), sending).await.is_err());
    let aborted = recorder.events().pop().unwrap();
    assert_eq!((aborted.outcome, aborted.cost.source), (Outcome::Aborted, CostSource::Estimated));
    assert!(aborted.usage_estimated && aborted.cost.amount.pico() > 1_000_000_000);
    assert_eq!(spent().settled, aborted.cost.amount.pico());

    let unreachable = async { http.post("http://127.0.0.1:1/v1/chat/completions").body(CHAT).send().await };
    recorder.scope(unreachable).await.unwrap_err();
    assert_eq!(recorder.events().pop().unwrap().error.as_deref(), Some("connect"));
    settled(|| calls() == 0).await;
    assert_eq!(spent().settled, aborted.cost.amount.pico(), "what never arrived costs nothing");
    settled(|| spent().held == 0).await;
}

/// Slices that no call needs go back within a moment.
async fn settled(done: impl Fn() -> bool) {
    for _ in 0..500 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it was not given back");
}

#[tokio::test]
async fn what_has_no_bound_or_no_price_is_treated_as_the_limit_says() {
    let (provider, http) = (Provider::start().unwrap(), payi::reqwest::Client::new());
    let unnamed = r#"{"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":1}}"#;
    provider.on("/v1/chat/completions", Answer::json(unnamed));
    let search = r#"{"model":"gpt-4o","max_tokens":5,"messages":[],"web_search_options":{}}"#;
    let unknown = r#"{"model":"of-our-own","max_tokens":5,"messages":[]}"#;
    let limit = |id: &str| Limit::block(id, "1".parse().unwrap());
    let recorder = Recorder::new();
    let recorder = recorder.limit(limit("strict").strict()).unwrap().limit(limit("usual")).unwrap();
    let recorder = recorder.limit(limit("assume").unpriced(Unpriced::Assume(2_000_000))).unwrap();
    let call = async |id: &'static str, body: &'static str| {
        let work = async { payi::track_context!(limit_ids = [id], { ask(&http, &provider, body).await }) };
        recorder
            .scope(work)
            .await
            .map_err(|e| e.as_payi().and_then(payi::Error::refusal).and_then(|r| r.reason))
    };
    assert_eq!(call("strict", search).await.unwrap_err(), Some("unbounded"));
    call("usual", search).await.unwrap();
    call("strict", r#"{"model":"gpt-4o","messages":[]}"#).await.unwrap();
    assert_eq!(call("usual", unknown).await.unwrap_err(), Some("unpriced"));
    call("assume", unknown).await.unwrap();
    let standing = recorder.limits().unwrap().standing("assume", &Subject::default()).unwrap().unwrap();
    assert_eq!(standing.settled, 11 * 2_000_000);
    assert_eq!(provider.requests().len(), 3);
    let events = recorder.events();
    let codes: Vec<_> = events.iter().filter_map(|event| event.error.as_deref()).collect();
    assert_eq!(codes, ["limit_unbounded", "limit_unpriced"]);
}

#[tokio::test]
async fn a_request_without_a_maximum_is_given_one() {
    let (provider, http) = (Provider::start().unwrap(), payi::reqwest::Client::new());
    provider.on("/v1/chat/completions", answer(1));
    // Enough for about 1,900 tokens of output.
    let limit = Limit::block("l", "0.02".parse().unwrap()).policy(Policy::InjectMaxTokens).everyone();
    let recorder = Recorder::new().limit(limit).unwrap();
    recorder.scope(ask(&http, &provider, r#"{"model":"gpt-4o","messages":[]}"#)).await.unwrap();
    recorder
        .scope(ask(&http, &provider, r#"{"max_tokens":7,"model":"gpt-4o","messages":[]}"#))
        .await
        .unwrap();
    let sent: Vec<_> =
        provider.requests().iter().map(|r| String::from_utf8_lossy(&r.body).into_owned()).collect();
    assert_eq!(sent[0], r#"{"max_completion_tokens":1024,"model":"gpt-4o","messages":[]}"#);
    assert_eq!(sent[1], r#"{"max_tokens":7,"model":"gpt-4o","messages":[]}"#, "who names one keeps it");
}

#[tokio::test]
async fn a_rate_is_kept_and_users_are_apart() {
    let (provider, http) = (Provider::start().unwrap(), payi::reqwest::Client::new());
    provider.on("/v1/chat/completions", answer(1));
    let limit = Limit::calls("per-minute", 3).each_user().window(Window::rate(Duration::from_secs(60)));
    let recorder = Recorder::new().limit(limit).unwrap();
    let call = async |user: &'static str| {
        let work = async { payi::track_context!(user_id = user, { ask(&http, &provider, CHAT).await }) };
        recorder.scope(work).await
    };
    for _ in 0..3 {
        call("ada").await.unwrap();
    }
    let refused = call("ada").await.unwrap_err();
    let refusal = refused.as_payi().and_then(payi::Error::refusal).unwrap().clone();
    let wait = refusal.frees_at.unwrap().duration_since(SystemTime::now()).unwrap();
    assert!(wait <= Duration::from_secs(20) && wait > Duration::from_secs(15), "{wait:?}");
    call("bob").await.unwrap();
    assert_eq!(provider.requests().len(), 4);
}

/// Pay-i's own refusal, in proxy mode: the provider's client sees it as it came.
#[test]
fn proxy_blocked_400() {
    let Some(path) = crate::support::shared("spec/conformance.json") else { return };
    crate::support::alone("limits::proxy_blocked_400", || {
        let cases: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let cases = cases["cases"].as_array().unwrap();
        let case = cases.iter().find(|case| case["name"] == "proxy_blocked_400").unwrap();
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(refused_there(case));
    });
}

async fn refused_there(case: &serde_json::Value) {
    let (provider, http) = (Provider::start().unwrap(), payi::reqwest::Client::new());
    // The provider stands at Pay-i's address: nobody else is told of limits.
    let guard = payi::instrument().in_memory().base_url(provider.url()).start().unwrap();
    let answer = &case["provider"][0];
    provider.next(Answer::json(answer["json"].to_string()).status(400));
    let (status, body) = payi::track_context!(proxy = true, limit_ids = ["l1"], {
        let request = http.post(format!("{}/v1/chat/completions", provider.url()));
        let answer = request.body(CHAT).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    });
    assert_eq!(status, case["captured"]["calls"][0]["exception"]["status_code"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&body).unwrap(), answer["json"]);
    let sent = &case["captured"]["provider_requests"][0]["headers"]["xproxy-limit-ids"];
    assert_eq!(provider.requests()[0].header("xproxy-limit-ids"), sent.as_str());
    guard.flush(Duration::from_secs(5)).await.unwrap();
    let total = guard.ledger().unwrap().users(&payi::ledger::Filter::new()).unwrap().total;
    assert_eq!((total.calls.failed, total.cost), (1, payi::money::Money::ZERO));
}

/// What a call that was refused is told.
fn refusal(error: &payi::reqwest::Error) -> &payi::limits::Refusal {
    error.as_payi().and_then(payi::Error::refusal).unwrap()
}

#[tokio::test]
async fn a_refusal_says_what_has_no_bound_and_what_is_spent() {
    let (provider, http) = (Provider::start().unwrap(), payi::reqwest::Client::new());
    provider.on("/v1/chat/completions", answer(100));
    for policy in [Policy::Strict, Policy::InjectMaxTokens] {
        let limit = Limit::block("l", "1".parse().unwrap()).policy(policy).everyone();
        let recorder = Recorder::new().limit(limit).unwrap();
        let call = async |body: &str| recorder.scope(ask(&http, &provider, body)).await;
        call(CHAT).await.unwrap();
        let tools = r#"{"model":"gpt-4o","max_tokens":5,"messages":[],"tools":[{"type":"web_search"}]}"#;
        let error = call(tools).await.unwrap_err();
        assert_eq!(
            (refusal(&error).reason, refusal(&error).unbounded),
            (Some("unbounded"), Some(Unbounded::Tools))
        );
        let text = payi::Error::find(&error).unwrap().to_string();
        assert!(text.contains("the provider runs tools") && !text.contains("max_tokens"), "{text}");
        assert_eq!(refusal(&error).show(refusal(&error).spent), "0.001025 USD");
        let error = call(r#"{"model":"of-our-own","max_tokens":5,"messages":[]}"#).await.unwrap_err();
        assert_eq!(refusal(&error).show(refusal(&error).spent), "0.001025 USD", "unpriced");
    }
}

#[tokio::test]
async fn what_is_free_is_neither_refused_nor_counted_as_a_call() {
    let (provider, http) = (Provider::start().unwrap(), payi::reqwest::Client::new());
    provider.on("/v1/chat/completions", answer(1));
    for path in
        ["/v1/models", "/v1/messages/count_tokens", "/v1/responses/r", "/v1/responses/r/cancel", "/v1/files"]
    {
        provider.on(path, Answer::json(r#"{"id":"r","input_tokens":5}"#));
    }
    let recorder = Recorder::new();
    let recorder = recorder.limit(Limit::calls("trial", 3).everyone().strict()).unwrap();
    let recorder = recorder.limit(Limit::block("usd", "1".parse().unwrap()).everyone().strict()).unwrap();
    let free = async || {
        let url = |path: &str| format!("{}{path}", provider.url());
        let all = [
            http.get(url("/v1/models")),
            http.post(url("/v1/messages/count_tokens")).body(CHAT),
            http.delete(url("/v1/responses/r")),
            http.post(url("/v1/responses/r/cancel")),
            http.post(url("/v1/files")).body("--b"),
        ];
        for request in all {
            request.send().await.unwrap().bytes().await.unwrap();
        }
    };
    let calls =
        || recorder.limits().unwrap().standing("trial", &Subject::default()).unwrap().unwrap().settled;
    for n in 1..=3 {
        recorder.scope(ask(&http, &provider, CHAT)).await.unwrap();
        recorder.scope(free()).await;
        assert_eq!(calls(), n, "only what may be billed is a call");
    }
    let error = recorder.scope(ask(&http, &provider, CHAT)).await.unwrap_err();
    assert_eq!((&*refusal(&error).limit_id, refusal(&error).spent), ("trial", 3));
    recorder.scope(free()).await;
    assert_eq!((calls(), recorder.events().iter().filter(|event| event.free).count()), (3, 20));
}

#[tokio::test]
async fn speech_is_reserved_by_the_character_and_a_recording_by_a_usual_one() {
    let (provider, http) = (Provider::start().unwrap(), payi::reqwest::Client::new());
    provider.on("/v1/audio/speech", Answer::json("sound").header("content-type", "audio/mpeg"));
    provider.on(
        "/v1/audio/transcriptions",
        Answer::json(r#"{"text":"hi","usage":{"type":"duration","seconds":9}}"#),
    );
    // Two characters at 15 USD a million.
    let limit = |id: &str| Limit::block(id, "0.00003".parse().unwrap());
    let recorder = Recorder::new()
        .limit(limit("exact").strict())
        .unwrap()
        .limit(Limit::block("usual", "1".parse().unwrap()))
        .unwrap();
    let send = async |id: &'static str, path: &str, body: String| {
        let request = http.post(format!("{}{path}", provider.url())).body(body);
        recorder.scope(async { payi::track_context!(limit_ids = [id], { request.send().await }) }).await
    };
    send("exact", "/v1/audio/speech", r#"{"model":"tts-1","input":"hi"}"#.into())
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let refused =
        send("exact", "/v1/audio/speech", r#"{"model":"tts-1","input":"!"}"#.into()).await.unwrap_err();
    assert_eq!((refusal(&refused).reason, refusal(&refused).needed), (None, Some(15_000_000)));
    let form = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b--\r\n";
    send("usual", "/v1/audio/transcriptions", form.into()).await.unwrap().bytes().await.unwrap();
    let refused = send("exact", "/v1/audio/transcriptions", form.into()).await.unwrap_err();
    assert_eq!(refusal(&refused).unbounded, Some(Unbounded::Endpoint));
    let heard =
        recorder.events().into_iter().find(|event| &*event.operation == "audio.transcriptions").unwrap();
    assert_eq!((heard.cost.amount.to_string(), heard.cost.source), ("0.0009".into(), CostSource::Computed));
}

#[tokio::test]
async fn a_null_maximum_is_replaced() {
    let (provider, http) = (Provider::start().unwrap(), payi::reqwest::Client::new());
    provider.on("/v1/messages", answer(1));
    let limit = Limit::block("l", "0.02".parse().unwrap()).policy(Policy::InjectMaxTokens).everyone();
    let recorder = Recorder::new().limit(limit).unwrap();
    let body = r#"{"model":"claude-sonnet-4-5","max_tokens":null,"messages":[]}"#;
    let call = async { http.post(format!("{}/v1/messages", provider.url())).body(body).send().await };
    recorder.scope(call).await.unwrap().bytes().await.unwrap();
    let sent = String::from_utf8_lossy(&provider.requests()[0].body).into_owned();
    assert_eq!(sent, r#"{"model":"claude-sonnet-4-5","max_tokens":1024,"messages":[]}"#);
}

#[tokio::test]
async fn a_limit_on_tokens_reserves_and_counts_them() {
    let (provider, http) = (Provider::start().unwrap(), payi::reqwest::Client::new());
    provider.on("/v1/chat/completions", answer(100));
    let recorder = Recorder::new().limit(Limit::tokens("t", 400).everyone().strict()).unwrap();
    recorder.scope(ask(&http, &provider, CHAT)).await.unwrap();
    let standing = || recorder.limits().unwrap().standing("t", &Subject::default()).unwrap().unwrap();
    assert_eq!(standing().settled, 110);
    // At most as many tokens of input as it has bytes, and a hundred of output: the second does not fit any more.
    let refused = async {
        let first =
            http.post(format!("{}/v1/chat/completions", provider.url())).body(CHAT).send().await.unwrap();
        let error = ask(&http, &provider, CHAT).await.unwrap_err();
        first.bytes().await.unwrap();
        error
    };
    let error = recorder.scope(refused).await;
    assert_eq!((refusal(&error).spent, refusal(&error).max), (110, 400));
    assert!(refusal(&error).needed.unwrap() > 200 && refusal(&error).reason.is_none());
    assert_eq!(standing().settled, 220);
}

/// A clock that is an hour later each time it is read.
struct Hurried(AtomicU64, SystemTime);

impl Clock for Hurried {
    fn now(&self) -> SystemTime {
        self.1 + Duration::from_secs(3_600 * self.0.fetch_add(1, Relaxed))
    }
}

#[tokio::test]
async fn a_call_counts_in_the_window_in_which_it_was_let_through() {
    let (provider, http) = (Provider::start().unwrap(), payi::reqwest::Client::new());
    provider.on("/v1/chat/completions", answer(1));
    // What begins before the limit does not count.
    let now = SystemTime::now() + Duration::from_secs(1);
    let limit = Limit::calls("l", 9).everyone().window(Window::rolling(Duration::from_secs(60)));
    let recorder = Recorder::new().limit(limit).unwrap().clock(Hurried(AtomicU64::new(0), now));
    recorder.scope(ask(&http, &provider, CHAT)).await.unwrap();
    assert_eq!(recorder.events()[0].started_at, now);
    let standing = recorder.limits().unwrap().standing("l", &Subject::default()).unwrap().unwrap();
    assert_eq!(standing.settled, 1);
}
