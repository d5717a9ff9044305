//! A value as a scope holds it, in 40 bytes.

use std::{any::Any, fmt, mem, sync::Arc};

use crate::context::{
    resolved::Properties,
    text::{Inline, Text},
};

/// A value as a scope holds it: the forms that own no memory first, so that letting go of them is one
/// comparison.
#[derive(Clone, Debug)]
pub(crate) enum Slot {
    Unset,
    Clear,
    Version(u32),
    Flag(bool),
    Literal(&'static str),
    Inline(Inline),
    Literals(&'static [&'static str]),
    LiteralPairs(&'static [(&'static str, &'static str)]),
    Shared(Arc<str>),
    Held(Box<Held>),
}

/// What is too large for a frame, or rare.
#[derive(Clone)]
pub(crate) enum Held {
    List(Box<[Text]>),
    Map(Box<[(Text, Option<Text>)]>),
    /// No key's value: what a root carries for [`Context::root`](super::Context::root).
    Carried(Carried),
}

impl Held {
    /// The list, if it is one.
    pub(crate) fn list(&self) -> &[Text] {
        if let Self::List(list) = self { list } else { &[] }
    }

    /// The properties, if they are.
    pub(crate) fn map(&self) -> &[(Text, Option<Text>)] {
        if let Self::Map(map) = self { map } else { &[] }
    }
}

/// What a root carries.
pub(crate) type Carried = Arc<dyn Any + Send + Sync>;

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(list) => fmt::Debug::fmt(list, f),
            Self::Map(map) => fmt::Debug::fmt(map, f),
            Self::Carried(_) => f.write_str("Carried"),
        }
    }
}

impl Slot {
    /// Forgets the value. Most have nothing to let go of, which is one comparison here, and a call in their
    /// general drop.
    #[inline]
    pub(crate) fn unset(&mut self) {
        if matches!(self, Self::Shared(_) | Self::Held(_)) {
            *self = Self::Unset;
        } else {
            mem::forget(mem::replace(self, Self::Unset));
        }
    }

    /// A copy of `text`; an empty one clears.
    #[inline]
    pub(crate) fn text(text: &str) -> Self {
        if text.is_empty() {
            return Self::Clear;
        }
        Inline::new(text).map_or_else(|| Self::Shared(text.into()), Self::Inline)
    }

    /// A list; an empty one clears.
    pub(crate) fn list(list: Vec<Text>) -> Self {
        if list.is_empty() { Self::Clear } else { Self::Held(Box::new(Held::List(list.into()))) }
    }

    /// Properties; without any they are cleared.
    pub(crate) fn map(map: Properties) -> Self {
        if map.is_empty() { Self::Clear } else { Self::Held(Box::new(Held::Map(map.into()))) }
    }

    /// `text` as it is; an empty one clears.
    #[inline]
    pub(crate) const fn literal(text: &'static str) -> Self {
        if text.is_empty() { Self::Clear } else { Self::Literal(text) }
    }

    /// The text, if it is one.
    #[inline]
    pub(crate) fn to_text(&self) -> Option<Text> {
        match self {
            Self::Literal(text) => Some(Text::literal(text)),
            Self::Inline(text) => Some(Text::inline(*text)),
            Self::Shared(text) => Some(Text::shared(Arc::clone(text))),
            _ => None,
        }
    }
}

impl Slot {
    /// Whether it is the same text as `other`, which is one.
    pub(crate) fn is_text_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Inline(one), Self::Inline(other)) => one == other,
            _ => self.to_text() == other.to_text(),
        }
    }
}

/// An empty one clears.
impl From<Text> for Slot {
    fn from(text: Text) -> Self {
        text.into_slot()
    }
}
