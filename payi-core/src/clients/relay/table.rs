//! Who waits to be recognised: contexts by the token that a request brings along.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

use crate::context::Context;

/// How many contexts are kept; a request brings its token along within moments.
const KEPT: usize = 16_384;

/// Contexts by token. The oldest give way.
#[derive(Default)]
pub(super) struct Table(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    contexts: HashMap<Uuid, Context>,
    order: VecDeque<Uuid>,
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps `context` under a token that nobody can guess.
    pub(super) fn keep(&self, context: Context) -> Uuid {
        let token = Uuid::new_v4();
        let mut kept = self.lock();
        while kept.order.len() >= KEPT {
            if let Some(oldest) = kept.order.pop_front() {
                kept.contexts.remove(&oldest);
            }
        }
        kept.order.push_back(token);
        kept.contexts.insert(token, context.for_later());
        token
    }

    /// The context that was kept under `token`. It stays: a request may be repeated.
    pub(super) fn find(&self, token: &str) -> Option<Context> {
        self.lock().contexts.get(&token.parse().ok()?).cloned()
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::context;

    #[test]
    fn the_oldest_gives_way_and_nothing_else_is_found() {
        let table = Table::default();
        let first = table.keep(context::builder().user_id("first").build());
        let last = (0..KEPT).map(|n| table.keep(context::builder().user_id(n).build())).last().unwrap();
        assert!(table.find(&first.to_string()).is_none());
        assert_eq!(table.find(&last.to_string()).unwrap().user_id().as_deref(), Some("16383"));
        assert!(table.find("not a token").is_none());
    }
}
