//! The context as other code sees it: taken once, where a call is made, and asked later.

use std::{any::Any, fmt, panic::Location, sync::Arc};

use crate::context::{
    Frame, KeySet, Properties, Resolved, Text,
    builder::Builder,
    field::fields,
    frame::global,
    merge::{self, Merged},
    scope,
    scoped::{Entered, Scoped},
};

/// A snapshot of who the running code works for; cheap to take and to clone, immutable.
///
/// ```
/// use payi_core::context::{self, Context};
///
/// context::builder().user_id(7).limit_ids(["free"]).run(|| {
///     let context = Context::current();
///     assert_eq!(context.user_id().as_deref(), Some("7"));
///     assert_eq!(context.limit_ids(), ["free"]);
/// });
/// ```
#[derive(Clone, Default)]
pub struct Context {
    pub(super) frame: Option<Arc<Frame>>,
    /// The process-wide root when the call began that this was taken for; without one, that of the moment.
    pub(super) global: Option<Arc<Frame>>,
    /// Where the call was made that this was taken for.
    pub(super) call_site: Option<&'static Location<'static>>,
    /// Required keys that the call has no value for.
    pub(super) missing: KeySet,
}

/// The context of the code that is running now.
///
/// ```
/// # use payi_core::context::{builder, current};
/// builder().user_id("u-1").run(|| assert_eq!(current().user_id().as_deref(), Some("u-1")));
/// ```
#[inline]
pub fn current() -> Context {
    Context::current()
}

macro_rules! getter {
    ($name:ident, text, $doc:literal) => {
        getter!($name, $doc, Option<Text>);
    };
    ($name:ident, version, $doc:literal) => {
        getter!($name, $doc, Option<u32>);
    };
    ($name:ident, flag, $doc:literal) => {
        getter!($name, $doc, Option<bool>);
    };
    ($name:ident, list, $doc:literal) => {
        getter!($name, $doc, Vec<Text>);
    };
    ($name:ident, map, $doc:literal) => {
        getter!($name, $doc, Properties);
    };
    ($name:ident, $doc:literal, $type:ty) => {
        #[doc = $doc]
        pub fn $name(&self) -> $type {
            self.resolve().$name()
        }
    };
}

macro_rules! getters {
    ($(($name:ident, $key:ident, $kind:ident, $doc:literal, $header:expr, $wire:expr, $column:expr),)*) => {
        /// One key after inheritance. To read several, [`resolve`](Self::resolve) once.
        impl Context {
            $(getter!($name, $kind, $doc);)*
        }
    };
}
fields!(getters);

impl Context {
    /// The context of the code that is running now.
    #[inline]
    pub fn current() -> Self {
        Self { frame: scope::current(), global: None, call_site: None, missing: KeySet::EMPTY }
    }

    pub(crate) fn of(frame: Arc<Frame>) -> Self {
        Self { frame: Some(frame), global: None, call_site: None, missing: KeySet::EMPTY }
    }

    /// Every key's value, after inheritance.
    pub fn resolve(&self) -> Resolved {
        match &self.global {
            Some(global) => merge::resolve(self.frame.as_deref(), Some(global)),
            None => merge::resolve(self.frame.as_deref(), global().as_deref()),
        }
    }

    /// Looks at every key's value, without a copy of any.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Merged<'_>) -> R) -> R {
        match &self.global {
            Some(global) => look(&merge::merged(self.frame.as_deref(), Some(global))),
            None => look(&merge::merged(self.frame.as_deref(), global().as_deref())),
        }
    }

    /// Whether any scope says how calls are sent or kept.
    #[cfg(feature = "_http")]
    #[inline]
    pub(crate) fn has_flags(&self) -> bool {
        let mut own = std::iter::successors(self.frame.as_deref(), |frame| frame.parent());
        own.any(Frame::has_flags) || self.global.as_deref().is_some_and(Frame::has_flags)
    }

    /// Which of `keys` have no value here.
    #[inline]
    pub fn missing(&self, keys: KeySet) -> KeySet {
        if keys.is_empty() {
            return keys;
        }
        self.look(|merged| keys.iter().filter(|key| !merged.has(*key)).collect())
    }

    /// The same for a call that begins now: it keeps the process-wide root of this moment, so that its
    /// event can be read after a shutdown.
    #[cfg(feature = "_calls")]
    #[inline]
    pub(crate) fn for_call(self) -> Self {
        Self { global: self.global.or_else(global), ..self }
    }

    /// The same for a call that begins some time: it sees the process-wide root of that moment, and keeps none till then.
    #[cfg(feature = "relay")]
    pub(crate) fn for_later(self) -> Self {
        Self { global: None, ..self }
    }

    /// The same, for a call made at `site`: whoever takes a snapshot on behalf of its caller says where.
    #[cfg(feature = "_calls")]
    #[inline]
    pub(crate) fn called_at(self, site: &'static Location<'static>) -> Self {
        Self { call_site: Some(site), ..self }
    }

    /// Where the call was made that this context was taken for, if the client can know.
    pub const fn call_site(&self) -> Option<&'static Location<'static>> {
        self.call_site
    }

    /// Whether this was taken in any scope.
    #[cfg(feature = "tracing")]
    pub(crate) const fn is_scoped(&self) -> bool {
        self.frame.is_some()
    }

    /// Whether this was taken in the scope that `outer` was taken in, or in one inside of it.
    #[cfg(feature = "tracing")]
    pub(crate) fn is_inside(&self, outer: &Self) -> bool {
        let Some(outer) = outer.frame.as_deref() else { return true };
        std::iter::successors(self.frame.as_deref(), |frame| frame.parent())
            .any(|frame| std::ptr::eq(frame, outer))
    }

    /// Notes that the call lacks `keys`, which are required.
    #[cfg(feature = "_calls")]
    pub(crate) fn without(self, keys: KeySet) -> Self {
        Self { missing: keys, ..self }
    }

    /// Which of the keys that `payi::instrument().require(..)` names the call was made without.
    pub const fn unattributed(&self) -> KeySet {
        self.missing
    }

    /// What the root of this context carries, if it is a `T`: else what the process-wide root carries.
    pub fn root<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let carried = self.frame.as_deref().and_then(Frame::carried);
        let carried = carried.or_else(|| match &self.global {
            Some(global) => global.carried(),
            None => global()?.carried(),
        })?;
        carried.downcast().ok()
    }

    /// Runs `future` in this context.
    pub fn scope<F: Future>(&self, future: F) -> Scoped<F> {
        Scoped::new(self.frame.clone(), future)
    }

    /// Runs `work` in this context.
    pub fn run<R>(&self, work: impl FnOnce() -> R) -> R {
        let _inside = self.enter();
        work()
    }

    /// Enters this context until the guard is dropped: for sync code only.
    pub fn enter(&self) -> Entered {
        Entered::new(self.frame.clone())
    }

    /// This context with `keys` inside it.
    pub fn with(&self, keys: Builder) -> Self {
        let frame = Frame::collected(self.frame.clone(), keys.into_entries());
        Self { frame: Some(frame), ..self.clone() }
    }
}

/// The keys inside the context that is current now.
impl From<Builder> for Context {
    fn from(keys: Builder) -> Self {
        keys.build()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.resolve(), f)
    }
}
