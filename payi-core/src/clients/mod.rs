//! Where calls are made: each client library, wrapped.
//!
//! A wrapper finds the running instrumentation through its context; where there is none, the call
//! passes through untouched.

mod call;
mod detect;
mod receipt;
mod request;

#[cfg(feature = "async-openai")]
pub mod async_openai;
#[cfg(feature = "reqwest")]
mod body;
#[cfg(feature = "reqwest")]
mod capture;
#[cfg(feature = "reqwest")]
mod headers;
#[cfg(feature = "reqwest")]
mod hide;
#[cfg(feature = "reqwest")]
pub mod reqwest;
#[cfg(feature = "reqwest-0_12")]
pub mod reqwest012;

#[cfg(feature = "tracing")]
pub mod tracing;

pub use receipt::{Answered, Receipt, ReceiptsExt, Settled, WithReceipts, receipt};
