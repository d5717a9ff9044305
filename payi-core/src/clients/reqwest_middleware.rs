//! A middleware that tracks the calls of a [reqwest-middleware](https://docs.rs/reqwest-middleware/0.5) client (0.5): one line at the client's construction.
//!
//! ```
//! # use payi_core::clients as payi;
//! # let client = payi::reqwest::Client::new().as_reqwest().clone();
//! let http = reqwest_middleware::ClientBuilder::new(client)
//!     .with(payi::reqwest_middleware::middleware())
//!     .build();
//! # let _ = http;
//! ```
//!
//! Add it last, inside of what repeats requests: each attempt may be billed, so each is then an event of its
//! own, and all attempts of one call share its `call_id`. Outside of it, what comes back is counted once,
//! and attempts that came to nothing are not seen. Added twice, it counts once.
//!
//! A refusal is reqwest-middleware's `Error::Middleware`, with our error inside:
//! [`payi::Error::find`](crate::Error::find) locates it.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU32, Ordering},
};

use ::reqwest::{Request, Response};
use ::reqwest_middleware::{Error, Middleware, Next, Result};
use async_trait::async_trait;
use http::Extensions;
use uuid::Uuid;

use crate::{
    clients::{
        call::Repeat,
        reqwest::{self, attempt, result},
    },
    context::Context,
};

/// A middleware for `reqwest_middleware::ClientBuilder::with`.
pub fn middleware() -> Tracked {
    Tracked(())
}

/// The middleware made by [`middleware`].
#[derive(Clone, Debug, Default)]
pub struct Tracked(());

/// How Pay-i knows the client.
const MODULE: &str = "reqwest-middleware";

/// One call, whose attempts share what reqwest-middleware calls extensions.
#[derive(Clone, Debug, Default)]
struct Call(Arc<Attempts>);

#[derive(Debug, Default)]
struct Attempts {
    /// The event of the first attempt.
    id: OnceLock<Uuid>,
    count: AtomicU32,
}

/// An attempt is under way: who meets it further in has nothing to count.
#[derive(Clone, Copy, Debug)]
struct UnderWay;

#[async_trait]
impl Middleware for Tracked {
    async fn handle(
        &self,
        mut request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        if extensions.get::<UnderWay>().is_some() {
            return next.run(request, extensions).await;
        }
        let Call(attempts) = extensions.get_or_insert_default::<Call>().clone();
        let repeat = Repeat {
            call_id: attempts.id.get().copied(),
            attempt: attempts.count.fetch_add(1, Ordering::Relaxed) + 1,
        };
        let begun = attempt(Context::current(), &mut request, repeat, MODULE)
            .await
            .map_err(|refused| Error::middleware(reqwest::Error::from(refused)))?;
        let Some(begun) = begun else { return next.run(request, extensions).await };
        if let Some(id) = begun.id() {
            let _ = attempts.id.set(id);
        }
        extensions.insert(UnderWay);
        let answer = next.run(request, extensions).await;
        extensions.remove::<UnderWay>();
        match answer {
            Ok(response) => result(begun, Ok(response)).map_err(Error::Reqwest),
            Err(Error::Reqwest(error)) => result(begun, Err(error)).map_err(Error::Reqwest),
            Err(error) => {
                begun.fail("middleware");
                Err(error)
            }
        }
    }
}
