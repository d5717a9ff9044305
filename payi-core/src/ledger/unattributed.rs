//! Calls without a key that is required, by the line of code that made them.

use std::time::SystemTime;

use rusqlite::{Connection, params};

use crate::{
    events::Event,
    ledger::rows::{micros, time},
};

/// A line of code that makes calls without a required key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallSite {
    /// `src/chat.rs:41:10`; `None` where the client cannot know who called it.
    pub location: Option<String>,
    /// The keys that had no value: `user_id, use_case_name`.
    pub missing: String,
    /// How many calls, since the ledger began.
    pub calls: u64,
    /// When the last of them began.
    pub last: SystemTime,
}

/// Counts `event`, in the transaction that writes it.
pub(crate) fn count(conn: &Connection, event: &Event) -> rusqlite::Result<()> {
    let site = event.context.call_site().map(ToString::to_string).unwrap_or_default();
    let missing = event.context.unattributed().to_string();
    conn.prepare(
        "INSERT INTO unattributed(site, missing, calls, last_us) VALUES(?1, ?2, 1, ?3)
         ON CONFLICT(site, missing) DO UPDATE SET calls = calls + 1, last_us = max(last_us, excluded.last_us)",
    )?
    .execute(params![site, missing, micros(event.started_at)])
    .map(drop)
}

/// The lines whose last such call began in this time, the busiest first.
pub(crate) fn call_sites(conn: &Connection, since: i64) -> rusqlite::Result<Vec<CallSite>> {
    conn.prepare(
        "SELECT site, missing, calls, last_us FROM unattributed WHERE last_us >= ?1
         ORDER BY calls DESC, site, missing",
    )?
    .query_map([since], |row| {
        let (location, calls): (String, i64) = (row.get(0)?, row.get(2)?);
        Ok(CallSite {
            location: Some(location).filter(|location| !location.is_empty()),
            missing: row.get(1)?,
            calls: calls.max(0).cast_unsigned(),
            last: time(row.get(3)?),
        })
    })?
    .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::panic::Location;

    use super::*;
    use crate::{
        context::{Context, Key, builder},
        ledger::{Ledger, read::users_table, sample},
    };

    #[test]
    fn a_line_that_calls_for_nobody_is_shown_below_the_table() {
        let ledger = Ledger::in_memory().unwrap();
        let here = Location::caller();
        let events: Vec<_> = [None, Some("ada"), None]
            .into_iter()
            .map(|user| {
                let keys = [Key::UserId].into_iter().collect();
                let context = Context::default().with(builder().user_id(user)).called_at(here);
                let missing = context.missing(keys);
                let resolved = context.resolve();
                let id = uuid::Uuid::now_v7();
                (Event { id, call_id: id, context: context.without(missing), ..sample::event(1) }, resolved)
            })
            .collect();
        sample::append(&ledger, &events);
        sample::append(&ledger, &events);
        let report = ledger.users(&crate::ledger::Filter::default()).unwrap();
        let [site] = report.call_sites.as_slice() else { panic!("{:?}", report.call_sites) };
        assert_eq!((site.calls, site.missing.as_str()), (2, "user_id"), "each event once");
        assert_eq!(site.location.as_deref(), Some(&*here.to_string()));
        let table = users_table(&report, None);
        assert!(table.contains("2 calls without user_id: ") && table.contains("unattributed.rs:"), "{table}");
        let ada = ledger.users(&crate::ledger::Filter::new().user_id("ada")).unwrap();
        assert_eq!(ada.call_sites, []);
    }
}
