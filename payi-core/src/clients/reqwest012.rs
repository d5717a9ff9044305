//! A tracked [reqwest](https://docs.rs/reqwest/0.12) client of the older major version (0.12).
//!
//! The same as [`payi::reqwest`](crate::clients::reqwest), for programs that have not moved on; its
//! TLS is what reqwest's features make it.

#[path = "reqwest/builder.rs"]
mod builder;
#[path = "reqwest/client.rs"]
mod client;
#[path = "reqwest/error.rs"]
mod error;
#[allow(dead_code, reason = "the clients that use the rest are of the newer version")]
#[path = "reqwest/send.rs"]
mod send;

/// The crate that the files above wrap.
use ::reqwest012 as backend;
pub use ::reqwest012::{Body, IntoUrl, Method, Request, Response, StatusCode, Url, Version, header};

pub use builder::RequestBuilder;
pub use client::Client;
pub use error::Error;
