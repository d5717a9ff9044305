//! A provider's usage as it is read: flat, and borrowed from the answer's bytes.
//!
//! A map would allocate for each of its keys, which would be most of what reading an answer costs. For the same reason
//! the frequent forms, plain strings and small integers, are read here; what is rare is left to `serde_json`.

use std::borrow::Cow;

/// A usage is three deep; what goes on like this is none, and would fill the stack.
const DEPTH_MAX: usize = 128;

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
        let nodes = Vec::with_capacity(20);
        // Once for all: each string by itself would be four times the work.
        let text = std::str::from_utf8(json).ok()?;
        let tidy = json.iter().copied().fold(u8::MAX, u8::min) >= b' ';
        let mut reader = Reader { text, at: 0, depth: 0, tidy, nodes };
        reader.value("")?;
        reader.peek().is_none().then_some(Self(reader.nodes))
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
        let (mut found, mut at) = (None, 0);
        while let Some(node) = self.0.get(at) {
            if node.key == key {
                found = Some(at);
            }
            at += node.len;
        }
        let own = self.0.get(found?..)?;
        own.get(..own.first()?.len)?.split_first().map(|(node, inside)| Value(node, inside))
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

/// Reads one value after another; whatever is no JSON ends it with `None`.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// Nowhere is a control character, which no string may hold.
    tidy: bool,
    nodes: Vec<Node<'a>>,
}

impl<'a> Reader<'a> {
    /// The next byte that is no space.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            if byte > b' ' || !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Passes over `byte`, if it is the next.
    fn take(&mut self, byte: u8) -> bool {
        let next = self.peek() == Some(byte);
        self.at += usize::from(next);
        next
    }

    fn value(&mut self, key: &'a str) -> Option<()> {
        let leaf = match self.peek()? {
            b'{' => return self.around(key, Leaf::Object, b'}', Self::member),
            b'[' => return self.around(key, Leaf::Array, b']', |reader| reader.value("")),
            b'"' => Leaf::Text(self.string()?),
            b't' => self.word("true", Leaf::Flag)?,
            b'f' => self.word("false", Leaf::Flag)?,
            b'n' => self.word("null", Leaf::Null)?,
            _ => self.number()?,
        };
        self.nodes.push(Node { key, leaf, len: 1 });
        Some(())
    }

    /// An object or an array, up to the bracket that closes it: what is pushed inside belongs to it.
    fn around(
        &mut self,
        key: &'a str,
        leaf: Leaf<'a>,
        close: u8,
        inside: impl Fn(&mut Self) -> Option<()>,
    ) -> Option<()> {
        let own = self.nodes.len();
        self.nodes.push(Node { key, leaf, len: 1 });
        self.at += 1;
        self.depth += 1;
        if self.depth >= DEPTH_MAX {
            return None;
        }
        if !self.take(close) {
            inside(self)?;
            while self.take(b',') {
                inside(self)?;
            }
            self.take(close).then_some(())?;
        }
        self.depth -= 1;
        let end = self.nodes.len();
        self.nodes.get_mut(own)?.len = end - own;
        Some(())
    }

    /// A name and its value. A name that has to be unescaped is none that anybody asks for.
    fn member(&mut self) -> Option<()> {
        let Some(b'"') = self.peek() else { return None };
        let name = if let Cow::Borrowed(name) = self.string()? { name } else { "" };
        self.take(b':').then_some(())?;
        self.value(name)?;
        if matches!(self.nodes.last(), Some(Node { leaf: Leaf::Null, .. })) {
            self.nodes.pop();
        }
        Some(())
    }

    /// The string that begins with the next byte.
    fn string(&mut self) -> Option<Cow<'a, str>> {
        let begin = self.at + 1;
        let rest = self.text.as_bytes().get(begin..)?;
        let end = memchr::memchr2(b'"', b'\\', rest)?;
        if rest.get(end) == Some(&b'"') && (self.tidy || rest.iter().take(end).all(|byte| *byte >= b' ')) {
            self.at = begin + end + 1;
            return self.text.get(begin..begin + end).map(Cow::Borrowed);
        }
        let mut texts = serde_json::Deserializer::from_str(self.text.get(begin - 1..)?).into_iter();
        let text = texts.next()?.ok()?;
        self.at = begin - 1 + texts.byte_offset();
        Some(Cow::Owned(text))
    }

    fn word(&mut self, word: &str, leaf: Leaf<'a>) -> Option<Leaf<'a>> {
        self.text.get(self.at..)?.starts_with(word).then(|| self.at += word.len())?;
        Some(leaf)
    }

    fn number(&mut self) -> Option<Leaf<'a>> {
        let rest = self.text.get(self.at..)?;
        // So many digits fit into a count.
        let digits = rest.bytes().take(18).take_while(u8::is_ascii_digit);
        let (length, count) =
            digits.fold((0, 0), |(n, sum), digit| (n + 1, sum * 10 + u64::from(digit - b'0')));
        let more = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
        let leading_zero = length > 1 && rest.starts_with('0');
        if length > 0 && !leading_zero && !rest.as_bytes().get(length).is_some_and(more) {
            self.at += length;
            return Some(Leaf::Integer(count));
        }
        let length = rest.as_bytes().iter().position(|byte| !more(byte)).unwrap_or(rest.len());
        self.at += length;
        let number: serde_json::Number = serde_json::from_str(rest.get(..length)?).ok()?;
        number.as_u64().map(Leaf::Integer).or_else(|| number.as_f64().map(Leaf::Float))
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
    fn what_is_read_and_what_is_refused_is_as_serde_json_has_it() {
        let whole =
            r#" {"a" :[ 1,-2.5e+3,0, {} ,[],"x\u00e4\"y", null,true],"ä":false,"n":18446744073709551616} "#;
        let same = |json: &[u8]| {
            let theirs = serde_json::from_slice::<serde_json::Value>(json).is_ok();
            assert_eq!(Tree::read(json).is_some(), theirs, "{}", String::from_utf8_lossy(json));
        };
        same(whole.as_bytes());
        for at in 0..whole.len() {
            same(&whole.as_bytes()[..at]);
            for byte in *b"\"\\{}[],:01.e-+ tn\n\x01\xff" {
                let mut changed = whole.as_bytes().to_vec();
                changed[at] = byte;
                same(&changed);
                changed.insert(at, byte);
                same(&changed);
            }
        }
        for deep in [126, 127, 128] {
            same(("[".repeat(deep) + &"]".repeat(deep)).as_bytes());
        }
        for number in
            ["0", "12", "-1", "1.0", "1e3", "1e999", "-0", "18446744073709551615", "18446744073709551616"]
        {
            let tree = Tree::read(number.as_bytes());
            let ours = tree.as_ref().and_then(Tree::value).map(|it| (it.as_u64(), it.as_f64()));
            let theirs = serde_json::from_str::<serde_json::Value>(number).ok();
            assert_eq!(ours, theirs.map(|it| (it.as_u64(), it.as_f64())), "{number}");
        }
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
