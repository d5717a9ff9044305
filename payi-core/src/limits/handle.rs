//! Limits, for those who make, change and read them.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::SystemTime,
};

use crate::{
    error::{Error, Kind, Result},
    limits::{
        Counter, Definition, Gate, History, Limit, Standing, Store, Subject, Tally, Totals,
        gate::{micros, now_us},
        wait::block_on,
    },
};

/// The limits of a store: made, changed, read and reset here.
///
/// Changes hold at once in this process, and in others that share the store within half a second. The
/// methods read and write the store on the thread that calls them, some milliseconds at the most: in
/// async code that minds, call them on a blocking thread.
///
/// ```
/// use std::sync::Arc;
/// use payi_core::limits::{Limit, Limits, MemoryStore, Subject};
///
/// let limits = Limits::of(Arc::new(MemoryStore::new()));
/// limits.create(Limit::block("premium", "20".parse()?).threshold_percent(80))?;
/// let standing = limits.standing("premium", &Subject::default())?.expect("it was just made");
/// assert_eq!((standing.settled, standing.max), (0, 20_000_000_000_000));
/// # Ok::<(), payi_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Limits {
    store: Arc<dyn Store>,
    gate: Weak<Gate>,
}

impl Limits {
    /// Those of a store that no call of this process is measured by.
    pub fn of(store: Arc<dyn Store>) -> Self {
        Self { store, gate: Weak::new() }
    }

    /// Those of a running gate, which learns of changes at once.
    pub(crate) fn of_gate(gate: &Arc<Gate>) -> Self {
        Self { store: Arc::clone(&gate.shared.store), gate: Arc::downgrade(gate) }
    }

    fn changed<T>(&self, done: Result<T>) -> Result<T> {
        if let (Some(gate), true) = (self.gate.upgrade(), done.is_ok()) {
            gate.refresh()?;
        }
        done
    }

    /// Makes a limit. If there is one of that id, it has to say the same.
    ///
    /// # Errors
    /// [`Error::is_config`] if the limit cannot be kept, or its id belongs to another one;
    /// [`Error::is_ledger`] if the store cannot be written.
    pub fn create(&self, limit: Limit) -> Result<Definition> {
        self.make(limit, None)
    }

    /// The same for a limit that also counts what began before it was made, at `since` or later, and is written after
    /// it was made.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_since(&self, limit: Limit, since: SystemTime) -> Result<Definition> {
        self.make(limit, Some(micros(since)))
    }

    fn make(&self, limit: Limit, since_us: Option<i64>) -> Result<Definition> {
        let id = limit.id.clone();
        self.change_since(&id, since_us, move |old| match old {
            Some(old) if *old.limit != limit => Err(Error::new(
                Kind::Config,
                format!("there is a limit {:?} that says something else; change it with `update`", limit.id),
            )),
            _ => Ok(limit.clone()),
        })
    }

    /// Makes a limit, or puts it in place of the one of its id, whatever that says; [`change`](Self::change) starts
    /// from it. What was spent stays, unless the limit now counts something else, by other subjects or over another
    /// window.
    pub fn update(&self, limit: Limit) -> Result<Definition> {
        self.changed(block_on(self.store.put(limit, now_us())))
    }

    /// Makes a limit, or puts it in place of the one of its id, of which stays what it says nothing of.
    pub(crate) fn declare(&self, limit: &Limit) -> Result<Definition> {
        self.change(&limit.id, |old| {
            Ok(old.map_or_else(|| limit.clone(), |old| limit.clone().in_place_of(&old.limit)))
        })
    }

    /// Makes of a limit what `change` says, which is given the one there is. Nobody else changes it meanwhile, so
    /// that two who change different things of it at once are both heard; a store that cannot lock it asks again.
    /// `change` may not ask for limits itself.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use payi_core::{Error, limits::{Limit, Limits, MemoryStore}};
    ///
    /// let limits = Limits::of(Arc::new(MemoryStore::new()));
    /// limits.create(Limit::block("premium", "20".parse()?).each_user())?;
    /// let changed = limits.change::<Error>("premium", |old| {
    ///     let limit = old.map_or_else(|| Limit::calls("premium", 9), |old| Limit::clone(&old.limit));
    ///     Ok(limit.override_for("ada", "", "50".parse()?))
    /// })?;
    /// assert_eq!(changed.limit.overrides.len(), 1);
    /// # Ok::<(), payi_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// What `change` says, and what [`update`](Self::update) does; nothing was changed then.
    pub fn change<E: From<Error> + Send>(
        &self,
        id: &str,
        change: impl FnMut(Option<&Definition>) -> Result<Limit, E> + Send,
    ) -> Result<Definition, E> {
        self.change_since(id, None, change)
    }

    fn change_since<E: From<Error> + Send>(
        &self,
        id: &str,
        since_us: Option<i64>,
        mut change: impl FnMut(Option<&Definition>) -> Result<Limit, E> + Send,
    ) -> Result<Definition, E> {
        let mut refused = None;
        let mut changes = |old: Option<&Definition>| {
            change(old).map_err(|e| {
                refused = Some(e);
                Error::new(Kind::Config, "the limit stays as it is")
            })
        };
        let at_us = now_us();
        let times = (at_us, since_us.unwrap_or(at_us));
        let done = self.changed(block_on(self.store.update(id, times, &mut changes)));
        refused.map_or_else(|| done.map_err(E::from), Err)
    }

    /// One limit; `None` if there is none of that id.
    pub fn get(&self, id: &str) -> Result<Option<Definition>> {
        block_on(self.store.definition(id))
    }

    /// All limits, in the order of their ids.
    pub fn list(&self) -> Result<Vec<Definition>> {
        let all = block_on(self.store.definitions(u64::MAX))?;
        Ok(all.unwrap_or_default().limits)
    }

    /// Starts a limit anew: only calls that begin now, or at `from`, count. What it had come to is kept as
    /// history. `None` if there is no such limit.
    ///
    /// A `from` before now does not count anew what is written already: of calls that began since then, those count
    /// that are written after the reset.
    pub fn reset(&self, id: &str, from: Option<SystemTime>) -> Result<Option<History>> {
        self.changed(block_on(self.store.reset(id, from.map_or_else(now_us, micros))))
    }

    /// Removes a limit and its counters; whether there was one.
    pub fn delete(&self, id: &str) -> Result<bool> {
        self.changed(block_on(self.store.remove(id)))
    }

    /// How one counter of a limit stands; `None` if there is no such limit.
    pub fn standing(&self, id: &str, subject: &Subject) -> Result<Option<Standing>> {
        let counter = Counter { limit: id.into(), subject: subject.clone() };
        block_on(self.store.counter(&counter, now_us()))
    }

    /// The counters of a limit that something was spent or reserved of, those nearest to their maximum
    /// first, `most` at most.
    pub fn status(&self, id: &str, most: usize) -> Result<Vec<(Subject, Standing)>> {
        block_on(self.store.counters(id, now_us(), most))
    }

    /// What a limit has come to over all its counters; `None` if there is no such limit.
    pub fn totals(&self, id: &str) -> Result<Option<Totals>> {
        block_on(self.store.totals(id, now_us()))
    }

    /// How many calls left a limit in which state since its last reset.
    pub fn tally(&self, id: &str) -> Result<Tally> {
        block_on(self.store.tally(id))
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits").finish_non_exhaustive()
    }
}
