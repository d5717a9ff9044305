//! The one place where a call becomes an event.
//!
//! An [`Attempt`] begins with one snapshot of the context and ends exactly once, whatever happens:
//! settled, failed, or, if it is dropped before, aborted with what was seen by then.

mod background;
mod bill;
#[cfg(feature = "_http")]
mod read;
mod start;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

pub(crate) use start::{PriceAs, Repeat, Request, Said};

use crate::{
    clients::{
        call::start::Start,
        detect::Endpoint,
        receipt::{Receipt, Settled},
    },
    context::Context,
    defect::{Defect, guarded},
    error::say,
    events::{Event, Exchange, LimitMark, Outcome, Pipeline, UnderWay},
    limits::{Estimate, Hold, Spent},
    money::Money,
    pricing::{Cost, CostSource},
    usage::{Bucket, Reading, Usage},
};

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
///
/// It is one pointer, because it is moved from hand to hand.
#[derive(Debug)]
pub(crate) struct Attempt(Option<Arc<Start>>);

/// An attempt that is over: nobody else changes how it has gone.
#[derive(Debug)]
struct Inner {
    start: Arc<Start>,
    course: Course,
}

/// How an attempt has gone so far. What few attempts have is in a box.
#[derive(Debug)]
struct Course {
    /// What Pay-i keeps of the exchange, if anybody wants it kept.
    exchange: Option<Box<Exchange>>,
    status: Option<u16>,
    streamed: bool,
    first: Option<Instant>,
    /// How long it took, where it ended before its bill was known.
    ended: Option<Duration>,
    /// Its answer shows again what is charged already.
    shown: bool,
    /// A span may be about it.
    #[cfg(feature = "tracing")]
    sent: Option<Arc<crate::clients::tracing::Sent>>,
    /// Asked by whoever made the call; `None` once nobody can.
    receipt: Option<Receipt>,
    held: Option<Box<Held>>,
    /// The answer, where it has ended and is yet to be read.
    #[cfg(feature = "_http")]
    unread: Option<(super::reader::Kept, End)>,
}

impl Course {
    /// The answer's head has arrived.
    fn head(&mut self, status: u16, streamed: bool) {
        (self.status, self.streamed) = (Some(status), streamed);
    }
}

impl Attempt {
    /// Begins an attempt.
    #[inline]
    pub(crate) fn begin(pipeline: Arc<Pipeline>, context: Context, request: Request, repeat: Repeat) -> Self {
        let started_at = pipeline.clock.now();
        Self::begin_held(pipeline, context, request, repeat, (started_at, None))
    }

    /// Begins an attempt for which limits have reserved what it may come to. It began when they were asked, by which
    /// they place it; what it waited for them is not the provider's latency.
    #[inline]
    pub(crate) fn begin_held(
        pipeline: Arc<Pipeline>,
        context: Context,
        request: Request,
        repeat: Repeat,
        (started_at, held): (SystemTime, Option<Box<Held>>),
    ) -> Self {
        let begun = (started_at, Instant::now());
        let start = Start::new(pipeline, context, request, repeat, begun, held);
        #[cfg(feature = "tracing")]
        if let Some(sent) =
            crate::clients::tracing::transported(&start.context, || start.said().model.as_deref())
        {
            start.change(|course| course.sent = Some(sent));
        }
        Self::open(start)
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
        drop(crate::clients::tracing::transported(&context, || request.said(&context).model.as_deref()));
        let start = Start::new(pipeline, context, request, repeat, begun, None);
        if let Some(inner) = Inner::of(Arc::new(start)) {
            inner.event(Reading::default(), Closed { limits, ..Closed::blocked(code) }).record();
        }
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
        Self::open(Start::new(pipeline, context, request, repeat, (started_at, started), None))
    }

    /// Says that it is under way.
    #[inline]
    fn open(start: Start) -> Self {
        let start = Arc::new(start);
        start.pipeline.sink.open_unread(UnderWay::new(&start));
        Self(Some(start))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Course) -> T) -> Option<T> {
        self.0.as_ref()?.change(change)
    }

    /// The handle by which the caller learns what the attempt cost.
    pub(crate) fn receipt(&self) -> Option<Receipt> {
        self.change(|course| course.receipt.clone())?
    }

    /// The head of an answer has arrived, on a way that has no headers.
    pub(crate) fn head(&self, status: u16, streamed: bool) {
        self.change(|course| course.head(status, streamed));
    }

    /// A piece of a streamed answer has arrived; the first counts.
    pub(crate) fn piece(&self) {
        self.change(|course| *course.first.get_or_insert_with(Instant::now));
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
        if let Some(inner) = self.0.take().and_then(Inner::of) {
            inner.end(reading, end);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.0.is_some() {
            self.end(Reading::default(), End::Dropped);
        }
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
    /// An attempt that is over; `None` if that was said before.
    fn of(start: Arc<Start>) -> Option<Self> {
        let course = start.course().take()?;
        Some(Self { start, course })
    }

    /// Ends it, and hands over its event.
    fn end(self, reading: Reading, end: End) {
        Ended::record_unless_defect(|| self.ended(reading, end));
    }

    /// Ends it; `None` if it goes on in the background.
    fn ended(self, reading: Reading, end: End) -> Option<Ended> {
        #[cfg(feature = "tracing")]
        if let Some(sent) = &self.course.sent {
            sent.end(reading.response_id.as_deref());
        }
        if reading.background { background::end(self, reading, end) } else { Some(self.close(reading, &end)) }
    }

    /// Whether its end is charged by estimate, should its answer say nothing.
    fn reserves(&self) -> bool {
        self.course.held.as_ref().is_some_and(|held| held.hold.reserves())
    }

    fn close(mut self, mut reading: Reading, end: &End) -> Ended {
        let refused = self.course.status.is_some_and(|status| status >= 400);
        let outcome = match end {
            _ if refused => Outcome::Failed,
            End::Broken(_) => Outcome::Failed,
            End::Dropped => Outcome::Aborted,
            End::Complete if reading.error.is_some() => Outcome::Failed,
            End::Complete => Outcome::Ok,
        };
        let error = match end {
            End::Broken(code) => Some((*code).into()),
            _ if outcome == Outcome::Failed => reading
                .error
                .clone()
                .or_else(|| Some(format!("http_{}", self.course.status.unwrap_or(0)).into())),
            _ => None,
        };
        if reading.usage.is_some_and(|usage| usage.get(Bucket::Images) > 0) {
            reading.service_tier = reading.service_tier.or_else(|| self.start.said().picture.clone());
        }
        let mut cost = self.cost(&reading, outcome, end);
        let usage = reading.usage.take().unwrap_or_default();
        // What is shown again was counted when it was made.
        let free = self.start.endpoint().free;
        let shown = self.course.shown || (free && !reading.background);
        let usage = if shown { Usage::new() } else { usage };
        reading.elsewhere.retain(|_| !shown);
        let mut whole = reading.elsewhere.iter().fold(usage, |mut sum, (_, usage)| {
            sum += *usage;
            sum
        });
        // What was sent, and never said what it used, is charged what was reserved for it.
        let held = self.course.held.take();
        let silent = cost.source == CostSource::Unpriced && whole.is_empty();
        let assumed = held.as_ref().filter(|held| silent && held.hold.reserves()).map(|held| held.estimate);
        if let Some(estimate) = assumed {
            (whole, cost) = (estimate.usage, estimate.cost);
        }
        let tokens = whole.input_tokens() + whole.output_tokens();
        let limits = held.as_ref().map(|held| held.hold.marks()).unwrap_or_default();
        if let Some(held) = held {
            let standing = held.hold.settle(&Spent { outcome, cost, tokens, free });
            if let Some(receipt) = &self.course.receipt {
                receipt.stand(standing);
            }
        }
        let suspect = !refused && (reading.inconsistent || reading.malformed);
        let usage_estimated = assumed.is_some() || reading.estimated;
        self.event(reading, Closed { outcome, error, usage: whole, usage_estimated, suspect, cost, limits })
    }

    fn event(self, reading: Reading, closed: Closed) -> Ended {
        let Self { start, course } = self;
        let mut exchange = course.exchange;
        let Endpoint { provider, operation, category, .. } = start.endpoint();
        if let Some(exchange) = &mut exchange {
            exchange.function_calls = reading.function_calls;
            if let Some(found) = reading.guardrail {
                let guardrail = exchange.guardrail.get_or_insert_default();
                (guardrail.action, guardrail.units) = (found.action, found.units);
            }
        }
        let event = Event {
            id: start.id,
            call_id: start.call_id(),
            attempt: start.repeat.attempt,
            context: start.context.clone(),
            provider: provider.clone(),
            operation: operation.clone(),
            category: category.clone(),
            request_model: start.said().model.clone(),
            response_model: reading.model,
            streamed: course.streamed,
            started_at: start.started_at,
            latency: course.ended.unwrap_or_else(|| start.started.elapsed()),
            time_to_first_token: course.first.map(|first| first.duration_since(start.started)),
            outcome: closed.outcome,
            http_status: course.status,
            error: closed.error,
            usage: closed.usage,
            elsewhere: reading.elsewhere,
            usage_estimated: closed.usage_estimated,
            usage_suspect: closed.suspect,
            free: start.endpoint().free,
            cost: closed.cost,
            reported_cost: reading.reported_cost,
            response_id: reading.response_id,
            service_tier: reading.service_tier,
            geo: reading.geo,
            limits: closed.limits,
            exchange,
        };
        Ended { event, receipt: course.receipt, pipeline: Arc::clone(&start.pipeline) }
    }
}

/// An attempt that has become an event.
struct Ended {
    event: Event,
    receipt: Option<Receipt>,
    pipeline: Arc<Pipeline>,
}

impl Ended {
    /// Records what `end` makes of an attempt, if it makes anything; a defect of ours in there is nobody else's trouble.
    fn record_unless_defect(end: impl FnOnce() -> Option<Self>) {
        match guarded(end) {
            Ok(Some(ended)) => ended.record(),
            Ok(None) => {}
            Err(Defect) => {
                say!(error, target: "payi", "a call has ended, and is not recorded: a defect of payi's");
            }
        }
    }

    /// Hands the event over, and tells whoever asks for it what the attempt cost.
    fn record(self) {
        let Event { outcome, usage, cost, .. } = self.event;
        self.pipeline.sink.record(self.event);
        if let Some(receipt) = self.receipt {
            receipt.settle(Settled { outcome, usage, cost });
        }
    }
}
