//! Files as places to deliver to: JSON lines, and the official SDK's offline format.
//!
//! Both hold the event in the form Pay-i takes (see `wire`); a line says besides what only we know: the
//! ids, the outcome, the cost and where it comes from.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::PathBuf,
};

use serde::Serialize;

use crate::sink::{
    deliver::{Fate, Next, Pending, Place, Report, Source},
    fields::Item,
    wire::Wire,
};

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One JSON object per line.
    Lines,
    /// One JSON array, as the official SDK's `offline_instrumentation` writes it.
    Offline,
}

/// A file that events are appended to.
#[derive(Debug)]
pub(crate) struct Files {
    form: Form,
    path: PathBuf,
}

impl Files {
    pub(crate) fn new(form: Form, path: PathBuf) -> Self {
        Self { form, path }
    }

    /// The name of the cursor.
    pub(crate) const fn cursor(form: Form) -> &'static str {
        match form {
            Form::Lines => "json-lines",
            Form::Offline => "offline",
        }
    }

    fn append(&self, batch: &[&Pending]) -> io::Result<()> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&self.path)?;
        match self.form {
            Form::Lines => {
                // What a crash left half-written is ended, so that it spoils one line and not two.
                let mut text = Vec::new();
                if !ends_with(&mut file, b'\n')? {
                    text.push(b'\n');
                }
                for pending in batch {
                    serde_json::to_writer(&mut text, &Line::of(pending))?;
                    text.push(b'\n');
                }
                file.seek(SeekFrom::End(0))?;
                file.write_all(&text)?;
            }
            Form::Offline => {
                // The file is a whole array after every batch: its closing bracket is written over.
                let end = file.seek(SeekFrom::End(0))?;
                let mut text = Vec::new();
                for (i, pending) in batch.iter().enumerate() {
                    text.extend_from_slice(if end < 3 && i == 0 { b"[\n" } else { b",\n" });
                    serde_json::to_writer(&mut text, &offline(pending))?;
                }
                text.extend_from_slice(b"\n]");
                file.seek(SeekFrom::Start(if end < 3 { 0 } else { end - 2 }))?;
                file.write_all(&text)?;
            }
        }
        file.sync_data()
    }
}

fn ends_with(file: &mut File, byte: u8) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last[0] == byte)
}

impl Place for Files {
    fn name(&self) -> &'static str {
        Self::cursor(self.form)
    }

    fn deliver(&mut self, batch: &[&Pending], _source: &dyn Source) -> Report {
        match self.append(batch) {
            Ok(()) => Report::all(batch.len(), &Fate::Placed, Next::Go),
            Err(_) => Report::all(batch.len(), &Fate::Later, Next::Wait(None)),
        }
    }
}

/// An event as one line.
#[derive(Serialize)]
struct Line<'a> {
    event_id: String,
    call_id: String,
    attempt: u32,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    provider: &'a str,
    operation: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_model: Option<&'a str>,
    streamed: bool,
    usage: serde_json::Map<String, serde_json::Value>,
    /// Decimal, all digits; absent where no price is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_usd: Option<String>,
    cost_source: &'static str,
    #[serde(flatten)]
    item: serde_json::Value,
}

impl<'a> Line<'a> {
    fn of(pending: &'a Pending) -> Self {
        let event = &pending.event;
        Self {
            event_id: event.id.to_string(),
            call_id: event.call_id.to_string(),
            attempt: event.attempt,
            outcome: event.outcome.name(),
            error: event.error.as_deref(),
            provider: &event.provider,
            operation: &event.operation,
            response_model: event.response_model.as_deref(),
            streamed: event.streamed,
            usage: event.usage.iter().map(|(bucket, n)| (bucket.name().to_owned(), n.into())).collect(),
            cost_usd: event.cost.known().map(|cost| cost.to_string()),
            cost_source: event.cost.source.name(),
            item: item(pending),
        }
    }
}

fn item(pending: &Pending) -> serde_json::Value {
    let wire = Wire::new(&pending.event, &pending.who, false, |_| false);
    let item: Item<'_> = wire.item();
    serde_json::to_value(item).unwrap_or_default()
}

/// The SDK's name of one field differs from the bulk body's.
fn offline(pending: &Pending) -> serde_json::Value {
    let mut item = item(pending);
    if let Some(fields) = item.as_object_mut()
        && let Some(scope) = fields.remove("scope")
    {
        fields.insert("resource_scope".into(), scope);
    }
    item
}

#[cfg(all(test, feature = "reqwest"))]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::events::sample;

    fn pending(user: &str) -> Pending {
        Pending { seq: 1, who: sample::who(user), event: sample::chat(), again: false }
    }

    fn file(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("payi-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        path
    }

    #[test]
    fn each_event_is_a_line() {
        let path = file("lines.jsonl");
        let files = Files::new(Form::Lines, path.clone());
        files.append(&[&pending("a"), &pending("b")]).unwrap();
        // A crash in the middle of a line spoils that line only.
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"half\":").unwrap();
        files.append(&[&pending("c")]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let users: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        assert_eq!(users.iter().map(|line| &line["user_id"]).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(users[0]["units"], json!({"text": {"input": 10, "output": 5}}));
        assert_eq!(users[0]["cost_source"], "unpriced");
        assert!(users[0].get("cost_usd").is_none());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn the_offline_file_is_a_whole_array_at_every_moment() {
        let path = file("offline.json");
        let files = Files::new(Form::Offline, path.clone());
        for (round, user) in ["a", "b", "c"].into_iter().enumerate() {
            files.append(&[&pending(user), &pending(user)]).unwrap();
            let array: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            assert_eq!(array.len(), 2 * (round + 1));
            assert_eq!(array.last().unwrap()["user_id"], user);
        }
        std::fs::remove_file(path).unwrap();
    }
}
