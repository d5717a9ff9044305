//! The chain: each run of folded facts has a digest over its integers, over the digests of the texts that
//! came with it, and over the run before.
//!
//! It shows that nothing was changed by accident. Against somebody who can write the file it protects only
//! with a key they do not have (`PAYI_LEDGER_KEY`), or with a head that is kept elsewhere.
//! A person can be forgotten without breaking it: it covers the digest of a text, not the text.

use std::fmt;

use ring::{digest, hmac};
use rusqlite::{Connection, OptionalExtension as _, Row};

/// The head before the first run.
const GENESIS: [u8; 32] = [0; 32];

/// The key of a chain.
#[derive(Clone)]
pub(crate) struct ChainKey(hmac::Key);

impl ChainKey {
    pub(crate) fn new(secret: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
    }

    /// From `PAYI_LEDGER_KEY`, if it is set.
    pub(crate) fn of_environment() -> Option<Self> {
        std::env::var("PAYI_LEDGER_KEY")
            .ok()
            .filter(|secret| !secret.is_empty())
            .map(|secret| Self::new(&secret))
    }

    /// Names the key without giving it away.
    fn fingerprint(&self) -> String {
        let tag = hmac::sign(&self.0, b"payi ledger key");
        let first: [u8; 8] = std::array::from_fn(|i| tag.as_ref().get(i).copied().unwrap_or(0));
        format!("{:016x}", u64::from_be_bytes(first))
    }
}

impl fmt::Debug for ChainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChainKey")
    }
}

enum Digest {
    Plain(digest::Context),
    Keyed(hmac::Context),
}

/// A run's digest in the making.
pub(crate) struct Chain {
    digest: Digest,
    last_dict: i64,
    /// The fingerprint of its key.
    key: Option<String>,
}

impl Chain {
    /// Goes on where the chain ends; `None` if it is kept with another key.
    pub(crate) fn resume(conn: &Connection, key: Option<&ChainKey>) -> rusqlite::Result<Option<Self>> {
        let last: Option<(i64, Vec<u8>)> = conn
            .query_row("SELECT last_dict, head FROM batches ORDER BY id DESC LIMIT 1", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        if last.is_some() && kept_with(conn)? != key.map(ChainKey::fingerprint) {
            return Ok(None);
        }
        let (last_dict, head) = last.unwrap_or((0, GENESIS.to_vec()));
        Self::after(conn, key, last_dict, &head).map(Some)
    }

    /// The run after the one that ended with `last_dict` and `head`, its texts up to now included.
    fn after(
        conn: &Connection,
        key: Option<&ChainKey>,
        last_dict: i64,
        head: &[u8],
    ) -> rusqlite::Result<Self> {
        let to = conn.query_row("SELECT coalesce(max(id), 0) FROM dict", [], |row| row.get(0))?;
        Self::over(conn, key, (last_dict, to), head)
    }

    /// A run that begins with the texts after `texts.0`, up to `texts.1`.
    pub(crate) fn over(
        conn: &Connection,
        key: Option<&ChainKey>,
        texts: (i64, i64),
        head: &[u8],
    ) -> rusqlite::Result<Self> {
        let digest = key.map_or_else(
            || Digest::Plain(digest::Context::new(&digest::SHA256)),
            |key| Digest::Keyed(hmac::Context::with_key(&key.0)),
        );
        let mut chain = Self { digest, last_dict: texts.1, key: key.map(ChainKey::fingerprint) };
        chain.update(head);
        let mut statement =
            conn.prepare("SELECT id, kind, digest FROM dict WHERE id > ?1 AND id <= ?2 ORDER BY id")?;
        let mut rows = statement.query([texts.0, texts.1])?;
        while let Some(row) = rows.next()? {
            chain.update(&row.get::<_, i64>(0)?.to_le_bytes());
            chain.update(&row.get::<_, i64>(1)?.to_le_bytes());
            chain.update(row.get_ref(2)?.as_blob()?);
        }
        Ok(chain)
    }

    /// Adds a row of `facts`; its number.
    pub(crate) fn add_fact(&mut self, row: &Row<'_>) -> rusqlite::Result<i64> {
        let columns = row.as_ref().column_count();
        let mut bytes = Vec::with_capacity(columns * 9);
        for column in 0..columns {
            match row.get::<_, Option<i64>>(column)? {
                Some(n) => {
                    bytes.push(1);
                    bytes.extend_from_slice(&n.to_le_bytes());
                }
                None => bytes.push(0),
            }
        }
        self.update(&bytes);
        row.get(0)
    }

    fn update(&mut self, bytes: &[u8]) {
        match &mut self.digest {
            Digest::Plain(context) => context.update(bytes),
            Digest::Keyed(context) => context.update(bytes),
        }
    }

    /// Writes down which key the chain is kept with; once written it stays.
    pub(crate) fn remember_key(&self, conn: &Connection) -> rusqlite::Result<()> {
        let Some(key) = &self.key else { return Ok(()) };
        conn.execute("INSERT OR IGNORE INTO meta(key, value) VALUES('chain_key', ?1)", [key]).map(drop)
    }

    /// The last text that the run covers.
    pub(crate) fn last_dict(&self) -> i64 {
        self.last_dict
    }

    /// The digest of the run, and through it of all before.
    pub(crate) fn head(&self) -> Vec<u8> {
        match &self.digest {
            Digest::Plain(context) => context.clone().finish().as_ref().to_vec(),
            Digest::Keyed(context) => context.clone().sign().as_ref().to_vec(),
        }
    }
}

/// The fingerprint of the key that the chain is kept with; `None` for no key.
pub(crate) fn kept_with(conn: &Connection) -> rusqlite::Result<Option<String>> {
    conn.query_row("SELECT value FROM meta WHERE key = 'chain_key'", [], |row| row.get(0)).optional()
}

/// Whether every run still has the digest that was written down for it: the number of runs, or the first
/// run that differs. Runs whose facts were pruned are taken at their word.
pub(crate) fn verify(conn: &Connection, key: Option<&ChainKey>) -> rusqlite::Result<Result<u64, i64>> {
    let pruned = crate::ledger::dict::meta(conn, "pruned_before_us")?;
    let mut head = GENESIS.to_vec();
    let mut last_dict = 0;
    let mut runs = 0;
    let mut batches =
        conn.prepare("SELECT id, first_seq, last_seq, last_dict, head, min_us FROM batches ORDER BY id")?;
    let mut rows = batches.query([])?;
    let mut facts = conn.prepare("SELECT * FROM facts WHERE seq >= ?1 AND seq <= ?2 ORDER BY seq")?;
    while let Some(row) = rows.next()? {
        let (id, first, last): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (texts, written): (i64, Vec<u8>) = (row.get(3)?, row.get(4)?);
        if row.get::<_, i64>(5)? >= pruned {
            let mut chain = Chain::over(conn, key, (last_dict, texts), &head)?;
            let mut run = facts.query([first, last])?;
            while let Some(fact) = run.next()? {
                chain.add_fact(fact)?;
            }
            if chain.head() != written {
                return Ok(Err(id));
            }
        }
        (head, last_dict, runs) = (written, texts, runs + 1);
    }
    Ok(Ok(runs))
}
