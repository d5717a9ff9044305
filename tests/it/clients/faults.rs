//! Whatever happens to a call, it leaves exactly one event.

use std::{future::Future, pin::pin, task::Poll, time::Duration};

use payi::{events::Outcome, testing::Answer};

use super::{ASK, Bench, STREAM};

/// Polls a future so many times and drops it; whether it had ended.
async fn poll_times<F: Future>(future: F, times: usize) -> bool {
    let mut future = pin!(future);
    for _ in 0..times {
        let ended = std::future::poll_fn(|task| Poll::Ready(future.as_mut().poll(task).is_ready())).await;
        if ended {
            return true;
        }
        tokio::time::sleep(Duration::from_micros(300)).await;
    }
    false
}

#[tokio::test]
async fn fault_30_a_call_dropped_at_any_poll_leaves_one_event_or_was_never_begun() {
    let bench = Bench::new();
    for body in [ASK, STREAM] {
        let (mut aborted, mut times) = (0, 0);
        loop {
            let ended = bench.recorder.scope(poll_times(bench.chat(body), times)).await;
            let events = bench.recorder.take();
            assert_eq!(
                (events.len(), bench.recorder.open_calls()),
                (usize::from(times > 0), 0),
                "{times} polls"
            );
            if ended {
                assert_eq!(events[0].outcome, Outcome::Ok);
                break;
            }
            aborted += usize::from(events.first().is_some_and(|event| event.outcome == Outcome::Aborted));
            times += 1;
            assert!(times < 10_000, "it ends some day");
        }
        assert!(aborted > 0);
    }
}

#[tokio::test]
async fn fault_31_answers_that_are_not_what_they_claim_reach_the_caller_as_they_are() {
    let bench = Bench::new();
    for (answer, expected) in [
        (Answer::json("<html>"), "<html>"),
        (
            Answer::json("{\"usage\":{\"prompt_tokens\":\"many\",\"total_tokens\":-1}}"),
            "{\"usage\":{\"prompt_tokens\":\"many\",\"total_tokens\":-1}}",
        ),
        (
            Answer::json("{\"id\":\"x\",\"usage\":{\"prompt_tok").same_id(),
            "{\"id\":\"x\",\"usage\":{\"prompt_tok",
        ),
        (
            Answer::json("{\"usage\":{\"prompt_tokens\":99999999999999999999999}}"),
            "{\"usage\":{\"prompt_tokens\":99999999999999999999999}}",
        ),
        (
            Answer::sse("data: \u{fffd}\n\ndata: {\"usage\":[1]}\n\n"),
            "data: \u{fffd}\n\ndata: {\"usage\":[1]}\n\n",
        ),
        (
            // Packed in a way that no client unpacks.
            Answer::bytes("application/json", vec![0x1f_u8, 0x8b]).header("content-encoding", "compress"),
            "\u{1f}\u{fffd}",
        ),
    ] {
        bench.provider.next(answer);
        let text = bench.recorder.scope(bench.chat(ASK)).await.expect("the bytes arrive");
        assert_eq!(text, expected);
        let event = bench.event();
        assert_eq!(event.outcome, Outcome::Ok, "the call itself went well");
        assert!(event.usage_suspect, "{expected}");
    }
}

#[tokio::test]
async fn large_answers_pass_without_being_kept() {
    let bench = Bench::new();
    let numbers = "0.123456789,".repeat(2_000_000);
    let body = format!(
        "{{\"data\":[{{\"embedding\":[{numbers}0]}}],\"model\":\"text-embedding-3-small\",\"usage\":{{\"prompt_tokens\":8,\"total_tokens\":8}}}}"
    );
    bench.is_charged_for(body.into_bytes()).await;
}
