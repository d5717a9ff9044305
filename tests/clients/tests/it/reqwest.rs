//! reqwest 0.13: many users at once; all else about this client is tested with the main package.

use serde_json::json;

use crate::bench::Bench;

#[tokio::test]
async fn everybody_is_seen() {
    let bench = Bench::new();
    let http = payi::reqwest::Client::new();
    let url = bench.url("/v1/chat/completions");
    bench
        .everybody("reqwest 0.13", |n, stream| {
            let body = json!({"model": format!("gpt-4o-mini-{n}"), "stream": stream, "messages": []});
            let sent = http.post(&url).json(&body);
            async move { drop(sent.send().await.unwrap().bytes().await.unwrap()) }
        })
        .await;
}
