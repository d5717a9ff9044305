//! What one scope says, linked to the scope around it.
//!
//! A frame holds its keys in place, and when its scope is left it goes to the thread's next scope, so that
//! entering and leaving cost no allocation. Nothing is merged until somebody asks (`merge`), because most scopes see fewer calls than
//! they hold keys.

use std::{
    fmt, iter, mem,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use uuid::Uuid;

use crate::context::{
    entry::Entry,
    loss::{self, Loss},
    merge,
    slot::Carried,
    spare,
};

/// How long a chain of frames may get before a new frame stands on a merged copy of it.
///
/// A task that spawns its own successor inside its scope, for ever, would otherwise keep every scope it
/// ever had, and overflow the stack when the last one goes.
pub(crate) const DEEP: u16 = 64;

/// How many keys live in the frame itself; more of them are on the heap together.
const FEW: usize = 4;

/// One scope: its own keys and the scope around it. Immutable while anybody else can see it.
pub struct Frame {
    parent: Option<Arc<Frame>>,
    use_case_id: LazyId,
    complained: AtomicBool,
    /// Whether the process-wide root's keys are not to be seen through it.
    sealed: bool,
    depth: u16,
    /// How many of `few` are set.
    len: u16,
    few: [Entry; FEW],
    /// All of the keys, where they are more than a few.
    more: Box<[Entry]>,
}

impl Frame {
    /// A scope with these keys inside `parent`. No key may be given twice.
    #[expect(
        clippy::inline_always,
        reason = "the keys are written where they stay, and not moved there: 50 instructions less"
    )]
    #[inline(always)]
    pub fn child<const N: usize>(parent: Option<Arc<Self>>, entries: [Entry; N]) -> Arc<Self> {
        let depth = match &parent {
            Some(parent) if parent.depth >= DEEP => return Self::grandchild(parent, entries.into()),
            Some(parent) => parent.depth + 1,
            None => 0,
        };
        if N > FEW {
            return Self::many(parent, entries.into(), depth);
        }
        spare::next(|frame| {
            frame.parent = parent;
            frame.depth = depth;
            frame.set_few(entries);
        })
    }

    /// A frame that says nothing.
    pub(crate) fn blank() -> Self {
        Self {
            parent: None,
            use_case_id: LazyId::new(),
            complained: AtomicBool::new(false),
            sealed: false,
            depth: 0,
            len: 0,
            few: [const { Entry::UNSET }; FEW],
            more: Box::new([]),
        }
    }

    #[inline]
    fn set_few<const N: usize>(&mut self, entries: [Entry; N]) {
        self.len = u16::try_from(N).unwrap_or_default();
        // What is swapped back is unset, so there is nothing to drop.
        let mut entries = mem::ManuallyDrop::new(entries);
        for (room, entry) in self.few.iter_mut().zip(entries.iter_mut()) {
            mem::swap(room, entry);
        }
    }

    #[inline(never)]
    fn many(parent: Option<Arc<Self>>, more: Box<[Entry]>, depth: u16) -> Arc<Self> {
        Arc::new(Self { parent, depth, more, ..Self::blank() })
    }

    /// The same, with keys collected at run time, of which the last of its kind counts.
    pub(crate) fn collected(parent: Option<Arc<Self>>, entries: Vec<Entry>) -> Arc<Self> {
        Self::child_of(parent, last_of_kind(entries))
    }

    fn child_of(parent: Option<Arc<Self>>, entries: Vec<Entry>) -> Arc<Self> {
        match <[Entry; 1]>::try_from(entries) {
            Ok(one) => Self::child(parent, one),
            Err(entries) => match parent {
                Some(parent) if parent.depth >= DEEP => Self::grandchild(&parent, entries.into()),
                parent => {
                    let depth = parent.as_ref().map_or(0, |parent| parent.depth + 1);
                    Self::many(parent, entries.into(), depth)
                }
            },
        }
    }

    /// A scope inside no other that carries something for [`Context::root`](super::Context::root).
    /// The process-wide root's keys are not seen through it.
    #[cfg(any(test, feature = "_calls"))]
    pub(crate) fn root(carried: Option<Carried>, entries: Vec<Entry>) -> Arc<Self> {
        Arc::new(Self { sealed: true, more: rooted(entries, carried), ..Self::blank() })
    }

    /// A scope that stands on a merged copy of what `deep` and all around it say.
    #[cold]
    fn grandchild(deep: &Self, entries: Box<[Entry]>) -> Arc<Self> {
        let merged = merge::resolve(Some(deep), global().as_deref()).into_entries();
        let base = Self { sealed: true, more: rooted(merged, deep.carried()), ..Self::blank() };
        Self::many(Some(Arc::new(base)), entries, 1)
    }

    /// Forgets all that it said.
    #[inline]
    fn clear(&mut self) {
        self.use_case_id = LazyId::new();
        self.complained = AtomicBool::new(false);
        self.sealed = false;
        for entry in &mut self.few {
            entry.value.unset();
        }
        self.len = 0;
    }

    /// Takes the spare frame that follows this one, which is one.
    #[inline]
    pub(crate) fn take_spare(&mut self) -> Option<Arc<Self>> {
        self.parent.take()
    }

    /// How many spare frames this one, which is one, and those that follow are.
    #[inline]
    pub(crate) const fn spares(&self) -> u16 {
        self.depth
    }

    /// Makes a spare frame of it, in front of `next`: it forgets all that it said.
    #[inline]
    pub(crate) fn become_spare(&mut self, next: Option<Arc<Self>>, spares: u16) {
        self.clear();
        self.depth = spares;
        // Lets go of the scope around it.
        self.parent = next;
    }

    /// Whether its keys are few, so that they live in it.
    #[inline]
    pub(crate) const fn is_small(&self) -> bool {
        self.more.is_empty()
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
        frames.find_map(|frame| frame.more.first().and_then(Entry::carried))
    }

    /// Its own keys.
    pub(crate) fn entries(&self) -> &[Entry] {
        if self.more.is_empty() {
            self.few.get(..usize::from(self.len)).unwrap_or_default()
        } else {
            &self.more
        }
    }

    /// Whether it says how calls are sent or kept.
    #[cfg(feature = "_http")]
    pub(crate) fn has_flags(&self) -> bool {
        self.entries()
            .iter()
            .any(|entry| matches!(entry.key, super::Key::Proxy | super::Key::LogPromptAndResponse))
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

/// `entries`, of each kind the last.
fn last_of_kind(entries: Vec<Entry>) -> Vec<Entry> {
    let mut last: Vec<Entry> = Vec::with_capacity(entries.len());
    for entry in entries.into_iter().filter(|entry| !entry.is_unset()) {
        match last.iter_mut().find(|it| it.key == entry.key) {
            Some(room) => *room = entry,
            None => last.push(entry),
        }
    }
    last
}

/// The keys of a root, behind what it carries.
fn rooted(entries: Vec<Entry>, carried: Option<Carried>) -> Box<[Entry]> {
    carried.map(Entry::of_carried).into_iter().chain(last_of_kind(entries)).collect()
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
