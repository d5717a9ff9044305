//! A tracked [reqwest](https://docs.rs/reqwest/0.13) client (0.13).
//!
//! It is used as reqwest's own client is, and returns reqwest's own responses: headers, address,
//! `Content-Length`, timeouts and the way the body arrives are what they would be without payi. Every
//! attempt leaves one event, whoever it is for by the scope in which
//! [`send`](RequestBuilder::send) is called.
//!
//! ```no_run
//! # use payi_core::clients as payi;
//! # async fn run() -> Result<(), payi::reqwest::Error> {
//! let http = payi::reqwest::Client::new();
//! let answer = http
//!     .post("https://api.openai.com/v1/chat/completions")
//!     .bearer_auth("key")
//!     .body(r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello"}]}"#)
//!     .send()
//!     .await?;
//! let receipt = payi::receipt(&answer);
//! let text = answer.text().await?;
//! if let Some(receipt) = receipt {
//!     println!("cost: {} USD", receipt.settled().await.cost.amount);
//! }
//! # Ok(()) }
//! ```
//!
//! Without a running `payi::instrument()` everything passes through untouched.

mod builder;
mod client;
mod error;
mod send;

/// The crate that the files below wrap; `reqwest012` wraps another by the same files.
use ::reqwest as backend;
pub use ::reqwest::{Body, IntoUrl, Method, Request, Response, StatusCode, Url, Version, header};

pub use builder::RequestBuilder;
pub use client::Client;
pub use error::Error;
#[cfg(any(feature = "async-openai", feature = "relay", feature = "reqwest-middleware"))]
pub(crate) use send::{attempt, result};
