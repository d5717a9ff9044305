//! Attempts under way, whose requests may be yet to be read: by whoever keeps note of them, where it suits him.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use crate::events::Opening;

/// An attempt as it began.
pub(crate) trait Begun: Send + Sync {
    /// What is known of it, of its request too.
    fn opening(&self) -> Opening;
}

/// An attempt that has begun, for as long as it has not ended.
#[derive(Clone)]
pub struct UnderWay(Weak<dyn Begun>);

impl UnderWay {
    #[cfg(feature = "_calls")]
    pub(crate) fn new(begun: &Arc<impl Begun + 'static>) -> Self {
        // Who only keeps note of it keeps nothing of what was asked.
        let begun = Arc::downgrade(begun);
        Self(begun)
    }

    /// What is known of it; `None` once its event is made.
    pub fn read(&self) -> Option<Opening> {
        self.0.upgrade().map(|begun| begun.opening())
    }
}

impl fmt::Debug for UnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnderWay").field("ended", &(self.0.strong_count() == 0)).finish()
    }
}
