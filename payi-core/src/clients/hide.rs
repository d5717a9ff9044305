//! Hides from the caller the one chunk of a stream that exists only because we asked for it.
//!
//! That chunk has no choices, and code that has never seen one may index `choices[0]`. At most one
//! event is ever held back, and only while it is incomplete; one beyond 64 KiB ends the hiding.

use bytes::Bytes;

use crate::usage::{
    pick::{Picker, Rule, Rules, Then},
    sse::{block_start, data_lines, find_usage, next_block},
};

/// The longest event that is held back.
const HELD_MAX: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Choices,
    Usage,
}

const RULES: &Rules<Key> = &Rules::new(&[
    Rule { level: 0, key: "choices", then: Then::Keep(Key::Choices) },
    Rule { level: 0, key: "usage", then: Then::Keep(Key::Usage) },
]);

/// Passes a stream on, without the extra chunk.
#[derive(Debug, Default)]
pub(crate) struct Hide {
    /// The beginning of an event that has not arrived to its end.
    held: Vec<u8>,
    off: bool,
}

impl Hide {
    /// What the caller gets of these bytes now; perhaps nothing.
    pub(crate) fn pass(&mut self, bytes: Bytes) -> Bytes {
        if self.off {
            return bytes;
        }
        if self.held.is_empty() && ends_event(&bytes) && find_usage(&bytes).is_none() {
            return bytes;
        }
        let all = if self.held.is_empty() {
            bytes
        } else {
            self.held.extend_from_slice(&bytes);
            std::mem::take(&mut self.held).into()
        };
        self.sift(&all)
    }

    /// What is still held back when the stream ends.
    pub(crate) fn rest(&mut self) -> Option<Bytes> {
        let held = std::mem::take(&mut self.held);
        (!held.is_empty() && !is_extra(&held)).then(|| held.into())
    }

    fn sift(&mut self, all: &Bytes) -> Bytes {
        let open = block_start(all, all.len());
        let mut passed = Vec::new();
        let (mut at, mut from, mut hidden) = (0, 0, false);
        while let Some((start, end)) = next_block(&all[..open], at) {
            if is_extra(&all[start..end]) {
                passed.extend_from_slice(&all[from..start]);
                from = end;
                hidden = true;
            }
            at = end;
        }
        let held = &all[open..];
        if held.len() > HELD_MAX {
            self.off = true;
            passed.extend_from_slice(&all[from..]);
            return passed.into();
        }
        self.held.extend_from_slice(held);
        if hidden {
            passed.extend_from_slice(&all[from..open]);
            passed.into()
        } else {
            all.slice(..open)
        }
    }
}

fn ends_event(bytes: &[u8]) -> bool {
    bytes.ends_with(b"\n\n") || bytes.ends_with(b"\n\r\n")
}

/// A chunk without choices whose usage is an object.
fn is_extra(block: &[u8]) -> bool {
    if find_usage(block).is_none() {
        return false;
    }
    let mut picked = Picker::new(RULES);
    data_lines(block).for_each(|data| picked.push(data));
    let empty = |raw: &[u8]| raw.iter().all(|b| matches!(b, b'[' | b']') || b.is_ascii_whitespace());
    picked.is_done()
        && picked.last(Key::Choices).is_some_and(empty)
        && picked.last(Key::Usage).is_some_and(|usage| usage.starts_with(b"{"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::Hide;

    const FIRST: &str = "data: {\"choices\":[],\"prompt_filter_results\":[{}],\"usage\":null}\n\n";
    const TEXT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Grüße \\\"usage\\\":{}\"}}]}\n\n";
    const EXTRA: &str = "data: {\"choices\":[ ],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n";
    const DONE: &str = "data: [DONE]\n\n";

    fn through(pieces: &[&[u8]]) -> String {
        let mut hide = Hide::default();
        let mut out = Vec::new();
        for piece in pieces {
            out.extend_from_slice(&hide.pass(Bytes::copy_from_slice(piece)));
            assert!(hide.held.len() <= super::HELD_MAX);
        }
        out.extend_from_slice(&hide.rest().unwrap_or_default());
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn the_extra_chunk_and_nothing_else_is_hidden_wherever_the_stream_is_split() {
        let text = [FIRST, TEXT, EXTRA, DONE].concat();
        let expected = [FIRST, TEXT, DONE].concat();
        assert_eq!(through(&[text.as_bytes()]), expected);
        for at in 0..text.len() {
            let (a, b) = text.as_bytes().split_at(at);
            assert_eq!(through(&[a, b]), expected, "split at {at}");
        }
        let ones: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(through(&ones), expected);
        let crlf = text.replace('\n', "\r\n");
        assert_eq!(through(&[crlf.as_bytes()]), expected.replace('\n', "\r\n"));
    }

    #[test]
    fn an_event_too_long_to_hold_back_is_passed_on_as_it_comes() {
        let long = format!("data: {{\"choices\":[{}", "1,".repeat(50_000));
        let rest = format!("1]}}\n\n{EXTRA}");
        assert_eq!(through(&[long.as_bytes(), rest.as_bytes()]), format!("{long}{rest}"));
        let cut = &TEXT[..30];
        assert_eq!(through(&[cut.as_bytes()]), cut);
    }
}
