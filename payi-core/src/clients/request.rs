//! What a request's body says, and the one change that is ever made to it.

use std::sync::LazyLock;

use memchr::memmem::Finder;

#[cfg(feature = "_http")]
use crate::{
    clients::detect::Endpoint,
    usage::{Api, Bucket},
};
use crate::{
    context::Text,
    usage::pick::{Picker, Rule, Rules, Then, first_text, text},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Model,
    Stream,
    Options,
    IncludeUsage,
}

const RULES: &Rules<Key> = &Rules::new(&[
    Rule { level: 0, key: "model", then: Then::Keep(Key::Model) },
    Rule { level: 0, key: "stream", then: Then::Keep(Key::Stream) },
    Rule { level: 0, key: "stream_options", then: Then::Keep(Key::Options) },
]);

const OPTIONS: &Rules<Key> =
    &Rules::new(&[Rule { level: 0, key: "include_usage", then: Then::Keep(Key::IncludeUsage) }]);

/// What is billed by the request itself, because the answer does not say it: speech by the characters that are to be
/// spoken, pictures by the piece (of a model that counts tokens, the answer says those).
#[cfg(feature = "_http")]
pub(crate) fn billed(endpoint: &Endpoint, body: &[u8]) -> Option<(Bucket, u64)> {
    match endpoint.api {
        Api::Images => Some((Bucket::Images, pictures(body)?)),
        _ if endpoint.operation == "audio.speech" => Some((Bucket::Characters, characters(body)?)),
        _ => None,
    }
}

#[cfg(feature = "_http")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Picture {
    Count,
    Size,
    Quality,
}

#[cfg(feature = "_http")]
const PICTURE: &Rules<Picture> = &Rules::new(&[
    Rule { level: 0, key: "n", then: Then::Keep(Picture::Count) },
    Rule { level: 0, key: "size", then: Then::Keep(Picture::Size) },
    Rule { level: 0, key: "quality", then: Then::Keep(Picture::Quality) },
]);

/// How many pictures a request asks for; `None` if it is no JSON.
#[cfg(feature = "_http")]
fn pictures(body: &[u8]) -> Option<u64> {
    let picked = Picker::over(PICTURE, body);
    let count = picked.last(Picture::Count).and_then(|n| std::str::from_utf8(n).ok()?.parse().ok());
    picked.is_done().then(|| count.unwrap_or(1))
}

/// On what the price of a picture depends besides the model, as the book's tiers have it: `1792x1024`, `hd-1024x1024`.
/// `None` where the request leaves it to the provider.
#[cfg(feature = "_http")]
pub(crate) fn picture(body: &[u8]) -> Option<Box<str>> {
    let picked = Picker::over(PICTURE, body);
    let size = picked.text(Picture::Size);
    let quality = picked.text(Picture::Quality).filter(|quality| &**quality != "standard");
    match (quality, size) {
        (None, size) => size,
        (Some(quality), size) => Some(format!("{quality}-{}", size.as_deref().unwrap_or("1024x1024")).into()),
    }
}

/// How many characters of text a request for speech gives, if it says any.
#[cfg(feature = "_http")]
fn characters(body: &[u8]) -> Option<u64> {
    const INPUT: &Rules<()> = &Rules::new(&[Rule { level: 0, key: "input", then: Then::Keep(()) }]);
    let text = Picker::over(INPUT, body).text(())?;
    Some(text.chars().count() as u64)
}

/// What a request's body says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Body {
    /// Of two, the first.
    pub(crate) model: Option<Text>,
    pub(crate) stream: bool,
    /// Where `include_usage` could be put in, and what with; `None` if the request says it itself.
    insert: Option<(usize, &'static str)>,
}

impl Body {
    /// Reads a JSON body, or the model's name in a form; anything else says nothing.
    pub(crate) fn read(body: &[u8]) -> Self {
        if body.starts_with(b"--") {
            return Self { model: field(body, "model"), ..Self::default() };
        }
        if body.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'{') {
            return Self::default();
        }
        if !may_stream(body)
            && let Ok(model) = first_text(body, "model")
        {
            return Self { model, ..Self::default() };
        }
        let picked = Picker::over(RULES, body);
        if !picked.is_done() {
            return Self::default();
        }
        Self {
            model: picked.first(Key::Model).and_then(text),
            stream: picked.last(Key::Stream) == Some(b"true"),
            insert: insertion(body, &picked),
        }
    }

    /// The same body, asking for the usage of its stream: made by inserting bytes, so that every
    /// other byte stays as the caller wrote it. `None` if it does not stream, or says itself
    /// whether it wants the usage.
    pub(crate) fn with_stream_usage(&self, body: &[u8]) -> Option<Vec<u8>> {
        let (at, insert) = self.insert.filter(|_| self.stream)?;
        let (head, tail) = body.split_at_checked(at)?;
        Some([head, insert.as_bytes(), tail].concat())
    }
}

/// Words that say how an answer is to be given. Most requests say neither, and to look for one is less than to read a
/// conversation.
static STREAM: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"stream"));
#[cfg(feature = "_http")]
static BACKGROUND: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"background\""));

/// The model that a body names.
#[cfg(feature = "_http")]
pub(crate) fn model(body: &[u8]) -> Option<Text> {
    Body::read(body).model
}

/// Whether a stream may be asked for.
#[inline]
pub(crate) fn may_stream(body: &[u8]) -> bool {
    STREAM.find(body).is_some()
}

/// Whether the answer may be one that is made while nobody waits for it.
#[cfg(feature = "_http")]
#[inline]
pub(crate) fn may_be_background(api: Api, body: &[u8]) -> bool {
    matches!(api, Api::Responses | Api::Gemini) && BACKGROUND.find(body).is_some()
}

/// A field of a form: sought before and after its file, which is mostly the bulk of it.
fn field(form: &[u8], name: &str) -> Option<Text> {
    const ENDS: usize = 16 * 1024;
    const LONGEST: usize = 256;
    let mark = format!("name=\"{name}\"");
    let find = |part: &[u8]| {
        let past = memchr::memmem::find(part, mark.as_bytes())? + mark.len();
        let rest = &part[past..part.len().min(past + 2 * LONGEST)];
        let begin = memchr::memmem::find(rest, b"\r\n\r\n")? + 4;
        let value = &rest[begin..begin + memchr::memmem::find(&rest[begin..], b"\r\n")?];
        let text = std::str::from_utf8(value).ok().filter(|text| (1..=LONGEST).contains(&text.len()));
        text.filter(|text| !text.contains(char::is_control)).map(Into::into)
    };
    find(&form[..form.len().min(ENDS)]).or_else(|| find(&form[form.len().saturating_sub(ENDS)..]))
}

fn insertion(body: &[u8], picked: &Picker<Key>) -> Option<(usize, &'static str)> {
    match picked.last(Key::Options) {
        // Before the first key; the body has others, because `stream` is one.
        None => {
            let brace = body.iter().position(|b| *b == b'{')?;
            Some((brace + 1, r#""stream_options":{"include_usage":true},"#))
        }
        Some(options) if options.starts_with(b"{") => {
            let inner = Picker::over(OPTIONS, options);
            let place = picked.place(Key::Options)? + 1;
            let empty = options[1..].iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'}');
            let insert = if empty { r#""include_usage":true"# } else { r#""include_usage":true,"# };
            inner.last(Key::IncludeUsage).is_none().then_some((place, insert))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "tests")]

    use super::Body;

    #[test]
    fn a_model_is_found_whether_the_body_is_read_to_its_end_or_not() {
        let bodies = [
            (r#"{"model":"a"}"#, Some("a")),
            (r#" { "messages" : [{"model":"x","content":"}"}] , "model" : "a" , "n":1}"#, Some("a")),
            (r#"{"model":"a","model":"b"}"#, Some("a")),
            (r#"{"model":null}"#, None),
            (r#"{"model":""}"#, None),
            (r#"{"model":7}"#, None),
            (r#"{"model":"a\u0062"}"#, Some("ab")),
            (r#"{"a_key_that_is_longer_than_any_that_a_rule_can_name":1,"model":"a"}"#, Some("a")),
            (r#"{"mod\u0065l":"x","model":"a"}"#, Some("a")),
            (r#"{"contents":[{"parts":[{"text":"?"}]}]}"#, None),
            ("{}", None),
            (r#"{"messages":["#, None),
            ("[]", None),
        ];
        for (body, expected) in bodies {
            assert_eq!(Body::read(body.as_bytes()).model.as_deref(), expected, "{body}");
            let stream = body.replacen('{', r#"{"stream":false,"#, 1).replace(",}", "}");
            assert_eq!(Body::read(stream.as_bytes()).model.as_deref(), expected, "{stream}");
        }
    }

    #[test]
    fn a_form_names_its_model_before_or_after_its_file() {
        let part = |head: &str, body: &str| {
            format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{body}\r\n")
        };
        let model = part(r#"name="model""#, "whisper-1");
        let file =
            part("name=\"file\"; filename=\"a.mp3\"\r\nContent-Type: audio/mpeg", &"\0".repeat(100_000));
        for form in [format!("{model}{file}--b--\r\n"), format!("{file}{model}--b--\r\n")] {
            assert_eq!(Body::read(form.as_bytes()).model.as_deref(), Some("whisper-1"));
        }
        for form in
            [format!("{file}--b--\r\n"), "--b\r\n name=\"model\"".to_owned(), model.replace("-1", "\n")]
        {
            assert_eq!(Body::read(form.as_bytes()), Body::default(), "{}", &form[..40.min(form.len())]);
        }
    }

    #[test]
    fn usage_is_asked_for_by_inserting_bytes_and_only_where_nothing_is_said_about_it() {
        for (body, asked) in [
            (
                r#" {"model":"m","stream": true,"n":1.0e0}"#,
                Some(r#" {"stream_options":{"include_usage":true},"model":"m","stream": true,"n":1.0e0}"#),
            ),
            (
                r#"{"stream":true,"stream_options":{"include_obfuscation":false}}"#,
                Some(
                    r#"{"stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false}}"#,
                ),
            ),
            (
                r#"{"stream":true,"stream_options":{ }}"#,
                Some(r#"{"stream":true,"stream_options":{"include_usage":true }}"#),
            ),
            (r#"{"stream":true,"stream_options":{"include_usage":true}}"#, None),
            (r#"{"stream":true,"stream_options":{"include_usage":false}}"#, None),
            (r#"{"stream":true,"stream_options":null}"#, None),
            (r#"{"stream":false}"#, None),
            (r#"{"messages":[{"stream":true}]}"#, None),
            (r#"{"stream":true"#, None),
            ("stream=true", None),
        ] {
            let made = Body::read(body.as_bytes()).with_stream_usage(body.as_bytes());
            assert_eq!(made.map(|made| String::from_utf8(made).expect("UTF-8")).as_deref(), asked, "{body}");
        }
    }
}
