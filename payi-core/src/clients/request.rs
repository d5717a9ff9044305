//! What a request's body says, and the one change that is ever made to it.

use crate::usage::pick::{Picker, Rule, Then};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Model,
    Stream,
    Options,
    IncludeUsage,
}

const RULES: &[Rule<Key>] = &[
    Rule { level: 0, key: "model", then: Then::Keep(Key::Model) },
    Rule { level: 0, key: "stream", then: Then::Keep(Key::Stream) },
    Rule { level: 0, key: "stream_options", then: Then::Keep(Key::Options) },
];

const OPTIONS: &[Rule<Key>] = &[Rule { level: 0, key: "include_usage", then: Then::Keep(Key::IncludeUsage) }];

/// How many characters of text a request for speech gives, if it says any.
#[cfg(feature = "_http")]
pub(crate) fn characters(body: &[u8]) -> Option<u64> {
    const INPUT: &[Rule<()>] = &[Rule { level: 0, key: "input", then: Then::Keep(()) }];
    let text = Picker::over(INPUT, body).text(())?;
    Some(text.chars().count() as u64)
}

/// What a request's body says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) model: Option<Box<str>>,
    pub(crate) stream: bool,
    /// Where `include_usage` could be put in, and what with; `None` if the request says it itself.
    insert: Option<(usize, &'static str)>,
}

impl Body {
    /// Reads a JSON body; anything else says nothing.
    pub(crate) fn read(body: &[u8]) -> Self {
        if body.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'{') {
            return Self::default();
        }
        let picked = Picker::over(RULES, body);
        if !picked.is_done() {
            return Self::default();
        }
        Self {
            model: picked.text(Key::Model),
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
