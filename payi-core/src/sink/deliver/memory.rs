//! A source for builds without a ledger: the newest events, in memory, for as long as the process lives.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use crate::{
    Result,
    error::say,
    events::{Event, Sink, UnderWay},
    sink::deliver::{Pending, Source},
};

/// How many events wait at most; the oldest go first, and are counted.
const CAPACITY: usize = 10_000;

/// How many response ids are remembered.
const IDS: usize = 10_000;

/// Takes events as a sink, and gives them to a courier as a source.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    queue: Mutex<Queue>,
    lost: AtomicU64,
    said: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<(i64, Event)>,
    newest: i64,
    cursor: i64,
    ids: HashMap<String, i64>,
}

impl Memory {
    /// How many events were lost because nobody took them.
    pub(crate) fn lost(&self) -> u64 {
        self.0.lost.load(Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Memory {
    fn open_unread(&self, _: UnderWay) {}

    fn record(&self, event: Event) {
        let mut queue = self.lock();
        queue.newest += 1;
        let seq = queue.newest;
        queue.events.push_back((seq, event));
        if queue.events.len() > CAPACITY {
            queue.events.pop_front();
            self.0.lost.fetch_add(1, Relaxed);
            if !self.0.said.swap(true, Relaxed) {
                say!(warn, target: "payi", "events are being lost: delivery does not keep up, and there is no ledger to keep them");
            }
        }
    }
}

impl Source for Memory {
    fn claim(&mut self) -> Result<bool> {
        Ok(true)
    }

    fn release(&mut self) {}

    fn after(&self, after: i64, limit: usize) -> Result<Vec<Pending>> {
        let queue = self.lock();
        let events = queue.events.iter().filter(|(seq, _)| *seq > after).take(limit);
        let pending = events.map(|(seq, event)| Pending {
            seq: *seq,
            who: event.context.resolve(),
            event: event.clone(),
            again: false,
        });
        Ok(pending.collect())
    }

    fn cursor(&self) -> Result<i64> {
        Ok(self.lock().cursor)
    }

    fn advance(&mut self, seq: i64) -> Result<bool> {
        let mut queue = self.lock();
        queue.cursor = queue.cursor.max(seq);
        while queue.events.front().is_some_and(|(first, _)| *first <= seq) {
            queue.events.pop_front();
        }
        Ok(true)
    }

    fn newest(&self) -> Result<i64> {
        Ok(self.lock().newest)
    }

    fn quarantine(&mut self, _seq: i64, _reason: &str) -> Result<()> {
        self.0.lost.fetch_add(1, Relaxed);
        Ok(())
    }

    fn are_taken(&self, ids: &[(&str, i64)]) -> Vec<bool> {
        let mut queue = self.lock();
        if queue.ids.len() > IDS {
            queue.ids.clear();
        }
        ids.iter().map(|(id, seq)| *queue.ids.entry((*id).to_owned()).or_insert(*seq) != *seq).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::events::sample;

    #[test]
    fn the_oldest_goes_first_and_is_counted() {
        let mut memory = Memory::default();
        for _ in 0..CAPACITY + 3 {
            memory.record(sample::chat());
        }
        assert_eq!(memory.lost(), 3);
        assert_eq!(memory.after(0, 1).unwrap()[0].seq, 4);
        assert!(memory.advance(5).unwrap());
        assert_eq!(memory.after(5, 1).unwrap()[0].seq, 6);
        assert_eq!(memory.newest().unwrap(), i64::try_from(CAPACITY).unwrap() + 3);
    }

    #[test]
    fn a_response_id_belongs_to_the_first_that_asks() {
        let memory = Memory::default();
        assert_eq!(memory.are_taken(&[("a", 1), ("a", 2)]), [false, true]);
        assert_eq!(memory.are_taken(&[("a", 1), ("b", 2)]), [false, false]);
    }
}
