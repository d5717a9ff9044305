//! What `payi-macros` expands to. Not public API: it may change in any release.
//!
//! Every name here is written by `payi-macros/src/expand`, and every name written there is here.

pub use inventory;

pub use crate::context::{
    Site, SiteKey,
    entry::{expression, in_place, item, literal, pair},
    guard::{Scope, Wait, branch, enter, enter_sync, nest, run, same, scoped, wait},
};
