//! payi with gemini-rust, through a relay: `cargo run -p payi-client-examples --bin client-gemini-rust`.
#![expect(deprecated, reason = "most programs have not moved to interactions")]

use futures::StreamExt;
use gemini_rust::GeminiBuilder;
use payi::{relay::Relay, testing::Provider};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let payi = payi::instrument().in_memory().start()?;
    let provider = Provider::start()?; // without it: https://generativelanguage.googleapis.com
    let relay = Relay::to(provider.url())?; // two lines: the relay, and a client that tells it who calls
    let http = reqwest012::Client::builder().cookie_provider(relay.cookies());
    let gemini = GeminiBuilder::new("key")
        .with_model("models/gemini-2.5-flash".to_owned())
        .with_base_url(format!("{}/v1beta/", relay.url()).parse()?)
        .with_http_client(http)
        .build()?;
    payi::track_context!(user_id = "ada", {
        let answer = gemini.generate_content().with_user_message("Summarise this.").execute().await?;
        println!("{}", answer.text());
        let request = gemini.generate_content().with_user_message("Summarise this.");
        let mut pieces = request.execute_stream().await?;
        while let Some(piece) = pieces.next().await {
            print!("{}", piece?.text());
        }
        println!();
    });
    println!("{:?}", payi.metrics());
    payi.shutdown().await?;
    Ok(())
}
