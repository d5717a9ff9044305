//! Keeps prompts and answers, where they were asked for.

use std::borrow::Cow;

use serde_json::Value;

use crate::{
    clients::inline::{Note, without_inline_data},
    events::Exchange,
    usage::{Api, FunctionCall, sse::data_lines},
};

/// The longest request, and the longest answer, that is kept, in bytes; of a longer one nothing is, because
/// half of it is not JSON.
pub(crate) const KEPT_MAX: usize = 4 * 1024 * 1024;

/// The longest answer that is looked at for what is in it besides pictures and sound, in bytes.
const PASSED_MAX: usize = 16 * 1024 * 1024;

/// What is kept of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    Nothing,
    /// All but pictures, sound and files.
    Text,
    All,
}

impl Keep {
    pub(crate) const fn of(keep: bool, inline_data: bool) -> Self {
        match (keep, inline_data) {
            (false, _) => Self::Nothing,
            (true, false) => Self::Text,
            (true, true) => Self::All,
        }
    }
}

/// A copy of an answer's bytes.
#[derive(Debug)]
pub(crate) struct Capture {
    bytes: Vec<u8>,
    sse: bool,
    keep: Keep,
    too_long: bool,
}

impl Capture {
    /// `None` if nothing is to be kept.
    pub(crate) fn new(sse: bool, keep: Keep) -> Option<Self> {
        (keep != Keep::Nothing).then(|| Self { bytes: Vec::new(), sse, keep, too_long: false })
    }

    /// A document, or an event, as it is kept.
    fn kept<'d>(&self, document: &'d [u8]) -> Cow<'d, [u8]> {
        if self.keep == Keep::All { document.into() } else { without_inline_data(document, Note::WithLength) }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let most = if self.keep == Keep::All { KEPT_MAX } else { PASSED_MAX };
        if self.too_long || self.bytes.len() + bytes.len() > most {
            self.too_long = true;
            self.bytes = Vec::new();
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Puts what was kept into `exchange`; returns the tools that the answer calls.
    pub(crate) fn finish(self, api: Api, exchange: &mut Exchange) -> Vec<FunctionCall> {
        let mut calls = Calls::default();
        if self.sse {
            let mut length = 0;
            for data in data_lines(&self.bytes).filter(|data| *data != b"[DONE]") {
                let data = self.kept(data);
                if let Ok(event) = serde_json::from_slice(&data) {
                    calls.event(api, &event);
                }
                length += data.len();
                exchange.response_json.push(String::from_utf8_lossy(&data).into());
            }
            if length > KEPT_MAX {
                exchange.response_json.clear();
            }
        } else if !self.bytes.is_empty() {
            let answer = self.kept(&self.bytes);
            if let Ok(answer) = serde_json::from_slice(&answer) {
                calls.answer(&answer);
            }
            if answer.len() <= KEPT_MAX {
                exchange.response_json.push(String::from_utf8_lossy(&answer).into());
            }
        }
        calls.finish()
    }
}

/// The tools called so far, by their place in the answer; a stream gives their arguments in pieces.
#[derive(Default)]
struct Calls(Vec<(u64, String, String)>);

impl Calls {
    fn at(&mut self, place: u64) -> &mut (u64, String, String) {
        let found = self.0.iter().position(|call| call.0 == place);
        let index = found.unwrap_or_else(|| {
            self.0.push((place, String::new(), String::new()));
            self.0.len() - 1
        });
        &mut self.0[index]
    }

    fn add(&mut self, name: Option<&str>, arguments: Option<String>) {
        let place = self.0.len() as u64;
        self.0.push((place, name.unwrap_or_default().to_owned(), arguments.unwrap_or_default()));
    }

    /// A whole answer, of any provider.
    fn answer(&mut self, answer: &Value) {
        for choice in list(answer, "choices") {
            let message = &choice["message"];
            for call in list(message, "tool_calls")
                .iter()
                .map(|call| &call["function"])
                .chain([&message["function_call"]])
            {
                if call.is_object() {
                    self.add(call["name"].as_str(), text(&call["arguments"]));
                }
            }
        }
        for item in list(answer, "output").iter().filter(|item| item["type"] == "function_call") {
            self.add(item["name"].as_str(), text(&item["arguments"]));
        }
        for block in list(answer, "content").iter().filter(|block| block["type"] == "tool_use") {
            self.add(block["name"].as_str(), text(&block["input"]));
        }
        for block in list(&answer["output"]["message"], "content") {
            if block["toolUse"].is_object() {
                self.add(block["toolUse"]["name"].as_str(), text(&block["toolUse"]["input"]));
            }
        }
        for candidate in list(answer, "candidates") {
            for part in
                list(&candidate["content"], "parts").iter().filter(|part| part["functionCall"].is_object())
            {
                self.add(part["functionCall"]["name"].as_str(), text(&part["functionCall"]["args"]));
            }
        }
    }

    /// One event of a stream.
    fn event(&mut self, api: Api, event: &Value) {
        match api {
            Api::Responses => {
                if matches!(event["type"].as_str(), Some("response.completed" | "response.incomplete")) {
                    self.answer(&event["response"]);
                }
            }
            Api::Messages => {
                let place = event["index"].as_u64().unwrap_or(0);
                let block = &event["content_block"];
                if block["type"] == "tool_use" {
                    block["name"].as_str().unwrap_or_default().clone_into(&mut self.at(place).1);
                } else if let Some(piece) = event["delta"]["partial_json"].as_str()
                    && self.0.iter().any(|call| call.0 == place)
                {
                    self.at(place).2.push_str(piece);
                }
            }
            Api::Gemini => self.answer(event),
            _ => {
                for choice in list(event, "choices") {
                    for call in list(&choice["delta"], "tool_calls") {
                        let kept = self.at(call["index"].as_u64().unwrap_or(0));
                        kept.1.push_str(call["function"]["name"].as_str().unwrap_or_default());
                        kept.2.push_str(call["function"]["arguments"].as_str().unwrap_or_default());
                    }
                }
            }
        }
    }

    fn finish(self) -> Vec<FunctionCall> {
        self.0
            .into_iter()
            .filter(|call| !call.1.is_empty())
            .map(|(_, name, arguments)| FunctionCall {
                name: name.into(),
                arguments: (!arguments.is_empty()).then(|| arguments.into()),
            })
            .collect()
    }
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// Arguments as text: OpenAI gives JSON in a string, others the JSON itself.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "tests")]

    use super::{Capture, KEPT_MAX, Keep};
    use crate::{events::Exchange, usage::Api};

    fn calls(api: Api, sse: bool, text: &str) -> Vec<(String, String)> {
        let mut capture = Capture::new(sse, Keep::Text).expect("kept");
        text.as_bytes().chunks(7).for_each(|piece| capture.push(piece));
        let mut exchange = Exchange::default();
        let calls = capture.finish(api, &mut exchange);
        assert!(!exchange.response_json.is_empty());
        calls.into_iter().map(|c| (c.name.into(), c.arguments.unwrap_or_default().into())).collect()
    }

    #[test]
    fn all_tools_are_named_whoever_calls_them_and_in_whatever_pieces() {
        let call = |name: &str, arguments: &str| (name.to_owned(), arguments.to_owned());
        for (api, sse, text, expected) in [
            (
                Api::Chat,
                false,
                r#"{"choices":[{"message":{"tool_calls":[{"function":{"name":"a","arguments":"{}"}},{"function":{"name":"b","arguments":"{\"x\":1}"}}]}}]}"#,
                vec![call("a", "{}"), call("b", "{\"x\":1}")],
            ),
            (
                Api::Chat,
                true,
                "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"a\",\"arguments\":\"\"}}]}}]}\n\ndata: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":1,\"function\":{\"name\":\"b\",\"arguments\":\"{\"}}]}}]}\n\ndata: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{}\"}},{\"index\":1,\"function\":{\"arguments\":\"}\"}}]}}]}\n\ndata: [DONE]\n\n",
                vec![call("a", "{}"), call("b", "{}")],
            ),
            (
                Api::Messages,
                true,
                "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"name\":\"a\",\"input\":{}}}\n\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"partial_json\":\"{}\"}}\n\n",
                vec![call("a", "{}")],
            ),
            (
                Api::Messages,
                false,
                r#"{"content":[{"type":"text"},{"type":"tool_use","name":"a","input":{"x":1}}]}"#,
                vec![call("a", "{\"x\":1}")],
            ),
            (
                Api::Responses,
                true,
                "data: {\"type\":\"response.completed\",\"response\":{\"output\":[{\"type\":\"function_call\",\"name\":\"a\",\"arguments\":\"{}\"}]}}\n\n",
                vec![call("a", "{}")],
            ),
        ] {
            assert_eq!(calls(api, sse, text), expected, "{text}");
        }
    }

    #[test]
    fn pictures_and_sound_are_left_out_and_it_is_said_how_much_they_were() {
        let picture = "iVBORw0KGgo=".repeat(KEPT_MAX / 12 + 1);
        let n = picture.len();
        let whole =
            format!(r#"{{"created":1,"data":[{{"b64_json":"{picture}"}}],"usage":{{"total_tokens":7}}}}"#);
        let piece =
            format!("data: {{\"type\":\"response.audio.delta\",\"data\":\"{}\"}}\n\n", &picture[..300]);
        for (sse, text, keep, expected) in [
            (
                false,
                whole.clone(),
                Keep::Text,
                Some(format!(
                    r#"{{"created":1,"data":[{{"b64_json":"<not_instrumented: {n} bytes>"}}],"usage":{{"total_tokens":7}}}}"#
                )),
            ),
            (
                true,
                piece,
                Keep::Text,
                Some(r#"{"type":"response.audio.delta","data":"<not_instrumented: 300 bytes>"}"#.to_owned()),
            ),
            (false, whole, Keep::All, None),
        ] {
            let mut capture = Capture::new(sse, keep).expect("kept");
            text.as_bytes().chunks(64 * 1024).for_each(|piece| capture.push(piece));
            let mut exchange = Exchange::default();
            capture.finish(Api::Images, &mut exchange);
            assert_eq!(exchange.response_json.first().map(ToString::to_string), expected);
        }
    }

    #[test]
    fn of_an_answer_too_long_nothing_is_kept() {
        let mut capture = Capture::new(false, Keep::All).expect("kept");
        for _ in 0..5 {
            capture.push(&vec![b' '; 1024 * 1024]);
        }
        let mut exchange = Exchange::default();
        assert!(capture.finish(Api::Chat, &mut exchange).is_empty());
        assert!(exchange.response_json.is_empty());
    }
}
