//! One key with its value, as a scope holds it, and the functions that make them: one per key and form.

use std::sync::Arc;

use serde::Serialize;

use crate::context::{
    ContextFlag, ContextList, ContextValue, ContextVersion, Key, Text, Value,
    field::fields,
    properties::{self, Given, Property},
    resolved::Properties,
    slot::{Carried, Held, Slot},
    value::Values,
};

/// One key with its value.
#[derive(Clone, Debug)]
pub struct Entry {
    pub(crate) key: Key,
    pub(crate) value: Slot,
}

impl Entry {
    pub(crate) const UNSET: Self = Self { key: Key::UserId, value: Slot::Unset };

    pub(crate) const fn is_unset(&self) -> bool {
        matches!(self.value, Slot::Unset)
    }

    /// What a root carries, in an entry of its own.
    pub(crate) fn of_carried(carried: Carried) -> Self {
        Self { key: Key::UserId, value: Slot::Held(Box::new(Held::Carried(carried))) }
    }

    /// What a root carries, if this is it.
    pub(crate) fn carried(&self) -> Option<Carried> {
        match &self.value {
            Slot::Held(held) => match &**held {
                Held::Carried(carried) => Some(Arc::clone(carried)),
                Held::List(_) | Held::Map(_) => None,
            },
            _ => None,
        }
    }

    /// The flag, if it is one.
    #[cfg(feature = "_calls")]
    pub(crate) const fn flag(&self) -> Option<bool> {
        if let Slot::Flag(flag) = self.value { Some(flag) } else { None }
    }

    /// A text key with `text`; an empty one clears.
    pub(crate) fn of_text(key: Key, text: &str) -> Self {
        Self { key, value: Slot::text(text) }
    }

    pub(crate) const fn of_flag(key: Key, flag: bool) -> Self {
        Self { key, value: Slot::Flag(flag) }
    }

    pub(crate) fn of_list(key: Key, list: Vec<Text>) -> Self {
        Self { key, value: Slot::list(list) }
    }

    pub(crate) fn of_map(key: Key, map: Properties) -> Self {
        Self { key, value: Slot::map(map) }
    }

    fn list(key: Key, values: Values) -> Self {
        let value = match values {
            Values::Inherit => Slot::Unset,
            Values::List(list) => Slot::list(list),
            Values::Clear => Slot::Clear,
        };
        Self { key, value }
    }

    fn map(key: Key, given: Given) -> Self {
        let value = match given {
            Given::Inherit => Slot::Unset,
            Given::Map(properties) => Slot::map(properties),
            Given::Clear => Slot::Clear,
        };
        Self { key, value }
    }

    fn pairs<const N: usize>(key: Key, pairs: [Property; N]) -> Self {
        let properties: Properties = pairs.into_iter().filter_map(|pair| pair.0).collect();
        Self::map(key, if N > 0 && properties.is_empty() { Given::Inherit } else { Given::Map(properties) })
    }
}

/// An element of a list written in place, borrowed by itself: `limit_ids = [user.plan, "free"]`.
pub fn item<V: ContextValue + ?Sized>(value: &V) -> Value {
    value.context_value()
}

/// A pair of properties written in place, borrowed by halves: `request_properties = [("plan", user.plan)]`.
pub fn pair<K: ContextValue + ?Sized, V: properties::PropertyValue + ?Sized>(key: &K, value: &V) -> Property {
    Property::new(key, value)
}

macro_rules! expression {
    ($name:ident, $key:ident, text, $doc:literal) => {
        #[doc = $doc]
        #[inline]
        pub fn $name<V: ContextValue + ?Sized>(value: &V) -> Entry {
            Entry { key: Key::$key, value: value.context_value().0 }
        }
    };
    ($name:ident, $key:ident, version, $doc:literal) => {
        #[doc = $doc]
        #[inline]
        pub fn $name<V: ContextVersion + ?Sized>(value: &V) -> Entry {
            Entry { key: Key::$key, value: value.context_version().map_or(Slot::Unset, Slot::Version) }
        }
    };
    ($name:ident, $key:ident, flag, $doc:literal) => {
        #[doc = $doc]
        #[inline]
        pub fn $name<V: ContextFlag + ?Sized>(value: &V) -> Entry {
            Entry { key: Key::$key, value: value.context_flag().map_or(Slot::Unset, Slot::Flag) }
        }
    };
    ($name:ident, $key:ident, list, $doc:literal) => {
        #[doc = $doc]
        pub fn $name<V: ContextList + ?Sized>(value: &V) -> Entry {
            Entry::list(Key::$key, value.context_list())
        }
    };
    ($name:ident, $key:ident, map, $doc:literal) => {
        #[doc = $doc]
        pub fn $name<V: Serialize + ?Sized>(value: &V) -> Entry {
            Entry::map(Key::$key, properties::read(value))
        }
    };
}

macro_rules! literal {
    ($name:ident, $key:ident, text, $doc:literal) => {
        #[doc = $doc]
        #[inline]
        pub const fn $name(text: &'static str) -> Entry {
            Entry { key: Key::$key, value: Slot::literal(text) }
        }
    };
    ($name:ident, $key:ident, version, $doc:literal) => {
        #[doc = $doc]
        #[inline]
        pub const fn $name(version: u32) -> Entry {
            Entry { key: Key::$key, value: Slot::Version(version) }
        }
    };
    ($name:ident, $key:ident, flag, $doc:literal) => {
        #[doc = $doc]
        #[inline]
        pub const fn $name(flag: bool) -> Entry {
            Entry { key: Key::$key, value: Slot::Flag(flag) }
        }
    };
    ($name:ident, $key:ident, list, $doc:literal) => {
        #[doc = $doc]
        #[inline]
        pub const fn $name(texts: &'static [&'static str]) -> Entry {
            let value = if texts.is_empty() { Slot::Clear } else { Slot::Literals(texts) };
            Entry { key: Key::$key, value }
        }
    };
    ($name:ident, $key:ident, map, $doc:literal) => {
        #[doc = $doc]
        #[inline]
        pub const fn $name(pairs: &'static [(&'static str, &'static str)]) -> Entry {
            let value = if pairs.is_empty() { Slot::Clear } else { Slot::LiteralPairs(pairs) };
            Entry { key: Key::$key, value }
        }
    };
}

macro_rules! in_place {
    ($name:ident, $key:ident, list, $doc:literal) => {
        #[doc = $doc]
        pub fn $name<const N: usize>(items: [Value; N]) -> Entry {
            Entry::list(Key::$key, Values::of(items))
        }
    };
    ($name:ident, $key:ident, map, $doc:literal) => {
        #[doc = $doc]
        pub fn $name<const N: usize>(pairs: [Property; N]) -> Entry {
            Entry::pairs(Key::$key, pairs)
        }
    };
    ($name:ident, $key:ident, $other:ident, $doc:literal) => {};
}

macro_rules! functions {
    ($(($name:ident, $key:ident, $kind:ident, $doc:literal, $header:expr, $wire:expr, $column:expr),)*) => {
        /// A key with the value of an expression.
        pub mod expression {
            use super::*;
            $(expression!($name, $key, $kind, $doc);)*
        }

        /// A key with a literal: never an allocation.
        pub mod literal {
            use super::*;
            $(literal!($name, $key, $kind, $doc);)*
        }

        /// A list or map key with an array written in place, each part made by [`item`] or [`pair`].
        pub mod in_place {
            use super::*;
            $(in_place!($name, $key, $kind, $doc);)*
        }
    };
}
fields!(functions);
