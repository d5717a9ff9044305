//! The work of targets 1 to 3, done by payi and by its anchors: shared by the bench and by the program
//! that counts instructions.
//!
//! Each case takes how often to do it. The user's id is behind a thin-pointer barrier: one on a `&str`
//! spills two words and reloads them as one, a store-forwarding stall that is the harness's own.

#![allow(clippy::ptr_arg, reason = "a thin pointer: see above")]

use std::{
    cell::RefCell,
    hint::black_box,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// One kind of work, by one library.
#[derive(Clone, Copy)]
pub struct Case {
    /// The kind of work and who does it: `enter/payi`.
    pub name: &'static str,
    /// Does it `n` times for a user.
    pub run: fn(n: u64, user: &String),
    /// What must be in place around it.
    pub setup: fn() -> Box<dyn std::any::Any>,
}

macro_rules! cases {
    ($($name:literal, $setup:expr, $run:path;)*) => {
        /// Every case.
        pub const CASES: &[Case] = &[$(Case { name: $name, run: $run, setup: $setup }),*];
    };
}

fn nothing() -> Box<dyn std::any::Any> {
    Box::new(())
}

cases! {
    "base", nothing, base;
    "enter/payi", nothing, enter_payi;
    "enter/payi, 36 bytes", nothing, enter_payi_uuid;
    "enter/payi, literals", nothing, enter_payi_literal;
    "enter/payi, #[track]", nothing, enter_payi_track;
    "enter/tokio task_local", nothing, enter_tokio;
    "enter/tracing, no subscriber", nothing, enter_tracing;
    "enter/tracing, no-op layer", no_op_layer, enter_tracing;
    "enter/tracing, values kept", keeping_layer, enter_tracing;
    "enter/fastrace, bare", fastrace_root, enter_fastrace;
    "enter/fastrace, properties", fastrace_root, enter_fastrace_properties;
    "enter/opentelemetry baggage", nothing, enter_otel;
    "enter/sentry scope", sentry_client, enter_sentry;
    "poll/bare", nothing, poll_bare;
    "poll/bare, in an async block", nothing, poll_bare_block;
    "poll/payi scope", nothing, poll_payi;
    "poll/payi await point", nothing, poll_payi_block;
    "poll/tokio task_local", nothing, poll_tokio;
    "poll/tracing, no-op layer", no_op_layer, poll_tracing;
    "poll/fastrace in_span", fastrace_root, poll_fastrace;
    "poll/opentelemetry with_context", nothing, poll_otel;
    "poll/sentry bind_hub", sentry_client, poll_sentry;
    "snapshot/payi, depth 1", nothing, snapshot_1;
    "snapshot/payi, depth 16", nothing, snapshot_16;
    "resolve/payi, depth 4", nothing, resolve_4;
    "resolve/payi, depth 4, owned", nothing, resolve_4_owned;
}

/// The case of that name.
pub fn case(name: &str) -> Option<&'static Case> {
    CASES.iter().find(|case| case.name == name)
}

fn base(n: u64, user: &String) {
    for _ in 0..n {
        black_box(black_box(user));
    }
}

#[inline]
fn read() {
    black_box(());
}

fn enter_payi(n: u64, user: &String) {
    for _ in 0..n {
        let user = black_box(user);
        payi::track_context!(user_id = user, use_case_name = "summarize", { read() });
    }
}

fn enter_payi_uuid(n: u64, _user: &String) {
    let user = "67e55044-10b1-426f-9247-bb680e5fe0c8".to_owned();
    enter_payi(n, &user);
}

fn enter_payi_literal(n: u64, user: &String) {
    for _ in 0..n {
        black_box(user);
        payi::track_context!(account_name = "acme", use_case_name = "summarize", { read() });
    }
}

#[payi::track(user_id = user, use_case_name = "summarize")]
#[inline]
fn tracked(user: &str) {
    read();
}

fn enter_payi_track(n: u64, user: &String) {
    for _ in 0..n {
        tracked(black_box(user));
    }
}

tokio::task_local! {
    static USER: RefCell<(String, &'static str)>;
}

fn enter_tokio(n: u64, user: &String) {
    for _ in 0..n {
        let user = black_box(user);
        USER.sync_scope(RefCell::new((user.clone(), "summarize")), read);
    }
}

#[tracing::instrument(fields(use_case = "summarize"))]
fn instrumented(user: &str) {
    read();
}

fn enter_tracing(n: u64, user: &String) {
    for _ in 0..n {
        instrumented(black_box(user));
    }
}

/// A layer that is asked and keeps nothing.
struct NoOp;

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for NoOp {}

/// A layer that keeps the fields with their span, as one must to attribute a call.
struct Keeping;

struct Kept(Vec<(&'static str, String)>);

impl tracing::field::Visit for Kept {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0.push((field.name(), format!("{value:?}")));
    }

    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        self.0.push((field.name(), value.to_owned()));
    }
}

impl<S> tracing_subscriber::Layer<S> for Keeping
where
    S: tracing::Subscriber + for<'l> tracing_subscriber::registry::LookupSpan<'l>,
{
    fn on_new_span(
        &self,
        attributes: &tracing::span::Attributes<'_>,
        id: &tracing::span::Id,
        context: tracing_subscriber::layer::Context<'_, S>,
    ) {
        let mut kept = Kept(Vec::new());
        attributes.record(&mut kept);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(kept);
        }
    }
}

fn no_op_layer() -> Box<dyn std::any::Any> {
    use tracing_subscriber::layer::SubscriberExt as _;
    Box::new(tracing::subscriber::set_default(tracing_subscriber::registry().with(NoOp)))
}

fn keeping_layer() -> Box<dyn std::any::Any> {
    use tracing_subscriber::layer::SubscriberExt as _;
    Box::new(tracing::subscriber::set_default(tracing_subscriber::registry().with(Keeping)))
}

/// A reporter that drops what it gets, and a root, without which fastrace records nothing.
fn fastrace_root() -> Box<dyn std::any::Any> {
    struct Nowhere;
    impl fastrace::collector::Reporter for Nowhere {
        fn report(&mut self, _spans: Vec<fastrace::collector::SpanRecord>) {}
    }
    fastrace::set_reporter(Nowhere, fastrace::collector::Config::default());
    let root = Box::leak(Box::new(fastrace::Span::root("root", fastrace::collector::SpanContext::random())));
    Box::new(root.set_local_parent())
}

#[fastrace::trace]
fn traced(user: &str) {
    black_box(user);
    read();
}

fn enter_fastrace(n: u64, user: &String) {
    for _ in 0..n {
        traced(black_box(user));
    }
}

#[fastrace::trace(properties = { "user": "{user}", "use_case": "summarize" })]
fn traced_with(user: &str) {
    black_box(user);
    read();
}

fn enter_fastrace_properties(n: u64, user: &String) {
    for _ in 0..n {
        traced_with(black_box(user));
    }
}

fn baggage(user: &str) -> opentelemetry::Context {
    use opentelemetry::{KeyValue, baggage::BaggageExt as _};
    let members = [KeyValue::new("user", user.to_owned()), KeyValue::new("use_case", "summarize")];
    opentelemetry::Context::current().with_baggage(members)
}

fn enter_otel(n: u64, user: &String) {
    for _ in 0..n {
        let _inside = baggage(black_box(user)).attach();
        read();
    }
}

/// A client that sends nowhere; without one, sentry's scopes do nothing.
fn sentry_client() -> Box<dyn std::any::Any> {
    struct Nowhere;
    impl sentry_core::Transport for Nowhere {
        fn send_envelope(&self, _envelope: sentry_core::Envelope) {}
    }
    let mut options = sentry_core::ClientOptions::default();
    options.dsn = "https://key@localhost/1".parse().ok();
    options.transport = Some(Arc::new(Arc::new(Nowhere)));
    sentry_core::Hub::current().bind_client(Some(Arc::new(options.into())));
    Box::new(())
}

fn enter_sentry(n: u64, user: &String) {
    for _ in 0..n {
        let user = black_box(user);
        let tags = |scope: &mut sentry_core::Scope| {
            scope.set_tag("user", user);
            scope.set_tag("use_case", "summarize");
        };
        sentry_core::with_scope(tags, read);
    }
}

/// Is polled, and never ready.
struct Never;

impl Future for Never {
    type Output = ();

    #[inline]
    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
        black_box(());
        Poll::Pending
    }
}

#[inline]
fn poll<F: Future>(n: u64, future: F) {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..n {
        let _ = black_box(future.as_mut().poll(&mut cx).is_ready());
    }
}

fn poll_bare(n: u64, _user: &String) {
    poll(n, Never);
}

fn poll_bare_block(n: u64, _user: &String) {
    poll(n, Never);
}

fn poll_payi(n: u64, user: &String) {
    poll(n, payi::context().user_id(user).scope(Never));
}

fn poll_payi_block(n: u64, user: &String) {
    poll(n, async {
        payi::track_context!(user_id = user, { Never.await });
    });
}

fn poll_tokio(n: u64, user: &String) {
    poll(n, USER.scope(RefCell::new((user.clone(), "summarize")), Never));
}

fn poll_tracing(n: u64, user: &String) {
    use tracing::Instrument as _;
    poll(n, Never.instrument(tracing::info_span!("poll", user = user.as_str())));
}

fn poll_fastrace(n: u64, _user: &String) {
    use fastrace::future::FutureExt as _;
    poll(n, Never.in_span(fastrace::Span::enter_with_local_parent("poll")));
}

fn poll_otel(n: u64, user: &String) {
    use opentelemetry::context::FutureExt as _;
    poll(n, Never.with_context(baggage(user)));
}

fn poll_sentry(n: u64, _user: &String) {
    use sentry_core::SentryFutureExt as _;
    poll(n, Never.bind_hub(sentry_core::Hub::new_from_top(sentry_core::Hub::current())));
}

/// As many scopes as `depth`, each with a user and a property of its own.
fn nested(depth: usize) -> payi::Context {
    (0..depth).fold(payi::Context::default(), |context, level| {
        let keys = payi::context().user_id(format!("user-{level}"));
        context.with(keys.request_properties([(format!("key-{level}"), "value")]))
    })
}

fn snapshot(n: u64, depth: usize) {
    let _inside = nested(depth).enter();
    for _ in 0..n {
        black_box(&payi::current());
    }
}

fn snapshot_1(n: u64, _user: &String) {
    snapshot(n, 1);
}

fn snapshot_16(n: u64, _user: &String) {
    snapshot(n, 16);
}

/// What a call does: every key merged over every scope, and asked for.
fn resolve_4(n: u64, _user: &String) {
    let (context, all) = (nested(4), payi::Key::ALL.iter().copied().collect());
    for _ in 0..n {
        black_box(context.missing(black_box(all)));
    }
}

/// What the writer's thread does: the same, and a copy of each value.
fn resolve_4_owned(n: u64, _user: &String) {
    let context = nested(4);
    for _ in 0..n {
        black_box(&context.resolve());
    }
}
