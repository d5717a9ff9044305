//! One opaque error for the whole public surface, with a predicate for each thing a caller branches on.
//!
//! A message says what to do next, and never holds a key, a prompt or a personal detail.

use std::{error::Error as StdError, fmt, sync::Arc};

/// A specialised result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Something payi could not do, or would not do.
///
/// One word wide and cheap to clone. It travels inside other clients' errors;
/// [`Error::find`] locates it there.
///
/// ```
/// # use payi_core::Error;
/// fn handle(error: &(dyn std::error::Error + 'static)) {
///     if Error::find(error).is_some_and(Error::is_limit) {
///         // This user's budget is used up: say so, do not retry.
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: Kind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What callers may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The set-up is wrong: an option, an environment variable, a file of settings.
    Config,
    /// The ledger's file cannot be opened, read or written.
    Ledger,
    /// The ledger's file is something else, or from a newer payi.
    NotALedger,
    /// A block limit refused the call; it never left the process.
    Limit,
    /// A call was made for nobody although attribution is required.
    Unattributed,
    /// Pay-i could not be reached, or refused what it was sent.
    Delivery,
    /// A deadline passed first.
    Timeout,
}

#[cfg_attr(not(feature = "_calls"), allow(dead_code, reason = "only calls can fail"))]
impl Error {
    #[cold]
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner { kind, message: message.into(), source: None }))
    }

    #[cold]
    pub(crate) fn with_source(
        kind: Kind,
        message: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self(Arc::new(Inner { kind, message: message.into(), source: Some(source.into()) }))
    }

    /// The payi error in a chain of errors, wherever another client's error has put it.
    #[must_use]
    pub fn find<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        std::iter::successors(Some(error), |&e| e.source()).find_map(|e| e.downcast_ref::<Self>())
    }

    /// A block limit refused the call before it was sent.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        self.0.kind == Kind::Limit
    }

    /// An option, environment variable or settings file is wrong.
    #[must_use]
    pub fn is_config(&self) -> bool {
        self.0.kind == Kind::Config
    }

    /// The ledger's file cannot be opened, read or written.
    #[must_use]
    pub fn is_ledger(&self) -> bool {
        matches!(self.0.kind, Kind::Ledger | Kind::NotALedger)
    }

    /// The file named as the ledger is something else, or was written by a newer payi. It is left as it is.
    #[must_use]
    pub fn is_foreign_ledger(&self) -> bool {
        self.0.kind == Kind::NotALedger
    }

    /// A call was made for nobody although attribution is required.
    #[must_use]
    pub fn is_unattributed(&self) -> bool {
        self.0.kind == Kind::Unattributed
    }

    /// Pay-i could not be reached, or refused what it was sent.
    #[must_use]
    pub fn is_delivery(&self) -> bool {
        self.0.kind == Kind::Delivery
    }

    /// A deadline passed before the work was done.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.0.kind == Kind::Timeout
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|e| e as &(dyn StdError + 'static))
    }
}

/// Says something through `tracing`, as `say!(warn, target: "payi", ..)`: a subscriber that panics over it is neither
/// the caller's trouble nor ours.
macro_rules! say {
    ($level:ident, $($said:tt)*) => {
        drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| tracing::$level!($($said)*))))
    };
}
pub(crate) use say;
