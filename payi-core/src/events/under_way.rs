//! Attempts under way, whose requests may be yet to be read: by whoever keeps note of them, where it suits him.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use crate::{defect::guarded, events::Opening};

/// An attempt as it began.
pub(crate) trait Opens: Send + Sync {
    /// What is known of it, of its request too.
    fn opening(&self) -> Opening;
}

/// An attempt that has begun, until its event is made. Who keeps this keeps nothing of what was asked.
#[derive(Clone)]
pub struct UnderWay(Weak<dyn Opens>);

impl UnderWay {
    pub(crate) fn new(begun: &Arc<impl Opens + 'static>) -> Self {
        let begun = Arc::downgrade(begun);
        Self(begun)
    }

    /// What is known of it; `None` once its event is made, or where a defect of payi's keeps it from being read.
    pub fn read(&self) -> Option<Opening> {
        let begun = self.0.upgrade()?;
        guarded(|| begun.opening()).ok()
    }
}

impl fmt::Debug for UnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnderWay").field("ended", &(self.0.strong_count() == 0)).finish()
    }
}
