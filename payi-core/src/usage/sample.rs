//! A sample of what passed by, for answers that never say how much it was.
//!
//! All of a stream cannot be kept, and counting the tokens of each piece would cost more than all the rest. So the
//! first few kilobytes are kept and the others only measured: what the sample says, the whole says as often.

use serde_json::Value;

use crate::usage::{buffer::Buffer, estimate, sse::data_lines};

/// How much of a stream, or of a request, is kept.
pub(crate) const KEPT_MAX: usize = 16 * 1024;
/// A piece of data, not of text: longer than any word, and without a space.
const DATA_MIN: usize = 256;

/// A sample of a stream's events, or of one document.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    kept: Vec<u8>,
    passed: u64,
    /// It is one document, of which only the beginning may have come.
    one: bool,
}

impl Sample {
    /// Whole events, or whole documents each on a line.
    pub(crate) fn push(&mut self, events: &[u8]) {
        self.passed += events.len() as u64;
        if self.kept.len() < KEPT_MAX {
            let room = KEPT_MAX - self.kept.len();
            let kept = &events[..events.len().min(room)];
            if self.kept.capacity() - self.kept.len() < kept.len() {
                // As a vector grows, but no further than it ever has to.
                self.kept.reserve_exact(kept.len().max(self.kept.len()).min(room));
            }
            self.kept.extend_from_slice(kept);
        }
    }

    /// One document that is an event by itself.
    pub(crate) fn document(&mut self, document: &[u8]) {
        self.push(document);
        self.push(b"\n");
    }

    /// Of one document.
    pub(crate) fn one() -> Self {
        Self { one: true, ..Self::default() }
    }

    /// The whole is known to be so long, in bytes, although less of it has come.
    pub(crate) fn expect(&mut self, length: u64) {
        self.passed = self.passed.max(length);
    }

    /// The text of a document that cannot be read as one, because its end is missing.
    fn beginning(&self) -> String {
        let (mut text, mut at) = (String::new(), 0);
        let mut key: &[u8] = b"";
        while let Some((string, end)) = next_string(&self.kept, at) {
            at = end;
            if is_key(&self.kept, end) {
                key = string;
            } else if WRITTEN.iter().any(|name| name.as_bytes() == key) && !is_data(string) {
                text.push_str(&unescaped(string));
            }
        }
        text
    }

    /// How many tokens the text of the stream, or of the document, is, about.
    pub(crate) fn tokens(&self) -> u64 {
        if self.one {
            return scaled(estimate::tokens(&self.beginning()), self.passed, self.kept.len() as u64);
        }
        let (mut text, mut read) = (String::new(), 0_u64);
        for line in self.kept.split_inclusive(|b| *b == b'\n') {
            let data = data_lines(line).next().unwrap_or(line);
            match serde_json::from_slice::<Value>(data) {
                Ok(event) => written(&event, None, &mut text),
                // The last one may be cut off, and says nothing of the others.
                Err(_) if data.starts_with(b"{") => continue,
                Err(_) => {}
            }
            read += line.len() as u64;
        }
        scaled(estimate::tokens(&text), self.passed, read)
    }
}

/// `tokens` in `part`, as many in the `whole`.
fn scaled(tokens: u64, whole: u64, part: u64) -> u64 {
    let all = u128::from(tokens) * u128::from(whole.max(part));
    u64::try_from(all.div_ceil(u128::from(part.max(1)))).unwrap_or(u64::MAX)
}

/// The names under which answers carry what the model wrote.
const WRITTEN: [&str; 19] = [
    "name",
    "content",
    "text",
    "delta",
    "arguments",
    "partial_json",
    "input_json",
    "thinking",
    "reasoning",
    "reasoning_content",
    "reasoning_text",
    "refusal",
    "completion",
    "generation",
    "outputText",
    "response",
    "input",
    "args",
    "transcript",
];

/// Appends the text that a document carries. Of what is said twice (a part, then the whole), the events that
/// repeat are left out by their type.
fn written(value: &Value, key: Option<&str>, text: &mut String) {
    match value {
        Value::String(said) if key.is_some_and(|key| WRITTEN.contains(&key)) => text.push_str(said),
        Value::Array(list) => list.iter().for_each(|inner| written(inner, key, text)),
        Value::Object(object) => {
            let kind = object.get("type").and_then(Value::as_str).unwrap_or_default();
            let repeats = [".done", ".completed", ".added", ".created", "-start", "-end"];
            if repeats.iter().any(|end| kind.ends_with(end)) {
                return;
            }
            // A call's arguments, where they are JSON themselves.
            let call = matches!(key, Some("args" | "input"));
            for (name, inner) in object {
                written(inner, Some(if call { "args" } else { name }), text);
            }
        }
        _ => {}
    }
}

/// A sample of what was asked.
#[derive(Debug)]
pub(crate) struct Prompt {
    head: Buffer,
    /// How long the whole is, without the pictures and sounds in it.
    length: u64,
}

impl Prompt {
    /// Of a request's body.
    #[inline]
    pub(crate) fn of(body: &[u8]) -> Self {
        let head = Buffer::from(&body[..body.len().min(KEPT_MAX)]);
        let data = if body.len() > KEPT_MAX { data(body) } else { 0 };
        Self { head, length: (body.len() - data) as u64 }
    }

    /// Its beginning; all of it, if it has at most [`KEPT_MAX`] bytes.
    #[cfg(feature = "_http")]
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    /// What it takes of memory, in bytes.
    #[cfg(feature = "_http")]
    pub(crate) fn size(&self) -> usize {
        self.head.capacity()
    }

    /// How many tokens it is, about, pictures and sounds aside.
    pub(crate) fn tokens(&self) -> u64 {
        let (mut text, mut turns) = (String::new(), 0);
        let mut key: &[u8] = b"";
        let mut at = 0;
        while let Some((string, end)) = next_string(&self.head, at) {
            at = end;
            let is_key = is_key(&self.head, end);
            if is_key {
                key = string;
                turns += u64::from(key == b"role");
            }
            if is_key && TOOLS.contains(&key) {
                // Read as it is written, names and all.
                let past = container_end(&self.head, end);
                text.push_str(&String::from_utf8_lossy(&self.head[end..past]));
                at = past;
                continue;
            }
            if says(key, string, is_key) {
                text.push_str(&unescaped(string));
                text.push('\n');
            }
        }
        let skipped = data(&self.head) as u64;
        let head = self.head.len() as u64 - skipped.min(self.head.len() as u64);
        // Each turn of a conversation is framed by a few tokens.
        scaled(estimate::tokens(&text) + 4 * turns, self.length, head)
    }
}

/// What requests say that the model does not read, or not as text.
const UNREAD: [&[u8]; 17] = [
    b"role",
    b"type",
    b"model",
    b"id",
    b"call_id",
    b"tool_call_id",
    b"tool_use_id",
    b"media_type",
    b"mime_type",
    b"mimeType",
    b"data",
    b"url",
    b"detail",
    b"ttl",
    b"service_tier",
    b"user",
    b"encoding_format",
];

/// Where a request describes what the model may call.
const TOOLS: [&[u8]; 4] = [b"tools", b"functions", b"toolConfig", b"response_format"];

/// Where the array or object ends that begins after `at`.
fn container_end(bytes: &[u8], at: usize) -> usize {
    let (mut depth, mut end) = (0_usize, at);
    while let Some(byte) = bytes.get(end) {
        end += 1;
        match byte {
            b'"' => end = next_string(bytes, end - 1).map_or(bytes.len(), |(_, end)| end),
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth <= 1 => return if depth == 1 { end } else { end - 1 },
            b'}' | b']' => depth -= 1,
            b',' if depth == 0 => return end - 1,
            _ => {}
        }
    }
    bytes.len()
}

/// Whether a string of a request is read by the model: values, but for those above.
fn says(key: &[u8], string: &[u8], is_key: bool) -> bool {
    !is_data(string) && !is_key && !UNREAD.contains(&key)
}

fn is_data(string: &[u8]) -> bool {
    string.len() >= DATA_MIN && !string.contains(&b' ')
}

/// Whether the string that ends at `end` is the name of a member.
fn is_key(bytes: &[u8], end: usize) -> bool {
    bytes[end..].iter().find(|b| !b.is_ascii_whitespace()) == Some(&b':')
}

/// The next string from `at` on, and what follows it; the last one may be cut off.
fn next_string(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let start = at + memchr::memchr(b'"', bytes.get(at..)?)? + 1;
    let mut end = start;
    while let Some(found) = bytes.get(end..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        end += found;
        if bytes[end] == b'"' {
            return Some((&bytes[start..end], end + 1));
        }
        end += 2;
    }
    bytes.get(start..).map(|rest| (rest, bytes.len()))
}

/// What a string says, without its quotation marks; of one that is cut off in an escape, nothing after it.
fn unescaped(string: &[u8]) -> String {
    let whole = [b"\"", string, b"\""].concat();
    serde_json::from_slice(&whole).unwrap_or_else(|_| String::from_utf8_lossy(string).into_owned())
}

/// How many bytes are data in strings: pictures, sounds, files.
fn data(body: &[u8]) -> usize {
    let (mut sum, mut from) = (0, 0);
    while let Some(hit) = memchr::memmem::find(&body[from..], b"base64,") {
        let start = from + hit;
        let end = memchr::memchr(b'"', &body[start..]).map_or(body.len(), |end| start + end);
        sum += end - start;
        from = end;
    }
    from = 0;
    while let Some(hit) = memchr::memmem::find(&body[from..], b"\"data\"") {
        let start = from + hit + 6;
        let Some((string, end)) = next_string(body, start) else { break };
        sum += string.len();
        from = end;
    }
    sum
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::{Prompt, Sample};

    fn event(text: &str) -> String {
        format!(
            "data: {}\n\n",
            serde_json::json!({"id": "c", "model": "m", "choices": [{"delta": {"content": text}}]})
        )
    }

    #[test]
    fn the_whole_is_estimated_from_its_beginning() {
        let of = |events: usize| {
            let mut sample = Sample::default();
            for _ in 0..events {
                sample.push(event("Hello there, how are you today? ").as_bytes());
            }
            assert!(sample.kept.len() <= super::KEPT_MAX);
            sample.tokens()
        };
        let (short, long) = (of(100), of(10_000));
        assert!((700..=1_000).contains(&short), "{short}");
        assert!(long.abs_diff(short * 100) < short * 5, "{long}");
        assert_eq!(Sample::default().tokens(), 0);
    }

    #[test]
    fn what_is_said_in_parts_and_again_in_whole_counts_once() {
        let mut sample = Sample::default();
        for line in [
            r#"data: {"type":"response.created","response":{"instructions":"one two three four five six seven"}}"#,
            r#"data: {"type":"response.output_text.delta","delta":"one two"}"#,
            r#"data: {"type":"response.output_text.done","text":"one two"}"#,
            r#"data: {"type":"response.completed","response":{"output":[{"content":[{"text":"one two"}]}]}}"#,
        ] {
            sample.push(format!("{line}\n\n").as_bytes());
        }
        assert!((1..=3).contains(&sample.tokens()), "{}", sample.tokens());
    }

    #[test]
    fn pictures_are_no_text() {
        let picture = "iVBORw0KGgoAAAANSUhEUg".repeat(20_000);
        let ask = |picture: &str| {
            let body = serde_json::json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": [
                {"type": "text", "text": "What is in this picture? Describe it in one short sentence."},
                {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{picture}")}},
                {"type": "image", "source": {"data": picture}}]}]});
            Prompt::of(body.to_string().as_bytes()).tokens()
        };
        let (with, without) = (ask(&picture), ask(""));
        assert!((12..=30).contains(&without), "{without}");
        assert!(with.abs_diff(without) <= 6, "{with} and {without}");
    }

    #[test]
    fn a_long_request_is_measured_by_its_beginning() {
        let text = "All work and no play makes Jack a dull boy. ".repeat(10_000);
        let body = serde_json::json!({"messages": [{"role": "user", "content": text}]}).to_string();
        let tokens = Prompt::of(body.as_bytes()).tokens();
        assert!((90_000..=135_000).contains(&tokens), "{tokens}");
        for cut in [0, 1, 9, 30, 31] {
            Prompt::of(&body.as_bytes()[..cut]).tokens();
        }
    }
}
