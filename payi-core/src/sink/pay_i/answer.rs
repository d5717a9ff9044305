//! What Pay-i answers, read leniently: unknown fields are ignored, missing ones are absent.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    money::Money,
    sink::delivered::{Delivered, LimitState},
};

/// Why an event, or a batch, was not taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The HTTP status, of the answer or of the item.
    pub(crate) status: u16,
    /// Pay-i's code: stable, unlike its texts.
    pub(crate) code: Option<Box<str>>,
    /// Everything else it says, for names to be looked up in; never shown.
    text: Box<str>,
}

impl Refusal {
    /// The refusal of a whole request.
    pub(crate) fn new(status: u16, body: &[u8]) -> Self {
        let read: Failure = serde_json::from_slice(body).unwrap_or_default();
        let text = String::from_utf8_lossy(body).into_owned().into();
        Self { status, code: read.code(), text }
    }

    /// A short code for the quarantine and the log.
    pub(crate) fn reason(&self) -> Box<str> {
        match &self.code {
            Some(code) => code.clone(),
            None => format!("http_{}", self.status).into(),
        }
    }

    /// Whether the same may be taken later.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self.status, 408 | 409 | 425 | 429 | 500..)
    }

    /// Whether it mentions `id`, as a word of its own.
    pub(crate) fn names(&self, id: &str) -> bool {
        let part_of_word = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        let mut text = &*self.text;
        while let Some(at) = text.find(id).filter(|_| !id.is_empty()) {
            let (before, after) = (&text[..at], &text[at + id.len()..]);
            if !before.ends_with(part_of_word) && !after.starts_with(part_of_word) {
                return true;
            }
            text = &text[at + id.chars().next().map_or(1, char::len_utf8)..];
        }
        false
    }
}

/// What became of a bulk: what is not named here was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bulk {
    pub(crate) refused: Vec<(usize, Refusal)>,
}

/// Reads the answer to `n` events sent at once.
pub(crate) fn bulk(body: &[u8], n: usize) -> Bulk {
    let answer: BulkAnswer = serde_json::from_slice(body).unwrap_or_default();
    let refused = answer.errors.unwrap_or_default().into_iter().filter_map(|error| {
        let index = error.item_index.filter(|index| *index < n)?;
        let failure = error.xproxy_result.unwrap_or_default();
        let text = serde_json::to_string(&failure.rest).unwrap_or_default();
        let text = format!("{} {text}", failure.message.as_deref().unwrap_or_default());
        let status = failure.status_code.unwrap_or(400);
        Some((index, Refusal { status, code: failure.code(), text: text.into() }))
    });
    Bulk { refused: refused.collect() }
}

/// Of the answer to one event: its refusal, where a bulk of one was answered with one.
pub(crate) fn refused_item(body: &[u8]) -> Option<Refusal> {
    bulk(body, 1).refused.pop().map(|(_, refusal)| refusal)
}

/// Reads what Pay-i says about one event.
pub(crate) fn delivered(body: &[u8]) -> Delivered {
    let answer: Single = serde_json::from_slice(body).unwrap_or_default();
    let result = answer.xproxy_result.unwrap_or_default();
    let limits = result.limits.unwrap_or_default().into_iter();
    Delivered {
        request_id: result.request_id.or(answer.request_id),
        cost: result.cost.as_ref().and_then(Cost::total),
        limits: limits
            .map(|(id, limit)| (id.into(), LimitState::named(&limit.state.unwrap_or_default())))
            .collect(),
        blocked_limit_ids: result.blocked_limit_ids.unwrap_or_default(),
        unknown_units: result
            .unknown_units
            .unwrap_or_default()
            .into_iter()
            .map(|(name, _)| name.into())
            .collect(),
        warnings: result.warnings.unwrap_or_default(),
        duplicate: result.duplicate_request.unwrap_or_default(),
    }
}

/// Whether this is an answer of Pay-i's at all: a login page of the network is not.
pub(crate) fn is_an_answer(body: &[u8]) -> bool {
    body.is_empty() || serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(body).is_ok()
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Single {
    request_id: Option<Box<str>>,
    xproxy_result: Option<Outcome>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Outcome {
    request_id: Option<Box<str>>,
    cost: Option<Cost>,
    limits: Option<BTreeMap<String, Limit>>,
    blocked_limit_ids: Option<Vec<Box<str>>>,
    unknown_units: Option<serde_json::Map<String, serde_json::Value>>,
    warnings: Option<Vec<Box<str>>>,
    duplicate_request: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Limit {
    state: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cost {
    total: serde_json::Map<String, serde_json::Value>,
}

impl Cost {
    /// Newer answers hold a number, older ones a text.
    fn total(&self) -> Option<Money> {
        match self.total.get("base")? {
            serde_json::Value::Number(number) => {
                let plain = || number.as_f64().map(|n| format!("{n:.12}"));
                number.to_string().parse().ok().or_else(|| plain()?.parse().ok())
            }
            serde_json::Value::String(text) => text.parse().ok(),
            _ => None,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct BulkAnswer {
    errors: Option<Vec<ItemError>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ItemError {
    item_index: Option<usize>,
    xproxy_result: Option<Failure>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Failure {
    message: Option<String>,
    #[serde(rename = "statusCode")]
    status_code: Option<u16>,
    xproxy_error: Option<Code>,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Code {
    code: Option<Box<str>>,
}

impl Failure {
    /// The code, if it looks like one: it is shown in logs.
    fn code(&self) -> Option<Box<str>> {
        let code = self.xproxy_error.as_ref()?.code.as_deref()?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-' || b == b'.';
        (!code.is_empty() && code.len() <= 64 && code.bytes().all(plain)).then(|| code.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_known_by_its_code() {
        let body = br#"{"statusCode": 400, "message": "no", "xproxy_error": {"code": "invalid_limit_id", "message": "l1"}}"#;
        let refusal = Refusal::new(400, body);
        assert_eq!(&*refusal.reason(), "invalid_limit_id");
        assert!(!refusal.is_passing());
        assert_eq!(&*Refusal::new(422, b"<html>").reason(), "http_422");
        let odd = br#"{"xproxy_error": {"code": "the user \u66c9 said"}}"#;
        assert_eq!(&*Refusal::new(400, odd).reason(), "http_400");
    }

    #[test]
    fn names_are_found_as_whole_words() {
        let refusal = Refusal::new(400, br#"{"message": "limit 'gold-1' blocks"}"#);
        assert!(refusal.names("gold-1"));
        assert!(!refusal.names("gold"));
        assert!(!refusal.names("old-1"));
        assert!(!refusal.names(""));
    }

    #[test]
    fn of_a_bulk_only_the_named_items_are_refused() {
        let body = br#"{"errors": [{"item_index": 1, "xproxy_result": {"message": "m", "statusCode": 400,
            "xproxy_error": {"code": "c", "message": "m"}}}, {"item_index": 7}, {}], "ingest_count": 2}"#;
        let bulk = bulk(body, 3);
        assert_eq!(bulk.refused.len(), 1);
        assert_eq!((bulk.refused[0].0, &*bulk.refused[0].1.reason()), (1, "c"));
        assert!(refused_item(br#"{"request_id": "r", "xproxy_result": {"limits": {}}}"#).is_none());
    }

    #[test]
    fn what_pay_i_says_is_read() {
        let body =
            br#"{"request_id": "outer", "xproxy_result": {"request_id": "r-1", "duplicate_request": true,
            "cost": {"currency": "usd", "total": {"base": 0.003, "overrun_base": null}},
            "limits": {"l1": {"state": "exceeded"}, "l2": {"state": "new"}}, "blocked_limit_ids": null,
            "unknown_units": {"zz": {"input": 1, "output": 0}}, "warnings": ["w1"]}}"#;
        let said = delivered(body);
        assert_eq!(said.request_id.as_deref(), Some("r-1"));
        assert_eq!(said.cost, "0.003".parse().ok());
        assert_eq!(said.limits, [("l1".into(), LimitState::Exceeded), ("l2".into(), LimitState::Unknown)]);
        assert_eq!(said.unknown_units, [Box::from("zz")]);
        assert_eq!(said.warnings, [Box::from("w1")]);
        assert!(said.duplicate);
        assert_eq!(delivered(b"{}"), Delivered::default());
    }

    #[test]
    fn a_login_page_is_no_answer() {
        assert!(is_an_answer(br#"{"request_id": "r"}"#));
        assert!(!is_an_answer(b"<html>Welcome to Hotel Wi-Fi"));
        assert!(!is_an_answer(br#"{"request_id": "#));
        assert!(!is_an_answer(b"[]"));
    }
}
