//! payi with anthropic-ai-sdk, through a relay: `cargo run -p payi-client-examples --bin client-anthropic-ai-sdk`.

use anthropic_ai_sdk::{
    client::AnthropicClient,
    types::message::{
        CreateMessageParams, Message, MessageClient, MessageError, RequiredMessageParams, Role,
    },
};
use futures::StreamExt;
use payi::{relay::Relay, testing::Provider};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let payi = payi::instrument().in_memory().start()?;
    let provider = Provider::start()?; // without it: https://api.anthropic.com
    let relay = Relay::to(provider.url())?; // two lines: the relay, and a client that tells it who calls
    let http = reqwest012::Client::builder().cookie_provider(relay.cookies()).build()?;
    let anthropic = AnthropicClient::builder("key", AnthropicClient::DEFAULT_API_VERSION)
        .with_api_base_url(format!("{}/v1", relay.url()))
        .with_http_client(http)
        .build::<MessageError>()?;
    let request = CreateMessageParams::new(RequiredMessageParams {
        model: "claude-sonnet-4-5".to_owned(),
        messages: vec![Message::new_text(Role::User, "Summarise this.")],
        max_tokens: 1024,
    });
    payi::track_context!(user_id = "ada", {
        println!("{:?}", anthropic.create_message(Some(&request)).await?.content);
        let request = request.with_stream(true);
        let mut events = anthropic.create_message_streaming(&request).await?;
        while let Some(event) = events.next().await {
            event?;
        }
    });
    println!("{:?}", payi.metrics());
    payi.shutdown().await?;
    Ok(())
}
