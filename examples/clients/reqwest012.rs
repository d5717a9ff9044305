//! payi with reqwest 0.12: `cargo run -p payi-client-examples --bin client-reqwest012`.

use payi::testing::Provider;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let payi = payi::instrument().in_memory().start()?;
    let provider = Provider::start()?; // api.anthropic.com, with a key of yours
    let http = payi::reqwest012::Client::from(reqwest012::Client::new()); // the one line
    let body = serde_json::json!({
        "model": "claude-sonnet-4-5",
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": "Summarise this."}],
        "stream": true,
    });
    payi::track_context!(user_id = "ada", {
        let mut answer = http.post(format!("{}/v1/messages", provider.url())).json(&body).send().await?;
        let receipt = payi::receipt(&answer).ok_or("not tracked")?;
        while let Some(_piece) = answer.chunk().await? {}
        println!("cost: {} USD", receipt.settled().await.cost.amount);
    });
    payi.shutdown().await?;
    Ok(())
}
