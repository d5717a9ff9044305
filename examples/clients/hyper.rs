//! payi with hyper's client, or any other tower service: `cargo run -p payi-client-examples --bin client-hyper`.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use payi::{testing::Provider, tower::CallLayer};
use tower::{Layer, ServiceExt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let payi = payi::instrument().in_memory().stream_usage_host("127.0.0.1").start()?;
    let provider = Provider::start()?; // api.openai.com, with a key of yours
    let hyper = Client::builder(TokioExecutor::new()).build_http();
    let http = CallLayer::new().layer(hyper); // the one line
    for stream in [false, true] {
        let body = serde_json::json!({
            "model": "gpt-4o-mini",
            "messages": [{"role": "user", "content": "Summarise this."}],
            "stream": stream,
        });
        payi::track_context!(user_id = "ada", {
            let request = http::Request::post(format!("{}/v1/chat/completions", provider.url()))
                .body(Full::<Bytes>::from(body.to_string()))?;
            let answer = http.clone().oneshot(request).await?;
            let receipt = payi::receipt(&answer).ok_or("not tracked")?;
            answer.into_body().collect().await?;
            println!("stream: {stream}, cost: {} USD", receipt.settled().await.cost.amount);
        });
    }
    payi.shutdown().await?;
    Ok(())
}
