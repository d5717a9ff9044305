//! payi with async-openai: `cargo run -p payi-client-examples --bin client-async-openai`.

use async_openai::{
    Client,
    config::OpenAIConfig,
    types::chat::{ChatCompletionRequestUserMessageArgs, CreateChatCompletionRequestArgs},
};
use futures::StreamExt;
use payi::{ReceiptsExt, testing::Provider};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let payi = payi::instrument().in_memory().stream_usage_host("127.0.0.1").start()?;
    let provider = Provider::start()?; // without these two lines: OpenAI, with your OPENAI_API_KEY
    let config = OpenAIConfig::new().with_api_base(format!("{}/v1", provider.url()));
    let openai = Client::with_config(config).with_http_service(payi::async_openai::service()); // the one line
    let message = ChatCompletionRequestUserMessageArgs::default().content("Summarise this.").build()?;
    let request =
        CreateChatCompletionRequestArgs::default().model("gpt-4o-mini").messages([message.into()]).build()?;

    payi::track_context!(user_id = "ada", {
        let (answer, receipts) = openai.chat().create(request.clone()).with_receipts().await;
        println!("{} choice", answer?.choices.len());
        for receipt in receipts {
            println!("cost: {} USD", receipt.settled().await.cost.amount);
        }
        let mut stream = openai.chat().create_stream(request).await?;
        while let Some(chunk) = stream.next().await {
            print!("{}", chunk?.choices[0].delta.content.as_deref().unwrap_or_default());
        }
        println!();
    });
    payi.shutdown().await?;
    Ok(())
}
