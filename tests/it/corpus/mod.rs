//! Recorded answers of real providers, played to the tracked client, against two independent oracles.
//!
//! The corpus is not part of the repository (its licences are not ours); it lies beside it.

mod own;
mod realtime;
mod tables;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use payi::{
    events::{Event, Outcome},
    money::Money,
    pricing::{CostSource, PriceBook},
    reqwest::{Client, Method},
    testing::{Answer, Provider, Recorder, TestClock},
    usage::Bucket,
};
use payi_core::clients::Recording;
use serde_json::Value;

use tables::{DISPUTED, EXCEPTIONS, ODDITIES, Right, TOTALS};

/// 2026-11-23T12:00Z: the time at which the oracles priced.
const PRICED_AT: Duration = Duration::from_secs(1_795_435_200);

fn beside(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(path);
    let found = path.exists();
    if !found {
        eprintln!("SKIPPED: {} is missing, so recorded answers are NOT tested", path.display());
    }
    found.then_some(path)
}

/// What the oracles say, by file.
fn expected(path: &Path) -> BTreeMap<String, Value> {
    let text = fs::read_to_string(path).expect("readable");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.map(|line| (line["file"].as_str().expect("a name").to_owned(), line)).collect()
}

/// The address of an exchange, at its own host, which the client takes to be the provider on loopback.
fn address(exchange: &Value, provider: &Provider) -> String {
    let url = exchange["request"]["url"].as_str().expect("an address");
    let (host, path) = url.split("://").nth(1).and_then(|rest| rest.split_once('/')).expect("a path");
    let host = host.split(':').next().unwrap_or_default();
    let port = provider.url().rsplit(':').next().unwrap_or_default();
    format!("http://{host}:{port}/{path}")
}

/// A client that finds every host of the corpus on loopback.
fn client(provider: &Provider, exchanges: &[(String, String, Value)]) -> Client {
    let loopback: std::net::SocketAddr = provider.url()["http://".len()..].parse().expect("an address");
    // The provider's TLS is none, but reqwest must be able to be made.
    let _ = Client::new();
    let hosts = exchanges.iter().map(|(_, _, exchange)| address(exchange, provider));
    let builder = hosts.fold(reqwest::Client::builder(), |builder, url| {
        let host = url["http://".len()..].split(':').next().unwrap_or_default().to_owned();
        builder.resolve(&host, loopback)
    });
    Client::from(builder.build().expect("a client"))
}

/// Plays one exchange and returns the event that it left.
async fn play(provider: &Provider, http: &Client, exchange: &Value, text: &str) -> Event {
    let clock = TestClock::at(UNIX_EPOCH + PRICED_AT);
    let recorder = Recorder::new().clock(clock);
    provider.next(Answer::sample(text).expect("an exchange").pieces(700).same_id());
    let address = address(exchange, provider);
    let method: Method = exchange["request"]["method"].as_str().expect("a method").parse().expect("a method");
    recorder
        .scope(async {
            let asked = http.request(method, address);
            let body = &exchange["request"]["body"];
            let answer = if body.is_object() { asked.json(body).send() } else { asked.send() };
            let got = answer.await.expect("an answer").bytes().await.expect("a body");
            let sent = &exchange["response"];
            let packed = !sent["body_base64"].is_null()
                || sent["headers"]["content-type"] == "application/vnd.amazon.eventstream";
            if !packed {
                let length =
                    sent["body_text"].as_str().map_or_else(|| sent["body"].to_string().len(), str::len);
                assert_eq!(got.len(), length, "the caller gets every byte");
            }
        })
        .await;
    let events = recorder.take();
    assert_eq!((events.len(), recorder.open_calls()), (1, 0), "one event per attempt");
    events.into_iter().next().expect("one")
}

/// Our buckets against an oracle's counts, whose totals contain their parts.
fn same_tokens(event: &Event, oracle: &Value) -> Result<(), String> {
    let n = |key: &str| oracle[key].as_u64().unwrap_or(0);
    let of = |bucket| event.usage.get(bucket);
    for (what, ours, theirs) in [
        ("input", event.usage.input_tokens(), n("input_tokens")),
        ("output", event.usage.output_tokens(), n("output_tokens")),
        (
            "cache read",
            of(Bucket::CacheRead) + of(Bucket::AudioCacheRead) + of(Bucket::ImageCacheRead),
            n("cache_read_tokens"),
        ),
        ("cache write", of(Bucket::CacheWrite) + of(Bucket::CacheWrite1h), n("cache_write_tokens")),
        ("cache write 1h", of(Bucket::CacheWrite1h), n("cache_write_1h_tokens")),
        ("reasoning", of(Bucket::Reasoning), n("output_reasoning_tokens")),
        ("audio input", of(Bucket::AudioInput) + of(Bucket::AudioCacheRead), n("input_audio_tokens")),
        ("image input", of(Bucket::ImageInput) + of(Bucket::ImageCacheRead), n("input_image_tokens")),
        ("web searches", of(Bucket::WebSearches), n("web_searches")),
    ] {
        if ours != theirs {
            return Err(format!("{what}: {ours}, the oracle says {theirs}"));
        }
    }
    Ok(())
}

/// Equal to nine digits: the oracles compute in floating point.
fn same_cost(event: &Event, oracle: &str) -> Result<(), String> {
    let theirs: f64 = oracle.parse().expect("an amount");
    let ours: f64 = event.cost.amount.to_string().parse().expect("an amount");
    if event.cost.source == CostSource::Unpriced || (ours - theirs).abs() > theirs.abs() * 1e-9 {
        return Err(format!("cost: {ours} ({}), the oracles say {theirs}", event.cost.source.name()));
    }
    Ok(())
}

/// What came of one sample: whether its tokens, and its cost, could be and were compared.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is counted by itself")]
struct Compared {
    tokens: bool,
    agreed: bool,
    disputed: bool,
    excepted: bool,
    wrong: Vec<String>,
}

/// Where the oracles disagree, the answer's own figure is right, or the one in the table.
fn disputed(name: &str, event: &Event, oracle: &Value) -> Result<(), String> {
    if event.cost.source == CostSource::Reported {
        return Ok(());
    }
    let row = DISPUTED.iter().find(|(file, ..)| *file == name);
    let (_, cost, right, why) = row.ok_or("the oracles disagree, and nobody says who is right")?;
    let said = event.cost.known().map(|amount| amount.to_string());
    if said.as_deref() != Some(cost) {
        return Err(format!("{said:?} instead of {cost}: {why}"));
    }
    let as_theirs = |which: &str| same_cost(event, oracle[which]["cost"].as_str().expect("a cost")).is_ok();
    let theirs = match (as_theirs("genai"), as_theirs("litellm")) {
        (true, _) => Right::Genai,
        (_, true) => Right::Litellm,
        _ => Right::Neither,
    };
    if theirs == *right {
        Ok(())
    } else {
        Err(format!("as {theirs:?} has it, and {right:?} is said to be right"))
    }
}

/// What the answer itself says of its tokens and its cost, and what the replay makes of it, are what the call made.
fn own_figures(name: &str, event: &Event, text: &str, exchange: &Value, count: &mut Count) {
    let tokens = event.usage.input_tokens() + event.usage.output_tokens();
    let excepted = TOTALS.iter().any(|(file, _)| *file == name);
    // What is shown again, or counted in advance, was billed when it was made.
    let billed = tokens > 0 || event.cost.source != CostSource::Computed;
    if let (true, Some(total)) = (billed, own::total(exchange)) {
        count.totals += usize::from(!excepted);
        count.check(
            name,
            excepted != (total == tokens),
            &format!("{tokens} tokens, the provider says {total}"),
        );
    }
    if let Some(cost) = own::cost(exchange) {
        count.reported += 1;
        let same = event.cost.source == CostSource::Reported && event.cost.amount == cost;
        count.check(name, same, &format!("{} USD, the provider says {cost}", event.cost.amount));
    }
    let replayed = Recording::read(text)
        .and_then(|recording| recording.replay(PriceBook::embedded(), UNIX_EPOCH + PRICED_AT));
    let replayed = replayed.expect("an exchange");
    let key = |e: &Event| {
        let model = e.response_model.clone().or_else(|| e.request_model.clone().map(Into::into));
        (
            e.provider.clone(),
            model,
            e.outcome,
            e.usage,
            e.cost,
            e.reported_cost,
            e.usage_suspect,
            e.error.clone(),
        )
    };
    count.check(name, replayed.len() == 1 && key(&replayed[0]) == key(event), "replayed, it is another");
}

fn compare(name: &str, event: &Event, oracle: Option<&Value>) -> Compared {
    let mut compared = Compared::default();
    if event.outcome != Outcome::Ok && !ODDITIES.iter().any(|(file, _)| *file == name) {
        compared.wrong.push(format!("{:?} {:?}", event.outcome, event.error));
    }
    if let Some((_, cost, _)) = EXCEPTIONS.iter().find(|(file, ..)| *file == name) {
        compared.excepted = true;
        let said = event.cost.known().map_or_else(|| "unpriced".to_owned(), |amount| amount.to_string());
        if said != *cost {
            compared.wrong.push(format!("{said} instead of {cost}"));
        }
        return compared;
    }
    let Some(oracle) = oracle else { return compared };
    if oracle["agree"] == false {
        compared.disputed = true;
        compared.wrong.extend(disputed(name, event, oracle).err());
    }
    let counted = &oracle["genai"]["usage"];
    if counted.is_object() {
        compared.tokens = true;
        compared.wrong.extend(same_tokens(event, counted).err());
    }
    if oracle["agree"] == true {
        compared.agreed = true;
        let cost = oracle["genai"]["cost"].as_str().expect("a cost");
        compared.wrong.extend(same_cost(event, cost).err());
    }
    compared
}

/// The exchanges of a provider in which one of `endpoints` answered with 200.
fn exchanges(corpus: &Path, provider: &str, endpoints: &[&str]) -> Vec<(String, String, Value)> {
    let files = fs::read_dir(corpus.join(provider)).expect("readable").flatten();
    let mut names: Vec<_> = files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let read = names.into_iter().map(|name| {
        let text = fs::read_to_string(corpus.join(provider).join(&name)).expect("readable");
        let exchange: Value = serde_json::from_str(&text).expect("JSON");
        (format!("{provider}/{name}"), text, exchange)
    });
    read.filter(|(_, _, exchange)| {
        let endpoint = exchange["endpoint"].as_str().unwrap_or_default();
        endpoints.is_empty() || (exchange["response"]["status"] == 200 && endpoints.contains(&endpoint))
    })
    .collect()
}

#[tokio::test]
async fn openai_and_anthropic_match_both_oracles_wherever_they_agree() {
    let (Some(corpus), Some(oracles)) = (beside("corpus"), beside("prices/corpus_expected.jsonl")) else {
        return;
    };
    let oracles = expected(&oracles);
    let provider = Provider::start().expect("a free port");
    let mut samples = exchanges(&corpus, "openai", &["chat", "responses", "responses-compact"]);
    samples.extend(exchanges(&corpus, "anthropic", &["messages"]));
    let http = client(&provider, &samples);
    let mut count = Count::default();
    for (name, text, exchange) in &samples {
        let event = play(&provider, &http, exchange, text).await;
        count.add(name, &compare(name, &event, oracles.get(name)));
    }
    let Count { tokens, agreed, excepted, wrong, .. } = count;
    let samples = samples.len();
    assert!(wrong.is_empty(), "{} of {samples} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(samples >= 98 && agreed >= 70, "{samples} samples, {agreed} agreed: the corpus is not whole");
    println!(
        "evidence corpus-openai-anthropic: {samples} samples, tokens equal {tokens}, cost equal {agreed} of {agreed} \
         where both oracles agree, {excepted} deliberately different (each with its reason and exact cost in the test)"
    );
}

#[tokio::test]
#[ignore = "evidence"]
async fn every_provider_is_read_and_matches_the_oracles_wherever_they_agree() {
    let (Some(corpus), Some(oracles)) = (beside("corpus"), beside("prices/corpus_expected.jsonl")) else {
        return;
    };
    let oracles = expected(&oracles);
    let provider = Provider::start().expect("a free port");
    let folders = fs::read_dir(&corpus).expect("readable").flatten().filter(|f| f.path().is_dir());
    let mut folders: Vec<_> =
        folders.map(|f| f.file_name().to_string_lossy().into_owned()).filter(|f| f != "realtime").collect();
    folders.sort();
    let samples: Vec<_> = folders.iter().flat_map(|folder| exchanges(&corpus, folder, &[])).collect();
    let http = client(&provider, &samples);
    let index: Vec<Value> =
        serde_json::from_str(&fs::read_to_string(corpus.join("INDEX.json")).expect("readable"))
            .expect("JSON");
    let telling = |name: &str| {
        index.iter().any(|row| {
            row["file"] == name && row["usage_keys"].as_array().is_some_and(|keys| !keys.is_empty())
        })
    };
    let mut count = Count::default();
    for (name, text, exchange) in &samples {
        let event = play(&provider, &http, exchange, text).await;
        let refused = event.http_status.is_some_and(|status| status >= 400);
        let compared = if refused { refusal(&event) } else { compare(name, &event, oracles.get(name)) };
        count.add(name, &compared);
        own_figures(name, &event, text, exchange, &mut count);
        count.refused += usize::from(refused);
        if !refused {
            let odd = ODDITIES.iter().any(|(file, _)| file == name);
            let silent = event.usage.is_empty() && event.reported_cost.is_none();
            let nothing = event.cost.source == CostSource::Unpriced || event.cost.amount == Money::ZERO;
            let counts = event.operation.contains("count") || event.operation.contains("input_tokens");
            count.check(name, odd || !event.usage_suspect, "its usage is suspect");
            count.check(name, !silent || nothing, "no usage, but a cost");
            count.check(
                name,
                !silent || odd || counts || !telling(name),
                "it says its usage, which is not read",
            );
            count.silent += usize::from(silent);
            count.priced += usize::from(!silent && event.cost.source != CostSource::Unpriced);
        }
    }
    let sessions = realtime::sessions(&corpus, &mut count);
    let Count { tokens, agreed, disputed, excepted, refused, silent, priced, totals, reported, wrong } =
        count;
    let all = samples.len() + sessions.all;
    assert!(wrong.is_empty(), "{} of {all} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(all >= 566 && agreed >= 160, "{all} samples: the corpus is not whole");
    for (file, why) in TOTALS.iter().chain(ODDITIES) {
        println!("exception {file}: {why}");
    }
    for (file, cost, right, why) in DISPUTED {
        println!("disputed {file}: {cost} USD ({right:?}): {why}");
    }
    println!(
        "evidence corpus: {all} samples of {} providers ({} realtime sessions with {} responses), none unread; buckets sum to the provider's \
         total in {totals} of {totals}, {} exceptions; tokens as the oracle's in {tokens}; cost equal in {agreed} of {agreed} where both oracles \
         agree, the provider's own in {reported} of {reported}, as decided in {disputed} where they disagree, {excepted} deliberately different, \
         by hand in {} sessions; {} priced, {refused} refusals at no cost, {silent} that say nothing of usage",
        folders.len(),
        sessions.all,
        sessions.responses,
        TOTALS.len() + ODDITIES.len(),
        sessions.by_hand,
        priced + sessions.priced,
    );
}

#[derive(Default)]
struct Count {
    tokens: usize,
    agreed: usize,
    disputed: usize,
    totals: usize,
    reported: usize,
    excepted: usize,
    refused: usize,
    silent: usize,
    priced: usize,
    wrong: Vec<String>,
}

impl Count {
    fn add(&mut self, name: &str, compared: &Compared) {
        self.tokens += usize::from(compared.tokens);
        self.agreed += usize::from(compared.agreed);
        self.disputed += usize::from(compared.disputed);
        self.excepted += usize::from(compared.excepted);
        self.wrong.extend(compared.wrong.iter().map(|why| format!("{name}: {why}")));
    }

    fn check(&mut self, name: &str, right: bool, why: &str) {
        if !right {
            self.wrong.push(format!("{name}: {why}"));
        }
    }
}

/// A refusal costs nothing, and says why in a code.
fn refusal(event: &Event) -> Compared {
    let mut compared = Compared::default();
    if event.outcome != Outcome::Failed || event.error.is_none() || event.cost.known() != Some(Money::ZERO) {
        compared.wrong.push(format!("{:?} {:?} {:?}", event.outcome, event.error, event.cost));
    }
    compared
}
