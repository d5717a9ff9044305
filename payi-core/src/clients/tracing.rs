//! A layer that tracks every client that describes its calls in `gen_ai.*` spans, as rig does, and
//! genai with its feature `otel`: one line where the subscriber is put together.
//!
//! ```
//! # use payi_core::clients as payi;
//! use tracing_subscriber::layer::SubscriberExt;
//!
//! let subscriber = tracing_subscriber::registry().with(payi::tracing::layer());
//! # drop(subscriber);
//! ```
//!
//! What is seen is what the span says: model, token counts, failure; no HTTP status, and no usage
//! where the client does not record it (rig does not for streams that are not read to their end).
//! A span that a filter has switched off is not seen at all: filter other layers, not the registry.
//! Calls that a tracked transport has already counted are not counted again, and neither are spans
//! that sum up others (`invoke_agent`). A transport knows that a span describes its call by running inside
//! of it, or, where the client sends from elsewhere, by the scope, the model and the answer's id. Inside of a span, a
//! call is for whom the span was opened, not for whom its request happens to be sent.
//!
//! A call that only its span tells of is charged to limits when it has ended; no limit is asked before it, so none
//! refuses it.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Instant, SystemTime},
};

use ::tracing::{
    Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context as Layers, registry::LookupSpan};

use crate::{
    clients::{
        call::{Attempt, End, PriceAs, Repeat, Request, Said as Asked},
        detect::of_span,
    },
    context::Context,
    events::Pipeline,
    usage::{Bucket, Reading, Usage},
};

/// A layer that turns `gen_ai.*` spans into events.
pub fn layer() -> SpanLayer {
    SpanLayer(())
}

/// The layer made by [`layer`].
#[derive(Clone, Debug, Default)]
pub struct SpanLayer(());

/// The operations that are calls; all others sum up calls, or run tools.
const CALLS: [&str; 5] = ["chat", "generate_content", "text_completion", "embeddings", "completion"];

thread_local! {
    /// The calls whose spans the running code is in, the innermost last.
    static INSIDE: RefCell<Vec<Arc<Call>>> = const { RefCell::new(Vec::new()) };
    /// Whether this thread sends for clients that are elsewhere.
    static FORWARDS: Cell<bool> = const { Cell::new(false) };
}

/// A call that a span describes.
struct Call {
    /// Who opened the span: for him the call is made, wherever it is sent.
    context: Context,
    /// A tracked transport has counted it.
    transported: AtomicBool,
}

/// The call whose span the running code is in.
fn innermost() -> Option<Arc<Call>> {
    INSIDE.try_with(|inside| inside.try_borrow().ok()?.last().cloned()).ok().flatten()
}

/// A tracked transport begins an attempt: the span around it says the same again. Where there is none, what the
/// transport is to tell of the attempt's end.
pub(crate) fn transported<'m>(
    context: &Context,
    model: impl FnOnce() -> Option<&'m str>,
) -> Option<Arc<Sent>> {
    if let Some(call) = innermost() {
        call.transported.store(true, Ordering::Relaxed);
        return None;
    }
    (OPEN.load(Ordering::Relaxed) > 0).then(|| sent(context, model()))
}

/// Whom a request is for that is sent in `current`: if a span describes the call, whoever opened that, unless
/// `current` is a scope inside.
#[cfg(feature = "_http")]
pub(crate) fn calling(current: Context) -> Context {
    match innermost() {
        Some(call) if !current.is_inside(&call.context) => {
            let site = current.call_site();
            let context = call.context.clone();
            site.map_or(context.clone(), |site| context.called_at(site))
        }
        _ => current,
    }
}

/// The same for a request that a transport elsewhere will count: the span around has nothing to add.
#[cfg(feature = "relay")]
pub(crate) fn passed_on(current: Context) -> Context {
    if let Some(call) = innermost() {
        call.transported.store(true, Ordering::Relaxed);
    }
    calling(current)
}

/// From now on this thread sends for clients that are elsewhere, and does nothing else: they have their answer, and may
/// have closed their span, before an attempt here has ended.
#[cfg(feature = "relay")]
pub(crate) fn forwards() {
    FORWARDS.set(true);
}

/// An attempt that a transport made while no span said that it was there: some clients open theirs around less
/// than the sending, or send from elsewhere.
#[derive(Debug)]
pub(crate) struct Sent {
    context: Context,
    model: Option<Box<str>>,
    at: Instant,
    /// Made for a client elsewhere.
    forwarded: bool,
    /// It has ended, with an answer of this id.
    ended: OnceLock<Option<Box<str>>>,
}

impl Sent {
    pub(crate) fn end(&self, response_id: Option<&str>) {
        let _ = self.ended.set(response_id.map(Into::into));
    }

    /// Whether a span that was opened at `since` and is closed now is about this attempt: for the same scope and
    /// model, begun within it, ended within it (unless the span knows of no answer, or the client is elsewhere), with
    /// the same answer.
    fn is_of(&self, call: &Call, said: &Said, since: Instant) -> bool {
        let same = self.context.is_scoped() == call.context.is_scoped();
        let answer = match (self.ended.get(), said.response_id.as_deref()) {
            (Some(Some(own)), Some(said)) => **own == *said,
            (Some(_), _) => true,
            (None, id) => self.forwarded || id.is_none() && said.output.is_none(),
        };
        let model = self.model.as_deref() == said.request_model.as_deref();
        answer && same && model && self.at >= since && self.context.is_inside(&call.context)
    }

    /// Whether it has ended with the very answer that the span names.
    fn has_answer_of(&self, said: &Said) -> bool {
        let own = self.ended.get().and_then(Option::as_deref);
        own.is_some() && own == said.response_id.as_deref()
    }
}

/// Those that begin while some span is open: only then can one be about them.
static SENT: Mutex<VecDeque<Arc<Sent>>> = Mutex::new(VecDeque::new());

/// How many spans are open that may be about a call.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// How many of them may wait for their span to end.
const WAITING: usize = 1024;

/// A tracked transport begins an attempt outside of any call's span.
fn sent(context: &Context, model: Option<&str>) -> Arc<Sent> {
    let (context, model, at) = (context.clone(), model.map(Into::into), Instant::now());
    let forwarded = FORWARDS.get();
    let attempt = Arc::new(Sent { context, model, at, forwarded, ended: OnceLock::new() });
    let mut sent = SENT.lock().unwrap_or_else(PoisonError::into_inner);
    if sent.len() == WAITING {
        sent.pop_front();
    }
    sent.push_back(Arc::clone(&attempt));
    attempt
}

/// Whether a transport has counted the call of a span that was opened at `since`: by an attempt that is not yet taken
/// for another span's. One that has ended with the span's own answer comes before one that may still do so.
fn was_sent(call: &Call, said: &Said, since: Instant) -> bool {
    let mut sent = SENT.lock().unwrap_or_else(PoisonError::into_inner);
    let is_of = |sent: &&Arc<Sent>| sent.is_of(call, said, since);
    let own = sent.iter().position(|sent| is_of(&sent) && sent.has_answer_of(said));
    let found = own.or_else(|| sent.iter().position(|sent| is_of(&sent)));
    found.and_then(|at| sent.remove(at)).is_some()
}

/// A span is closed. Once none is open, nobody will ask what was sent.
fn closed() {
    let mut sent = SENT.lock().unwrap_or_else(PoisonError::into_inner);
    if OPEN.fetch_sub(1, Ordering::Relaxed) == 1 {
        sent.clear();
    }
}

/// A span that may turn out to be a call.
struct Observed {
    call: Arc<Call>,
    pipeline: Arc<Pipeline>,
    started_at: SystemTime,
    started: Instant,
    said: Said,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for SpanLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, layers: Layers<'_, S>) {
        if !attributes.metadata().fields().iter().any(|field| field.name().starts_with("gen_ai.")) {
            return;
        }
        // The context where the call is made; streams are read elsewhere, and requests sent later.
        let context = Context::current().for_call();
        let (Some(span), Some(pipeline)) = (layers.span(id), context.root::<Pipeline>()) else { return };
        let mut said = Said::default();
        attributes.record(&mut said);
        OPEN.fetch_add(1, Ordering::Relaxed);
        span.extensions_mut().insert(Observed {
            call: Arc::new(Call { context, transported: AtomicBool::new(false) }),
            started_at: pipeline.clock.now(),
            pipeline,
            started: Instant::now(),
            said,
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, layers: Layers<'_, S>) {
        if let Some(span) = layers.span(id)
            && let Some(observed) = span.extensions_mut().get_mut::<Observed>()
        {
            values.record(&mut observed.said);
        }
    }

    fn on_enter(&self, id: &Id, layers: Layers<'_, S>) {
        if let Some(call) = call_of(id, &layers) {
            let _ = INSIDE.try_with(|inside| inside.borrow_mut().push(call));
        }
    }

    fn on_exit(&self, id: &Id, layers: Layers<'_, S>) {
        if let Some(call) = call_of(id, &layers) {
            let _ = INSIDE.try_with(|inside| {
                let mut inside = inside.borrow_mut();
                if let Some(at) = inside.iter().rposition(|other| Arc::ptr_eq(other, &call)) {
                    inside.remove(at);
                }
            });
        }
    }

    fn on_close(&self, id: Id, layers: Layers<'_, S>) {
        let Some(span) = layers.span(&id) else { return };
        let observed = span.extensions_mut().remove::<Observed>();
        if let Some(observed) = observed {
            observed.settle();
            closed();
        }
    }
}

fn call_of<S: Subscriber + for<'a> LookupSpan<'a>>(id: &Id, layers: &Layers<'_, S>) -> Option<Arc<Call>> {
    let span = layers.span(id)?;
    let extensions = span.extensions();
    let observed = extensions.get::<Observed>()?;
    observed.said.is_call().then(|| Arc::clone(&observed.call))
}

impl Observed {
    fn settle(self) {
        let transported = || {
            self.call.transported.load(Ordering::Relaxed) || was_sent(&self.call, &self.said, self.started)
        };
        if !self.said.is_call() || transported() {
            return;
        }
        let context = self.call.context.clone();
        let said = self.said;
        let endpoint = of_span(said.provider.as_deref(), said.operation.as_deref());
        let model = said.request_model.clone().map(Into::into);
        let asked = Asked { model, price_as: PriceAs::of(&context), ..Asked::default() };
        let request = Request::read(endpoint.into(), asked);
        let begun = (self.started_at, self.started);
        let attempt = Attempt::begin_at(self.pipeline, context, request, Repeat::NONE, begun);
        let reading = said.into_reading();
        attempt.settle(reading, &End::Complete);
    }
}

/// What a span has said so far; a later value takes the place of an earlier one.
#[derive(Default)]
struct Said {
    operation: Option<String>,
    provider: Option<String>,
    request_model: Option<String>,
    response_model: Option<String>,
    response_id: Option<String>,
    error: Option<String>,
    input: Option<u64>,
    output: Option<u64>,
    cache_read: u64,
    cache_write: u64,
    reasoning: u64,
}

impl Said {
    fn is_call(&self) -> bool {
        self.operation.as_deref().is_some_and(|operation| CALLS.contains(&operation))
    }

    fn text(&mut self, field: &str, value: &str) {
        let slot = match field {
            "gen_ai.operation.name" => &mut self.operation,
            "gen_ai.provider.name" | "gen_ai.system" => &mut self.provider,
            "gen_ai.request.model" => &mut self.request_model,
            "gen_ai.response.model" => &mut self.response_model,
            "gen_ai.response.id" => &mut self.response_id,
            "error.type" => &mut self.error,
            "otel.status_code" if value.eq_ignore_ascii_case("error") => {
                self.error.get_or_insert_with(|| "error".to_owned());
                return;
            }
            _ => return,
        };
        if !value.is_empty() {
            *slot = Some(value.to_owned());
        }
    }

    fn number(&mut self, field: &str, value: u64) {
        match field {
            "gen_ai.usage.input_tokens" | "gen_ai.usage.prompt_tokens" => self.input = Some(value),
            "gen_ai.usage.output_tokens" | "gen_ai.usage.completion_tokens" => self.output = Some(value),
            "gen_ai.usage.cache_read.input_tokens"
            | "gen_ai.usage.cache_read_input_tokens"
            | "gen_ai.usage.cached_tokens" => self.cache_read = value,
            "gen_ai.usage.cache_creation.input_tokens"
            | "gen_ai.usage.cache_creation_input_tokens"
            | "gen_ai.usage.cache_write.input_tokens" => self.cache_write = value,
            "gen_ai.usage.reasoning.output_tokens" | "gen_ai.usage.reasoning_tokens" => {
                self.reasoning = value;
            }
            _ => {}
        }
    }

    fn into_reading(self) -> Reading {
        // The convention counts cached tokens in; who leaves them out gives himself away by the sum.
        let usage = (self.input.is_some() || self.output.is_some()).then(|| {
            let (input, output) = (self.input.unwrap_or(0), self.output.unwrap_or(0));
            let cached = self.cache_read.saturating_add(self.cache_write);
            let reasoning = self.reasoning.min(output);
            Usage::new()
                .with(Bucket::Input, if cached <= input { input - cached } else { input })
                .with(Bucket::CacheRead, self.cache_read)
                .with(Bucket::CacheWrite, self.cache_write)
                .with(Bucket::Output, output - reasoning)
                .with(Bucket::Reasoning, reasoning)
        });
        Reading {
            response_id: self.response_id.map(Into::into),
            model: self.response_model.map(Into::into),
            error: self.error.map(Into::into),
            usage,
            ..Reading::default()
        }
    }
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field.name(), u64::try_from(value).unwrap_or(0));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name().starts_with("gen_ai.")
            || field.name() == "error.type"
            || field.name() == "otel.status_code"
        {
            let text = format!("{value:?}");
            match text.parse() {
                Ok(n) => self.number(field.name(), n),
                Err(_) => self.text(field.name(), text.trim_matches('"')),
            }
        }
    }
}
