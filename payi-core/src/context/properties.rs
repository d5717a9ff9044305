//! Properties from whatever holds them: pairs, a map, or a flat struct that derives `Serialize`.
//!
//! The build without default features has no JSON library, so a small serde serializer turns the value
//! into a tree, of which only one level is wanted: a nested value is dropped, counted, warned of once.

use serde::{
    Serialize, Serializer,
    de::value::Error,
    ser::{
        SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
        SerializeTupleStruct, SerializeTupleVariant,
    },
};

use crate::context::{
    ContextValue, Text,
    loss::{self, Loss},
    resolved::Properties,
    value::CLEAR,
};

/// Properties given for one key, and what that means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// Nothing was given (`None`): the scope around decides.
    Inherit,
    /// The key has no value from here on, whatever the scope around says.
    Clear,
    /// These; an empty list clears.
    Map(Properties),
}

/// Reads one level of `value`.
pub(crate) fn read<T: Serialize + ?Sized>(value: &T) -> Given {
    match value.serialize(Tree) {
        Ok(Node::Null) => Given::Inherit,
        Ok(Node::Clear) => Given::Clear,
        Ok(Node::Map(pairs)) => flat(pairs.into_iter().map(Some)),
        Ok(Node::List(items)) => flat(items.into_iter().map(Node::into_pair)),
        Ok(Node::Text(_)) | Err(_) => {
            loss::count(Loss::NestedProperty);
            Given::Inherit
        }
    }
}

/// Of `pairs`, those that are a key and one plain value. Pairs that all say nothing inherit.
fn flat(pairs: impl Iterator<Item = Option<(Node, Node)>>) -> Given {
    let mut given = false;
    let mut properties = Properties::new();
    for pair in pairs {
        given = true;
        match pair {
            Some((Node::Text(key), Node::Text(value))) => properties.push((key, Some(value))),
            Some((Node::Text(key), Node::Null | Node::Clear)) => properties.push((key, None)),
            _ => loss::count(Loss::NestedProperty),
        }
    }
    if given && properties.is_empty() { Given::Inherit } else { Given::Map(properties) }
}

/// One key and one value of an array written in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property(pub(crate) Option<(Text, Option<Text>)>);

impl Property {
    /// A pair; without a key it is nothing.
    pub fn new<K: ContextValue + ?Sized, V: PropertyValue + ?Sized>(key: &K, value: &V) -> Self {
        Self(key.context_value().to_text().map(|key| (key, value.property_value())))
    }
}

/// What can be the value of one property: any [`ContextValue`], `bool` (`True`, `False`, as Pay-i's Python
/// SDK spells them), `f32` and `f64`; `None` is null, which is kept.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the value of a payi property",
    label = "expected text, a number, a `bool`, or an `Option` of these",
    note = "implement `payi::ContextValue` for a type of your own, or pass `.to_string()`"
)]
pub trait PropertyValue {
    /// The text; `None` is null.
    fn property_value(&self) -> Option<Text>;
}

impl<T: ContextValue + ?Sized> PropertyValue for T {
    fn property_value(&self) -> Option<Text> {
        let value = self.context_value();
        // An empty text is a value here: it clears nothing.
        value.to_text().or_else(|| value.is_clear().then(Text::default))
    }
}

macro_rules! displayed {
    ($($plain:ty),*) => {$(
        impl PropertyValue for $plain {
            fn property_value(&self) -> Option<Text> {
                Some(Text::display(format_args!("{self:?}")))
            }
        }
    )*};
}
displayed!(f32, f64);

impl PropertyValue for bool {
    fn property_value(&self) -> Option<Text> {
        Some(boolean(*self))
    }
}

/// Spelt as Pay-i's Python SDK does, so that one property of both is one pivot.
const fn boolean(value: bool) -> Text {
    Text::literal(if value { "True" } else { "False" })
}

/// What a serialised value looks like.
enum Node {
    Null,
    Clear,
    Text(Text),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Node {
    fn into_pair(self) -> Option<(Self, Self)> {
        let Self::List(items) = self else { return None };
        let mut items = items.into_iter();
        match (items.next(), items.next(), items.next()) {
            (Some(key), Some(value), None) => Some((key, value)),
            _ => None,
        }
    }
}

/// Turns a value into a [`Node`].
struct Tree;

/// A list or a map on its way to a [`Node`].
struct Items {
    list: Vec<Node>,
    map: Vec<(Node, Node)>,
    key: Option<Node>,
    is_map: bool,
}

impl Items {
    const LIST: Self = Self { list: Vec::new(), map: Vec::new(), key: None, is_map: false };
    const MAP: Self = Self { list: Vec::new(), map: Vec::new(), key: None, is_map: true };

    fn push<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Error> {
        self.list.push(item.serialize(Tree)?);
        Ok(())
    }

    fn insert<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Error> {
        self.map.push((Node::Text(Text::literal(key)), value.serialize(Tree)?));
        Ok(())
    }

    fn finish(self) -> Node {
        if self.is_map { Node::Map(self.map) } else { Node::List(self.list) }
    }
}

macro_rules! texts {
    ($($method:ident: $plain:ty),*) => {$(
        fn $method(self, value: $plain) -> Result<Node, Error> {
            Ok(Node::Text(Text::display(value)))
        }
    )*};
}

impl Serializer for Tree {
    type Ok = Node;
    type Error = Error;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = Items;
    type SerializeTupleVariant = Items;
    type SerializeMap = Items;
    type SerializeStruct = Items;
    type SerializeStructVariant = Items;

    texts!(serialize_char: char);
    texts!(serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128);
    texts!(serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128);

    fn serialize_bool(self, value: bool) -> Result<Node, Error> {
        Ok(Node::Text(boolean(value)))
    }

    fn serialize_f32(self, value: f32) -> Result<Node, Error> {
        Ok(Node::Text(Text::display(format_args!("{value:?}"))))
    }

    fn serialize_f64(self, value: f64) -> Result<Node, Error> {
        Ok(Node::Text(Text::display(format_args!("{value:?}"))))
    }

    fn serialize_str(self, text: &str) -> Result<Node, Error> {
        Ok(Node::Text(Text::new(text)))
    }

    fn serialize_bytes(self, _bytes: &[u8]) -> Result<Node, Error> {
        Ok(Node::List(Vec::new()))
    }

    fn serialize_none(self) -> Result<Node, Error> {
        Ok(Node::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Node, Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Node, Error> {
        Ok(Node::Null)
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<Node, Error> {
        Ok(if name == CLEAR { Node::Clear } else { Node::Null })
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Node, Error> {
        Ok(Node::Text(Text::literal(variant)))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, v: &T) -> Result<Node, Error> {
        v.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Node, Error> {
        Ok(Node::Map(vec![(Node::Text(Text::literal(variant)), value.serialize(Self)?)]))
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Items, Error> {
        Ok(Items::LIST)
    }

    fn serialize_tuple(self, _len: usize) -> Result<Items, Error> {
        Ok(Items::LIST)
    }

    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<Items, Error> {
        Ok(Items::LIST)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Items, Error> {
        Ok(Items::LIST)
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Items, Error> {
        Ok(Items::MAP)
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Items, Error> {
        Ok(Items::MAP)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Items, Error> {
        Ok(Items::MAP)
    }

    fn collect_str<T: std::fmt::Display + ?Sized>(self, value: &T) -> Result<Node, Error> {
        Ok(Node::Text(Text::display(value)))
    }
}

macro_rules! lists {
    ($($list:ident $method:ident),*) => {$(
        impl $list for Items {
            type Ok = Node;
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Error> {
                self.push(item)
            }

            fn end(self) -> Result<Node, Error> {
                Ok(self.finish())
            }
        }
    )*};
}
lists!(SerializeSeq serialize_element, SerializeTuple serialize_element);
lists!(SerializeTupleStruct serialize_field, SerializeTupleVariant serialize_field);

macro_rules! structs {
    ($($list:ident),*) => {$(
        impl $list for Items {
            type Ok = Node;
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, v: &T) -> Result<(), Error> {
                self.insert(name, v)
            }

            fn end(self) -> Result<Node, Error> {
                Ok(self.finish())
            }
        }
    )*};
}
structs!(SerializeStruct, SerializeStructVariant);

impl SerializeMap for Items {
    type Ok = Node;
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.key = Some(key.serialize(Tree)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        if let Some(key) = self.key.take() {
            self.map.push((key, value.serialize(Tree)?));
        }
        Ok(())
    }

    fn end(self) -> Result<Node, Error> {
        Ok(self.finish())
    }
}
