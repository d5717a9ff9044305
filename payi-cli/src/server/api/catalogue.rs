//! What clients put here besides events, as documents of the ledger: how they are named, listed and changed.

use payi_core::ledger::Ledger;
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
    /// Items after the cursor, and where the next page begins.
    pub(crate) fn of(&self, mut items: Vec<(String, Value)>) -> Value {
        let limit = self.limit.unwrap_or(100).clamp(1, 1_000);
        let rises = self.sort_ascending.unwrap_or(true);
        items.sort_by(|(a, _), (b, _)| if rises { a.cmp(b) } else { b.cmp(a) });
        let wanted = |(key, item): &(String, Value)| {
            let behind = |cursor: &String| if rises { key > cursor } else { key < cursor };
            self.cursor.as_ref().is_none_or(behind)
                && self.active.is_none_or(|active| item["active"].as_bool().unwrap_or(true) == active)
        };
        let mut rest = items.into_iter().filter(wanted);
        let shown: Vec<_> = rest.by_ref().take(limit).collect();
        let cursor = rest.next().and_then(|_| shown.last().map(|(key, _)| key.clone()));
        json!({ "items": shown.into_iter().map(|(_, item)| item).collect::<Vec<_>>(), "cursor": cursor })
    }
}

impl Kind {
    /// All of them below `names`, by their keys.
    pub(crate) async fn all(self, api: &Api, names: &[&str]) -> Result<Vec<(String, Value)>, Refusal> {
        let prefix = prefix(names);
        api.documents(move |ledger| self.behind(ledger, &prefix)).await
    }

    /// The same on the thread that asks.
    pub(crate) fn below(self, ledger: &Ledger, names: &[&str]) -> payi_core::Result<Vec<(String, Value)>> {
        self.behind(ledger, &prefix(names))
    }

    /// All of them whose keys begin with `prefix`: so many at a time, because others may come after them.
    fn behind(self, ledger: &Ledger, prefix: &str) -> payi_core::Result<Vec<(String, Value)>> {
        const MOST: usize = 1_000;
        let mut all = Vec::new();
        let mut after = prefix.to_owned();
        loop {
            let found = ledger.documents(self.0, &after, MOST)?;
            let last = found.last().map(|(key, _)| key.clone());
            let some = found.into_iter().filter(|(key, _)| key.starts_with(prefix));
            all.extend(some.filter_map(|(key, body)| Some((key, serde_json::from_str(&body).ok()?))));
            match last {
                Some(key) if key.starts_with(prefix) => after = key,
                _ => return Ok(all),
            }
        }
    }

    /// All of them, when the service starts.
    pub(crate) fn load(self, ledger: &Ledger) -> payi_core::Result<Vec<Value>> {
        let found = ledger.documents(self.0, "", usize::MAX)?;
        Ok(found.into_iter().filter_map(|(_, body)| serde_json::from_str(&body).ok()).collect())
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
        api.documents(move |ledger| {
            ledger.change_document(self.0, &key, |old| {
                let old = old.and_then(|body| serde_json::from_str(&body).ok());
                let changed = change(old);
                (changed.as_ref().ok().map(Value::to_string), changed)
            })
        })
        .await?
    }

    /// Takes the one of these keys away.
    pub(crate) async fn remove(self, api: &Api, key: String) -> Result<bool, Refusal> {
        api.documents(move |ledger| ledger.remove_document(self.0, &key)).await
    }

    /// Takes all below `names` away.
    pub(crate) async fn remove_all(self, api: &Api, names: &[&str]) -> Result<(), Refusal> {
        for (key, _) in self.all(api, names).await? {
            self.remove(api, key).await?;
        }
        Ok(())
    }
}
