//! The fields of an event on Pay-i's wire, and how a text, a time and a duration are written there.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde::Serialize;

use crate::{context::Properties, sink::units::Units};

/// Whether a header carries `value` unchanged: visible ASCII, and spaces not at its ends.
pub(crate) fn fits(value: &str) -> bool {
    value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) && value.trim() == value && !value.is_empty()
}

/// Everything but RFC 3986's unreserved characters, as `%XX`.
pub(crate) fn percent_encoded(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            encoded.push('%');
            encoded.push(HEX[usize::from(byte >> 4)].into());
            encoded.push(HEX[usize::from(byte & 15)].into());
        }
    }
    encoded
}

/// ISO 8601 in UTC with microseconds, as Python writes it.
pub(crate) fn timestamp(at: SystemTime) -> String {
    let at = jiff::Timestamp::try_from(at).unwrap_or_default();
    at.strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00").to_string()
}

/// Whole milliseconds; Pay-i's field has 32 bits.
pub(crate) fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

pub(crate) fn pairs(properties: &Properties) -> BTreeMap<&str, Option<&str>> {
    properties.iter().map(|(name, value)| (&**name, value.as_deref())).collect()
}

/// The body of one event; absent fields are left out.
#[derive(Serialize)]
pub(crate) struct Body<'a> {
    pub(super) category: &'a str,
    pub(super) resource: Cow<'a, str>,
    pub(super) units: Units,
    pub(super) event_timestamp: String,
    pub(super) end_to_end_latency_ms: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) time_to_first_token_ms: Option<i32>,
    pub(super) http_status_code: u16,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) properties: BTreeMap<&'a str, Option<&'a str>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) use_case_properties: BTreeMap<&'a str, Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) provider_uri: Option<&'a str>,
    pub(super) provider_response_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) provider_request_json: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) provider_response_json: Option<Answer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) provider_response_headers: Option<Vec<Header<'a>>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) provider_response_function_calls: Vec<Call<'a>>,
}

/// One event of a bulk body.
#[derive(Serialize)]
pub(crate) struct Item<'a> {
    #[serde(flatten)]
    pub(super) body: Body<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) account_name: Option<&'a str>,
    #[serde(skip_serializing_if = "<[&str]>::is_empty")]
    pub(super) limit_ids: &'a [&'a str],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) request_tags: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) use_case_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) use_case_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) use_case_step: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) use_case_version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_id: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Answer<'a> {
    Whole(&'a str),
    Parts(Vec<&'a str>),
}

#[derive(Serialize)]
pub(super) struct Header<'a> {
    pub(super) name: &'a str,
    pub(super) value: &'a str,
}

#[derive(Serialize)]
pub(super) struct Call<'a> {
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) arguments: Option<&'a str>,
}
