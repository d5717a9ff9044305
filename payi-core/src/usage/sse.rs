//! Reads server-sent events as they pass, at next to no cost for the many that say nothing of usage.
//!
//! What arrives is copied into a small buffer, and the buffer is searched for a usage once it has a
//! few kilobytes: a vectorised search over many events at once costs a fraction of one search each.
//! Only events that hold a usage, the first ones (they name the answer) and the last ones (they say
//! how it ended) are parsed.

use std::sync::LazyLock;

use memchr::{memchr, memmem, memrchr};

use crate::usage::{
    Api,
    answer::Answer,
    keys::{Key, RULES},
    pick::Picker,
    sample::Sample,
};

/// How many bytes are searched at a time, at least.
const BATCH: usize = 4 * 1024;
/// For how many there is room from the beginning, with those of the last few events, which stay.
const HELD: usize = 2 * BATCH;
/// So much of that is left for the piece with which there is enough to search.
const PIECE: usize = 512;
/// The longest event that is kept whole; a longer one is walked as it passes.
const EVENT_MAX: usize = 256 * 1024;
/// The longest piece that is copied at once, unless a long event is on its way, which has room for more.
const PIECE_MAX: usize = 64 * 1024;
/// How many bytes are looked at together, on most machines.
const VECTOR: usize = 32;
/// How many events are parsed in search of the answer's name.
const HEAD_MAX: u8 = 8;
/// How many events at the end are parsed whatever they hold: errors and marks of the end.
const LAST: usize = 3;

/// The reader of one stream.
#[derive(Debug)]
pub(crate) struct Sse {
    api: Api,
    answer: Answer,
    buffer: Vec<u8>,
    /// Up to here, every event has been looked at.
    done: usize,
    /// Where the next search begins to be worth it.
    next: usize,
    begun: bool,
    head: u8,
    /// An event too long to keep.
    giant: Option<Box<Giant>>,
    sample: Sample,
}

#[derive(Debug)]
struct Giant {
    picker: Picker<Key>,
    newline: bool,
}

impl Sse {
    pub(crate) fn new(api: Api) -> Self {
        Self {
            api,
            answer: Answer::default(),
            buffer: Vec::with_capacity(HELD),
            done: 0,
            next: 0,
            begun: false,
            head: 0,
            giant: None,
            sample: Sample::default(),
        }
    }

    /// Reads on.
    #[inline]
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.buffer.len() + bytes.len() < self.next {
            return self.buffer.extend_from_slice(bytes);
        }
        self.push_and_look(bytes);
    }

    #[cold]
    fn push_and_look(&mut self, bytes: &[u8]) {
        self.begun |= !bytes.is_empty();
        if self.giant.is_some() || bytes.len() > PIECE_MAX {
            return self.push_large(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        self.look();
    }

    /// Whether anything has come.
    pub(crate) const fn has_begun(&self) -> bool {
        self.begun
    }

    /// How many bytes are held.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.buffer.capacity()
    }

    /// Whether the event that ends the stream has passed.
    pub(crate) fn is_complete(&mut self) -> bool {
        self.look_at_last();
        self.answer.complete
    }

    /// A sample of what passed; what is still held is part of it.
    pub(crate) fn sample(&mut self) -> Sample {
        let mut sample = std::mem::take(&mut self.sample);
        sample.push(&self.buffer);
        sample
    }

    /// What the stream said.
    pub(crate) fn finish(mut self) -> Answer {
        self.close_giant();
        self.search();
        self.look_at_last();
        self.answer
    }

    #[cold]
    fn push_large(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE_MAX) {
            if self.giant.is_some() {
                self.push_giant(piece);
            } else {
                self.push(piece);
            }
        }
    }

    fn look(&mut self) {
        while self.head < HEAD_MAX && !self.answer.is_named() {
            let Some((start, end)) = next_block(&self.buffer, self.done) else { return self.grow() };
            self.absorb(start, end);
            self.done = end;
            self.head += 1;
        }
        self.search();
        // The last few events stay, because they are looked at again when the stream ends.
        let keep = blocks_before(&self.buffer, self.done, LAST);
        self.sample.push(&self.buffer[..keep]);
        self.buffer.drain(..keep);
        self.done -= keep;
        self.grow();
    }

    fn grow(&mut self) {
        let open = self.buffer.len() - self.done;
        if open > EVENT_MAX {
            return self.open_giant();
        }
        // All that there is room for; and twice the event that is still incomplete, so that a long one is not searched
        // again and again.
        let enough = (self.buffer.len() + open + BATCH).max(HELD - PIECE);
        let named = self.head >= HEAD_MAX || self.answer.is_named();
        self.next = if named { enough.min(self.done + EVENT_MAX + 1) } else { 0 };
    }

    /// Absorbs every event with a usage between `done` and the last complete event.
    fn search(&mut self) {
        let mut from = self.done;
        let mut last = None;
        while let Some(hit) = self.find_from(from) {
            let start = block_start(&self.buffer, hit).max(self.done);
            let Some(end) = block_end(&self.buffer, hit) else {
                // Incomplete: it is searched again when there is more of it.
                self.absorb_some(last);
                self.done = start;
                return;
            };
            if self.api == Api::Messages {
                self.absorb(start, end);
            } else {
                // Cumulative: only the last one counts.
                last = Some((start, end));
            }
            from = end;
        }
        self.absorb_some(last);
        self.done = block_start(&self.buffer, self.buffer.len()).max(self.done);
    }

    /// Where the next usage begins. The search sets out a few bytes early, where a vector begins in memory: else half of
    /// what it loads would lie across two lines of the cache.
    fn find_from(&self, from: usize) -> Option<usize> {
        let begin = from.saturating_sub((self.buffer.as_ptr().addr() + from) % VECTOR);
        match begin + find_usage(&self.buffer[begin..])? {
            hit if hit < from => find_usage(&self.buffer[from..]).map(|hit| from + hit),
            hit => Some(hit),
        }
    }

    fn absorb_some(&mut self, block: Option<(usize, usize)>) {
        if let Some((start, end)) = block {
            self.absorb(start, end);
        }
    }

    fn absorb(&mut self, start: usize, end: usize) {
        let mut picker = Picker::new(RULES);
        let mut done = false;
        for data in data_lines(&self.buffer[start..end]) {
            done |= data == b"[DONE]";
            picker.push(data);
        }
        if done {
            self.answer.complete = true;
            self.answer.seen = true;
        } else {
            self.answer.absorb(self.api, &picker);
        }
    }

    fn look_at_last(&mut self) {
        let mut at = last_blocks(&self.buffer, LAST);
        while at < self.buffer.len() {
            let (start, end) = next_block(&self.buffer, at).unwrap_or((at, self.buffer.len()));
            self.absorb(start, end);
            at = end;
        }
    }

    #[cold]
    fn open_giant(&mut self) {
        let mut giant = Box::new(Giant { picker: Picker::new(RULES), newline: false });
        for data in data_lines(&self.buffer[self.done..]) {
            giant.picker.push(data);
        }
        giant.newline = self.buffer.last() == Some(&b'\n');
        self.buffer = Vec::with_capacity(BATCH);
        (self.done, self.next) = (0, 0);
        self.giant = Some(giant);
    }

    fn push_giant(&mut self, bytes: &[u8]) {
        let Some(giant) = &mut self.giant else { return };
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            let line_end = memchr(b'\n', rest);
            let line = &rest[..line_end.unwrap_or(rest.len())];
            if giant.newline && line.iter().all(|b| *b == b'\r') {
                if line_end.is_some() {
                    // A blank line: the giant has ended.
                    at += line.len() + 1;
                    break;
                }
            } else if !line.is_empty() {
                giant.picker.push(line);
                giant.newline = false;
            }
            match line_end {
                None => return,
                Some(end) => {
                    giant.newline = true;
                    at += end + 1;
                }
            }
        }
        self.close_giant();
        self.next = 0;
        self.push(&bytes[at..]);
    }

    fn close_giant(&mut self) {
        if let Some(giant) = self.giant.take() {
            self.answer.absorb(self.api, &giant.picker);
        }
    }
}

/// Where a usage that is an object begins, if there is one. In text it is written `\"usage`, with a
/// backslash before the closing quote as well, and is not taken for one.
pub(crate) fn find_usage(bytes: &[u8]) -> Option<usize> {
    // Prepared once: the pieces that are searched are short.
    static NEEDLE: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(b"\"usage"));
    let finder = &*NEEDLE;
    for hit in finder.find_iter(bytes) {
        let rest = &bytes[hit + finder.needle().len()..];
        let rest = rest.strip_prefix(b"Metadata").unwrap_or(rest);
        let Some(rest) = rest.strip_prefix(b"\"") else {
            if rest.len() < 9 {
                // Cut off in the middle: an incomplete event, which is looked at again.
                return Some(hit);
            }
            continue;
        };
        match rest.iter().find(|b| !b.is_ascii_whitespace() && **b != b':') {
            None | Some(b'{') => return Some(hit),
            Some(_) => {}
        }
    }
    None
}

/// The beginning of the event around `at`: after the last blank line before it.
pub(crate) fn block_start(buffer: &[u8], at: usize) -> usize {
    let mut end = at;
    while let Some(newline) = memrchr(b'\n', &buffer[..end]) {
        let before = &buffer[..newline];
        let before = before.strip_suffix(b"\r").unwrap_or(before);
        if before.is_empty() || before.ends_with(b"\n") {
            return newline + 1;
        }
        end = newline;
    }
    0
}

/// The end of the event around `at`: after the next blank line.
fn block_end(buffer: &[u8], at: usize) -> Option<usize> {
    let mut from = at;
    while let Some(newline) = memchr(b'\n', &buffer[from..]) {
        from += newline + 1;
        match &buffer[from..] {
            [b'\n', ..] => return Some(from + 1),
            [b'\r', b'\n', ..] => return Some(from + 2),
            _ => {}
        }
    }
    None
}

/// The first complete event from `at` on that is not blank.
pub(crate) fn next_block(buffer: &[u8], at: usize) -> Option<(usize, usize)> {
    let blank = buffer[at..].iter().position(|b| !matches!(b, b'\r' | b'\n'))?;
    block_end(buffer, at + blank).map(|end| (at + blank, end))
}

/// Where the last `n` complete events, and what follows them, begin.
fn last_blocks(buffer: &[u8], n: usize) -> usize {
    blocks_before(buffer, block_start(buffer, buffer.len()), n)
}

/// Where the `n` events before `start`, where one begins, begin.
fn blocks_before(buffer: &[u8], mut start: usize, n: usize) -> usize {
    for _ in 0..n {
        let end = buffer[..start].iter().rposition(|b| !matches!(b, b'\r' | b'\n'));
        match end {
            Some(end) => start = block_start(buffer, end),
            None => break,
        }
    }
    start
}

/// What an event carries, line by line.
pub(crate) fn data_lines(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    block.split(|b| *b == b'\n').filter_map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let data = line.strip_prefix(b"data:")?;
        Some(data.strip_prefix(b" ").unwrap_or(data))
    })
}
