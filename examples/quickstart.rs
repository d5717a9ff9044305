//! payi in one program: fourteen calls, four users, one table of who spent what.
//!
//!     cargo run --example quickstart
//!
//! With `OPENAI_API_KEY` set it talks to OpenAI (or to `OPENAI_BASE_URL`); without, to a stand-in on
//! loopback, so that it costs nothing and needs no network. The calls are real HTTP either way, and
//! everything that happens to them happens in this one file.

use std::{env, error::Error};

use payi::testing::{Answer, Provider};
use serde_json::{Value, json};

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// Whoever your service knows as its user.
struct User {
    id: &'static str,
    tenant: &'static str,
    plan: &'static str,
}

const ADA: User = User { id: "ada", tenant: "analytical-engines", plan: "pro" };
const GRACE: User = User { id: "grace", tenant: "analytical-engines", plan: "pro" };
const ALAN: User = User { id: "alan", tenant: "bletchley", plan: "free" };
const JOAN: User = User { id: "joan", tenant: "bletchley", plan: "free" };

#[tokio::main]
async fn main() -> Result<()> {
    // Once per process. The guard writes and sends what there is when it goes.
    let guard = payi::instrument().start()?;
    let (api, stand_in) = Api::connect()?;

    // Four users at once, in one task. Each call is paid for by the user it was made for, however
    // their awaits interleave.
    let (first, ..) = tokio::try_join!(
        summarize(&api, &ADA, "Notes on the Analytical Engine"),
        summarize(&api, &GRACE, "The first compiler"),
        summarize(&api, &ALAN, "On computable numbers"),
        summarize(&api, &JOAN, "Banburismus, explained"),
    )?;
    println!("a summary for {}: {first}", ADA.id);

    // And in four tasks, on whatever thread the runtime likes.
    let tasks = [&ADA, &GRACE, &ALAN, &JOAN].map(|user| {
        let api = api.clone();
        tokio::spawn(async move { translate(&api, user, "Good morning").await })
    });
    for task in tasks {
        task.await??;
    }

    // A stream read to its end, and one whose reader has had enough: both are counted.
    println!("a chat with {}, read to its end; pieces: {}", GRACE.id, chat(&api, &GRACE, usize::MAX).await?);
    println!("a chat with {}, broken off; pieces: {}", JOAN.id, chat(&api, &JOAN, 2).await?);

    // A refusal is counted too (a real provider cannot be told to refuse, so there it succeeds) ..
    if let Some(stand_in) = &stand_in {
        let refusal = json!({"error": {"code": "rate_limit_exceeded", "message": "Slow down"}});
        stand_in.next(Answer::json(refusal.to_string()).status(429));
    }
    if let Err(error) = summarize(&api, &ALAN, "On computable numbers, again").await {
        println!("a summary for {}: {error}; trying once more", ALAN.id);
        summarize(&api, &ALAN, "On computable numbers, again").await?;
    }

    // .. and so is a call that nobody asked for: it stays in sight as `Unattributed`.
    api.ask("Are you there?").await?;

    // What a single call cost, at once and exactly.
    let answer = api.send(json!({"messages": [{"role": "user", "content": "One more"}]})).await?;
    if let Some(receipt) = payi::receipt(&answer) {
        answer.bytes().await?; // a call ends, and has a price, when its answer has been read
        println!("the last call cost {} USD\n", receipt.settled().await.cost.amount);
    }

    // Who spent what. Your service would not wait here: the ledger fills by itself.
    guard.flush(std::time::Duration::from_secs(5)).await?;
    if let Some(ledger) = guard.ledger() {
        println!("{}", ledger.users(&payi::ledger::Filter::new())?);
        let place = ledger.path().map_or("memory".into(), |path| path.display().to_string());
        println!("All of it is in {place}, and another run adds to it. Next:");
    }
    println!("  cargo run -p payi-cli -- users     the same table, with filters; --format json or csv");
    println!("  cargo run -p payi-cli -- calls     call by call, each with its outcome and cost");
    println!("  cargo run -p payi-cli -- serve     the dashboard; --open opens it in the browser");
    println!("  cargo test --workspace             what we promise, tested");
    guard.shutdown().await?;
    Ok(())
}

/// What the call is for is the same each time: it belongs on the function.
#[payi::track(use_case_name = "summarize", use_case_version = 2)]
async fn summarize(api: &Api, user: &User, text: &str) -> Result<String> {
    // Who it is for changes with each request: it belongs around the call.
    payi::track_context!(
        user_id = user.id,
        account_name = user.tenant,
        request_properties = [("plan", user.plan)],
        { api.ask(&format!("Summarize in one sentence: {text}")).await }
    )
}

#[payi::track(use_case_name = "translate")]
async fn translate(api: &Api, user: &User, text: &str) -> Result<String> {
    payi::track_context!(user_id = user.id, account_name = user.tenant, {
        api.ask(&format!("Translate into French: {text}")).await
    })
}

/// Reads a streamed answer, up to `most` pieces of it; how many it has read.
#[payi::track(use_case_name = "chat")]
async fn chat(api: &Api, user: &User, most: usize) -> Result<usize> {
    payi::track_context!(user_id = user.id, account_name = user.tenant, {
        let question = json!([{"role": "user", "content": "Tell me a long story"}]);
        let usage = json!({"include_usage": true});
        let mut answer =
            api.send(json!({"messages": question, "stream": true, "stream_options": usage})).await?;
        let mut pieces = 0;
        while pieces < most && answer.chunk().await?.is_some() {
            pieces += 1;
        }
        Ok(pieces) // `answer` is dropped here, read to its end or not
    })
}

/// Where the calls go. Of all this, `payi::reqwest` in place of `reqwest` is the only thing payi needs.
#[derive(Clone)]
struct Api {
    http: payi::reqwest::Client,
    base_url: String,
    key: String,
}

impl Api {
    fn connect() -> Result<(Self, Option<Provider>)> {
        let http = payi::reqwest::Client::new();
        if let Ok(key) = env::var("OPENAI_API_KEY") {
            let base_url = env::var("OPENAI_BASE_URL").unwrap_or_else(|_| "https://api.openai.com/v1".into());
            println!("talking to {base_url}\n");
            return Ok((Self { http, base_url, key }, None));
        }
        let stand_in = Provider::start()?;
        println!("OPENAI_API_KEY is not set: talking to a stand-in for OpenAI at {}\n", stand_in.url());
        let base_url = format!("{}/v1", stand_in.url());
        Ok((Self { http, base_url, key: "none".into() }, Some(stand_in)))
    }

    async fn send(&self, mut request: Value) -> Result<payi::reqwest::Response> {
        request["model"] = "gpt-4o-mini".into();
        let url = format!("{}/chat/completions", self.base_url);
        let answer = self.http.post(url).bearer_auth(&self.key).json(&request).send().await?;
        Ok(answer.error_for_status()?)
    }

    async fn ask(&self, question: &str) -> Result<String> {
        let request = json!({"messages": [{"role": "user", "content": question}]});
        let answer: Value = serde_json::from_str(&self.send(request).await?.text().await?)?;
        Ok(answer["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned())
    }
}
