//! payi with genai and its feature `otel`: `cargo run -p payi-client-examples --bin client-genai`.

use futures::StreamExt;
use genai::{
    Client, ServiceTarget,
    chat::{ChatMessage, ChatOptions, ChatRequest},
    resolver::{AuthData, Endpoint},
};
use payi::testing::Provider;
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let payi = payi::instrument().in_memory().start()?;
    tracing_subscriber::registry().with(payi::tracing::layer()).init(); // the one line
    let provider = Provider::start()?; // without it: Client::default()
    let address = format!("{}/v1/", provider.url());
    let resolve = move |target: ServiceTarget| {
        let endpoint = Endpoint::from_owned(address.clone());
        Ok(ServiceTarget { endpoint, auth: AuthData::from_single("key"), ..target })
    };
    let genai = Client::builder().with_service_target_resolver_fn(resolve).build()?;
    let request = ChatRequest::new(vec![ChatMessage::user("Summarise this.")]);
    let options = ChatOptions::default().with_capture_usage(true); // for streams
    payi::track_context!(user_id = "ada", {
        let answer = genai.exec_chat("gpt-4o-mini", request.clone(), None).await?;
        println!("{}", answer.first_text().unwrap_or_default());
        let mut stream = genai.exec_chat_stream("gpt-4o-mini", request, Some(&options)).await?.stream;
        while let Some(event) = stream.next().await {
            event?;
        }
    });
    println!("{:?}", payi.metrics());
    payi.shutdown().await?;
    Ok(())
}
