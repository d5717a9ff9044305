//! payi with reqwest 0.13: `cargo run -p payi-client-examples --bin client-reqwest`.

use payi::testing::Provider;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let payi = payi::instrument().in_memory().start()?;
    let provider = Provider::start()?; // api.openai.com, with a key of yours
    let http = payi::reqwest::Client::new(); // the one line
    for stream in [false, true] {
        let body = serde_json::json!({
            "model": "gpt-4o-mini",
            "messages": [{"role": "user", "content": "Summarise this."}],
            "stream": stream,
            "stream_options": stream.then(|| serde_json::json!({"include_usage": true})),
        });
        payi::track_context!(user_id = "ada", {
            let answer =
                http.post(format!("{}/v1/chat/completions", provider.url())).json(&body).send().await?;
            let receipt = payi::receipt(&answer).ok_or("not tracked")?;
            answer.text().await?;
            println!("stream: {stream}, cost: {} USD", receipt.settled().await.cost.amount);
        });
    }
    payi.shutdown().await?;
    Ok(())
}
