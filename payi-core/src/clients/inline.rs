//! Pictures, sound and files inside a request or an answer: they are not kept with the prompt.

use std::borrow::Cow;

/// What stands for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// What the official SDK puts into requests.
    AsPayI,
    /// The same, and how long the thing was as it was written.
    WithLength,
}

impl Note {
    fn of(self, text: &[u8]) -> Cow<'static, str> {
        match self {
            Self::AsPayI => "<not_instrumented>".into(),
            Self::WithLength => format!("<not_instrumented: {} bytes>", text.len()).into(),
        }
    }
}

/// Keys whose text is such a thing if it looks like one.
const KEYS: [&[u8]; 6] = [b"data", b"bytes", b"b64_json", b"file_data", b"result", b"partial_image_b64"];

/// Keys that say beside it what kind of thing it is.
const KINDS: [&[u8]; 4] = [b"media_type", b"mimeType", b"mime_type", b"format"];

/// So much of a text is looked at to tell what it is, in bytes; a picture is megabytes.
const LOOKED_AT: usize = 4096;

/// From this length on a text without a space is no prose, in bytes.
const LONG: usize = 256;

/// The same JSON with each thing replaced by a short text; everything else stays, byte for byte.
pub(crate) fn without_inline_data(json: &[u8], note: Note) -> Cow<'_, [u8]> {
    let mut kept = Vec::new();
    let (mut copied, mut at) = (0, 0);
    let mut key: &[u8] = b"";
    // Whether the object at this depth has said what kind of thing it holds.
    let mut told = vec![false];
    while let Some(byte) = json.get(at) {
        match byte {
            b'{' => told.push(false),
            b'}' if told.len() > 1 => drop(told.pop()),
            b'"' => {
                let end = end_of_text(json, at + 1);
                let text = json.get(at + 1..end).unwrap_or_default();
                let here = told.last_mut();
                if is_key(json, end) {
                    key = text;
                    if let Some(told) = here {
                        *told |= KINDS.contains(&key);
                    }
                } else if is_inline(key, text, here.as_deref() == Some(&true)) {
                    kept.extend_from_slice(&json[copied..=at]);
                    kept.extend_from_slice(note.of(text).as_bytes());
                    copied = end;
                } else if let (b"type", b"base64", Some(told)) = (key, text, here) {
                    *told = true;
                }
                at = end;
            }
            _ => {}
        }
        at += 1;
    }
    if kept.is_empty() {
        return json.into();
    }
    kept.extend_from_slice(json.get(copied..).unwrap_or_default());
    kept.into()
}

/// Where the text that begins at `at` ends: its quotation mark.
fn end_of_text(json: &[u8], mut at: usize) -> usize {
    while let Some(found) = json.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        if json[at + found] == b'"' {
            return at + found;
        }
        at += found + 2;
    }
    json.len()
}

fn is_key(json: &[u8], end: usize) -> bool {
    let after = json.get(end + 1..).unwrap_or_default();
    after.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':')
}

fn is_inline(key: &[u8], text: &[u8], told: bool) -> bool {
    if text.starts_with(b"data:") {
        return memchr::memmem::find(text, b";base64,").is_some();
    }
    let packed = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=-_\\".contains(byte);
    KEYS.contains(&key)
        && !text.is_empty()
        && (told || text.len() >= LONG)
        && text.iter().take(LOOKED_AT).all(packed)
}

#[cfg(test)]
mod tests {
    use super::{Note, without_inline_data};

    fn without(json: &str) -> String {
        String::from_utf8_lossy(&without_inline_data(json.as_bytes(), Note::AsPayI)).into_owned()
    }

    #[test]
    fn things_go_wherever_they_are_and_everything_else_stays() {
        for (json, expected) in [
            (
                r#"{"a": [{"image_url":{"url":"data:image/png;base64,AAAA"}}, "x"]}"#,
                r#"{"a": [{"image_url":{"url":"<not_instrumented>"}}, "x"]}"#,
            ),
            (
                r#"{"source":{"type":"base64","media_type":"image/png","data":"AAAA"},"data":"AAAA"}"#,
                r#"{"source":{"type":"base64","media_type":"image/png","data":"<not_instrumented>"},"data":"AAAA"}"#,
            ),
            (
                r#"{"inlineData":{"mimeType":"image/png","data":"QUJD"}}"#,
                r#"{"inlineData":{"mimeType":"image/png","data":"<not_instrumented>"}}"#,
            ),
            (
                r#"{"url":"https://x/y.png","data":"two words"}"#,
                r#"{"url":"https://x/y.png","data":"two words"}"#,
            ),
            (r#"{"text":"say \"data:x;base64,\""}"#, r#"{"text":"say \"data:x;base64,\""}"#),
        ] {
            assert_eq!(without(json), expected);
        }
        let long = format!(r#"{{"source":{{"bytes":"{}"}}}}"#, "A".repeat(300));
        assert_eq!(without(&long), r#"{"source":{"bytes":"<not_instrumented>"}}"#);
    }

    #[test]
    fn what_is_no_json_is_no_trouble() {
        for text in ["", "\"", "{\"a\\", "}}}}", "{\"data\":\"data:;base64,", "\u{0}\u{1}"] {
            let _ = without(text);
            assert!(without(text).len() <= text.len() + 18);
        }
    }
}
