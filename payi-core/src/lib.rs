//! The run time of [payi](https://docs.rs/payi): everything that is not a macro.
//!
//! One direction, left may not import right (a test checks it):
//!
//! ```text
//! error < context < money < usage < pricing < events < limits < ledger < sink < clients < runtime < private, testing
//! ```
//!
//! Use it through the `payi` crate; this package keeps no promises of its own.

#![cfg_attr(
    not(all(feature = "reqwest", feature = "ledger")),
    allow(dead_code, reason = "what only clients, or only the ledger, use")
)]
#![cfg_attr(
    feature = "reqwest-0_12",
    allow(clippy::duplicate_mod, reason = "one wrapper, compiled once for each major version of reqwest")
)]

#[cfg(feature = "_calls")]
mod defect;
pub mod error;

pub mod context;

#[cfg(feature = "_calls")]
pub mod money;

#[cfg(feature = "_calls")]
pub mod usage;

#[cfg(feature = "_calls")]
pub mod pricing;

#[cfg(feature = "_calls")]
pub mod events;

#[cfg(feature = "_calls")]
pub mod limits;

#[cfg(feature = "ledger")]
pub mod ledger;

#[cfg(feature = "_calls")]
pub mod sink;

/// Pay-i's ingest, called by hand: for spend that no wrapped client sees.
#[cfg(feature = "reqwest")]
pub mod pay_i {
    pub use crate::sink::pay_i::{BulkAnswer, Client, Ingest};
}

#[cfg(feature = "_calls")]
pub mod clients;

#[cfg(feature = "_calls")]
pub mod runtime;

#[doc(hidden)]
pub mod private;

#[cfg(feature = "testing")]
pub mod testing;

pub use error::{Error, Result};
#[cfg(feature = "otel")]
pub use sink::otel::Semconv;
