//! The one place where a call becomes an event.
//!
//! An [`Attempt`] begins with one snapshot of the context and ends exactly once, whatever happens:
//! settled, failed, or, if it is dropped before, aborted with what was seen by then.

mod background;
mod bill;
#[cfg(feature = "_http")]
mod read;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use uuid::Uuid;

#[cfg(feature = "_http")]
use crate::clients::reader::Kept;
use crate::{
    clients::{
        detect::Endpoint,
        receipt::{Receipt, Settled},
    },
    context::{Context, Text},
    events::{Event, Exchange, LimitMark, Opening, Outcome, Pipeline},
    limits::{Estimate, Hold, Spent},
    money::Money,
    pricing::{Cost, CostSource},
    usage::{Bucket, Reading, Usage, sample::Prompt},
};

/// As what a call is priced, instead of what it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct PriceAs {
    /// Pay-i's category (`system.openai`).
    pub(crate) category: Option<Text>,
    /// The model.
    pub(crate) resource: Option<Text>,
}

/// What is known of a call before it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) endpoint: Endpoint,
    pub(crate) model: Option<Text>,
    pub(crate) price_as: PriceAs,
    /// Size and quality of the pictures asked for, where their price depends on them.
    pub(crate) picture: Option<Box<str>>,
    /// The address without its path, credentials and query.
    pub(crate) exchange: Option<Box<Exchange>>,
}

/// Which attempt of which call: for clients that repeat a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repeat {
    pub(crate) call_id: Option<Uuid>,
    pub(crate) attempt: u32,
}

impl Repeat {
    pub(crate) const NONE: Self = Self { call_id: None, attempt: 1 };
}

/// What limits have reserved for an attempt.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) hold: Hold,
    pub(crate) estimate: Estimate,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// The answer was read to its end.
    Complete,
    /// It broke off, for the reason given by a short code.
    Broken(&'static str),
    /// The caller stopped reading, or waiting.
    Dropped,
}

/// An attempt under way. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Attempt(Option<Box<Inner>>);

#[derive(Debug)]
struct Inner {
    pipeline: Arc<Pipeline>,
    context: Context,
    id: Uuid,
    repeat: Repeat,
    request: Request,
    started_at: SystemTime,
    started: Instant,
    status: Option<u16>,
    streamed: bool,
    first: Option<Instant>,
    /// How long it took, where it ended before its bill was known.
    ended: Option<Duration>,
    /// What it was answered, and how it ended, until that is read.
    #[cfg(feature = "_http")]
    unread: Option<(Kept, End)>,
    /// Its answer shows again what is charged already.
    shown: bool,
    /// A span may be about it.
    #[cfg(feature = "tracing")]
    sent: Option<Arc<crate::clients::tracing::Sent>>,
    /// What was asked, in case that nobody says how much that was.
    prompt: Option<Prompt>,
    receipt: Receipt,
    /// In a box, because most calls have none, and a call is moved from thread to thread.
    held: Option<Box<Held>>,
}

impl Attempt {
    /// Begins an attempt.
    pub(crate) fn begin(pipeline: Arc<Pipeline>, context: Context, request: Request, repeat: Repeat) -> Self {
        let started_at = pipeline.clock.now();
        Self::begin_held(pipeline, context, request, repeat, (started_at, None))
    }

    /// Begins an attempt for which limits have reserved what it may come to. It began when they were asked, by which
    /// they place it; what it waited for them is not the provider's latency.
    pub(crate) fn begin_held(
        pipeline: Arc<Pipeline>,
        context: Context,
        request: Request,
        repeat: Repeat,
        (started_at, held): (SystemTime, Option<Held>),
    ) -> Self {
        let begun = (started_at, Instant::now());
        #[cfg_attr(not(feature = "tracing"), allow(unused_mut, reason = "only spans add to it"))]
        let mut inner = Inner::new(pipeline, context, request, repeat, begun, held);
        #[cfg(feature = "tracing")]
        {
            inner.sent = crate::clients::tracing::transported(&inner.context, inner.request.model.as_deref());
        }
        inner.open();
        Self(Some(inner))
    }

    /// Records an attempt that a limit has refused, for the reason given by a short code: it was never sent.
    #[cfg(feature = "_http")]
    pub(crate) fn block(
        pipeline: Arc<Pipeline>,
        context: Context,
        request: Request,
        repeat: Repeat,
        (code, limits): (&'static str, Vec<LimitMark>),
    ) {
        let begun = (pipeline.clock.now(), Instant::now());
        #[cfg(feature = "tracing")]
        drop(crate::clients::tracing::transported(&context, request.model.as_deref()));
        let inner = Inner::new(pipeline, context, request, repeat, begun, None);
        inner.event(Reading::default(), Closed { limits, ..Closed::blocked(code) }).record();
    }

    /// Records an attempt that began a while ago.
    #[cfg(feature = "tracing")]
    pub(crate) fn begin_at(
        pipeline: Arc<Pipeline>,
        context: Context,
        request: Request,
        repeat: Repeat,
        (started_at, started): (SystemTime, Instant),
    ) -> Self {
        let inner = Inner::new(pipeline, context, request, repeat, (started_at, started), None);
        inner.open();
        Self(Some(inner))
    }

    /// The handle by which the caller learns what the attempt cost.
    pub(crate) fn receipt(&self) -> Option<Receipt> {
        self.0.as_ref().map(|inner| inner.receipt.clone())
    }

    /// The answer's head has arrived.
    pub(crate) fn head(&mut self, status: u16, streamed: bool) {
        if let Some(inner) = &mut self.0 {
            inner.status = Some(status);
            inner.streamed = streamed;
        }
    }

    /// A sample of what was asked, for answers that may not say how much it was.
    #[cfg(feature = "_http")]
    pub(crate) fn asked(&mut self, prompt: Prompt) {
        if let Some(inner) = &mut self.0 {
            inner.prompt = Some(prompt);
        }
    }

    /// What Pay-i keeps of the exchange, if anybody wants it kept.
    pub(crate) fn exchange(&mut self) -> Option<&mut Exchange> {
        self.0.as_mut()?.request.exchange.as_deref_mut()
    }

    /// A piece of the answer has arrived.
    #[inline]
    pub(crate) fn piece(&mut self) {
        if let Some(inner) = &mut self.0
            && inner.streamed
            && inner.first.is_none()
        {
            inner.first = Some(Instant::now());
        }
    }

    /// There was no answer, for the reason given by a short code.
    pub(crate) fn fail(mut self, code: &'static str) {
        self.end(Reading::default(), End::Broken(code));
    }

    /// The answer has ended, one way or another.
    pub(crate) fn settle(mut self, reading: Reading, end: &End) {
        self.end(reading, *end);
    }

    fn end(&mut self, reading: Reading, end: End) {
        if let Some(inner) = self.0.take() {
            inner.end(reading, end);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.end(Reading::default(), End::Dropped);
    }
}

/// How an attempt ended, all told.
struct Closed {
    outcome: Outcome,
    error: Option<Box<str>>,
    usage: Usage,
    usage_estimated: bool,
    suspect: bool,
    cost: Cost,
    limits: Vec<LimitMark>,
}

impl Closed {
    /// Refused by a limit: nothing was sent, nothing is owed.
    #[cfg(feature = "_http")]
    fn blocked(code: &'static str) -> Self {
        Self {
            outcome: Outcome::Blocked,
            error: Some(code.into()),
            usage: Usage::new(),
            usage_estimated: false,
            suspect: false,
            cost: NOTHING,
            limits: Vec::new(),
        }
    }
}

const NOTHING: Cost = Cost { amount: Money::ZERO, source: CostSource::Computed };

impl Inner {
    fn new(
        pipeline: Arc<Pipeline>,
        context: Context,
        request: Request,
        repeat: Repeat,
        (started_at, started): (SystemTime, Instant),
        held: Option<Held>,
    ) -> Box<Self> {
        let id = pipeline.clock.id();
        Box::new(Self {
            pipeline,
            context,
            id,
            repeat,
            request,
            started_at,
            started,
            status: None,
            streamed: false,
            first: None,
            ended: None,
            #[cfg(feature = "_http")]
            unread: None,
            shown: false,
            #[cfg(feature = "tracing")]
            sent: None,
            prompt: None,
            receipt: Receipt::new(id),
            held: held.map(Box::new),
        })
    }

    /// Says that it is under way.
    fn open(&self) {
        let request = &self.request;
        let reserved = self.held.as_ref().filter(|held| held.hold.reserves());
        self.pipeline.sink.open(Opening {
            id: self.id,
            call_id: self.repeat.call_id.unwrap_or(self.id),
            attempt: self.repeat.attempt,
            context: self.context.clone(),
            provider: request.endpoint.provider.clone(),
            operation: request.endpoint.operation.clone(),
            category: request.endpoint.category.clone(),
            request_model: request.model.clone(),
            started_at: self.started_at,
            estimate: reserved.map(|held| Box::new((held.estimate.usage, held.estimate.cost))),
        });
    }

    /// Ends it, and hands over its event.
    fn end(self: Box<Self>, reading: Reading, end: End) {
        if let Some(ended) = self.ended(reading, end) {
            ended.record();
        }
    }

    /// Ends it; `None` if it goes on in the background.
    fn ended(self: Box<Self>, reading: Reading, end: End) -> Option<Ended> {
        #[cfg(feature = "tracing")]
        if let Some(sent) = &self.sent {
            sent.end(reading.response_id.as_deref());
        }
        if reading.background { background::end(self, reading, end) } else { Some(self.close(reading, &end)) }
    }

    /// Whether its end is charged by estimate, should its answer say nothing.
    fn reserves(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.hold.reserves())
    }

    fn close(mut self: Box<Self>, mut reading: Reading, end: &End) -> Ended {
        let refused = self.status.is_some_and(|status| status >= 400);
        let outcome = match end {
            _ if refused => Outcome::Failed,
            End::Broken(_) => Outcome::Failed,
            End::Dropped => Outcome::Aborted,
            End::Complete if reading.error.is_some() => Outcome::Failed,
            End::Complete => Outcome::Ok,
        };
        let error = match end {
            End::Broken(code) => Some((*code).into()),
            _ if outcome == Outcome::Failed => {
                reading.error.clone().or_else(|| Some(format!("http_{}", self.status.unwrap_or(0)).into()))
            }
            _ => None,
        };
        if reading.usage.is_some_and(|usage| usage.get(Bucket::Images) > 0) {
            reading.service_tier = reading.service_tier.or(self.request.picture.take());
        }
        let mut cost = self.cost(&reading, outcome, end);
        let usage = reading.usage.take().unwrap_or_default();
        // What is shown again was counted when it was made.
        let shown = self.shown || (self.request.endpoint.free && !reading.background);
        let usage = if shown { Usage::new() } else { usage };
        reading.elsewhere.retain(|_| !shown);
        let mut whole = reading.elsewhere.iter().fold(usage, |mut sum, (_, usage)| {
            sum += *usage;
            sum
        });
        // What was sent, and never said what it used, is charged what was reserved for it.
        let held = self.held.take();
        let silent = cost.source == CostSource::Unpriced && whole.is_empty();
        let assumed = held.as_ref().filter(|held| silent && held.hold.reserves()).map(|held| held.estimate);
        if let Some(estimate) = assumed {
            (whole, cost) = (estimate.usage, estimate.cost);
        }
        let tokens = whole.input_tokens() + whole.output_tokens();
        let limits = held.as_ref().map(|held| held.hold.marks()).unwrap_or_default();
        if let Some(held) = held {
            self.receipt.stand(held.hold.settle(&Spent {
                outcome,
                cost,
                tokens,
                free: self.request.endpoint.free,
            }));
        }
        let suspect = !refused && (reading.inconsistent || reading.malformed);
        let usage_estimated = assumed.is_some() || reading.estimated;
        self.event(reading, Closed { outcome, error, usage: whole, usage_estimated, suspect, cost, limits })
    }

    fn event(self: Box<Self>, reading: Reading, closed: Closed) -> Ended {
        let mut exchange = self.request.exchange;
        if let Some(exchange) = &mut exchange {
            exchange.function_calls = reading.function_calls;
            if let Some(found) = reading.guardrail {
                let guardrail = exchange.guardrail.get_or_insert_default();
                (guardrail.action, guardrail.units) = (found.action, found.units);
            }
        }
        let event = Event {
            id: self.id,
            call_id: self.repeat.call_id.unwrap_or(self.id),
            attempt: self.repeat.attempt,
            context: self.context,
            provider: self.request.endpoint.provider,
            operation: self.request.endpoint.operation,
            category: self.request.endpoint.category,
            request_model: self.request.model,
            response_model: reading.model,
            streamed: self.streamed,
            started_at: self.started_at,
            latency: self.ended.unwrap_or_else(|| self.started.elapsed()),
            time_to_first_token: self.first.map(|first| first.duration_since(self.started)),
            outcome: closed.outcome,
            http_status: self.status,
            error: closed.error,
            usage: closed.usage,
            elsewhere: reading.elsewhere,
            usage_estimated: closed.usage_estimated,
            usage_suspect: closed.suspect,
            free: self.request.endpoint.free,
            cost: closed.cost,
            reported_cost: reading.reported_cost,
            response_id: reading.response_id,
            service_tier: reading.service_tier,
            geo: reading.geo,
            limits: closed.limits,
            exchange,
        };
        Ended { event, receipt: self.receipt, pipeline: self.pipeline }
    }
}

/// An attempt that has become an event.
struct Ended {
    event: Event,
    receipt: Receipt,
    pipeline: Arc<Pipeline>,
}

impl Ended {
    /// Hands the event over, and tells whoever asks for it what the attempt cost.
    fn record(self) {
        let Event { outcome, usage, cost, .. } = self.event;
        self.pipeline.sink.record(self.event);
        self.receipt.settle(Settled { outcome, usage, cost });
    }
}
