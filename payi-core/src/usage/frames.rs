//! Streams that are not server-sent events: AWS event streams, and a JSON document on each line.

use crate::usage::{
    Api,
    answer::Answer,
    keys::{Key, RULES},
    pick::Picker,
    sample::Sample,
};

/// The longest frame that is read; a longer one is passed over, and that is said.
const FRAME_MAX: usize = 1024 * 1024;
/// The length of a frame, that of its headers, and a checksum of both.
const PRELUDE: usize = 12;
/// The checksum at a frame's end.
const TRAILER: usize = 4;

/// Reads `application/vnd.amazon.eventstream`.
#[derive(Debug)]
pub(crate) struct Frames {
    api: Api,
    answer: Answer,
    buffer: Vec<u8>,
    /// How much of a frame too long to be read is still to come.
    skip: usize,
    broken: bool,
    sample: Sample,
}

impl Frames {
    pub(crate) fn new(api: Api) -> Self {
        Self {
            api,
            answer: Answer::default(),
            buffer: Vec::new(),
            skip: 0,
            broken: false,
            sample: Sample::default(),
        }
    }

    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.broken {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let taken = bytes.len().min(64 * 1024);
            self.buffer.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            self.read();
        }
    }

    fn read(&mut self) {
        let mut at = 0;
        while let (Some(length), Some(headers)) = (word(&self.buffer, at), word(&self.buffer, at + 4)) {
            if length < PRELUDE + TRAILER || headers > length - PRELUDE - TRAILER {
                self.broken = true;
                break;
            }
            let rest = self.buffer.len() - at;
            if length > FRAME_MAX {
                self.answer.reading.inconsistent = true;
                self.skip = length.saturating_sub(rest);
                at += length.min(rest);
                continue;
            }
            if rest < length {
                break;
            }
            let frame = &self.buffer[at..at + length];
            let (head, payload) = frame[PRELUDE..length - TRAILER].split_at(headers);
            let failed = memchr::memmem::find(head, b"exception").is_some();
            absorb(&mut self.answer, &mut self.sample, self.api, payload, failed);
            at += length;
        }
        self.buffer.drain(..at);
    }

    pub(crate) const fn is_complete(&self) -> bool {
        self.answer.complete
    }

    /// A sample of what passed.
    pub(crate) fn sample(&mut self) -> Sample {
        std::mem::take(&mut self.sample)
    }

    /// What the stream said, and whether it could be read to its end.
    pub(crate) fn finish(self) -> (Answer, bool) {
        let whole = !self.broken && self.buffer.is_empty() && self.answer.seen;
        (self.answer, whole)
    }
}

/// Four bytes, the highest first.
fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..at + 4)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(four)).ok()
}

fn absorb(answer: &mut Answer, sample: &mut Sample, api: Api, payload: &[u8], failed: bool) {
    let outer = Picker::over(RULES, payload);
    if let Some(inner) = outer.text(Key::Bytes).and_then(|text| base64(text.as_bytes())) {
        sample.document(&inner);
        answer.absorb(api, &Picker::over(RULES, &inner));
    } else {
        sample.document(payload);
        answer.absorb(api, &outer);
        // The last event of `converse-stream`.
        answer.complete |= outer.last(Key::Usage).is_some();
    }
    if failed {
        answer.reading.error = Some("exception".into());
        answer.complete = true;
    }
}

/// Decodes standard base64; `None` if it is none.
pub(crate) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let mut decoded = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut bits = 0_u32;
        for &byte in group {
            let six = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(six);
        }
        bits <<= 6 * (4 - group.len());
        let [_, bytes @ ..] = bits.to_be_bytes();
        decoded.extend_from_slice(bytes.get(..group.len().checked_sub(1)?)?);
    }
    Some(decoded)
}

/// Reads a JSON document on each line.
#[derive(Debug)]
pub(crate) struct Lines {
    api: Api,
    answer: Answer,
    picker: Picker<Key>,
    empty: bool,
    sample: Sample,
}

impl Lines {
    pub(crate) fn new(api: Api) -> Self {
        Self {
            api,
            answer: Answer::default(),
            picker: Picker::new(RULES),
            empty: true,
            sample: Sample::default(),
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.sample.push(bytes);
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            self.empty &= part.iter().all(u8::is_ascii_whitespace);
            self.picker.push(part);
            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        if !self.empty {
            let line = std::mem::replace(&mut self.picker, Picker::new(RULES));
            self.answer.absorb(self.api, &line);
            self.empty = true;
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.answer.complete
    }

    /// A sample of what passed.
    pub(crate) fn sample(&mut self) -> Sample {
        std::mem::take(&mut self.sample)
    }

    pub(crate) fn finish(mut self) -> (Answer, bool) {
        self.end_line();
        let seen = self.answer.seen;
        (self.answer, seen)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::{Frames, Lines, base64};
    use crate::usage::{Api, Bucket};

    fn frame(payload: &str) -> Vec<u8> {
        let headers = b"\x0b:event-type\x07\x00\x05chunk";
        let length = u32::try_from(12 + headers.len() + payload.len() + 4).unwrap();
        let mut frame = length.to_be_bytes().to_vec();
        frame.extend_from_slice(&u32::try_from(headers.len()).unwrap().to_be_bytes());
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(headers);
        frame.extend_from_slice(payload.as_bytes());
        frame.extend_from_slice(&[0; 4]);
        frame
    }

    #[test]
    fn frames_are_read_wherever_they_are_split_and_long_ones_passed_over() {
        let long = format!("{{\"text\":\"{}\"}}", "x".repeat(2_000_000));
        let stream = [
            frame("{\"contentBlockIndex\":0}"),
            frame(&long),
            frame("{\"bytes\":\"eyJhIjoxfQ==\"}"),
            frame("{\"usage\":{\"inputTokens\":5,\"outputTokens\":7,\"totalTokens\":12}}"),
        ]
        .concat();
        for size in [1, 7, 4096, stream.len()] {
            let mut frames = Frames::new(Api::Unknown);
            for piece in stream.chunks(size) {
                frames.push(piece);
                assert!(frames.buffer.len() <= super::FRAME_MAX + 128 * 1024);
            }
            assert!(frames.is_complete());
            let (answer, whole) = frames.finish();
            assert!(whole);
            let reading = answer.into_reading(Api::Unknown);
            assert!(reading.inconsistent, "something was passed over");
            assert_eq!(reading.usage.unwrap().get(Bucket::Output), 7, "pieces of {size}");
        }
        for noise in [&[0_u8; 64][..], b"GET / HTTP/1.1\r\n\r\n", &[255; 40]] {
            let mut frames = Frames::new(Api::Unknown);
            frames.push(noise);
            assert!(!frames.finish().1);
        }
    }

    #[test]
    fn lines_are_documents() {
        let text = "{\"model\":\"qwen3\",\"done\":false}\n{\"model\":\"qwen3\",\"done\":true,\"prompt_eval_count\":26,\"eval_count\":47}\n\n";
        for size in 1..20 {
            let mut lines = Lines::new(Api::Unknown);
            text.as_bytes().chunks(size).for_each(|piece| lines.push(piece));
            assert!(lines.is_complete());
            let reading = lines.finish().0.into_reading(Api::Unknown);
            assert_eq!(reading.model.as_deref(), Some("qwen3"));
            assert_eq!(reading.usage.unwrap().output_tokens(), 47);
        }
    }

    #[test]
    fn base64_of_every_length() {
        let decoded = |text: &str| base64(text.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap());
        for (text, expected) in
            [("", ""), ("YQ==", "a"), ("YWI=", "ab"), ("YWJj", "abc"), ("YWJjZA==", "abcd")]
        {
            assert_eq!(decoded(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(decoded("a*"), None);
    }
}
