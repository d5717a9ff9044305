//! Counts what the context leaves out, and says so once: nothing is lost silently.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// What the context leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// A use case's id, version, step or properties, given where no use case is open.
    WithoutUseCase,
    /// A property whose value is itself a list or a map, or properties that are neither.
    NestedProperty,
    /// A value that no header can carry within its budget, so that another process was not told it.
    HeaderBudget,
    /// A header from another process that could not be read.
    BadHeader,
}

struct Counter {
    count: AtomicU64,
    said: AtomicBool,
}

static COUNTERS: [Counter; Loss::ALL.len()] =
    [const { Counter { count: AtomicU64::new(0), said: AtomicBool::new(false) } }; Loss::ALL.len()];

impl Loss {
    /// Everything that can be left out.
    pub const ALL: [Self; 4] =
        [Self::WithoutUseCase, Self::NestedProperty, Self::HeaderBudget, Self::BadHeader];

    /// Its name in the ledger and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WithoutUseCase => "context_without_use_case",
            Self::NestedProperty => "context_nested_property",
            Self::HeaderBudget => "context_header_budget",
            Self::BadHeader => "context_bad_header",
        }
    }

    const fn advice(self) -> &'static str {
        match self {
            Self::WithoutUseCase => {
                "a use case's id, version, step or properties were given where no use case is open, and are \
                 left out; give `use_case_name` too, there or in a scope around it"
            }
            Self::NestedProperty => {
                "a property that is not a plain value was left out; properties are one level of keys and \
                 plain values"
            }
            Self::HeaderBudget => {
                "context too large for a header was not handed on; allow fewer keys or raise the budget"
            }
            Self::BadHeader => "a context header could not be read and was ignored",
        }
    }

    /// How often, since the process began.
    pub fn count(self) -> u64 {
        COUNTERS.get(self as usize).map_or(0, |counter| counter.count.load(Relaxed))
    }
}

/// Counts one, and warns the first time.
#[cold]
pub(crate) fn count(loss: Loss) {
    let Some(counter) = COUNTERS.get(loss as usize) else { return };
    counter.count.fetch_add(1, Relaxed);
    if !counter.said.swap(true, Relaxed) {
        crate::error::say!(warn, target: "payi", reason = loss.name(), "{}", loss.advice());
    }
}
