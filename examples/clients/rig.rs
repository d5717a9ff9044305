//! payi with rig: `cargo run -p payi-client-examples --bin client-rig`.

use payi::testing::Provider;
use rig_core::{completion::CompletionRequest, providers::openai::OpenAIConfig};
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let payi = payi::instrument().in_memory().start()?;
    tracing_subscriber::registry().with(payi::tracing::layer()).init(); // the one line
    let provider = Provider::start()?; // without it: OpenAI::from_env()
    let rig = OpenAIConfig::new("key").with_base_url(format!("{}/v1", provider.url())).client();
    let model = rig.chat("gpt-4o-mini");
    payi::track_context!(user_id = "ada", {
        let answer = model.call(CompletionRequest::new("Summarise this.")).await?;
        println!("{}", answer.text());
        // A stream tells its usage when it is finished.
        let answer = model.stream(CompletionRequest::new("Summarise this."))?.finish().await?;
        println!("{}", answer.text());
    });
    println!("{:?}", payi.metrics());
    payi.shutdown().await?;
    Ok(())
}
