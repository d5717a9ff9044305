//! What a call cost, told to the code that made it.

use payi::{ReceiptsExt, events::Outcome};

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
