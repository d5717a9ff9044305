//! Answers that are made in the background: their bill is the caller's, and counted once, whoever fetches them.

use std::time::Duration;

use payi::{
    events::Outcome,
    limits::{Limit, LimitState, Subject},
    money::Money,
    pricing::CostSource,
    testing::Answer,
};

use super::Bench;

const ASK: &str = r#"{"model":"gpt-5-mini","background":true,"max_output_tokens":1000,"input":"Think"}"#;
const FETCH: &str = "/v1/responses/resp_1";

fn response(status: &str, usage: &str) -> Answer {
    let body = format!(
        r#"{{"id":"resp_1","object":"response","background":true,"status":"{status}","model":"gpt-5-mini","usage":{usage}}}"#
    );
    Answer::json(body).same_id()
}

fn queued() -> Answer {
    response("queued", "null")
}

/// 100 × 0.25 + 400 × 2 USD per million.
fn completed() -> Answer {
    response("completed", r#"{"input_tokens":100,"output_tokens":400,"total_tokens":500}"#)
}

const COST: &str = "0.000825";

/// With a limit for each user.
fn limited() -> Bench {
    let mut bench = Bench::new();
    let limit = Limit::block("l", "0.01".parse().expect("USD")).each_user();
    bench.recorder = bench.recorder.limit(limit).expect("a limit");
    bench
}

/// An event of a stream.
fn announced(kind: &str, status: &str, usage: &str) -> String {
    format!(
        "event: {kind}\ndata: {{\"type\":\"{kind}\",\"response\":{{\"id\":\"resp_1\",\"background\":true,\
         \"model\":\"gpt-5-mini\",\"status\":\"{status}\",\"usage\":{usage}}}}}\n\n"
    )
}

impl Bench {
    async fn ask(&self, user: &'static str) {
        let sent = async {
            payi::track_context!(user_id = user, {
                self.http
                    .post(self.url("/v1/responses"))
                    .body(ASK)
                    .send()
                    .await
                    .expect("a head")
                    .bytes()
                    .await
            })
        };
        self.recorder.scope(sent).await.expect("an answer");
    }

    async fn fetch(&self, answer: Answer) {
        self.provider.next(answer);
        let sent = async { self.http.get(self.url(FETCH)).send().await.expect("a head").bytes().await };
        self.recorder.scope(sent).await.expect("an answer");
    }

    /// Whose bills there are; what is free costs nothing.
    fn bills(&self) -> Vec<(Option<String>, String)> {
        let events = self.recorder.events();
        let billed = events.iter().filter(|event| event.cost.amount > Money::ZERO);
        billed
            .map(|event| {
                let user = event.context.resolve().user_id.map(|user| user.to_string());
                (user, event.cost.amount.to_string())
            })
            .collect()
    }
}

#[tokio::test]
async fn the_bill_is_the_callers_and_counted_once_however_often_the_answer_is_fetched() {
    let bench = Bench::new();
    bench.provider.next(queued());
    bench.ask("ada").await;
    assert_eq!((bench.recorder.events().len(), bench.recorder.open_calls()), (0, 1), "it is under way");
    bench.fetch(response("in_progress", "null")).await;
    assert_eq!(bench.bills(), []);
    for _ in 0..3 {
        bench.fetch(completed()).await;
        assert_eq!(bench.bills(), [(Some("ada".to_owned()), COST.to_owned())]);
    }
    let events = bench.recorder.events();
    let call = events.iter().find(|event| !event.free).expect("the call");
    assert_eq!(
        (&*call.operation, call.outcome, call.cost.source),
        ("responses", Outcome::Ok, CostSource::Computed)
    );
    assert_eq!((call.usage.output_tokens(), call.response_id.as_deref()), (400, Some("resp_1")));
    assert!(events.iter().filter(|event| event.free).all(|event| event.usage.is_empty()));
    assert_eq!((events.len(), bench.recorder.open_calls()), (5, 0));
}

#[tokio::test]
async fn a_kept_receipt_says_how_limits_stand_once_the_bill_is_known() {
    let bench = limited();
    bench.provider.next(queued());
    let sent = async {
        payi::track_context!(user_id = "ada", {
            bench.http.post(bench.url("/v1/responses")).body(ASK).send().await.expect("a head")
        })
    };
    let head = bench.recorder.scope(sent).await;
    let receipt = payi::receipt(&head).expect("a receipt");
    head.bytes().await.expect("an answer");
    assert_eq!((receipt.try_get().is_some(), receipt.limits()), (true, &[][..]), "only announced");
    bench.fetch(completed()).await;
    assert_eq!(receipt.limits(), [("l".into(), LimitState::Ok)]);
}

#[tokio::test]
async fn an_answer_that_another_process_asked_for_is_billed_where_it_is_fetched_first() {
    let bench = Bench::new();
    for _ in 0..2 {
        bench.fetch(completed()).await;
        assert_eq!(bench.bills(), [(None, COST.to_owned())]);
    }
}

#[tokio::test]
async fn a_stream_that_ended_is_not_billed_again_and_one_that_broke_off_is_when_it_is_fetched() {
    let usage = r#"{"input_tokens":100,"output_tokens":400,"total_tokens":500}"#;
    let created = announced("response.created", "queued", "null");
    let whole = format!("{created}{}", announced("response.completed", "completed", usage));
    for stream in [whole, created] {
        let bench = Bench::new();
        bench.provider.next(Answer::sse(stream).same_id());
        bench.ask("ada").await;
        for _ in 0..2 {
            bench.fetch(completed()).await;
            assert_eq!(bench.bills(), [(Some("ada".to_owned()), COST.to_owned())]);
        }
    }
}

#[tokio::test]
async fn a_stream_dropped_after_somebody_fetched_its_bill_is_not_charged_besides() {
    let bench = limited();
    bench.provider.next(Answer::sse(announced("response.created", "queued", "null")).same_id());
    let mut stream = bench
        .recorder
        .scope(async {
            let sent = async { bench.http.post(bench.url("/v1/responses")).body(ASK).send().await };
            payi::track_context!(user_id = "ada", { sent.await.expect("a head") })
        })
        .await;
    stream.chunk().await.expect("a piece").expect("some bytes");
    bench.fetch(completed()).await;
    drop(stream);
    assert_eq!(bench.bills(), [(None, COST.to_owned())]);
    assert_eq!(bench.recorder.open_calls(), 0, "it does not wait for a bill that has come");
    let limits = bench.recorder.limits().expect("limits");
    let standing = limits.standing("l", &Subject::new("ada", "")).expect("a store").expect("a limit");
    assert_eq!(standing.settled, 0);
}

#[tokio::test]
async fn what_is_reserved_stays_reserved_until_the_bill_is_known() {
    let bench = limited();
    let limits = bench.recorder.limits().expect("limits");
    let standing = || limits.standing("l", &Subject::new("ada", "")).expect("a store").expect("a limit");
    bench.provider.next(queued());
    bench.ask("ada").await;
    // A thousand tokens at 2 USD per million, at least.
    assert!(standing().settled == 0 && standing().held >= 2_000_000_000, "{:?}", standing());
    bench.fetch(completed()).await;
    bench.fetch(completed()).await;
    assert_eq!(standing().settled, COST.parse::<Money>().expect("USD").pico());
}

#[tokio::test]
async fn what_is_cancelled_without_a_bill_is_charged_what_was_reserved() {
    let bench = limited();
    bench.provider.next(queued());
    bench.ask("bob").await;
    bench.provider.next(response("cancelled", "null"));
    let cancel = async {
        bench.http.post(bench.url("/v1/responses/resp_1/cancel")).send().await.expect("a head").bytes().await
    };
    bench.recorder.scope(cancel).await.expect("an answer");
    let call = bench.recorder.events().into_iter().rfind(|event| !event.free).expect("the call");
    assert_eq!((call.usage_estimated, call.cost.source), (true, CostSource::Estimated));
    assert_eq!(bench.recorder.open_calls(), 0);
}

#[test]
fn the_end_of_the_program_ends_those_that_wait() {
    crate::support::alone("clients::background::the_end_of_the_program_ends_those_that_wait", || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let bench = Bench::new();
            let guard = payi::instrument().in_memory().start().expect("a start");
            bench.provider.next(queued());
            let sent = bench.http.post(bench.url("/v1/responses")).body(ASK).send().await;
            sent.expect("a head").bytes().await.expect("a body");
            guard.flush(Duration::from_secs(5)).await.expect("a flush");
            let ledger = guard.ledger().expect("a ledger");
            let calls = || ledger.users(&payi::ledger::Filter::new()).expect("a report").total.calls.ok;
            assert_eq!(calls(), 0);
            guard.shutdown().await.expect("an end");
            assert_eq!(calls(), 1);
        });
    });
}
