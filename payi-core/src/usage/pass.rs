//! JSON that nobody asks for, passed over: only what tells where it ends is looked at.

use memchr::{memchr2, memchr3};

/// The longest key that a rule can name.
pub(crate) const KEY_MAX: usize = 40;

/// A container that is passed over; only its own kind of bracket is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Container {
    open: u8,
    close: u8,
    depth: u32,
    string: bool,
    escaped: bool,
}

impl Container {
    /// The one that begins with this byte, if one does.
    pub(crate) const fn begun_by(open: u8) -> Option<Self> {
        let close = match open {
            b'{' => b'}',
            b'[' => b']',
            _ => return None,
        };
        Some(Self { open, close, depth: 1, string: false, escaped: false })
    }

    /// How much of `bytes` belongs to it, and whether it ends there. In one go: an answer's choices are
    /// mostly short strings.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut at = 0;
        loop {
            if self.string {
                let (taken, closed) = string(&bytes[at..], &mut self.escaped);
                self.string = !closed;
                at += taken;
            }
            let Some((found, byte)) = self.next(&bytes[at..]) else { return (bytes.len(), false) };
            at += found + 1;
            if byte == b'"' {
                self.string = true;
            } else if byte == self.open {
                self.depth = self.depth.saturating_add(1);
            } else {
                self.depth -= 1;
                if self.depth == 0 {
                    return (at, true);
                }
            }
        }
    }

    /// The next quote or bracket. Between strings there are a few bytes, which a search by vectors is slower at.
    fn next(self, bytes: &[u8]) -> Option<(usize, u8)> {
        const FEW: usize = 16;
        let wanted = |byte: u8| byte == b'"' || byte == self.open || byte == self.close;
        for (at, &byte) in bytes.iter().enumerate().take(FEW) {
            if wanted(byte) {
                return Some((at, byte));
            }
        }
        let found = FEW + memchr3(b'"', self.open, self.close, bytes.get(FEW..)?)?;
        Some((found, *bytes.get(found)?))
    }
}

/// The key that begins at `at`, or after spaces, if it is short and plain, and where its value begins.
pub(crate) fn key_at(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let begin = past_spaces(bytes, at)? + 1;
    let head = bytes.get(begin..bytes.len().min(begin + KEY_MAX))?;
    let length = head.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    let colon = past_spaces(bytes, begin + length + 1)?;
    let plain = bytes[begin - 1] == b'"' && head[length] == b'"' && bytes[colon] == b':';
    if plain { Some((&head[..length], past_spaces(bytes, colon + 1)?)) } else { None }
}

/// The first byte from `at` on that is no space.
pub(crate) fn past_spaces(bytes: &[u8], mut at: usize) -> Option<usize> {
    while bytes.get(at)?.is_ascii_whitespace() {
        at += 1;
    }
    Some(at)
}

/// Where the value ends that begins at `at`; `None` if its end is not there, or if it is none.
pub(crate) fn end_of_value(bytes: &[u8], at: usize) -> Option<usize> {
    let inside = &bytes[at + 1..];
    let (taken, closed) = match (Container::begun_by(bytes[at]), bytes[at]) {
        (Some(mut container), _) => container.pass(inside),
        (_, b'"') => string(inside, &mut false),
        (_, byte) if begins_scalar(byte) => (inside.iter().position(|byte| ends_scalar(*byte))?, true),
        _ => return None,
    };
    closed.then_some(at + 1 + taken)
}

pub(crate) const fn begins_scalar(byte: u8) -> bool {
    matches!(byte, b'-' | b'0'..=b'9' | b't' | b'f' | b'n')
}

pub(crate) const fn ends_scalar(byte: u8) -> bool {
    matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t')
}

/// How much of `bytes` belongs to the string they are in, and whether it ends there.
pub(crate) fn string(bytes: &[u8], escaped: &mut bool) -> (usize, bool) {
    let mut at = usize::from(std::mem::take(escaped));
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found + 1;
        if bytes[at - 1] == b'"' {
            return (at, true);
        }
        // What is escaped means nothing.
        at += 1;
    }
    *escaped = at > bytes.len();
    (bytes.len(), false)
}
