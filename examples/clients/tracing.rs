//! payi with any client that makes `gen_ai.*` spans, as rig does, and genai with its feature `otel`:
//! `cargo run -p payi-client-examples --bin client-tracing`.

use tracing::{Instrument, field::Empty, info_span};
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let payi = payi::instrument().in_memory().start()?;
    tracing_subscriber::registry().with(payi::tracing::layer()).init(); // the one line

    payi::track_context!(user_id = "ada", {
        model_call().await;
    });
    println!("{:?}", payi.metrics());
    payi.shutdown().await?;
    Ok(())
}

/// What rig or genai does inside.
async fn model_call() {
    let span = info_span!(
        "chat",
        gen_ai.operation.name = "chat",
        gen_ai.provider.name = "openai",
        gen_ai.request.model = "gpt-4o-mini",
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
    );
    let call = async {
        tracing::Span::current().record("gen_ai.usage.input_tokens", 1200_u64);
        tracing::Span::current().record("gen_ai.usage.output_tokens", 350_u64);
    };
    call.instrument(span).await;
}
