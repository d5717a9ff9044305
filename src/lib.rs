//! Know what your GenAI calls cost: per user, per use case, to the last pico-dollar.
//!
//! Start it once, make calls through a client it can see, and say who they are for:
//!
//! ```no_run
//! # struct User { id: String, tenant: String, plan: String }
//! # #[derive(Debug)] enum Error { Empty, Client }
//! # impl From<payi::Error> for Error { fn from(_: payi::Error) -> Self { Self::Client } }
//! # struct Answer { choices: Vec<String> }
//! # struct Chat;
//! # impl Chat { async fn create(&self, _: String) -> Result<Answer, Error> { Err(Error::Empty) } }
//! # struct OpenAi;
//! # impl OpenAi { fn chat(&self) -> Chat { Chat } }
//! # #[allow(non_upper_case_globals)] static openai: OpenAi = OpenAi;
//! # fn request(doc: &str) -> String { doc.into() }
//! # fn text(answer: Answer) -> Result<String, Error> { answer.choices.into_iter().next().ok_or(Error::Empty) }
//! # fn main() -> Result<(), Error> {
//! let guard = payi::instrument().start()?;        // once. No argument needed; flushes when dropped
//!
//! let http = payi::reqwest::Client::new();        // or async_openai::Client::new().with_http_service(payi::async_openai::service())
//!
//! #[payi::track(use_case_name = "summarize", use_case_version = 2, limit_ids = ["premium"])]
//! async fn summarize(user: &User, doc: &str) -> Result<String, Error> {
//!     payi::track_context!(user_id = user.id, account_name = user.tenant, request_properties = [("plan", user.plan)], {
//!         let answer = openai.chat().create(request(doc)).await?;   // `?`, `return`, `break`, `.await` mean what they mean outside
//!         if answer.choices.is_empty() { return Err(Error::Empty); }
//!         text(answer)
//!     })
//! }
//! # drop((guard, http)); Ok(())
//! # }
//! ```
//!
//! Every attempt at a call becomes one event: what was used, what it cost and how that is known, how it
//! ended, and for whom it was. Events are in a ledger of your own (`payi users` shows it) a moment after
//! the call, and from there go to Pay-i, if there is a key for it.
//!
//! * [`instrument`] starts it; all settings are there.
//! * [`track`] and [`track_context!`] say what a call is for, and for whom; [`context()`] without macros.
//! * `payi::reqwest`, `payi::async_openai` and [their like](guides::clients) are the clients; a client not
//!   built through payi is invisible.
//! * `payi::realtime::Session` follows a realtime session, whichever library holds its socket.
//! * [`guides`] lead from the first line to knowing what every user costs, and say how it holds together.
//!
//! # What it does not do
//!
//! It does not patch clients at run time. It makes no call fail or wait, unless you set a limit that blocks:
//! that one refuses what does not fit, and may wait for other processes' share of it, for half a second at
//! the most. What is said in a request stays as you wrote it, with two exceptions:
//! [`StreamUsage`](events::StreamUsage) asks streams for their usage, which can be switched off, and a limit
//! with [`Policy::InjectMaxTokens`](limits::Policy::InjectMaxTokens) sets `max_tokens`. (`xProxy-*` headers
//! are payi's: they are kept from providers, and made for Pay-i's [`proxy`] where that is switched on.)
//!
//! It is an independent implementation, not affiliated with Pay-i.
//!
//! # Features
//!
//! | feature | |
//! |---|---|
//! | `reqwest` (default) | `payi::reqwest`, and delivery to Pay-i |
//! | `ledger` (default) | the embedded SQLite ledger; needs a C compiler |
//! | `rustls` (default) | TLS by rustls with ring; `native-tls` is the other choice |
//! | `pseudonym` (default) | `payi::UserId`: pseudonyms and anonymous ids; needs a C compiler |
//! | `config` | settings and limits in the file that `PAYI_CONFIG` names, and prices of your own, in TOML |
//! | `async-openai` | `payi::async_openai::service()` |
//! | `aws` | `payi::aws::interceptor()`, for the AWS SDK's Bedrock; needs rustc 1.94 |
//! | `reqwest-0_12` | `payi::reqwest012`, over the older reqwest |
//! | `reqwest-middleware` | `payi::reqwest_middleware::middleware()` |
//! | `tower` | `payi::tower`: tracked services of `http::Request`, as hyper's client is one; a scope per incoming request |
//! | `tracing` | `payi::tracing::layer()`, for clients that describe their calls in `gen_ai.*` spans (rig, genai) |
//! | `relay` | `payi::relay::Relay`, a loopback address that meters, for clients that cannot be wrapped |
//! | `tokenizer` | streams that never say their usage are counted by a vocabulary, not estimated by their length |
//! | `compression` | compressed answers that no client has unpacked are metered on a copy |
//! | `otel` | spans and metrics to an OpenTelemetry collector |
//! | `tokio` | `payi::spawn` and its like, which carry the context along |
//! | `uuid` | `uuid::Uuid` as a value |
//! | `testing` | a recorder bound to a scope, a provider and a Pay-i on loopback |
//!
//! Without default features macros and context are left: no C compiler, no HTTP, no tokio.
//!
//! With `rustls`, ring becomes rustls' process-wide provider at the start, unless the application has
//! installed one: reqwest is built without its own, and cargo unites features, so that a plain
//! `reqwest::Client::new()` would panic otherwise.

pub mod guides;

#[doc(inline)]
pub use payi_core::error::{Error, Result};

// A function of the value namespace, a module of the type namespace.
#[doc(inline)]
pub use payi_core::context::{
    self, Clear, Conflict, Context, ContextFlag, ContextList, ContextValue, ContextVersion, Handover,
    InContext, InContextFn, Key, Site, SiteKey, builder as context, conflicting_versions, current, inventory,
};

#[doc(inline)]
pub use payi_core::context::thread;

#[cfg(feature = "pseudonym")]
#[doc(inline)]
pub use payi_core::context::UserId;

#[cfg(feature = "tower")]
pub mod tower {
    //! For whatever tower runs (axum, hyper, tonic, Lambda): a scope for each incoming request
    //! ([`ContextLayer`]), and tracked calls of a service that sends requests ([`CallLayer`]).
    #[doc(inline)]
    pub use payi_core::clients::tower::{AnswerBody, CallBody, CallLayer, CallService};
    #[doc(inline)]
    pub use payi_core::context::{ContextLayer, ContextService};
}

#[cfg(feature = "tokio")]
#[doc(inline)]
pub use payi_core::context::{JoinSetExt, spawn, spawn_blocking, spawn_local};

#[cfg(feature = "_calls")]
#[doc(inline)]
pub use payi_core::{
    events, money, pricing,
    runtime::{Builder, DeliveryMetrics, Guard, Metrics, instrument, limits, metrics, proxy},
    sink::{Delivered, LimitState},
    usage,
};

/// What may be spent, by whom: budgets and rate limits that refuse a call before it is sent.
///
/// ```
/// use payi::limits::{Limit, Window};
///
/// # fn main() -> Result<(), payi::Error> {
/// let per_user = Limit::block("per-user", "10".parse()?).each_user().window(Window::month("Europe/Berlin")?);
/// # let _ = per_user; Ok(())
/// # }
/// ```
#[cfg(feature = "_calls")]
#[doc(inline)]
pub use payi_core::limits;

#[cfg(feature = "_calls")]
#[doc(inline)]
pub use payi_core::clients::{Receipt, ReceiptsExt, Settled, WithReceipts, realtime, receipt};

#[cfg(feature = "async-openai")]
#[doc(inline)]
pub use payi_core::clients::async_openai;

#[cfg(feature = "reqwest")]
#[doc(inline)]
pub use payi_core::{clients::reqwest, pay_i};

#[cfg(feature = "reqwest-0_12")]
#[doc(inline)]
pub use payi_core::clients::reqwest012;

#[cfg(feature = "reqwest-middleware")]
#[doc(inline)]
pub use payi_core::clients::reqwest_middleware;

#[cfg(feature = "relay")]
#[doc(inline)]
pub use payi_core::clients::relay;

#[cfg(feature = "aws")]
#[doc(inline)]
pub use payi_core::clients::aws;

#[cfg(feature = "tracing")]
#[doc(inline)]
pub use payi_core::clients::tracing;

#[cfg(feature = "otel")]
#[doc(inline)]
pub use payi_core::Semconv;

#[cfg(feature = "ledger")]
#[doc(inline)]
pub use payi_core::ledger;

#[cfg(feature = "testing")]
#[doc(inline)]
pub use payi_core::testing;

/// Attributes what a function does: the calls made while it runs belong to the keys given.
///
/// ```
/// # struct User { id: u64, tenant: String }
/// # struct Error;
/// # async fn ask(_: &str) -> Result<String, Error> { Ok(String::new()) }
/// #[payi::track(use_case_name = "summarize", use_case_version = 2, user_id = user.id, account_name = user.tenant)]
/// async fn summarize(user: &User, text: &str) -> Result<String, Error> {
///     ask(text).await
/// }
///
/// /// Without arguments: the use case is named after the function.
/// #[payi::track]
/// fn classify(text: &str) -> bool {
///     text.len() > 3
/// }
/// ```
///
/// The keys and their values are those of [`track_context!`]. Values are expressions over the arguments,
/// borrowed, and evaluated at each call, before the body. With any argument, only the keys that are given
/// are set; a literal `user_id` is a warning, because users change with each request.
///
/// # Where it goes
///
/// On functions, methods, provided methods of traits and implementations, sync and `async`, also under
/// `#[async_trait]`. A `const` or `extern` function, and one without a body, is refused.
///
/// What is returned and runs later takes the scope along: the polling of a future or stream, each step of
/// an iterator. That is told by the type's last segment (`Future`, `Stream`, `Iterator`, `BoxFuture`,
/// `BoxStream`, `Pin<Box<dyn ..>>`, also inside `Result` and `Option`); of other `impl Trait`s, and of names
/// that sound like it, say what they are: `returns = future`, `stream`, `iter`, or `value` for what is done.
///
/// ```
/// # use std::future::Future;
/// # type Answers = std::pin::Pin<Box<dyn futures::Stream<Item = String> + Send>>;
/// #[payi::track(user_id = user)]
/// fn later(user: &str) -> impl Future<Output = Option<String>> + use<> {
///     async { payi::current().user_id().map(String::from) }
/// }
///
/// #[payi::track(user_id = user, returns = stream)]
/// fn answers(user: &str) -> Answers {
///     Box::pin(futures::stream::repeat_with(|| "hello".to_owned()))
/// }
/// # assert_eq!(futures::executor::block_on(later("u-1")).as_deref(), Some("u-1"));
/// ```
///
/// On an `impl` block, every method with `self` gets the keys, except those that set them themselves and
/// those marked `#[track(skip)]`; values may use `self` and constants.
///
/// ```
/// use payi::track;
///
/// struct Assistant { tenant: String }
///
/// #[track(account_name = self.tenant)]
/// impl Assistant {
///     fn new(tenant: &str) -> Self {
///         Self { tenant: tenant.to_owned() }
///     }
///
///     #[track(use_case_name = "greet", user_id = user)]
///     fn greet(&self, user: u64) -> String {
///         format!("{user} of {}", payi::current().account_name().unwrap_or_default())
///     }
/// }
/// # assert_eq!(Assistant::new("acme").greet(7), "7 of acme");
/// ```
///
/// # Further arguments
///
/// `crate = path` where this crate has another name (`#[track(crate = metered, ..)]`); `allow_pii` where a
/// literal is meant to look like an e-mail address.
///
/// Every `#[track]` of the program is listed by [`inventory`].
#[doc(inline)]
pub use payi_macros::track;

mod scope_macro;

#[doc(hidden)]
pub mod __private {
    //! What the macros expand to. Not public API: it may change in any release.
    pub use payi_core::private::*;
    pub use payi_macros::{track, track_context};
}
