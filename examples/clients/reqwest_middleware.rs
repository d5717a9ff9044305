//! payi with reqwest-middleware: `cargo run -p payi-client-examples --bin client-reqwest-middleware`.

use payi::testing::Provider;
use reqwest_middleware::ClientBuilder;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let payi = payi::instrument().in_memory().start()?;
    let provider = Provider::start()?; // api.anthropic.com, with a key of yours
    let client = reqwest::Client::new();
    let http = ClientBuilder::new(client).with(payi::reqwest_middleware::middleware()).build(); // the one line
    for stream in [false, true] {
        let body = serde_json::json!({
            "model": "claude-sonnet-4-5",
            "max_tokens": 1024,
            "messages": [{"role": "user", "content": "Summarise this."}],
            "stream": stream,
        });
        payi::track_context!(user_id = "ada", {
            let url = format!("{}/v1/messages", provider.url());
            let answer = http.post(url).body(body.to_string()).send().await?;
            let receipt = payi::receipt(&answer).ok_or("not tracked")?;
            answer.bytes().await?;
            println!("stream: {stream}, cost: {} USD", receipt.settled().await.cost.amount);
        });
    }
    payi.shutdown().await?;
    Ok(())
}
