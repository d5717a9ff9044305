//! payi with the AWS SDK's Bedrock: `cargo run -p payi-client-examples --bin client-bedrock`.

use aws_credential_types::Credentials;
use aws_sdk_bedrockruntime::{
    Client, Config,
    config::{BehaviorVersion, Region},
    types::{ContentBlock, ConversationRole, Message},
};
use payi::{ReceiptsExt, testing::Provider};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let payi = payi::instrument().in_memory().start()?;
    let provider = Provider::start()?; // with an account: aws_config::load_from_env(), and only the one line
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(provider.url())
        .credentials_provider(Credentials::new("id", "secret", None, None, "example"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .interceptor(payi::aws::interceptor()) // the one line
        .build();
    let bedrock = Client::from_conf(config);
    let hello = ContentBlock::Text("Summarise this.".to_owned());
    let message = Message::builder().role(ConversationRole::User).content(hello).build()?;
    payi::track_context!(user_id = "ada", {
        let call = bedrock.converse().model_id("amazon.nova-lite-v1:0").messages(message.clone());
        let (answer, receipts) = call.send().with_receipts().await;
        println!("{:?}, cost: {} USD", answer?.stop_reason(), receipts[0].settled().await.cost.amount);
        let call = bedrock.converse_stream().model_id("amazon.nova-lite-v1:0").messages(message);
        let (answer, receipts) = call.send().with_receipts().await;
        let mut events = answer?.stream;
        while events.recv().await?.is_some() {}
        println!("stream, cost: {} USD", receipts[0].settled().await.cost.amount);
    });
    payi.shutdown().await?;
    Ok(())
}
