//! The reading of answers over HTTP: at their end, or later, by whoever takes the event.

use std::sync::Arc;

use crate::{
    clients::{
        call::{Attempt, End, Ended, Inner, Start},
        reader::{Kept, Reader},
        receipt::Receipt,
    },
    defect::{Defect, guarded},
    events::{Event, Rest, Unread},
    usage::{
        Api, Bucket, Reading,
        sample::{Prompt, Sample},
    },
};

impl Attempt {
    /// The answer's head has arrived, with a status and, where Pay-i keeps the exchange, with `headers`. The handle by
    /// which the caller learns what it cost; and whether nobody else waits for what the answer says: no limit, no span.
    pub(crate) fn answered(
        &self,
        status: u16,
        streamed: bool,
        headers: impl FnOnce() -> Vec<(Box<str>, Box<str>)>,
    ) -> (Option<Receipt>, bool) {
        self.change(|course| {
            course.head(status, streamed);
            if let Some(exchange) = &mut course.exchange {
                exchange.response_headers = headers();
            }
            #[cfg(feature = "tracing")]
            let observed = course.sent.is_some();
            #[cfg(not(feature = "tracing"))]
            let observed = false;
            (course.receipt.clone(), !observed && course.held.is_none())
        })
        .unwrap_or_default()
    }

    /// In which dialect it is answered.
    pub(crate) fn api(&self) -> Api {
        self.0.as_ref().map_or(Api::Unknown, |start| start.endpoint().api)
    }

    /// What is billed by the request itself.
    pub(crate) fn billed(&self) -> Option<(Bucket, u64)> {
        self.0.as_ref()?.request.billed()
    }

    /// The answer has ended, and was read on its way.
    pub(crate) fn settle_read(mut self, reader: Reader, end: &End) {
        if let Some(mut inner) = self.0.take().and_then(Inner::of) {
            let reading = guarded(|| inner.reading(reader, end));
            inner.end(reading.unwrap_or_else(|Defect| unreadable()), *end);
        }
    }

    /// The answer has ended, and is yet to be read: now, if anybody holds the receipt, which says what it cost.
    #[inline]
    pub(crate) fn settle_unread(mut self, kept: Kept, end: &End) {
        let Some(start) = self.0.take() else { return };
        let bytes = kept.size() + start.request.prompt.as_ref().map_or(0, Prompt::size);
        let receipt = start.change(|course| {
            course.ended = Some(start.started.elapsed());
            course.unread = Some((kept, *end));
            // Who may still have wakers, which are not ours, lets go of them outside of the lock.
            course.receipt.take_if(|receipt| receipt.is_alone())
        });
        match receipt {
            // Nobody asks.
            Some(Some(_)) => {
                let pipeline = Arc::clone(&start.pipeline);
                pipeline.sink.record_unread(Unread::new(start, bytes));
            }
            Some(None) => Ended::record_unless_defect(|| start.read_answer()),
            // It was over before.
            None => {}
        }
    }
}

impl Start {
    /// Reads the answer to an attempt that has ended.
    fn read_answer(self: Arc<Self>) -> Option<Ended> {
        let mut inner = Inner::of(self)?;
        let (kept, end) = inner.course.unread.take()?;
        let mut reader = kept.read();
        let end = match end {
            // All of it was there: stopping was not stopping early.
            End::Dropped if reader.meter.is_complete() => End::Complete,
            end => end,
        };
        let reading = inner.reading(reader, &end);
        inner.ended(reading, end)
    }
}

impl Rest for Start {
    fn read(self: Arc<Self>) -> Option<Event> {
        self.read_answer().map(|ended| ended.event)
    }
}

/// What is known of an answer that cannot be read.
fn unreadable() -> Reading {
    Reading { malformed: true, ..Reading::default() }
}

impl Inner {
    /// What the answer said, as far as it was read, and what has to be guessed.
    fn reading(&mut self, mut reader: Reader, end: &End) -> Reading {
        let cut = reader.meter.is_cut(matches!(end, End::Complete));
        let mut sample = reader.meter.sample();
        if let (true, Some(length)) = (cut, reader.length) {
            sample.expect(length);
        }
        let mut reading = reader.meter.finish();
        if !reader.readable {
            reading = unreadable();
        }
        if let (Some(capture), Some(exchange)) = (reader.capture, self.course.exchange.as_deref_mut()) {
            reading.function_calls = capture.finish(reader.api, exchange);
        }
        self.estimate(&mut reading, &sample, end, cut);
        reading
    }

    /// Puts estimates where an answer does not say what was used: because it ended early, or is a stream that never
    /// says it. `cut` is a document whose end is missing; one that is whole has said what it has to say.
    fn estimate(&self, reading: &mut Reading, written: &Sample, end: &End, cut: bool) {
        let endpoint = self.start.endpoint();
        let early = cut || !matches!(end, End::Complete);
        let silent = reading.usage.is_none() && reading.error.is_none();
        let readable = self.course.streamed || (cut && endpoint.is_text());
        let answered = readable && self.course.status.is_some_and(|status| status < 400);
        if !answered || endpoint.free || reading.reported_cost.is_some() || !(early || silent) {
            return;
        }
        let mut usage = reading.usage.unwrap_or_default();
        // Anthropic's streams begin with a count of what was written; others say it once it is all of it.
        if usage.output_tokens() == 0 || endpoint.api == Api::Messages {
            let more = written.tokens().saturating_sub(usage.output_tokens());
            usage.set(Bucket::Output, usage.get(Bucket::Output).saturating_add(more));
        }
        if let (0, Some(prompt)) = (usage.input_tokens(), &self.start.request.prompt) {
            usage.set(Bucket::Input, prompt.tokens());
        }
        if !usage.is_empty() {
            reading.usage = Some(usage);
            reading.estimated = true;
        }
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
