//! payi with ollama-rs, through a relay: `cargo run -p payi-client-examples --bin client-ollama-rs`.

use futures::StreamExt;
use ollama_rs::{
    Ollama,
    generation::chat::{ChatMessage, request::ChatMessageRequest},
};
use payi::{relay::Relay, testing::Provider};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let payi = payi::instrument().in_memory().start()?;
    let provider = Provider::start()?; // without it: http://127.0.0.1:11434
    let relay = Relay::to(provider.url())?; // two lines: the relay, and a client that tells it who calls
    let http = reqwest012::Client::builder().cookie_provider(relay.cookies()).build()?;
    let ollama = Ollama::builder().url(relay.url()).reqwest_client(http).build();
    let hello = vec![ChatMessage::user("Summarise this.".to_owned())];
    let request = ChatMessageRequest::new("llama3.2".to_owned(), hello);
    payi::track_context!(user_id = "ada", {
        let answer = ollama.send_chat_messages(request.clone()).await?;
        println!("{}", answer.message.content);
        let mut pieces = ollama.send_chat_messages_stream(request).await?;
        while let Some(piece) = pieces.next().await {
            print!("{}", piece.map_err(|()| "the stream broke off")?.message.content);
        }
        println!();
    });
    println!("{:?}", payi.metrics());
    payi.shutdown().await?;
    Ok(())
}
