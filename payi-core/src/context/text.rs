//! Text that is cheap to keep and cheap to copy: what every id, name and property is.
//!
//! A scope is entered on every request, so its values may not each cost an allocation: literals are
//! kept as they are, text of up to 38 bytes (a hyphenated UUID has 36) lives in the frame itself, and
//! only longer text goes to the heap, once, shared from then on.

use std::{
    borrow::Borrow,
    fmt::{self, Write as _},
    hash::{Hash, Hasher},
    ops::Deref,
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::context::slot::Slot;

/// The longest text that needs no allocation, in bytes.
const INLINE: usize = 38;

/// Immutable text; a clone never allocates.
///
/// ```
/// # use payi_core::context::Text;
/// let id = Text::from(String::from("u-1842"));
/// assert_eq!(id, "u-1842");
/// assert_eq!(id.clone().as_str(), "u-1842");
/// ```
#[derive(Clone)]
pub struct Text(Repr);

#[derive(Clone)]
enum Repr {
    Static(&'static str),
    Inline(Inline),
    Shared(Arc<str>),
}

impl Text {
    /// Text that lives as long as the program: kept as it is.
    #[inline]
    pub const fn literal(text: &'static str) -> Self {
        Self(Repr::Static(text))
    }

    /// A copy of `text`; without an allocation up to 38 bytes.
    #[inline]
    pub fn new(text: &str) -> Self {
        Self(Inline::new(text).map_or_else(|| Repr::Shared(text.into()), Repr::Inline))
    }

    pub(crate) const fn inline(text: Inline) -> Self {
        Self(Repr::Inline(text))
    }

    pub(crate) const fn shared(text: Arc<str>) -> Self {
        Self(Repr::Shared(text))
    }

    /// The same as a scope's value; an empty one clears.
    pub(crate) fn into_slot(self) -> Slot {
        match self.0 {
            _ if self.is_empty() => Slot::Clear,
            Repr::Static(text) => Slot::Literal(text),
            Repr::Inline(text) => Slot::Inline(text),
            Repr::Shared(text) => Slot::Shared(text),
        }
    }

    /// The text that `value` displays; without an allocation up to 38 bytes.
    pub(crate) fn display(value: impl fmt::Display) -> Self {
        let mut out = Inline::EMPTY;
        match write!(out, "{value}") {
            Ok(()) => Self(Repr::Inline(out)),
            Err(fmt::Error) => Self(Repr::Shared(value.to_string().into())),
        }
    }

    /// The text.
    #[inline]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Static(text) => text,
            Repr::Inline(text) => text.as_str(),
            Repr::Shared(text) => text,
        }
    }

    /// Its bytes, which compare, order and hash as the text does.
    #[inline]
    fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Static(text) => text.as_bytes(),
            Repr::Inline(text) => text.as_bytes(),
            Repr::Shared(text) => text.as_bytes(),
        }
    }

    /// Whether there is nothing in it.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }
}

/// Text of at most 38 bytes, in place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inline {
    len: u8,
    bytes: [u8; INLINE],
}

impl Inline {
    const EMPTY: Self = Self { len: 0, bytes: [0; INLINE] };

    /// A copy of `text`, if it is short enough.
    #[inline]
    pub(crate) fn new(text: &str) -> Option<Self> {
        let mut copy = Self::EMPTY;
        copy.bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        copy.len = u8::try_from(text.len()).ok()?;
        Some(copy)
    }

    #[inline]
    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Always UTF-8, because it is copied whole from a `str`; checked because we keep no unsafe code.
    fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

/// An error means that it does not fit.
impl fmt::Write for Inline {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let start = usize::from(self.len);
        let end = start + text.len();
        self.bytes.get_mut(start..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = u8::try_from(end).map_err(|_| fmt::Error)?;
        Ok(())
    }
}

impl fmt::Debug for Inline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::literal("")
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.as_str().to_owned()
    }
}

impl From<Text> for Box<str> {
    fn from(text: Text) -> Self {
        text.as_str().into()
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            // Of fixed size, and zero behind the text: no loop, no call.
            (Repr::Inline(one), Repr::Inline(other)) => one == other,
            _ => self.as_bytes() == other.as_bytes(),
        }
    }
}

impl Eq for Text {}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}
