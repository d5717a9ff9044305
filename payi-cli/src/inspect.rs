//! `payi inspect`: what payi makes of recorded exchanges, by the code that reads live calls.

use std::{fs, io::Write, path::PathBuf, time::SystemTime};

use clap::Args;
use payi_core::{
    clients::Recording,
    context::Resolved,
    events::{Event, Outcome},
    ledger::read::inert,
    money::Money,
    pricing::{CostSource, Explanation, MatchKind, PriceBook},
    usage::{Usage, load_tokenizer},
};
use serde_json::{Map, Value, json};

use crate::{
    Failure,
    args::Book,
    output::{Terminal, columns},
    server, when,
};

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Recorded exchanges: one JSON object per file, with `request` and `response`, or with a realtime session's `frames`.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// When the calls were made, which decides their prices: a time, a day (UTC) or an age; now, where it is left out.
    #[arg(long, value_name = "WHEN", value_parser = when::utc)]
    at: Option<SystemTime>,
    #[command(flatten)]
    book: Book,
    /// Table, JSON (one object per line), CSV or Markdown; a table on a terminal, else JSON.
    #[arg(long, value_enum)]
    format: Option<columns::Format>,
}

pub(crate) fn run(
    args: &Inspect,
    terminal: Option<Terminal>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), Failure> {
    let book = args.book.read()?;
    let at = args.at.unwrap_or_else(SystemTime::now);
    let default = if terminal.is_some() { columns::Format::Table } else { columns::Format::Jsonl };
    let format = args.format.unwrap_or(default);
    let mut refused = false;
    let mut found = Vec::new();
    for path in &args.files {
        let read = fs::read_to_string(path).map_err(|e| e.to_string());
        let events = read.and_then(|text| replay(&text, book, at).map_err(|e| e.to_string()));
        match events {
            Ok(events) => {
                let seen = Seen::of(path.display().to_string(), &events, book);
                match format {
                    columns::Format::Json | columns::Format::Jsonl => writeln!(out, "{}", seen.object())?,
                    _ => found.push(seen.row()),
                }
            }
            Err(why) => {
                refused = true;
                writeln!(err, "payi: {}: {why}", inert(&path.display().to_string()))?;
            }
        }
    }
    if !found.is_empty() {
        let heads = ["File", "Provider", "Model", "Outcome", "Source", "Warnings", "In", "Out", "Cost USD"];
        let table = columns::Table {
            columns: heads.map(columns::Column::new).into(),
            names: 0..6,
            rows: found,
            footer: None,
            notes: Vec::new(),
        };
        table.write(format, terminal, out)?;
    }
    out.flush()?;
    if refused { Err(Failure::Found) } else { Ok(()) }
}

fn replay(text: &str, book: &'static PriceBook, at: SystemTime) -> payi_core::Result<Vec<Event>> {
    let recording = Recording::read(text)?;
    let events = recording.replay(book, at)?;
    if events.iter().any(|event| event.usage_estimated) {
        // Only now, because most recordings say their usage, and the vocabulary takes its time.
        load_tokenizer();
        return recording.replay(book, at);
    }
    Ok(events)
}

/// What one file holds: an exchange, or all responses of a session together.
struct Seen<'e> {
    file: String,
    events: &'e [Event],
    usage: Usage,
    cost: Option<Money>,
    source: CostSource,
    warnings: Vec<String>,
}

impl<'e> Seen<'e> {
    fn of(file: String, events: &'e [Event], book: &PriceBook) -> Self {
        let mut usage = Usage::new();
        let mut warnings: Vec<String> = Vec::new();
        for event in events {
            usage += event.usage;
            let warned = warnings_of(event, book).into_iter();
            warnings.extend(warned.filter(|w| !warnings.contains(w)).collect::<Vec<_>>());
        }
        if events.is_empty() {
            warnings.push("there is no response in it".to_owned());
        }
        let costs = || events.iter().filter_map(|event| event.cost.known());
        let sources = || events.iter().map(|event| event.cost.source);
        let first = sources().next().unwrap_or(CostSource::Unpriced);
        // A sum is known as well as its parts are: all alike, or else an estimate.
        let source = match costs().count() {
            0 => CostSource::Unpriced,
            _ if sources().all(|source| source == first) => first,
            _ => CostSource::Estimated,
        };
        Self { file, events, usage, cost: costs().reduce(|a, b| a + b), source, warnings }
    }

    fn said<'a>(&'a self, what: impl Fn(&'a Event) -> Option<&'a str>) -> Option<&'a str> {
        self.events.iter().find_map(what)
    }

    fn model(&self) -> Option<&str> {
        self.said(|event| event.response_model.as_deref().or(event.request_model.as_deref()))
    }

    /// How it ended; how the first of them ended that did not end well.
    fn outcome(&self) -> Option<&'static str> {
        let outcomes = || self.events.iter().map(|event| event.outcome);
        outcomes().find(|o| *o != Outcome::Ok).or_else(|| outcomes().next()).map(Outcome::name)
    }

    fn object(&self) -> Value {
        let tokens: Map<String, Value> =
            self.usage.iter().map(|(bucket, n)| (bucket.name().to_owned(), n.into())).collect();
        let mut object = json!({
            "file": self.file,
            "provider": self.said(|event| Some(&*event.provider)),
            "model": self.model(),
            "operation": self.said(|event| Some(&*event.operation)),
            "outcome": self.outcome(),
            "tokens": tokens,
            "input_tokens": self.usage.input_tokens(),
            "output_tokens": self.usage.output_tokens(),
            "cost_usd": self.cost.map(|cost| cost.to_string()),
            "source": self.source.name(),
            "warnings": self.warnings,
        });
        if let (true, Some(object)) = (self.events.len() > 1, object.as_object_mut()) {
            object.insert("responses".to_owned(), self.events.len().into());
        }
        object
    }

    fn row(&self) -> Vec<String> {
        let name = |text: Option<&str>| text.unwrap_or("-").to_owned();
        vec![
            self.file.clone(),
            name(self.said(|event| Some(&*event.provider))),
            name(self.model()),
            name(self.outcome()),
            self.source.name().to_owned(),
            self.warnings.join("; "),
            self.usage.input_tokens().to_string(),
            self.usage.output_tokens().to_string(),
            self.cost.map_or_else(|| "unpriced".into(), server::money),
        ]
    }
}

/// What a reader should know before he trusts the figures of an event.
fn warnings_of(event: &Event, book: &PriceBook) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |said: bool, what: &str| {
        if said {
            warnings.push(what.to_owned());
        }
    };
    warn(event.usage_suspect, "the counts contradict each other, or the answer could not be read to its end");
    warn(event.usage_estimated, "the answer does not say all of its usage; it is estimated");
    let silent = event.usage.is_empty() && event.outcome == Outcome::Ok && event.reported_cost.is_none();
    let free = event.cost.source == CostSource::Computed && event.cost.amount == Money::ZERO;
    warn(silent && !free, "the answer says nothing of its usage");
    if let (Outcome::Failed, Some(error)) = (event.outcome, &event.error) {
        warnings.push(format!("failed: {error}"));
    }
    if !event.usage.is_empty() {
        warnings.extend(price_warning(event, book));
    }
    warnings
}

fn price_warning(event: &Event, book: &PriceBook) -> Option<String> {
    let explained = server::explanations_of(event, &Resolved::default(), book);
    let reported = event.cost.source == CostSource::Reported;
    match server::sum_of(&explained).known() {
        None if reported => return None,
        None => return Some(missing_price(event, &explained)),
        Some(sum) if reported => {
            return (Some(sum) != event.reported_cost).then(|| format!("the book makes it {sum} USD"));
        }
        Some(_) => {}
    }
    let found = explained.iter().find_map(|part| match &part.matched {
        None => Some("the book has no price for one of its models".to_owned()),
        Some(matched) if matched.kind == MatchKind::Similar => {
            Some(format!("priced as {}, whose name is only similar", matched.model))
        }
        Some(_) => unpriced_item(part),
    });
    let assumed =
        event.cost.source == CostSource::Estimated && !event.usage_estimated && !event.usage_suspect;
    found.or_else(|| {
        assumed.then(|| {
            "its price is assumed: the book has none that is sure for its time, tier or region".into()
        })
    })
}

/// Why an answer whose usage is known has no price.
fn missing_price(event: &Event, explained: &[Explanation]) -> String {
    if event.response_model.is_none() && event.request_model.is_none() {
        return "it names no model, and so has no price".to_owned();
    }
    let unpriced = explained.iter().filter(|part| part.matched.is_some()).find_map(unpriced_item);
    unpriced.unwrap_or_else(|| "the book has no price for the model".to_owned())
}

/// What of its usage has no price.
fn unpriced_item(explanation: &Explanation) -> Option<String> {
    let line = explanation.lines.iter().find(|line| line.amount.is_none())?;
    Some(format!("the book has no price for its {}", line.item))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use serde_json::Value;

    use crate::execute;

    fn inspect(files: &[(&str, &str)], more: &[&str]) -> (u8, String, String) {
        let folder =
            std::env::temp_dir().join(format!("payi-inspect-{}-{}", std::process::id(), files.len()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut args: Vec<String> =
            ["payi", "inspect", "--at", "2026-11-23T12:00:00Z"].map(Into::into).into();
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        for (name, text) in files {
            std::fs::write(folder.join(name), text).unwrap();
            args.push(folder.join(name).display().to_string());
        }
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = execute(args, None, &mut out, &mut err);
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    const CHAT: &str = r#"{"request": {"method": "POST", "url": "https://api.openai.com/v1/chat/completions", "body": {"model": "gpt-4o"}},
        "response": {"status": 200, "headers": {}, "body": {"model": "gpt-4o-2024-08-06", "usage": {"prompt_tokens": 100, "completion_tokens": 30,
            "total_tokens": 130, "prompt_tokens_details": {"cached_tokens": 64}}}}}"#;
    const REFUSED: &str = r#"{"request": {"method": "POST", "url": "https://api.anthropic.com/v1/messages", "body": {"model": "claude-opus-5"}},
        "response": {"status": 429, "body": {"error": {"type": "rate_limit_error"}}}}"#;
    const SPOKEN: &str = r#"{"provider": "openai", "model": "gpt-realtime", "frames": [
        {"direction": "received", "event": {"type": "session.created", "session": {"model": "gpt-realtime", "audio": {"input": {"transcription": {"model": "whisper-1"}}}}}},
        {"direction": "received", "event": {"type": "conversation.item.input_audio_transcription.completed", "usage": {"type": "duration", "seconds": 60}}},
        {"direction": "received", "event": {"type": "response.done", "response": {"id": "resp_1", "status": "completed", "usage": {"total_tokens": 30, "input_tokens": 20,
            "output_tokens": 10, "input_token_details": {"text_tokens": 20, "audio_tokens": 0}, "output_token_details": {"text_tokens": 4, "audio_tokens": 6}}}}},
        {"direction": "received", "event": {"type": "response.done", "response": {"id": "resp_2", "status": "completed", "usage": {"total_tokens": 5, "input_tokens": 5, "output_tokens": 0}}}}]}"#;

    #[test]
    fn says_what_it_makes_of_each_file() {
        let files = [("chat", CHAT), ("refused", REFUSED), ("spoken", SPOKEN)];
        let (code, out, err) = inspect(&files, &[]);
        assert_eq!((code, &*err), (0, ""), "{out}");
        let all: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let chat = &all[0];
        assert_eq!(
            (&chat["provider"], &chat["outcome"], &chat["source"]),
            (&"openai".into(), &"ok".into(), &"computed".into())
        );
        assert_eq!(chat["tokens"], serde_json::json!({"input": 36, "cache_read": 64, "output": 30}));
        assert_eq!((&chat["cost_usd"], &chat["warnings"]), (&"0.00047".into(), &serde_json::json!([])));
        assert_eq!((&all[1]["outcome"], &all[1]["cost_usd"]), (&"failed".into(), &"0".into()));
        assert_eq!(all[1]["warnings"][0], "failed: rate_limit_error");
        // 25 text tokens in at 4, 4 out at 16 and 6 of sound at 64 USD per million; a minute at 0.36 USD per hour.
        assert_eq!((&all[2]["cost_usd"], &all[2]["responses"]), (&"0.006548".into(), &3.into()));
        let table = inspect(&files, &["--format", "table"]).1;
        assert!(
            table.contains("WARNINGS") && table.contains("rate_limit_error") && !table.contains('{'),
            "{table}"
        );
    }

    #[test]
    fn a_file_that_is_none_is_named_and_the_others_are_read() {
        let files = [("bad", "{"), ("empty", "{}"), ("good", CHAT), ("other", "[1, 2]")];
        let (code, out, err) = inspect(&files, &[]);
        assert_eq!((code, out.lines().count(), err.lines().count()), (1, 1, 3), "{err}");
        assert!(err.contains("bad: this is no recorded exchange: it cannot be read as JSON"), "{err}");
        let missing = execute(["payi", "inspect", "/no/such/file"], None, &mut Vec::new(), &mut Vec::new());
        assert_eq!(missing, 1);
    }
}
