//! Where calls are made: each client library, wrapped.
//!
//! A wrapper finds the running instrumentation through its context; where there is none, the call
//! passes through untouched.

mod call;
mod detect;
#[cfg(all(test, feature = "_http"))]
mod estimates;
#[cfg(feature = "_http")]
mod gate;
pub mod realtime;
mod receipt;
#[cfg(any(feature = "testing", feature = "_http"))]
pub(crate) mod recording;
#[cfg(feature = "_http")]
mod replay;
mod request;

#[cfg(feature = "async-openai")]
pub mod async_openai;
#[cfg(feature = "aws")]
pub mod aws;
#[cfg(feature = "_http")]
mod body;
#[cfg(feature = "_http")]
mod capture;
#[cfg(feature = "_http")]
mod headers;
#[cfg(feature = "_http")]
mod hide;
#[cfg(feature = "_http")]
mod incoming;
#[cfg(feature = "_http")]
mod inline;
#[cfg(feature = "_http")]
mod outgoing;
#[cfg(feature = "_http")]
mod reader;
#[cfg(feature = "relay")]
pub mod relay;
#[cfg(feature = "reqwest")]
pub mod reqwest;
#[cfg(feature = "reqwest-0_12")]
pub mod reqwest012;
#[cfg(feature = "reqwest-middleware")]
pub mod reqwest_middleware;
#[cfg(feature = "tower")]
pub mod tower;

#[cfg(feature = "tracing")]
pub mod tracing;

pub use receipt::{Answered, Receipt, ReceiptsExt, Settled, WithReceipts, receipt};
#[cfg(feature = "_http")]
pub use replay::Recording;
