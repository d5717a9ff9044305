//! Garbage: what providers, networks and callers may send, and that nobody's call suffers from it.

use std::time::{Duration, UNIX_EPOCH};

use payi::{
    events::{Event, Outcome},
    pricing::CostSource,
    testing::{Answer, Recorder, TestClock},
};

use super::{ASK, Bench, STREAM};

/// Plays an answer to a stream; the caller gets every byte of it.
async fn stream(bench: &Bench, answer: &[u8], piece: usize) -> Event {
    bench.provider.next(Answer::sse(answer.to_vec()).pieces(piece).same_id());
    let call = async {
        let sent = bench.http.post(bench.url("/v1/chat/completions")).body(STREAM).send();
        sent.await.expect("a head").bytes().await.expect("a body")
    };
    assert_eq!(&bench.recorder.scope(call).await[..], answer, "every byte reaches the caller");
    bench.event()
}

fn told(usage: &str) -> String {
    format!("data: {{\"id\":\"c\",\"model\":\"gpt-4o\",\"choices\":[],\"usage\":{usage}}}\n\n")
}

const GOOD: &str = r#"{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}"#;

#[tokio::test]
async fn fault_31_a_stream_of_garbage_is_passed_on_and_marked() {
    let bench = Bench::new();
    let text = format!(
        "data: {{\"choices\":[{{\"delta\":{{\"content\":\"Größe 漢字 🦀\"}}}}]}}\r\n\r\n{}",
        told(GOOD)
    );
    for piece in [1, 2, 3, 5, 7, 64] {
        let event = stream(&bench, text.as_bytes(), piece).await;
        assert_eq!((event.usage.input_tokens(), event.usage.output_tokens()), (9, 3), "pieces of {piece}");
        assert_eq!(
            (event.outcome, event.usage_suspect),
            (Outcome::Ok, false),
            "no mark of the end is needed"
        );
    }
    // Twice the same counts once.
    let event = stream(&bench, format!("{}{}", told(GOOD), told(GOOD)).as_bytes(), 50).await;
    assert_eq!(event.usage.output_tokens(), 3);
    // What can be read of it counts, and the rest is marked: in, out, suspect, and whether it has a price.
    for (usage, expected) in [
        ("NaN", (0, 0, false, false)),
        (r#"{"prompt_tokens":NaN,"completion_tokens":3}"#, (0, 0, true, false)),
        (r#"{"prompt_tokens":-9,"completion_tokens":3}"#, (0, 3, true, true)),
        (r#"{"prompt_tokens":18446744073709551616,"completion_tokens":3}"#, (1 << 40, 3, true, true)),
        (r#"{"prompt_tokens":1e400,"completion_tokens":3}"#, (0, 0, true, false)),
        (r#"{"prompt_tokens":{},"completion_tokens":[]}"#, (0, 0, true, true)),
        (r#"{"prompt_tokens":9,"completion_tokens":3,"total_tokens":7}"#, (9, 3, true, true)),
        (r#"{"prompt_tokens":9,"#, (0, 0, true, false)),
        ("[[[[", (0, 0, false, false)),
    ] {
        let event = stream(&bench, format!("{}data: [DONE]\n\n", told(usage)).as_bytes(), 40).await;
        let (input, output) = (event.usage.input_tokens(), event.usage.output_tokens());
        let found = (input, output, event.usage_suspect, event.cost.source == CostSource::Estimated);
        assert_eq!(found, expected, "{usage}: {event:?}");
        assert_eq!((event.outcome, event.cost.known().is_some()), (Outcome::Ok, expected.3), "{usage}");
    }
    for bytes in [
        &b"\xff\xfe\x00data: \xf0\x9f\n\n"[..],
        b"\0\0\0\0",
        b"\r\r\r\n",
        b"data:",
        b"data: {\"usage\":{\"x\"",
    ] {
        let event = stream(&bench, bytes, 3).await;
        assert_eq!(event.outcome, Outcome::Ok, "{bytes:?}");
        assert!(event.usage.output_tokens() == 0 && event.cost.source != CostSource::Computed, "{bytes:?}");
    }
}

#[tokio::test]
async fn fault_31_lines_and_bodies_of_a_hundred_megabytes_pass_without_being_kept() {
    let bench = Bench::new();
    let mut line = b"data: {\"x\":\"".to_vec();
    line.resize(100 << 20, b'y');
    line.extend_from_slice(b"\"}\n\n");
    line.extend_from_slice(told(GOOD).as_bytes());
    let event = stream(&bench, &line, 1 << 20).await;
    assert_eq!((event.usage.output_tokens(), event.outcome), (3, Outcome::Ok));
    let mut body = b"{\"data\":\"".to_vec();
    body.resize(100 << 20, b'y');
    body.extend_from_slice(b"\",\"model\":\"gpt-4o\",\"usage\":{\"prompt_tokens\":8,\"total_tokens\":8}}");
    bench.is_charged_for(body).await;
}

#[tokio::test]
async fn fault_32_a_model_without_a_price_is_unpriced_and_a_change_in_flight_is_not_seen() {
    let mut bench = Bench::new();
    let answer = |model: &str| {
        format!(
            r#"{{"model":"{model}","usage":{{"prompt_tokens":1000000,"completion_tokens":0,"total_tokens":1000000}}}}"#
        )
    };
    bench.provider.next(Answer::json(answer("a-model-of-tomorrow")));
    bench.recorder.scope(bench.chat(r#"{"model":"a-model-of-tomorrow"}"#)).await.expect("an answer");
    let event = bench.event();
    assert_eq!((event.cost.source, event.cost.known()), (CostSource::Unpriced, None));
    assert_eq!(event.usage.input_tokens(), 1_000_000);

    // The price of gpt-5.6-sol fell at midnight; a call that began a second before pays the old one.
    let midnight = UNIX_EPOCH + Duration::from_secs(1_787_270_400);
    let mut costs = Vec::new();
    for begins in [midnight - Duration::from_secs(1), midnight] {
        let clock = TestClock::at(begins);
        bench.recorder = Recorder::new().clock(clock.clone());
        bench.provider.next(Answer::json(answer("gpt-5.6-sol")));
        let call = async {
            let sent = bench.http.post(bench.url("/v1/chat/completions")).body(r#"{"model":"gpt-5.6-sol"}"#);
            let answer = sent.send().await.expect("a head");
            clock.advance(Duration::from_secs(3_600));
            answer.bytes().await.expect("a body");
        };
        bench.recorder.scope(call).await;
        costs.push(bench.event().cost.amount.to_string());
    }
    assert_eq!(costs, ["10", "8"]);
}

#[tokio::test]
async fn fault_33_values_that_no_header_can_carry_split_nothing_and_stop_nothing() {
    let bench = Bench::new();
    let long = "x".repeat(64 * 1024);
    let values = [
        "a\r\nx-injected: 1",
        "a\nb",
        "nul\0nul",
        &long,
        "🦀🦀",
        "\u{202e}gnitseretni",
        "caf\u{e9}",
        "cafe\u{301}",
        "quo\"te%0d%0a",
    ];
    let mut seen = Vec::new();
    for value in values {
        for proxy in [false, true] {
            let call =
                async { payi::track_context!(user_id = value, proxy = proxy, { bench.chat(ASK).await }) };
            bench.recorder.scope(call).await.expect("the call proceeds");
            let event = bench.event();
            assert_eq!(event.outcome, Outcome::Ok);
            let request = bench.provider.requests().pop().expect("a request");
            let ours =
                request.headers.iter().find(|(name, _)| name.starts_with("xproxy") || name == "x-injected");
            assert!(ours.is_none(), "{value:?} is nobody else's business");
            seen.push(event.context.resolve().user_id.map(|id| id.to_string()));
        }
    }
    assert!(seen.iter().all(Option::is_some));
    assert_ne!(seen[12], seen[14], "composed and decomposed are two people");
}
