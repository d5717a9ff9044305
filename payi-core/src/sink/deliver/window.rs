//! The events a courier holds: read, and not yet passed by the cursor.

use std::collections::VecDeque;

use crate::sink::deliver::{Fate, Pending};

/// How many events are held at most.
const WIDTH: usize = 256;

/// How many are read at once.
const STEP: usize = 32;

/// How many bytes of prompts and answers are held, give or take a [`STEP`] of events.
const WEIGHT: usize = 8 << 20;

/// How often an event may fail by itself, while others are taken, before it is set aside.
const PATIENCE: u32 = 5;

/// Why an event is set aside that the place fails at, while it takes others.
pub(crate) const SERVER_ERROR: &str = "server_error";

/// The events a courier holds.
#[derive(Debug)]
pub(crate) struct Window {
    slots: VecDeque<Slot>,
    /// How many go at once.
    size: usize,
    /// One at a time: one of them may be what the place fails at.
    careful: bool,
}

#[derive(Debug)]
struct Slot {
    pending: Pending,
    fate: Option<Fate>,
    /// Failures of this event alone.
    failures: u32,
    /// Others have been taken since its first failure alone.
    others_taken: bool,
}

impl Default for Window {
    fn default() -> Self {
        Self { slots: VecDeque::new(), size: WIDTH, careful: false }
    }
}

impl Window {
    /// How many more to read; 0 if it is full.
    pub(crate) fn room(&self) -> usize {
        let held: usize = self.slots.iter().map(|slot| slot.pending.weight()).sum();
        if held > WEIGHT { 0 } else { STEP.min(WIDTH.saturating_sub(self.slots.len())) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.slots.clear();
    }

    /// The number of the newest event held.
    pub(crate) fn newest(&self) -> Option<i64> {
        self.slots.back().map(|slot| slot.pending.seq)
    }

    pub(crate) fn extend(&mut self, events: Vec<Pending>) {
        let slots = events.into_iter();
        self.slots.extend(slots.map(|pending| Slot {
            pending,
            fate: None,
            failures: 0,
            others_taken: false,
        }));
    }

    /// What goes next, as places in the window.
    pub(crate) fn pick(&self) -> Vec<usize> {
        let waiting = self.slots.iter().enumerate().filter(|(_, slot)| slot.fate.is_none());
        if self.careful {
            // The one that has failed least; of those the oldest.
            return waiting.min_by_key(|(i, slot)| (slot.failures, *i)).map(|(i, _)| i).into_iter().collect();
        }
        waiting.map(|(i, _)| i).take(self.size).collect()
    }

    pub(crate) fn get(&self, picked: &[usize]) -> Vec<&Pending> {
        picked.iter().filter_map(|&i| self.slots.get(i)).map(|slot| &slot.pending).collect()
    }

    /// Halves what goes at once.
    pub(crate) fn shrink(&mut self, from: usize) {
        self.size = (from.min(self.size) / 2).max(1);
    }

    /// Takes down what became of the `picked`.
    pub(crate) fn settle(&mut self, picked: &[usize], fates: Vec<Fate>) {
        let alone = picked.len() == 1;
        let taken = fates.contains(&Fate::Placed);
        let suspected = fates.contains(&Fate::Suspect);
        for (&i, fate) in picked.iter().zip(fates) {
            let Some(slot) = self.slots.get_mut(i) else { continue };
            match fate {
                Fate::Placed | Fate::Refused(_) => slot.fate = Some(fate),
                Fate::Later => slot.pending.again = true,
                Fate::Suspect => {
                    slot.pending.again = true;
                    slot.failures += u32::from(alone);
                    if slot.failures >= PATIENCE && slot.others_taken {
                        slot.fate = Some(Fate::Refused(SERVER_ERROR.into()));
                    }
                }
            }
        }
        if taken {
            for slot in self.slots.iter_mut().filter(|slot| slot.failures > 0) {
                slot.others_taken = true;
            }
            self.careful = self.slots.iter().any(|slot| slot.fate.is_none() && slot.failures > 0);
            self.size = (self.size * 2).min(WIDTH);
        } else if suspected {
            self.careful = true;
        }
    }

    /// Lets go of what is dealt with at the front: the last number, and what was refused.
    pub(crate) fn pass(&mut self) -> Option<Passed> {
        let mut passed = Passed::default();
        while self.slots.front().is_some_and(|slot| slot.fate.is_some()) {
            let Some(slot) = self.slots.pop_front() else { break };
            passed.seq = slot.pending.seq;
            match slot.fate {
                Some(Fate::Refused(reason)) => passed.refused.push((slot.pending, reason)),
                _ => passed.placed += 1,
            }
        }
        (passed.seq > 0).then_some(passed)
    }
}

/// Events that are dealt with.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    /// The number of the last.
    pub(crate) seq: i64,
    /// How many were placed.
    pub(crate) placed: u64,
    /// What was refused, and why.
    pub(crate) refused: Vec<(Pending, Box<str>)>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::events::sample;

    fn window(n: i64) -> Window {
        let mut window = Window::default();
        let pending = |seq| Pending { seq, who: sample::who("u"), event: sample::chat(), again: false };
        window.extend((1..=n).map(pending).collect());
        window
    }

    /// A place that fails at the events for which `bad` says so, alone or in a batch; what was refused.
    fn run(window: &mut Window, bad: impl Fn(i64) -> bool) -> (Vec<i64>, Vec<i64>) {
        let (mut refused, mut placed) = (Vec::new(), Vec::new());
        for _ in 0..1000 {
            let picked = window.pick();
            if picked.is_empty() {
                return (placed, refused);
            }
            let seqs: Vec<i64> = window.get(&picked).iter().map(|p| p.seq).collect();
            let fate = if seqs.iter().any(|s| bad(*s)) { Fate::Suspect } else { Fate::Placed };
            if fate == Fate::Placed {
                placed.extend(&seqs);
            }
            window.settle(&picked, vec![fate; picked.len()]);
            while let Some(passed) = window.pass() {
                refused.extend(passed.refused.iter().map(|(p, _)| p.seq));
            }
        }
        panic!("not finished after 1000 batches")
    }

    #[test]
    fn events_go_in_order() {
        let mut window = window(10);
        assert_eq!(window.pick(), (0..10).collect::<Vec<_>>());
        window.settle(&(0..10).collect::<Vec<_>>(), vec![Fate::Later; 10]);
        assert!(window.pass().is_none());
        assert_eq!(window.pick().len(), 10, "a place that is down is no reason to send less");
        assert_eq!(run(&mut window, |_| false).0, (1..=10).collect::<Vec<_>>());
    }

    #[test]
    fn an_event_the_place_fails_at_is_set_aside_and_the_others_pass() {
        let (placed, refused) = run(&mut window(20), |seq| seq == 1 || seq == 7);
        assert_eq!(refused, [1, 7]);
        assert_eq!(placed.len(), 18);
    }

    #[test]
    fn while_nothing_is_taken_nothing_is_set_aside() {
        let mut window = window(3);
        for _ in 0..100 {
            let picked = window.pick();
            window.settle(&picked, vec![Fate::Suspect; picked.len()]);
        }
        assert!(window.pass().is_none());
        assert_eq!(run(&mut window, |_| false).1, Vec::<i64>::new());
    }

    #[test]
    fn the_cursor_does_not_pass_an_event_that_waits() {
        let mut window = window(3);
        window.settle(&[0, 1, 2], vec![Fate::Placed, Fate::Later, Fate::Placed]);
        assert_eq!(window.pass().unwrap().seq, 1);
        assert_eq!(window.pick(), [0]);
        window.settle(&[0], vec![Fate::Placed]);
        assert_eq!(window.pass().unwrap().seq, 3);
        assert!(window.is_empty());
    }

    #[test]
    fn what_is_too_large_is_halved_and_grows_again() {
        let mut window = window(8);
        window.shrink(8);
        assert_eq!(window.pick().len(), 4);
        window.settle(&[0, 1, 2, 3], vec![Fate::Placed; 4]);
        window.pass();
        assert_eq!(window.size, 8);
    }
}
