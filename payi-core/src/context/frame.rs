//! What one scope says, linked to the scope around it.
//!
//! Entering a scope costs one allocation, the frame: up to four keys live in it. Leaving costs one
//! release. Nothing is merged until somebody asks (`merge`), because most scopes see fewer calls than
//! they hold keys.

use std::{
    any::Any,
    array, fmt, iter,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use uuid::Uuid;

use crate::context::{
    entry::Entry,
    loss::{self, Loss},
    merge,
};

/// How many keys a frame holds without a second allocation.
const FEW: usize = 4;

/// How long a chain of frames may get before a new frame stands on a merged copy of it.
///
/// A task that spawns its own successor inside its scope, for ever, would otherwise keep every scope it
/// ever had, and overflow the stack when the last one goes.
pub(crate) const DEEP: u16 = 64;

/// One scope: its own keys and the scope around it. Immutable.
pub struct Frame {
    parent: Option<Arc<Frame>>,
    entries: Entries,
    carried: Option<Arc<dyn Any + Send + Sync>>,
    use_case_id: OnceLock<Uuid>,
    complained: AtomicBool,
    /// Whether the process-wide root's keys are not to be seen through it.
    sealed: bool,
    depth: u16,
}

enum Entries {
    Few([Entry; FEW]),
    Many(Box<[Entry]>),
}

impl Frame {
    /// A scope with these keys inside `parent`.
    ///
    /// Where one key is given twice, the later one counts.
    #[inline]
    pub fn child<const N: usize>(parent: Option<Arc<Self>>, entries: [Entry; N]) -> Arc<Self> {
        let depth = match &parent {
            Some(parent) if parent.depth >= DEEP => return Self::grandchild(parent, entries.into()),
            Some(parent) => parent.depth + 1,
            None => 0,
        };
        Arc::new(Self::new(parent, Entries::new(entries), depth))
    }

    /// The same, with as many keys as there are.
    pub(crate) fn with_entries(parent: Option<Arc<Self>>, entries: Vec<Entry>) -> Arc<Self> {
        let mut entries = entries.into_iter();
        let few = array::from_fn::<_, FEW, _>(|_| entries.next().unwrap_or(Entry::UNSET));
        if entries.len() == 0 {
            return Self::child(parent, few);
        }
        let depth = parent.as_ref().map_or(0, |parent| parent.depth + 1);
        let many: Box<[Entry]> = few.into_iter().chain(entries).collect();
        match parent {
            Some(parent) if parent.depth >= DEEP => Self::grandchild(&parent, many),
            parent => Arc::new(Self::new(parent, Entries::Many(many), depth)),
        }
    }

    /// A scope inside no other that carries something for [`Context::root`](super::Context::root).
    /// The process-wide root's keys are not seen through it.
    #[cfg(feature = "_calls")]
    pub(crate) fn root(carried: Option<Arc<dyn Any + Send + Sync>>, entries: Vec<Entry>) -> Arc<Self> {
        Arc::new(Self { carried, sealed: true, ..Self::new(None, Entries::Many(entries.into()), 0) })
    }

    const fn new(parent: Option<Arc<Self>>, entries: Entries, depth: u16) -> Self {
        Self {
            parent,
            entries,
            carried: None,
            use_case_id: OnceLock::new(),
            complained: AtomicBool::new(false),
            sealed: false,
            depth,
        }
    }

    /// A scope that stands on a merged copy of what `deep` and all around it say.
    #[cold]
    fn grandchild(deep: &Self, entries: Box<[Entry]>) -> Arc<Self> {
        let base = Self {
            carried: deep.carried(),
            sealed: true,
            ..Self::new(
                None,
                Entries::Many(merge::resolve(Some(deep), global().as_deref()).into_entries()),
                0,
            )
        };
        Arc::new(Self::new(Some(Arc::new(base)), Entries::Many(entries), 1))
    }

    /// The scope around it.
    pub(crate) fn parent(&self) -> Option<&Self> {
        self.parent.as_deref()
    }

    /// Whether the process-wide root's keys are not to be seen through it.
    pub(crate) const fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// What it, or the nearest scope around it that carries something, carries.
    pub(crate) fn carried(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        iter::successors(Some(self), |frame| frame.parent()).find_map(|frame| frame.carried.clone())
    }

    /// Its own keys.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.entries {
            Entries::Few(few) => few,
            Entries::Many(many) => many,
        }
    }

    /// The id of the use case that this frame opens, made when first asked for.
    pub(crate) fn use_case_id(&self) -> Uuid {
        *self.use_case_id.get_or_init(Uuid::new_v4)
    }

    /// Counts, once per frame, that its use-case keys belong to no use case.
    #[cold]
    pub(crate) fn without_use_case(&self) {
        if !self.complained.swap(true, Relaxed) {
            loss::count(Loss::WithoutUseCase);
        }
    }
}

/// Says how deep it is, and not whom it names.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame").field("depth", &self.depth).finish_non_exhaustive()
    }
}

impl Entries {
    #[inline]
    fn new<const N: usize>(entries: [Entry; N]) -> Self {
        if N > FEW {
            return Self::Many(entries.into());
        }
        let mut entries = entries.into_iter();
        Self::Few(array::from_fn(|_| entries.next().unwrap_or(Entry::UNSET)))
    }
}

/// The process-wide root: what scopes without a root of their own belong to.
static GLOBAL: RwLock<Option<Arc<Frame>>> = RwLock::new(None);

/// Makes `frame` the process-wide root; `None` takes it away.
#[cfg(feature = "_calls")]
pub(crate) fn set_global(frame: Option<Arc<Frame>>) {
    *GLOBAL.write().unwrap_or_else(PoisonError::into_inner) = frame;
}

/// The process-wide root.
pub(crate) fn global() -> Option<Arc<Frame>> {
    GLOBAL.read().unwrap_or_else(PoisonError::into_inner).clone()
}
