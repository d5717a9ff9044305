//! What clients put here besides events, as documents of the ledger: how they are named, listed and changed.

use payi_core::ledger::{Documents, Ledger};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::server::api::{Api, error::Refusal};

/// What is between the parts of a key: no name has it.
pub(crate) const SEPARATOR: char = '\u{1f}';

/// A kind of documents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind(pub(crate) &'static str);

/// The key of a document: its names, from the outermost one.
pub(crate) fn key(names: &[&str]) -> String {
    names.join(&SEPARATOR.to_string())
}

/// What the keys of all documents below `names` begin with.
fn prefix(names: &[&str]) -> String {
    if names.is_empty() { String::new() } else { key(names) + &SEPARATOR.to_string() }
}

/// Whether a text may be a name: short, and without control characters.
pub(crate) fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= 256 && !text.chars().any(char::is_control)
}

/// Which part of a list.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Page {
    cursor: Option<String>,
    limit: Option<usize>,
    sort_ascending: Option<bool>,
    /// Only those in force, or only those that are not; what was taken away is not listed at all.
    #[serde(rename = "Active")]
    active: Option<bool>,
    pub(crate) use_case_name: Option<String>,
    pub(crate) kpi_name: Option<String>,
}

impl Page {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(100).clamp(1, 1_000)
    }

    fn rises(&self) -> bool {
        self.sort_ascending.unwrap_or(true)
    }

    /// Whether what is in force is asked for, or what is not.
    fn wants(&self, active: bool) -> bool {
        self.active.is_none_or(|wanted| wanted == active)
    }

    /// Items after the cursor, and where the next page begins.
    pub(crate) fn of(&self, mut items: Vec<(String, Value)>) -> Value {
        items.retain(|(_, item)| self.wants(item["active"].as_bool().unwrap_or(true)));
        let (items, cursor) = self.part(items);
        page(items.into_iter().map(|(_, item)| item), cursor.as_deref())
    }

    /// The same of whatever has a key.
    pub(crate) fn part<T>(&self, mut items: Vec<(String, T)>) -> (Vec<(String, T)>, Option<String>) {
        let rises = self.rises();
        items.sort_by(|(a, _), (b, _)| if rises { a.cmp(b) } else { b.cmp(a) });
        if let Some(cursor) = &self.cursor {
            items.retain(|(key, _)| if rises { key > cursor } else { key < cursor });
        }
        self.cut(items)
    }

    /// As many as a page has, of items that are behind the cursor and in order.
    fn cut<T>(&self, mut items: Vec<(String, T)>) -> (Vec<(String, T)>, Option<String>) {
        let more = items.len() > self.limit();
        items.truncate(self.limit());
        let cursor = items.last().filter(|_| more).map(|(key, _)| key.clone());
        (items, cursor)
    }
}

/// A page as Pay-i has it.
pub(crate) fn page(items: impl Iterator<Item = Value>, cursor: Option<&str>) -> Value {
    json!({ "items": items.collect::<Vec<_>>(), "cursor": cursor })
}

fn read((key, body): (String, String)) -> Option<(String, Value)> {
    Some((key, serde_json::from_str(&body).ok()?))
}

impl Kind {
    /// All of them below `names`, by their keys.
    pub(crate) async fn all(self, api: &Api, names: &[&str]) -> Result<Vec<(String, Value)>, Refusal> {
        let below = prefix(names);
        api.look(move |ledger| self.behind(ledger, &below)).await
    }

    /// The same on the thread that asks.
    pub(crate) fn below(self, ledger: &Ledger, names: &[&str]) -> payi_core::Result<Vec<(String, Value)>> {
        self.behind(ledger, &prefix(names))
    }

    /// Shows `see` the key and the body of each below `names`, by their keys, and keeps none.
    pub(crate) fn each(
        self,
        ledger: &Ledger,
        names: &[&str],
        see: impl FnMut(&str, &str),
    ) -> payi_core::Result<()> {
        let below = prefix(names);
        ledger.each_document(self.0, &Documents { below: &below, ..Documents::default() }, see)
    }

    fn behind(self, ledger: &Ledger, below: &str) -> payi_core::Result<Vec<(String, Value)>> {
        let found = ledger.documents(self.0, &Documents { below, ..Documents::default() })?;
        Ok(found.into_iter().filter_map(read).collect())
    }

    /// A page of those below `names`, as `shown` shows each; with a name, of the one that has it.
    pub(crate) async fn page(
        self,
        api: &Api,
        names: &[&str],
        (at, only): (&Page, Option<&str>),
        shown: fn(Value) -> Value,
    ) -> Result<Value, Refusal> {
        let (below, after, falls, most) = (prefix(names), at.cursor.clone(), !at.rises(), at.limit() + 1);
        if !at.wants(true) {
            // What was taken away is gone.
            return Ok(page(std::iter::empty(), None));
        }
        if let Some(name) = only {
            let one = self.find(api, &[names, &[name]].concat()).await?;
            return Ok(page(one.map(shown).into_iter(), None));
        }
        let found = api.look(move |ledger| {
            let after = after.as_deref();
            ledger.documents(self.0, &Documents { below: &below, after, falls, most: Some(most) })
        });
        let (items, cursor) = at.cut(found.await?);
        Ok(page(items.into_iter().filter_map(read).map(|(_, item)| shown(item)), cursor.as_deref()))
    }

    /// All of them, when the service starts.
    pub(crate) fn load(self, ledger: &Ledger) -> payi_core::Result<Vec<Value>> {
        Ok(self.behind(ledger, "")?.into_iter().map(|(_, item)| item).collect())
    }

    /// The one of these names.
    pub(crate) async fn find(self, api: &Api, names: &[&str]) -> Result<Option<Value>, Refusal> {
        let key = key(names);
        let found = api.documents(move |ledger| ledger.document(self.0, &key)).await?;
        Ok(found.and_then(|body| serde_json::from_str(&body).ok()))
    }

    /// Makes of what is there what shall be there, and gives it; nobody else changes it meanwhile.
    pub(crate) async fn change(
        self,
        api: &Api,
        names: &[&str],
        change: impl FnOnce(Option<Value>) -> Result<Value, Refusal> + Send + 'static,
    ) -> Result<Value, Refusal> {
        let key = key(names);
        api.documents(move |ledger| self.change_in(ledger, &key, change)).await?
    }

    /// The same for who has the ledger at hand.
    pub(crate) fn change_in(
        self,
        ledger: &Ledger,
        key: &str,
        change: impl FnOnce(Option<Value>) -> Result<Value, Refusal>,
    ) -> payi_core::Result<Result<Value, Refusal>> {
        ledger.change_document(self.0, key, |old| {
            let old = old.and_then(|body| serde_json::from_str(&body).ok());
            let changed = change(old);
            (changed.as_ref().ok().map(Value::to_string), changed)
        })
    }

    /// Takes the one of these keys away.
    pub(crate) async fn remove(self, api: &Api, key: String) -> Result<bool, Refusal> {
        api.documents(move |ledger| ledger.remove_document(self.0, &key)).await
    }

    /// Takes all below `names` away.
    pub(crate) async fn remove_all(self, api: &Api, names: &[&str]) -> Result<(), Refusal> {
        let below = prefix(names);
        api.documents(move |ledger| ledger.remove_documents(self.0, &below)).await
    }

    /// The same for who has the ledger at hand.
    pub(crate) fn remove_in(self, ledger: &Ledger, names: &[&str]) -> payi_core::Result<()> {
        ledger.remove_documents(self.0, &prefix(names))
    }
}
