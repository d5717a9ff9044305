//! A provider's usage as it is read: flat, and borrowed from the answer's bytes.
//!
//! A map would allocate for each of its keys, which would be most of what reading an answer costs.

use std::{borrow::Cow, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// How `serde_json` shows numbers to others where somebody has asked it for any precision.
const NUMBER: &str = "$serde_json::private::Number";

/// One JSON value. Members that are null are left out: to say nothing and to say null is the same in a usage.
#[derive(Debug)]
pub(crate) struct Tree<'a>(Vec<Node<'a>>);

#[derive(Debug)]
struct Node<'a> {
    /// Its name in the object around it.
    key: &'a str,
    leaf: Leaf<'a>,
    /// How many nodes it is, with all that is in it.
    len: usize,
}

#[derive(Debug)]
enum Leaf<'a> {
    Null,
    Flag,
    Integer(u64),
    /// A number that is no `u64`.
    Float(f64),
    Text(Cow<'a, str>),
    Array,
    Object,
}

/// A value in a [`Tree`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'t>(&'t Node<'t>, &'t [Node<'t>]);

/// An object in a [`Tree`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Object<'t>(&'t [Node<'t>]);

impl<'a> Tree<'a> {
    /// Reads `json`; `None` if that is not what it is.
    pub(crate) fn read(json: &'a [u8]) -> Option<Self> {
        // A usage has a dozen counts and two or three groups of them.
        let mut nodes = Vec::with_capacity(20);
        // Once for all: each string by itself would be four times the work.
        let text = std::str::from_utf8(json).ok()?;
        let mut reader = serde_json::Deserializer::from_str(text);
        Seed { nodes: &mut nodes, key: "" }.deserialize(&mut reader).ok()?;
        reader.end().ok()?;
        Some(Self(nodes))
    }

    /// The whole.
    pub(crate) fn value(&self) -> Option<Value<'_>> {
        self.0.split_first().map(|(node, inside)| Value(node, inside))
    }

    /// The whole, if it is an object.
    pub(crate) fn object(&self) -> Option<Object<'_>> {
        self.value().and_then(Value::as_object)
    }
}

impl<'t> Value<'t> {
    pub(crate) fn as_object(self) -> Option<Object<'t>> {
        matches!(self.0.leaf, Leaf::Object).then_some(Object(self.1))
    }

    /// The elements, if it is an array.
    pub(crate) fn elements(self) -> impl Iterator<Item = Value<'t>> {
        children(if matches!(self.0.leaf, Leaf::Array) { self.1 } else { &[] })
    }

    pub(crate) fn as_str(self) -> Option<&'t str> {
        if let Leaf::Text(text) = &self.0.leaf { Some(text) } else { None }
    }

    pub(crate) fn as_u64(self) -> Option<u64> {
        if let Leaf::Integer(n) = self.0.leaf { Some(n) } else { None }
    }

    /// The number, if it is one; a large integer is rounded.
    pub(crate) fn as_f64(self) -> Option<f64> {
        match self.0.leaf {
            #[expect(clippy::cast_precision_loss, reason = "the nearest will do")]
            Leaf::Integer(n) => Some(n as f64),
            Leaf::Float(n) => Some(n),
            _ => None,
        }
    }
}

impl<'t> Object<'t> {
    /// The last member of this name, as `serde_json` has it.
    pub(crate) fn get(self, key: &str) -> Option<Value<'t>> {
        let [found] = self.all([key]);
        found
    }

    /// The last member of each of these names, in one walk.
    pub(crate) fn all<const N: usize>(self, names: [&str; N]) -> [Option<Value<'t>>; N] {
        let mut found = [None; N];
        for member in children(self.0) {
            for (slot, name) in found.iter_mut().zip(names) {
                if member.0.key == name {
                    *slot = Some(member);
                }
            }
        }
        found
    }

    /// What its members are called.
    pub(crate) fn names(self) -> impl Iterator<Item = &'t str> {
        children(self.0).map(|value| value.0.key)
    }

    /// What its members hold.
    pub(crate) fn values(self) -> impl Iterator<Item = Value<'t>> {
        children(self.0)
    }

    pub(crate) fn contains_key(self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

/// The values that stand side by side in `nodes`.
fn children<'t>(mut nodes: &'t [Node<'t>]) -> impl Iterator<Item = Value<'t>> {
    std::iter::from_fn(move || {
        let node = nodes.first()?;
        let (own, rest) = nodes.split_at_checked(node.len)?;
        nodes = rest;
        own.split_first().map(|(node, inside)| Value(node, inside))
    })
}

/// Where the next value goes, and its name.
struct Seed<'n, 'a> {
    nodes: &'n mut Vec<Node<'a>>,
    key: &'a str,
}

impl<'a> Seed<'_, 'a> {
    fn push(self, leaf: Leaf<'a>) {
        self.nodes.push(Node { key: self.key, leaf, len: 1 });
    }

    /// What is pushed inside belongs to the value pushed first.
    fn around<E>(
        self,
        leaf: Leaf<'a>,
        inside: impl FnOnce(&mut Vec<Node<'a>>) -> Result<(), E>,
    ) -> Result<(), E> {
        let at = self.nodes.len();
        self.nodes.push(Node { key: self.key, leaf, len: 1 });
        inside(self.nodes)?;
        let end = self.nodes.len();
        if let Some(node) = self.nodes.get_mut(at) {
            node.len = end - at;
        }
        Ok(())
    }
}

impl<'a> DeserializeSeed<'a> for Seed<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Seed<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.push(Leaf::Null);
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.push(Leaf::Flag);
        Ok(())
    }

    fn visit_u64<E: Error>(self, n: u64) -> Result<(), E> {
        self.push(Leaf::Integer(n));
        Ok(())
    }

    fn visit_i64<E: Error>(self, n: i64) -> Result<(), E> {
        #[expect(clippy::cast_precision_loss, reason = "negative, and no count whatever it is exactly")]
        self.push(u64::try_from(n).map_or(Leaf::Float(n as f64), Leaf::Integer));
        Ok(())
    }

    fn visit_f64<E: Error>(self, n: f64) -> Result<(), E> {
        self.push(Leaf::Float(n));
        Ok(())
    }

    fn visit_borrowed_str<E: Error>(self, text: &'a str) -> Result<(), E> {
        self.push(Leaf::Text(text.into()));
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.push(Leaf::Text(text.to_owned().into()));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut elements: A) -> Result<(), A::Error> {
        self.around(Leaf::Array, |nodes| {
            while elements.next_element_seed(Seed { nodes, key: "" })?.is_some() {}
            Ok(())
        })
    }

    fn visit_map<A: MapAccess<'a>>(self, mut members: A) -> Result<(), A::Error> {
        let mut key = members.next_key_seed(Name)?;
        if key == Some(NUMBER) {
            let digits: String = members.next_value()?;
            self.push(match (digits.parse(), digits.parse()) {
                (Ok(n), _) => Leaf::Integer(n),
                (_, Ok(n)) => Leaf::Float(n),
                _ => return Err(A::Error::custom("a number without digits")),
            });
            return Ok(());
        }
        self.around(Leaf::Object, |nodes| {
            while let Some(name) = key {
                members.next_value_seed(Seed { nodes, key: name })?;
                if matches!(nodes.last(), Some(Node { leaf: Leaf::Null, .. })) {
                    nodes.pop();
                }
                key = members.next_key_seed(Name)?;
            }
            Ok(())
        })
    }
}

/// The name of a member; one that has to be unescaped is none that anybody asks for.
struct Name;

impl<'a> DeserializeSeed<'a> for Name {
    type Value = &'a str;

    fn deserialize<D: Deserializer<'a>>(self, reader: D) -> Result<&'a str, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for Name {
    type Value = &'a str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E: Error>(self, name: &'a str) -> Result<&'a str, E> {
        Ok(name)
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<&'a str, E> {
        Ok(if name == NUMBER { NUMBER } else { "" })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "tests")]

    use super::{Tree, Value};

    #[test]
    fn what_is_read_is_found_by_name_and_null_is_nothing() {
        let json = r#" {"a":1,"n":null,"o":{"a":2,"l":[{"a":3},null,[4],"x\ny"],"f":1.5},"a":5,"k\n":6,"m":-7,"b":true} "#;
        let tree = Tree::read(json.as_bytes()).expect("JSON");
        let whole = tree.object().expect("an object");
        assert_eq!(whole.get("a").and_then(Value::as_u64), Some(5), "the last one");
        assert!(!whole.contains_key("n") && !whole.contains_key("l") && !whole.is_empty());
        assert_eq!(whole.get("m").and_then(Value::as_f64), Some(-7.0));
        assert_eq!(whole.get("b").and_then(Value::as_f64), None);
        let inner = whole.get("o").and_then(Value::as_object).expect("an object");
        assert_eq!(inner.get("a").and_then(Value::as_u64), Some(2));
        assert_eq!(inner.get("f").and_then(Value::as_f64), Some(1.5));
        let list: Vec<_> = inner.get("l").expect("a list").elements().collect();
        assert_eq!(list.len(), 4);
        assert_eq!(list[0].as_object().and_then(|it| it.get("a")).and_then(Value::as_u64), Some(3));
        assert_eq!(list[3].as_str(), Some("x\ny"));
        assert_eq!(list[1].elements().count(), 0);
    }

    #[test]
    fn numbers_of_any_precision_are_numbers() {
        let json = format!(r#"{{"a":{{"{0}":"12"}},"b":{{"{0}":"1e3"}}}}"#, super::NUMBER);
        let tree = Tree::read(json.as_bytes()).expect("JSON");
        let whole = tree.object().expect("an object");
        assert_eq!(whole.get("a").and_then(Value::as_u64), Some(12));
        assert_eq!(whole.get("b").and_then(Value::as_f64), Some(1000.0));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        for text in ["", "{", "{}x", r#"{"a":}"#, r#"{"a":01}"#, "{\"a\":\"\u{1}\"}", &deep] {
            assert!(Tree::read(text.as_bytes()).is_none(), "{text}");
        }
        assert!(Tree::read(b"{\"a\":\"\xff\"}").is_none());
    }
}
