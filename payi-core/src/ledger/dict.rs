//! Text to integers and back: dictionaries, and the two tables of combinations made of their ids.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::ledger::{chain, held::Held, schema::TextKind};

/// Ids already met, so that most events need no look-up. Valid for one connection, until somebody
/// forgets a person (`meta.erasures` grows) or a transaction is rolled back.
#[derive(Debug)]
pub(crate) struct Dictionary {
    texts: [HashMap<Box<str>, i64>; KINDS],
    /// Those met before, which go unless they are met again: with many users the busy ones stay.
    older: [HashMap<Box<str>, i64>; KINDS],
    routes: HashMap<[i64; 12], i64>,
    purposes: HashMap<[i64; 5], i64>,
    /// `meta.erasures` when the ids were read.
    erasures: i64,
    /// How many ids are kept before the memory is given back.
    most: usize,
}

/// The dictionary in the file, for one transaction.
pub(crate) struct Texts<'c> {
    find: Held<'c>,
    add: Held<'c>,
}

impl<'c> Texts<'c> {
    pub(crate) const fn new(conn: &'c Connection) -> Self {
        Self {
            find: Held::new(conn, "SELECT id FROM dict WHERE kind = ?1 AND text = ?2"),
            add: Held::new(conn, "INSERT INTO dict(kind, text, salt, digest) VALUES(?1, ?2, ?3, ?4)"),
        }
    }

    /// The id of a text, made if there is none.
    fn id(&mut self, kind: TextKind, text: &str) -> rusqlite::Result<i64> {
        let found = self.find.get()?.query_row(params![kind as u8, text], |row| row.get(0)).optional()?;
        if let Some(id) = found {
            return Ok(id);
        }
        let salt = chain::salt();
        let digest = chain::digest_text(&salt, kind as u8, text);
        self.add.get()?.insert(params![kind as u8, text, salt, digest])
    }
}

/// One more than the largest code of [`TextKind`].
const KINDS: usize = 17;

/// How many ids are kept unless somebody has room for more: about three megabytes.
const KEPT: usize = 50_000;

impl Default for Dictionary {
    fn default() -> Self {
        Self::keeping(KEPT)
    }
}

impl Dictionary {
    /// One that keeps up to `most` ids.
    pub(crate) fn keeping(most: usize) -> Self {
        Self {
            texts: Default::default(),
            older: Default::default(),
            routes: HashMap::new(),
            purposes: HashMap::new(),
            erasures: 0,
            most,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.texts = Default::default();
        self.older = Default::default();
        self.routes = HashMap::new();
        self.purposes = HashMap::new();
    }

    /// Forgets what may be out of date. To be called inside each transaction, first.
    pub(crate) fn refresh(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        let erasures = meta(conn, "erasures")?;
        if erasures != self.erasures {
            self.clear();
            self.erasures = erasures;
        }
        if self.size() > self.most / 2 {
            self.older = std::mem::take(&mut self.texts);
            self.routes = HashMap::new();
            self.purposes = HashMap::new();
        }
        Ok(())
    }

    fn size(&self) -> usize {
        self.texts.iter().map(HashMap::len).sum::<usize>() + self.routes.len() + self.purposes.len()
    }

    /// The id of a text; 0 for none.
    pub(crate) fn text(
        &mut self,
        file: &mut Texts<'_>,
        kind: TextKind,
        text: Option<&str>,
    ) -> rusqlite::Result<i64> {
        let Some(text) = text.filter(|t| !t.is_empty()) else { return Ok(0) };
        if let Some(&id) = self.texts[kind as usize].get(text) {
            return Ok(id);
        }
        if let Some((text, id)) = self.older[kind as usize].remove_entry(text) {
            self.texts[kind as usize].insert(text, id);
            return Ok(id);
        }
        let id = file.id(kind, text)?;
        self.texts[kind as usize].insert(text.into(), id);
        Ok(id)
    }

    /// The id of a route; its model is the one that answered, else the one asked for.
    pub(crate) fn route(&mut self, conn: &Connection, key: [i64; 12]) -> rusqlite::Result<i64> {
        if let Some(&id) = self.routes.get(&key) {
            return Ok(id);
        }
        let [
            provider,
            operation,
            category,
            request,
            response,
            tier,
            geo,
            price_cat,
            price_res,
            scope,
            module,
            uri,
        ] = key;
        let model = if response == 0 { request } else { response };
        conn.execute(
            "INSERT OR IGNORE INTO routes(provider, operation, category, request_model, response_model, tier, geo,
               price_category, price_resource, scope, module, uri, model)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            params![
                provider, operation, category, request, response, tier, geo, price_cat, price_res, scope, module, uri,
                model
            ],
        )?;
        let id = conn.query_row(
            "SELECT id FROM routes WHERE provider = ?1 AND operation = ?2 AND category = ?3 AND request_model = ?4
               AND response_model = ?5 AND tier = ?6 AND geo = ?7 AND price_category = ?8 AND price_resource = ?9
               AND scope = ?10 AND module = ?11 AND uri = ?12",
            key,
            |row| row.get(0),
        )?;
        self.routes.insert(key, id);
        Ok(id)
    }

    /// The id of a purpose: use case, version (-1: none), step, limits, tags.
    pub(crate) fn purpose(&mut self, conn: &Connection, key: [i64; 5]) -> rusqlite::Result<i64> {
        if let Some(&id) = self.purposes.get(&key) {
            return Ok(id);
        }
        conn.execute(
            "INSERT OR IGNORE INTO purposes(use_case, version, step, limits, tags) VALUES(?1, ?2, ?3, ?4, ?5)",
            key,
        )?;
        let id = conn.query_row(
            "SELECT id FROM purposes WHERE use_case = ?1 AND version = ?2 AND step = ?3 AND limits = ?4 AND tags = ?5",
            key,
            |row| row.get(0),
        )?;
        self.purposes.insert(key, id);
        Ok(id)
    }
}

/// A number of `meta`; 0 where it was never set.
pub(crate) fn meta(conn: &Connection, key: &str) -> rusqlite::Result<i64> {
    Ok(conn
        .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
        .optional()?
        .unwrap_or(0))
}
