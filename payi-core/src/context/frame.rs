//! What one scope says, linked to the scope around it.
//!
//! Entering a scope costs one allocation, the frame, which holds its keys in place; leaving costs one
//! release. Nothing is merged until somebody asks (`merge`), because most scopes see fewer calls than
//! they hold keys.

use std::{
    fmt, iter,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use uuid::Uuid;

use crate::context::{
    Key,
    entry::Entry,
    loss::{self, Loss},
    merge,
    slot::Carried,
};

/// How long a chain of frames may get before a new frame stands on a merged copy of it.
///
/// A task that spawns its own successor inside its scope, for ever, would otherwise keep every scope it
/// ever had, and overflow the stack when the last one goes.
pub(crate) const DEEP: u16 = 64;

/// One scope: its own keys and the scope around it. Immutable.
pub struct Frame<Keys: ?Sized = [Entry]> {
    parent: Option<Arc<Frame>>,
    use_case_id: LazyId,
    complained: AtomicBool,
    /// Whether the process-wide root's keys are not to be seen through it.
    sealed: bool,
    depth: u16,
    entries: Keys,
}

impl<const N: usize> Frame<[Entry; N]> {
    #[inline]
    const fn new(parent: Option<Arc<Frame>>, entries: [Entry; N], depth: u16) -> Self {
        Self {
            parent,
            use_case_id: LazyId::new(),
            complained: AtomicBool::new(false),
            sealed: false,
            depth,
            entries,
        }
    }
}

impl Frame {
    /// A scope with these keys inside `parent`. No key may be given twice.
    #[inline]
    pub fn child<const N: usize>(parent: Option<Arc<Self>>, entries: [Entry; N]) -> Arc<Self> {
        let depth = match &parent {
            Some(parent) if parent.depth >= DEEP => return Self::grandchild(parent, entries),
            Some(parent) => parent.depth + 1,
            None => 0,
        };
        Arc::new(Frame::new(parent, entries, depth))
    }

    /// The same, with keys collected at run time, of which the last of its kind counts.
    pub(crate) fn collected(parent: Option<Arc<Self>>, entries: Vec<Entry>) -> Arc<Self> {
        match entries.len() {
            1 => Self::child(parent, sized::<1>(entries)),
            2 => Self::child(parent, sized::<2>(entries)),
            3..=4 => Self::child(parent, sized::<4>(entries)),
            _ => Self::child(parent, sized::<{ Key::ALL.len() }>(entries)),
        }
    }

    /// A scope inside no other that carries something for [`Context::root`](super::Context::root).
    /// The process-wide root's keys are not seen through it.
    #[cfg(any(test, feature = "_calls"))]
    pub(crate) fn root(carried: Option<Carried>, entries: Vec<Entry>) -> Arc<Self> {
        Arc::new(Frame { sealed: true, ..Frame::new(None, rooted(entries, carried), 0) })
    }

    /// A scope that stands on a merged copy of what `deep` and all around it say.
    #[cold]
    fn grandchild<const N: usize>(deep: &Self, entries: [Entry; N]) -> Arc<Self> {
        let merged = merge::resolve(Some(deep), global().as_deref()).into_entries();
        let base = Frame { sealed: true, ..Frame::new(None, rooted(merged, deep.carried()), 0) };
        Arc::new(Frame::new(Some(Arc::new(base)), entries, 1))
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
    pub(crate) fn carried(&self) -> Option<Carried> {
        let mut frames = iter::successors(Some(self), |frame| frame.parent());
        frames.find_map(|frame| frame.entries.first().and_then(Entry::carried))
    }

    /// Its own keys.
    pub(crate) const fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The id of the use case that this frame opens, made when first asked for.
    pub(crate) fn use_case_id(&self) -> Uuid {
        self.use_case_id.get()
    }

    /// Counts, once per frame, that its use-case keys belong to no use case.
    #[cold]
    pub(crate) fn without_use_case(&self) {
        if !self.complained.swap(true, Relaxed) {
            loss::count(Loss::WithoutUseCase);
        }
    }
}

/// A version 4 UUID that is made when first asked for, and the same for everybody who asks.
///
/// Each half is agreed on by itself, and none is ever zero, because one has the version and the other
/// the variant. It has nothing to drop, which a `OnceLock` looks for each time a scope ends.
struct LazyId {
    high: AtomicU64,
    low: AtomicU64,
}

impl LazyId {
    const fn new() -> Self {
        Self { high: AtomicU64::new(0), low: AtomicU64::new(0) }
    }

    fn get(&self) -> Uuid {
        let (high, low) = (self.high.load(Relaxed), self.low.load(Relaxed));
        if high != 0 && low != 0 {
            return Uuid::from_u64_pair(high, low);
        }
        let (high, low) = Uuid::new_v4().as_u64_pair();
        let agree = |half: &AtomicU64, mine| {
            half.compare_exchange(0, mine, Relaxed, Relaxed).map_or_else(|theirs| theirs, |_zero| mine)
        };
        Uuid::from_u64_pair(agree(&self.high, high), agree(&self.low, low))
    }
}

/// Says how deep it is, and not whom it names.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame").field("depth", &self.depth).finish_non_exhaustive()
    }
}

/// `entries` in an array with room for `N` kinds of key; of one kind, the last counts.
fn sized<const N: usize>(entries: Vec<Entry>) -> [Entry; N] {
    let mut sized = [const { Entry::UNSET }; N];
    for entry in entries {
        if let Some(room) = sized.iter_mut().find(|it| it.is_unset() || it.key == entry.key) {
            *room = entry;
        }
    }
    sized
}

/// The keys of a root, behind what it carries.
fn rooted(entries: Vec<Entry>, carried: Option<Carried>) -> [Entry; Key::ALL.len() + 1] {
    let mut entries = sized::<{ Key::ALL.len() + 1 }>(entries);
    if let Some(carried) = carried {
        entries.rotate_right(1);
        if let Some(first) = entries.first_mut() {
            *first = Entry::of_carried(carried);
        }
    }
    entries
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
