//! What a call cost, told to the code that made it.

use payi::{ReceiptsExt, events::Outcome, pricing::CostSource, testing::Answer};

use super::{ASK, Bench};

#[tokio::test]
async fn a_receipt_settles_when_the_body_has_been_read() {
    let bench = Bench::new();
    bench
        .recorder
        .scope(async {
            let sent = bench.http.post(bench.url("/v1/chat/completions")).body(ASK).send();
            let answer = sent.await.expect("an answer");
            let receipt = payi::receipt(&answer).expect("tracked");
            assert_eq!(receipt.try_get(), None);
            let waiting = tokio::spawn(receipt.settled());
            let clone = receipt.clone();
            answer.text().await.expect("a body");
            let settled = waiting.await.expect("no panic");
            assert_eq!((settled.outcome, settled.usage.output_tokens()), (Outcome::Ok, 350));
            assert_eq!(clone.try_get(), Some(settled));
            assert_eq!(clone.settled().await.cost.amount.to_string(), "0.0003132");
            assert_eq!(bench.event().id, clone.event_id());
        })
        .await;
}

#[tokio::test]
async fn a_response_dropped_unread_settles_its_receipt_too() {
    let bench = Bench::new();
    let call = async { bench.http.post(bench.url("/v1/chat/completions")).body(ASK).send().await };
    let receipt = bench.recorder.scope(async { payi::receipt(&call.await.expect("an answer")) }).await;
    assert_eq!(receipt.expect("tracked").settled().await.outcome, Outcome::Aborted);
}

#[tokio::test]
async fn all_calls_of_a_future_hand_out_their_receipts_in_order_and_only_theirs() {
    let bench = Bench::new();
    bench
        .recorder
        .scope(async {
            let two = async {
                let first = bench.chat(ASK).await;
                let ((), inner) = async { drop(bench.chat(ASK).await) }.with_receipts().await;
                assert_eq!(inner.len(), 1);
                first.is_ok()
            };
            let (((ok, two), ()), ()) = tokio::join!(
                async { tokio::join!(two.with_receipts(), async { drop(bench.chat(ASK).await) }) },
                async { drop(bench.chat(ASK).await) }
            );
            assert!(ok);
            assert_eq!(two.len(), 2);
            assert!(two.iter().all(|receipt| receipt.try_get().is_some()));
            assert!(two[0].event_id() < two[1].event_id());
        })
        .await;
    assert_eq!(bench.recorder.take().len(), 4);
}

#[tokio::test]
async fn a_price_that_was_said_beats_what_the_host_reports_and_an_own_keys_cost_is_added() {
    let bench = Bench::new();
    let cost = async |more: &str, price_as: Option<&'static str>| {
        let usage =
            format!(r#"{{"prompt_tokens":1000000,"completion_tokens":0,"total_tokens":1000000{more}}}"#);
        bench.provider.next(Answer::json(format!(r#"{{"model":"gpt-4o-mini","usage":{usage}}}"#)));
        let call = async { payi::track_context!(price_as_resource = price_as, { bench.chat(ASK).await }) };
        bench.recorder.scope(call).await.expect("an answer");
        let event = bench.event();
        (event.cost.amount.to_string(), event.cost.source, event.reported_cost.map(|cost| cost.to_string()))
    };
    let (reported, said) = (r#","cost":0.5"#, Some("0.5".to_owned()));
    assert_eq!(cost(reported, None).await, ("0.5".into(), CostSource::Reported, said.clone()));
    assert_eq!(cost(reported, Some("gpt-4o")).await, ("2.5".into(), CostSource::Computed, said.clone()));
    // Better what the host says than nothing.
    assert_eq!(cost(reported, Some("of-our-own")).await, ("0.5".into(), CostSource::Reported, said));
    for (own_key, expected) in [("true", "0.0123"), ("false", "0")] {
        let more =
            format!(r#","cost":0,"is_byok":{own_key},"cost_details":{{"upstream_inference_cost":0.0123}}"#);
        assert_eq!(cost(&more, None).await.0, expected, "{own_key}");
    }
}
