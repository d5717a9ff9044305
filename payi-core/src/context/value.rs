//! What may be given for a key, and what it means.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashSet},
    num::{
        NonZeroI8, NonZeroI16, NonZeroI32, NonZeroI64, NonZeroIsize, NonZeroU8, NonZeroU16, NonZeroU32,
        NonZeroU64, NonZeroUsize,
    },
    rc::Rc,
    sync::Arc,
};

use serde::{Serialize, Serializer};

use crate::context::{Text, slot::Slot};

/// What a given value means for its key: a text, or that the key is cleared, or nothing at all, so that
/// the scope around decides.
///
/// ```
/// # use payi_core::context::Value;
/// assert_eq!(Value::from("u-1").to_text().as_deref(), Some("u-1"));
/// assert_eq!(Value::INHERIT.to_text(), None);
/// assert!(Value::from("").is_clear(), "an empty text clears");
/// ```
#[derive(Clone, Debug)]
pub struct Value(pub(crate) Slot);

impl Value {
    /// Nothing is given: the scope around decides.
    pub const INHERIT: Self = Self(Slot::Unset);

    /// The key has no value from here on, whatever the scope around says.
    pub const CLEAR: Self = Self(Slot::Clear);

    /// The text, if there is one.
    pub fn to_text(&self) -> Option<Text> {
        self.0.to_text()
    }

    /// Whether it clears the key.
    pub const fn is_clear(&self) -> bool {
        matches!(self.0, Slot::Clear)
    }
}

impl From<&str> for Value {
    #[inline]
    fn from(text: &str) -> Self {
        Self(Slot::text(text))
    }
}

impl From<Text> for Value {
    fn from(text: Text) -> Self {
        Self(text.into_slot())
    }
}

/// Clears a key: inside, it has no value, whatever the scope around says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clear;

/// The name by which [`properties`](super::properties) recognises a serialised [`Clear`].
pub(crate) const CLEAR: &str = "payi::Clear";

impl Serialize for Clear {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit_struct(CLEAR)
    }
}

/// What can be an id, a name or a label: text, integers, `uuid::Uuid` (feature `uuid`), an `Option` of
/// them (`None` inherits), [`Clear`].
///
/// Implement it for your own ids; it is not implemented for everything that has `Display`, so that an
/// error or a whole user is not made an id by accident.
///
/// ```
/// # use payi_core::context::{ContextValue, Value};
/// struct UserId(u64);
///
/// impl ContextValue for UserId {
///     fn context_value(&self) -> Value {
///         self.0.context_value()
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the value of a payi context key",
    label = "expected text, an integer, `uuid::Uuid` (feature `uuid`), or an `Option` of these",
    note = "implement `payi::ContextValue` for an id type of your own, or pass `.as_str()` or `.to_string()`"
)]
pub trait ContextValue {
    /// What it means for its key.
    fn context_value(&self) -> Value;
}

impl ContextValue for Value {
    fn context_value(&self) -> Value {
        self.clone()
    }
}

impl ContextValue for Clear {
    fn context_value(&self) -> Value {
        Value::CLEAR
    }
}

impl ContextValue for str {
    #[inline]
    fn context_value(&self) -> Value {
        Value::from(self)
    }
}

impl ContextValue for String {
    #[inline]
    fn context_value(&self) -> Value {
        self.as_str().context_value()
    }
}

impl ContextValue for Text {
    fn context_value(&self) -> Value {
        Value::from(self.clone())
    }
}

impl<T: ContextValue> ContextValue for Option<T> {
    #[inline]
    fn context_value(&self) -> Value {
        self.as_ref().map_or(Value::INHERIT, T::context_value)
    }
}

impl<T: ContextValue + ToOwned + ?Sized> ContextValue for Cow<'_, T> {
    #[inline]
    fn context_value(&self) -> Value {
        self.as_ref().context_value()
    }
}

macro_rules! through_a_pointer {
    ($($pointer:ty),*) => {$(
        impl<T: ContextValue + ?Sized> ContextValue for $pointer {
            #[inline]
            fn context_value(&self) -> Value {
                (**self).context_value()
            }
        }
    )*};
}
through_a_pointer!(&T, &mut T, Box<T>, Rc<T>, Arc<T>);

macro_rules! displayed {
    ($($number:ty),*) => {$(
        impl ContextValue for $number {
            fn context_value(&self) -> Value {
                Value::from(Text::display(self))
            }
        }
    )*};
}
displayed!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize);
displayed!(NonZeroU8, NonZeroU16, NonZeroU32, NonZeroU64, NonZeroUsize);
displayed!(NonZeroI8, NonZeroI16, NonZeroI32, NonZeroI64, NonZeroIsize);

#[cfg(feature = "uuid")]
impl ContextValue for uuid::Uuid {
    fn context_value(&self) -> Value {
        Value::from(&*self.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()))
    }
}

/// What can be a version: a `u32`, or an `Option` of it (`None` inherits).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a use case's version",
    label = "expected a `u32`",
    note = "versions are counted from 1; convert with `u32::try_from`"
)]
pub trait ContextVersion {
    /// The version; `None` inherits.
    fn context_version(&self) -> Option<u32>;
}

impl ContextVersion for u32 {
    fn context_version(&self) -> Option<u32> {
        Some(*self)
    }
}

impl<T: ContextVersion> ContextVersion for Option<T> {
    fn context_version(&self) -> Option<u32> {
        self.as_ref().and_then(T::context_version)
    }
}

impl<T: ContextVersion + ?Sized> ContextVersion for &T {
    fn context_version(&self) -> Option<u32> {
        (**self).context_version()
    }
}

/// What can be a flag: a `bool`, or an `Option` of it (`None` inherits).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the value of a payi context flag",
    label = "expected a `bool`"
)]
pub trait ContextFlag {
    /// The flag; `None` inherits.
    fn context_flag(&self) -> Option<bool>;
}

impl ContextFlag for bool {
    fn context_flag(&self) -> Option<bool> {
        Some(*self)
    }
}

impl<T: ContextFlag> ContextFlag for Option<T> {
    fn context_flag(&self) -> Option<bool> {
        self.as_ref().and_then(T::context_flag)
    }
}

impl<T: ContextFlag + ?Sized> ContextFlag for &T {
    fn context_flag(&self) -> Option<bool> {
        (**self).context_flag()
    }
}

/// Several ids given for one key, and what that means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Values {
    /// Nothing was given (`None`): the scope around decides.
    Inherit,
    /// The key has no value from here on, whatever the scope around says.
    Clear,
    /// These; an empty list clears.
    List(Vec<Text>),
}

/// What can be a list of ids: an array, slice, `Vec` or set of [`ContextValue`]s, an `Option` of one
/// (`None` inherits), [`Clear`].
///
/// An element that is `None` or empty is left out.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a list of payi context values",
    label = "expected a list, such as `[\"premium\"]` or a `Vec<String>`",
    note = "one id is a list of one: `[id]`"
)]
pub trait ContextList {
    /// What it means for its key.
    fn context_list(&self) -> Values;
}

impl Values {
    /// The texts among `items`. Items that all say nothing inherit; only no items at all clear.
    pub(crate) fn of(items: impl IntoIterator<Item = Value>) -> Self {
        let mut given = false;
        let texts: Vec<_> =
            items.into_iter().inspect(|_| given = true).filter_map(|item| item.to_text()).collect();
        if given && texts.is_empty() { Self::Inherit } else { Self::List(texts) }
    }
}

impl ContextList for Clear {
    fn context_list(&self) -> Values {
        Values::Clear
    }
}

impl<T: ContextValue> ContextList for [T] {
    fn context_list(&self) -> Values {
        Values::of(self.iter().map(T::context_value))
    }
}

impl<T: ContextValue, const N: usize> ContextList for [T; N] {
    fn context_list(&self) -> Values {
        self.as_slice().context_list()
    }
}

impl<T: ContextValue> ContextList for Vec<T> {
    fn context_list(&self) -> Values {
        self.as_slice().context_list()
    }
}

impl<T: ContextValue> ContextList for BTreeSet<T> {
    fn context_list(&self) -> Values {
        Values::of(self.iter().map(T::context_value))
    }
}

impl<T: ContextValue, S> ContextList for HashSet<T, S> {
    fn context_list(&self) -> Values {
        Values::of(self.iter().map(T::context_value))
    }
}

impl<T: ContextList> ContextList for Option<T> {
    fn context_list(&self) -> Values {
        self.as_ref().map_or(Values::Inherit, T::context_list)
    }
}

macro_rules! lists_through_a_pointer {
    ($($pointer:ty),*) => {$(
        impl<T: ContextList + ?Sized> ContextList for $pointer {
            fn context_list(&self) -> Values {
                (**self).context_list()
            }
        }
    )*};
}
lists_through_a_pointer!(&T, &mut T, Box<T>, Arc<T>);

impl<T: ContextList + ToOwned + ?Sized> ContextList for Cow<'_, T> {
    fn context_list(&self) -> Values {
        self.as_ref().context_list()
    }
}
