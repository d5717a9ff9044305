//! What one scope says, linked to the scope around it.

use std::{
    any::Any,
    sync::{Arc, PoisonError, RwLock},
};

/// One scope: its own keys and the scope around it. Immutable.
pub struct Frame {
    pub(crate) parent: Option<Arc<Frame>>,
    pub(crate) carried: Option<Arc<dyn Any + Send + Sync>>,
}

/// The process-wide root: what scopes without a root of their own belong to.
static GLOBAL: RwLock<Option<Arc<Frame>>> = RwLock::new(None);

/// Makes `frame` the process-wide root; `None` takes it away.
pub(crate) fn set_global(frame: Option<Arc<Frame>>) {
    *GLOBAL.write().unwrap_or_else(PoisonError::into_inner) = frame;
}

/// The process-wide root.
pub(crate) fn global() -> Option<Arc<Frame>> {
    GLOBAL.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// What the root of `frame` carries, else what the process-wide root carries.
pub(crate) fn carried(frame: Option<&Frame>) -> Option<Arc<dyn Any + Send + Sync>> {
    std::iter::successors(frame, |f| f.parent.as_deref())
        .find_map(|f| f.carried.clone())
        .or_else(|| global().and_then(|g| g.carried.clone()))
}
