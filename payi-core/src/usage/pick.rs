//! Picks a few values out of a JSON document that arrives in pieces, without keeping the rest.
//!
//! An answer may be 100 MB of embeddings or pictures; what a call costs is a few hundred bytes of it,
//! anywhere. So the document is walked once, byte for byte where it matters and by `memchr` where it
//! does not, and only the values named by a table of [`Rule`]s are kept.

use memchr::memchr2;

pub(crate) use crate::usage::rules::{Rule, Rules, Then};
use crate::{
    context::Text,
    usage::pass::{
        Container, KEY_MAX, begins_scalar, end_of_value, ends_scalar, key_at, past_spaces, string,
    },
};

/// The longest value that is kept; a longer one is not an id, a model or a usage.
const KEEP_MAX: usize = 64 * 1024;
/// How many containers deep the rules can lead.
const DEPTH_MAX: usize = 8;
/// What is kept of most answers fits in this.
const ARENA: usize = 768;
/// How many values are kept; a list of more items is clipped.
const KEPT_MAX: usize = 4096;

/// One kept value.
#[derive(Clone, Copy, Debug)]
struct Kept<K> {
    name: K,
    /// Where it begins in the document.
    at: u64,
    start: usize,
    end: usize,
}

#[derive(Clone, Copy, Debug)]
struct Open<K> {
    array: bool,
    then: Then<K>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A value must follow; `]` too if it would be the first of an array.
    Value {
        first: bool,
    },
    /// A key must follow; `}` too if it would be the first.
    Key {
        first: bool,
    },
    InKey {
        escaped: bool,
    },
    Colon,
    /// A value has ended.
    After,
    InString {
        escaped: bool,
    },
    InScalar,
    /// Inside a container that holds nothing of interest.
    InContainer(Container),
    /// The outermost value has ended.
    Done,
    /// This is not JSON.
    Broken,
}

/// Walks one document.
#[derive(Debug)]
pub(crate) struct Picker<K: 'static> {
    rules: &'static Rules<K>,
    state: State,
    stack: [Open<K>; DEPTH_MAX],
    depth: usize,
    then: Then<K>,
    key: [u8; KEY_MAX],
    key_len: usize,
    kept: Vec<Kept<K>>,
    arena: Vec<u8>,
    keeping: Option<(K, u64, usize)>,
    seen: u64,
    clipped: bool,
}

impl<K: Copy + PartialEq> Picker<K> {
    pub(crate) fn new(rules: &'static Rules<K>) -> Self {
        Self {
            rules,
            state: State::Value { first: false },
            stack: [Open { array: false, then: Then::Skip }; DEPTH_MAX],
            depth: 0,
            then: Then::Enter(0),
            key: [0; KEY_MAX],
            key_len: 0,
            kept: Vec::new(),
            arena: Vec::new(),
            keeping: None,
            seen: 0,
            clipped: false,
        }
    }

    /// Walks a whole document.
    pub(crate) fn over(rules: &'static Rules<K>, document: &[u8]) -> Self {
        let mut picker = Self::new(rules);
        picker.push(document);
        picker
    }

    /// Walks on.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let used = match self.member(bytes) {
                Some(used) => used,
                None => self.step(bytes),
            };
            if let Some((_, _, start)) = self.keeping {
                self.make_room();
                self.arena.extend_from_slice(&bytes[..used]);
                if self.arena.len() - start > KEEP_MAX {
                    self.arena.truncate(start);
                    self.keeping = None;
                    self.clipped = true;
                }
            }
            self.seen += used as u64;
            bytes = &bytes[used..];
            if matches!(self.state, State::After) {
                self.keep();
            }
            if matches!(self.state, State::Done | State::Broken) {
                return;
            }
        }
    }

    /// Whether the document has been walked to its end.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether this is no JSON document.
    pub(crate) fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    /// Whether something had to be left out because it was too long or too much.
    pub(crate) fn is_clipped(&self) -> bool {
        self.clipped
    }

    /// The last value of this name, as it was written.
    pub(crate) fn last(&self, name: K) -> Option<&[u8]> {
        self.kept.iter().rev().find(|k| k.name == name).map(|k| &self.arena[k.start..k.end])
    }

    /// The first value of this name, as it was written.
    pub(crate) fn first(&self, name: K) -> Option<&[u8]> {
        self.all().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// Where the last value of this name begins.
    pub(crate) fn place(&self, name: K) -> Option<usize> {
        self.kept.iter().rev().find(|k| k.name == name).and_then(|k| usize::try_from(k.at).ok())
    }

    /// Every value and mark, in the order of the document.
    pub(crate) fn all(&self) -> impl Iterator<Item = (K, &[u8])> {
        self.kept.iter().map(|k| (k.name, &self.arena[k.start..k.end]))
    }

    /// The last value of this name, if it is a string that is not empty.
    pub(crate) fn text(&self, name: K) -> Option<Box<str>> {
        self.last(name).and_then(text)
    }

    /// Room for an id, a model and a usage: growing by halves costs more than all the rest.
    fn make_room(&mut self) {
        if self.arena.capacity() == 0 {
            self.arena.reserve(ARENA);
            self.kept.reserve(8);
        }
    }

    fn keep(&mut self) {
        if let Some((name, at, start)) = self.keeping.take() {
            self.record(name, at, start);
        }
    }

    /// Records what the arena holds from `start` on; of too many values nothing stays.
    fn record(&mut self, name: K, at: u64, start: usize) {
        if self.kept.len() < KEPT_MAX {
            self.kept.push(Kept { name, at, start, end: self.arena.len() });
        } else {
            self.arena.truncate(start);
            self.clipped = true;
        }
    }

    /// Consumes the next member of an object, with the comma before it, if all of it is there and it is not to be
    /// entered, and says how long it is. Most are like that, and step by step they would be twice the work.
    fn member(&mut self, bytes: &[u8]) -> Option<usize> {
        let in_object = || self.stack.get(..self.depth)?.last().map(|open| !open.array);
        let begin = match self.state {
            // After a comma that came alone, `first` is not set: that member did not fit.
            State::Key { first: true } => 0,
            State::After if bytes.first() == Some(&b',') && in_object() == Some(true) => 1,
            _ => return None,
        };
        let (key, at) = key_at(bytes, begin)?;
        let then = self.rule(key);
        if matches!(then, Then::Enter(_) | Then::Each(..)) {
            return None;
        }
        let end = end_of_value(bytes, at)?;
        match then {
            Then::Keep(_) if end - at > KEEP_MAX => self.clipped = true,
            Then::Keep(name) => {
                self.make_room();
                let start = self.arena.len();
                self.arena.extend_from_slice(&bytes[at..end]);
                self.record(name, self.seen + at as u64, start);
            }
            _ => {}
        }
        self.state = State::After;
        Some(end)
    }

    /// Consumes some of `bytes`, or changes the state, and says how many.
    fn step(&mut self, bytes: &[u8]) -> usize {
        let first = bytes[0];
        match self.state {
            State::InString { .. } | State::InScalar | State::InContainer(_) => self.inside(bytes),
            State::InKey { escaped } => self.in_key(bytes, escaped),
            _ if first.is_ascii_whitespace() => {
                bytes.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(bytes.len())
            }
            State::Value { first: empty } => {
                if first == b']' && empty {
                    self.pop(true);
                } else {
                    self.begin(first);
                }
                1
            }
            State::Key { first: empty } => match first {
                b'"' => {
                    self.key_len = 0;
                    self.state = State::InKey { escaped: false };
                    1
                }
                b'}' if empty => {
                    self.pop(false);
                    1
                }
                _ => {
                    self.state = State::Broken;
                    1
                }
            },
            State::Colon => {
                self.state = if first == b':' { State::Value { first: false } } else { State::Broken };
                1
            }
            State::After => {
                self.after(first);
                1
            }
            State::Done | State::Broken => bytes.len(),
        }
    }

    fn after(&mut self, byte: u8) {
        let open = self.depth.checked_sub(1).map(|top| self.stack[top]);
        match (byte, open) {
            (b',', Some(open)) if open.array => {
                self.then = open.then;
                self.state = State::Value { first: false };
            }
            (b',', Some(_)) => self.state = State::Key { first: false },
            (b']', Some(open)) if open.array => self.pop(true),
            (b'}', Some(open)) if !open.array => self.pop(false),
            _ => self.state = State::Broken,
        }
    }

    fn pop(&mut self, array: bool) {
        match self.depth.checked_sub(1) {
            Some(top) if self.stack[top].array == array => {
                self.depth = top;
                self.state = if top == 0 { State::Done } else { State::After };
            }
            _ => self.state = State::Broken,
        }
    }

    /// A value begins with `byte`.
    fn begin(&mut self, byte: u8) {
        let container = matches!(byte, b'{' | b'[');
        match self.then {
            Then::Enter(_) | Then::Each(..) if container && self.depth < DEPTH_MAX => {
                self.stack[self.depth] = Open { array: byte == b'[', then: self.then };
                self.depth += 1;
                if let (Then::Each(_, name), b'{') = (self.then, byte) {
                    self.record(name, self.seen, self.arena.len());
                }
                self.state =
                    if byte == b'[' { State::Value { first: true } } else { State::Key { first: true } };
                return;
            }
            Then::Keep(name) => {
                self.keeping = Some((name, self.seen, self.arena.len()));
            }
            _ => {}
        }
        self.state = match (Container::begun_by(byte), byte) {
            (Some(container), _) => State::InContainer(container),
            (_, b'"') => State::InString { escaped: false },
            _ if begins_scalar(byte) => State::InScalar,
            _ => State::Broken,
        };
    }

    fn in_key(&mut self, bytes: &[u8], escaped: bool) -> usize {
        let end = if escaped { Some(0) } else { memchr2(b'"', b'\\', bytes) };
        let taken = end.map_or(bytes.len(), |end| end + 1);
        let closing = !escaped && end.is_some_and(|end| bytes[end] == b'"');
        let part = if closing { &bytes[..taken - 1] } else { &bytes[..taken] };
        if self.key_len + part.len() <= KEY_MAX {
            self.key[self.key_len..self.key_len + part.len()].copy_from_slice(part);
            self.key_len += part.len();
        } else {
            // Longer than any rule's key: no match, whatever else comes.
            self.key_len = KEY_MAX + 1;
        }
        if closing {
            self.then = self.key.get(..self.key_len).map_or(Then::Skip, |key| self.rule(key));
            self.state = State::Colon;
        } else {
            self.state = State::InKey { escaped: !escaped && end.is_some() };
        }
        taken
    }

    fn rule(&self, key: &[u8]) -> Then<K> {
        let top = self.depth.checked_sub(1).map(|top| self.stack[top].then);
        let Some(Then::Enter(level) | Then::Each(level, _)) = top else { return Then::Skip };
        self.rules.find(level, key).map_or(Then::Skip, |rule| rule.then)
    }

    /// Passes over (or keeps) the inside of a string, a number or a container.
    fn inside(&mut self, bytes: &[u8]) -> usize {
        match &mut self.state {
            State::InString { escaped } => {
                let (taken, closed) = string(bytes, escaped);
                if closed {
                    self.ended();
                }
                taken
            }
            State::InScalar => match bytes.iter().position(|byte| ends_scalar(*byte)) {
                None => bytes.len(),
                // What ends a number is not part of it.
                Some(0) => {
                    self.keep();
                    self.ended();
                    0
                }
                Some(end) => end,
            },
            State::InContainer(container) => {
                let (taken, closed) = container.pass(bytes);
                if closed {
                    self.ended();
                }
                taken
            }
            _ => bytes.len(),
        }
    }

    fn ended(&mut self) {
        self.state = if self.depth == 0 { State::Done } else { State::After };
    }
}

/// The first text under `key` in an object, read no further than that. `Err` where only a walk step by step can tell:
/// a key that is long or escaped, an end that is missing.
pub(crate) fn first_text(document: &[u8], key: &str) -> Result<Option<Text>, Unclear> {
    let mut open = past_spaces(document, 0).filter(|at| document[*at] == b'{').ok_or(Unclear)?;
    if past_spaces(document, open + 1).is_some_and(|at| document[at] == b'}') {
        return Ok(None);
    }
    loop {
        let (found, value) = key_at(document, open + 1).ok_or(Unclear)?;
        let end = end_of_value(document, value).ok_or(Unclear)?;
        if found == key.as_bytes() {
            return Ok(text(&document[value..end]));
        }
        open = past_spaces(document, end).ok_or(Unclear)?;
        match document[open] {
            b',' => {}
            b'}' => return Ok(None),
            _ => return Err(Unclear),
        }
    }
}

/// A document that a quick look cannot tell about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unclear;

/// A JSON string's text, unless it is empty or no string.
pub(crate) fn text<T: From<String> + for<'t> From<&'t str>>(raw: &[u8]) -> Option<T> {
    match raw {
        br#""""# => None,
        [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => {
            std::str::from_utf8(inner).ok().map(Into::into)
        }
        _ => serde_json::from_slice::<String>(raw).ok().map(Into::into),
    }
}

#[cfg(test)]
#[path = "pick_tests.rs"]
mod tests;
