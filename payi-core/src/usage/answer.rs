//! What is read in an answer, of any provider: one table of keys, folded into one [`Reading`].
//!
//! A JSON answer is one document, a stream is a row of them; each is absorbed in turn. Counts in
//! streams are cumulative, so that a later one overwrites an earlier one and nothing is ever added.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde_json::{Map, Value};

use crate::usage::{
    Api, Bucket, Reading, anthropic, gemini, guardrail,
    keys::{COSTS, Key},
    openai, others,
    pick::Picker,
    tree::{Object, Tree, Value as Node},
};

/// What the names of costs have in common; made once, because that is most of a search.
static COST: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"cost"));

/// What has been read so far.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) reading: Reading,
    /// One JSON object, as it was written; nothing until there was one.
    usage: Vec<u8>,
    web_searches: u64,
    file_searches: u64,
    /// The document, or the event that ends a stream, has been seen.
    pub(crate) complete: bool,
    /// Some document could be read.
    pub(crate) seen: bool,
}

impl Answer {
    /// Whether a stream has said who answers.
    pub(crate) fn is_named(&self) -> bool {
        self.reading.response_id.is_some() && self.reading.model.is_some()
    }

    /// Takes in one document.
    pub(crate) fn absorb(&mut self, api: Api, picked: &Picker<Key>) {
        self.seen |= picked.is_done();
        for (name, slot) in [
            (Key::Id, &mut self.reading.response_id),
            (Key::Model, &mut self.reading.model),
            (Key::Tier, &mut self.reading.service_tier),
        ] {
            if let Some(text) = picked.text(name) {
                *slot = Some(text);
            }
        }
        match picked.last(Key::Usage) {
            Some(raw) => self.absorb_usage(api, raw),
            None => self.absorb_counts(api, picked),
        }
        self.absorb_tools(picked);
        guardrail::absorb(picked, &mut self.reading);
        if let Some(code) = picked.last(Key::Error).and_then(error_code) {
            self.reading.error = Some(code);
            self.complete = true;
        }
        let is = |name, word: &[u8]| picked.last(name).is_some_and(|raw| raw == word);
        if is(Key::Status, b"\"failed\"") && self.reading.error.is_none() {
            self.reading.error = Some("failed".into());
        }
        let ends: [&[u8]; 7] = [
            b"\"message_stop\"",
            b"\"message-end\"",
            b"\"interaction.completed\"",
            b"\"response.completed\"",
            b"\"response.incomplete\"",
            b"\"response.failed\"",
            b"\"error\"",
        ];
        self.complete |=
            picked.last(Key::Type).is_some_and(|kind| ends.contains(&kind)) || is(Key::Done, b"true");
        self.reading.background |= is(Key::Background, b"true");
        self.reading.inconsistent |= picked.is_clipped() && picked.last(Key::Usage).is_none();
    }

    fn absorb_usage(&mut self, api: Api, raw: &[u8]) {
        if raw == b"null" {
            return;
        }
        if !raw.starts_with(b"{") {
            self.reading.malformed = true;
            return;
        }
        if api == Api::Messages {
            // Field by field, because the last event of a stream leaves out what has not changed.
            self.lay_over(raw);
        } else {
            self.usage.clear();
            self.usage.extend_from_slice(raw);
        }
        // Few hosts say what they charge: no second walk for the many that do not.
        if COST.find(raw).is_some()
            && let Some(cost) = reported_cost(&Picker::over(COSTS, raw))
        {
            self.reading.reported_cost = Some(cost);
        }
    }

    /// Lays the members of an object, but for those that are null, over those of the usage so far.
    fn lay_over(&mut self, raw: &[u8]) {
        if self.usage.is_empty() {
            self.usage = raw.to_vec();
            return;
        }
        let object = |raw| serde_json::from_slice::<Map<String, Value>>(raw);
        match (object(&self.usage), object(raw)) {
            (Ok(mut usage), Ok(later)) => {
                usage.extend(later.into_iter().filter(|(_, value)| !value.is_null()));
                self.usage = Value::Object(usage).to_string().into_bytes();
            }
            _ => self.reading.malformed = true,
        }
    }

    /// Counts that stand outside a usage.
    fn absorb_counts(&mut self, api: Api, picked: &Picker<Key>) {
        if let Some(raw) = picked.last(Key::Billed).or_else(|| picked.last(Key::Metrics)) {
            if self.usage.is_empty() && raw.starts_with(b"{") {
                self.usage = raw.to_vec();
            }
            return;
        }
        if let (Api::Audio, Some(raw)) = (api, picked.last(Key::Duration)) {
            self.lay_over(&member("seconds", raw));
        }
        let flat = |name| {
            let counts = picked.all().filter(|(key, _)| *key == name);
            let counts = counts.filter_map(|(_, raw)| Tree::read(raw)?.value().map(number));
            counts.reduce(u64::saturating_add)
        };
        for (key, n) in [("input_tokens", flat(Key::FlatInput)), ("output_tokens", flat(Key::FlatOutput))] {
            if let Some(n) = n {
                self.lay_over(&member(key, n.to_string().as_bytes()));
            }
        }
    }

    /// Counts the searches among the items of an output.
    fn absorb_tools(&mut self, picked: &Picker<Key>) {
        if picked.last(Key::Item).is_none() {
            return;
        }
        let (mut web, mut files) = (0, 0);
        let mut item = (false, false, true);
        for (name, raw) in picked.all().chain([(Key::Item, &b""[..])]) {
            match name {
                Key::Item => {
                    web += u64::from(item.0 && item.2);
                    files += u64::from(item.1);
                    item = (false, false, true);
                }
                Key::ItemType => {
                    item.0 = raw == b"\"web_search_call\"";
                    item.1 = raw == b"\"file_search_call\"";
                }
                // Opening a found page is not billed as a search.
                Key::Action => item.2 = raw == b"\"search\"",
                _ => {}
            }
        }
        (self.web_searches, self.file_searches) = (web, files);
    }

    /// What the answer said, in disjoint buckets.
    pub(crate) fn into_reading(mut self, api: Api) -> Reading {
        if self.usage.is_empty() {
            return self.reading;
        }
        let raw = std::mem::take(&mut self.usage);
        let tree = Tree::read(&raw);
        let Some(usage) = tree.as_ref().and_then(Tree::object) else {
            self.reading.malformed = true;
            return self.reading;
        };
        if usage.is_empty() {
            return self.reading;
        }
        match shape(api, usage) {
            Shape::Anthropic => anthropic::read(usage, &mut self.reading),
            Shape::Gemini => gemini::read(usage, &mut self.reading),
            Shape::OpenAi => openai::read(api, usage, &mut self.reading),
            Shape::Converse => others::converse(usage, &mut self.reading),
            Shape::Interactions => others::interactions(usage, &mut self.reading),
            Shape::Cohere => others::cohere(usage, &mut self.reading),
            Shape::Unknown => {
                self.reading.malformed |= api != Api::Unknown && self.reading.reported_cost.is_none();
            }
        }
        if let Some(counted) = &mut self.reading.usage {
            for (bucket, n) in
                [(Bucket::WebSearches, self.web_searches), (Bucket::FileSearches, self.file_searches)]
            {
                if n > 0 {
                    counted.set(bucket, n);
                }
            }
        }
        self.reading
    }
}

/// In the order in which they are believed, where a usage has names of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    Gemini,
    Converse,
    Interactions,
    Cohere,
    OpenAi,
    Anthropic,
    Unknown,
}

/// Hosts put one provider's usage into another's envelope, so the keys decide.
fn shape(api: Api, usage: Object<'_>) -> Shape {
    let shapes = usage.names().map(|name| match name {
        "promptTokenCount" | "totalTokenCount" | "candidatesTokenCount" => Shape::Gemini,
        "inputTokens" | "inputTokenCount" => Shape::Converse,
        "total_input_tokens" => Shape::Interactions,
        "billed_units" | "search_units" | "images" => Shape::Cohere,
        "prompt_tokens" | "completion_tokens" => Shape::OpenAi,
        "cache_creation_input_tokens" => Shape::Anthropic,
        _ => Shape::Unknown,
    });
    let has = |key: &str| usage.contains_key(key);
    match shapes.min().unwrap_or(Shape::Unknown) {
        Shape::Unknown if api == Api::Messages => Shape::Anthropic,
        Shape::Unknown if has("cache_read_input_tokens") && !has("total_tokens") => Shape::Anthropic,
        Shape::Unknown
            if ["input_tokens", "output_tokens", "total_tokens", "seconds"].into_iter().any(has) =>
        {
            Shape::OpenAi
        }
        shape => shape,
    }
}

/// A count, however it is written: null and nonsense are 0, a negative one too.
pub(crate) fn count(usage: Object<'_>, key: &str) -> u64 {
    usage.get(key).map_or(0, number)
}

/// A count inside a nested object.
pub(crate) fn inner(usage: Object<'_>, object: &str, key: &str) -> u64 {
    usage.get(object).and_then(Node::as_object).map_or(0, |object| count(object, key))
}

/// Larger counts are nonsense, and would overflow somebody's sum.
const COUNT_MAX: u64 = 1 << 40;

pub(crate) fn number(value: Node<'_>) -> u64 {
    // Some hosts write 12.0.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, which is meant")]
    let float = |f| f as u64;
    let n = value.as_u64().or_else(|| value.as_f64().map(float));
    n.or_else(|| value.as_str()?.parse().ok()).unwrap_or(0).min(COUNT_MAX)
}

/// An object with one member.
fn member(name: &str, value: &[u8]) -> Vec<u8> {
    [b"{\"", name.as_bytes(), b"\":", value, b"}"].concat()
}

/// Whether one of these is no count.
pub(crate) fn is_odd(usage: Object<'_>, keys: &[&str]) -> bool {
    keys.iter().filter_map(|key| usage.get(key)).any(is_no_count)
}

/// Whether a value that should be a count is something else, or absurd.
pub(crate) fn is_no_count(value: Node<'_>) -> bool {
    match (value.as_u64(), value.as_f64()) {
        (Some(n), _) => n > COUNT_MAX,
        #[expect(clippy::cast_precision_loss, reason = "the limit is a power of two")]
        (None, Some(f)) => !(0.0..=COUNT_MAX as f64).contains(&f) || f.fract() != 0.0,
        (None, None) => true,
    }
}

/// An error by its code, else its type: short, and never its message.
fn error_code(raw: &[u8]) -> Option<Box<str>> {
    let error: Value = serde_json::from_slice(raw).ok()?;
    let code = match &error {
        Value::Object(error) => ["code", "status", "type"]
            .iter()
            .find_map(|key| error.get(*key).and_then(Value::as_str).filter(|code| !code.is_empty())),
        Value::Null => return None,
        _ => None,
    };
    Some(code.filter(|code| is_code(code)).unwrap_or("error").into())
}

fn is_code(code: &str) -> bool {
    code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// What the host says it charges, in US dollars.
fn reported_cost(costs: &Picker<Key>) -> Option<crate::money::Money> {
    let raw = |name| costs.last(name).and_then(|raw| std::str::from_utf8(raw).ok());
    // xAI counts in ticks of 10⁻¹⁰ US dollars.
    if let Some(ticks) = raw(Key::Ticks).and_then(|ticks| ticks.parse::<u64>().ok()) {
        return Some(crate::money::Money::from_pico(100).times(ticks));
    }
    let cost = raw(Key::Cost)?;
    if cost.starts_with('{') {
        let total = serde_json::from_str::<Value>(cost).ok()?;
        return decimal(&total.get("total_cost")?.to_string());
    }
    let upstream = raw(Key::Upstream).filter(|_| raw(Key::ByOwn) == Some("true")).and_then(decimal);
    Some(decimal(cost)? + upstream.unwrap_or_default())
}

/// Exact decimal dollars, also with an exponent; digits beyond the pico-dollar are cut off.
fn decimal(text: &str) -> Option<crate::money::Money> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok().filter(|n| *n >= 0)?;
    let shift = 12 + exponent - i32::try_from(fraction.len()).ok()?;
    let pico = match shift {
        0..=30 => digits.checked_mul(10_i128.checked_pow(shift.unsigned_abs())?)?,
        -38..0 => digits / 10_i128.checked_pow(shift.unsigned_abs())?,
        _ => return None,
    };
    Some(crate::money::Money::from_pico(pico))
}

/// The text, if it is short enough for a label.
pub(crate) fn label(value: Option<Node<'_>>) -> Option<Box<str>> {
    value.and_then(Node::as_str).filter(|text| (1..=128).contains(&text.len())).map(Into::into)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, clippy::panic, reason = "tests")]

    use super::{Api, Shape, Tree, decimal, error_code, shape};

    #[test]
    fn reads_amounts_without_a_float() {
        for (text, pico) in [
            ("0.000112", 112_000_000),
            ("1.12e-4", 112_000_000),
            ("2E-05", 20_000_000),
            ("3", 3_000_000_000_000),
            ("0.0000000000019", 1),
            ("1e2", 100_000_000_000_000),
        ] {
            assert_eq!(decimal(text).map(crate::money::Money::pico), Some(pico), "{text}");
        }
        for text in ["", "-1", "x", "1e99", "1e-99", "null", "1.2.3"] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }

    #[test]
    fn of_names_of_several_providers_those_decide_that_no_other_envelope_has() {
        for (api, usage, wanted) in [
            (Api::Chat, r#"{"prompt_tokens":9,"promptTokenCount":9}"#, Shape::Gemini),
            (Api::Chat, r#"{"inputTokens":9,"prompt_tokens":9}"#, Shape::Converse),
            (Api::Chat, r#"{"total_input_tokens":9,"prompt_tokens":9}"#, Shape::Interactions),
            (Api::Chat, r#"{"prompt_tokens":9,"billed_units":{}}"#, Shape::Cohere),
            (Api::Messages, r#"{"cache_creation_input_tokens":1,"prompt_tokens":9}"#, Shape::OpenAi),
            (Api::Messages, r#"{"input_tokens":9}"#, Shape::Anthropic),
            (Api::Chat, r#"{"input_tokens":9}"#, Shape::OpenAi),
            (Api::Chat, r#"{"input_tokens":9,"cache_read_input_tokens":1}"#, Shape::Anthropic),
            (Api::Chat, r#"{"cache_read_input_tokens":1,"total_tokens":9}"#, Shape::OpenAi),
            (Api::Chat, r#"{"seconds":3}"#, Shape::OpenAi),
            (Api::Chat, r#"{"words":3}"#, Shape::Unknown),
        ] {
            let tree = Tree::read(usage.as_bytes()).expect("JSON");
            assert_eq!(shape(api, tree.object().expect("an object")), wanted, "{usage}");
        }
    }

    #[test]
    fn an_error_is_a_code_and_never_a_message() {
        for (raw, code) in [
            (
                r#"{"message":"Rate limit","type":"tokens","code":"rate_limit_exceeded"}"#,
                Some("rate_limit_exceeded"),
            ),
            (r#"{"type":"overloaded_error","message":"Overloaded"}"#, Some("overloaded_error")),
            (r#"{"code":429,"status":"RESOURCE_EXHAUSTED"}"#, Some("RESOURCE_EXHAUSTED")),
            (r#"{"code":"my secret is 42"}"#, Some("error")),
            (r#""alice@example.com may not""#, Some("error")),
            ("null", None),
            ("{", None),
        ] {
            assert_eq!(error_code(raw.as_bytes()).as_deref(), code, "{raw}");
        }
    }
}
