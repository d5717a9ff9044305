//! The reading of answers over HTTP: at their end, or later, by whoever takes the event.

use std::sync::Arc;

use crate::{
    clients::{
        call::{Attempt, End, Ended, Inner},
        reader::{Kept, Reader},
    },
    events::{Event, Rest, Unread},
    usage::{
        Api, Bucket, Reading,
        sample::{Prompt, Sample},
    },
};

impl Attempt {
    /// Whether nobody waits for what the answer says: no limit, and no span.
    pub(crate) fn has_time(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| {
            #[cfg(feature = "tracing")]
            if inner.sent.is_some() {
                return false;
            }
            inner.held.is_none()
        })
    }

    /// The answer has ended, and was read on its way.
    pub(crate) fn settle_read(mut self, reader: Reader, end: &End) {
        if let Some(mut inner) = self.0.take() {
            let reading = inner.reading(reader, end);
            inner.end(reading, *end);
        }
    }

    /// The answer has ended, and is yet to be read: now, if anybody holds the receipt, which says what it cost.
    pub(crate) fn settle_unread(mut self, kept: Kept, end: &End) {
        let Some(mut inner) = self.0.take() else { return };
        inner.ended = Some(inner.started.elapsed());
        inner.unread = Some((kept, *end));
        if inner.receipt.is_alone() {
            let pipeline = Arc::clone(&inner.pipeline);
            pipeline.sink.record_unread(Unread::new(inner));
        } else if let Some(ended) = inner.ended_unread() {
            ended.record();
        }
    }
}

impl Rest for Inner {
    fn read(self: Box<Self>) -> Option<Event> {
        self.ended_unread().map(|ended| ended.event)
    }

    fn bytes(&self) -> usize {
        let answer = self.unread.as_ref().map_or(0, |(kept, _)| kept.size());
        answer + self.prompt.as_ref().map_or(0, Prompt::size)
    }
}

impl Inner {
    fn ended_unread(mut self: Box<Self>) -> Option<Ended> {
        let (kept, end) = self.unread.take()?;
        let reading = self.reading(kept.read(), &end);
        self.ended(reading, end)
    }

    /// What the answer said, as far as it was read, and what has to be guessed.
    fn reading(&mut self, mut reader: Reader, end: &End) -> Reading {
        let cut = reader.meter.is_cut(matches!(end, End::Complete));
        let mut sample = reader.meter.sample();
        if let (true, Some(length)) = (cut, reader.length) {
            sample.expect(length);
        }
        let mut reading = reader.meter.finish();
        if !reader.readable {
            reading = Reading { malformed: true, ..Reading::default() };
        }
        if let (Some(capture), Some(exchange)) = (reader.capture, self.request.exchange.as_deref_mut()) {
            reading.function_calls = capture.finish(reader.api, exchange);
        }
        self.estimate(&mut reading, &sample, end, cut);
        reading
    }

    /// Puts estimates where an answer does not say what was used: because it ended early, or is a stream that never
    /// says it. `cut` is a document whose end is missing; one that is whole has said what it has to say.
    fn estimate(&self, reading: &mut Reading, written: &Sample, end: &End, cut: bool) {
        let early = cut || !matches!(end, End::Complete);
        let silent = reading.usage.is_none() && reading.error.is_none();
        let readable = self.streamed || (cut && self.request.endpoint.is_text());
        let answered = readable && self.status.is_some_and(|status| status < 400);
        if !answered || self.request.endpoint.free || reading.reported_cost.is_some() || !(early || silent) {
            return;
        }
        let mut usage = reading.usage.unwrap_or_default();
        // Anthropic's streams begin with a count of what was written; others say it once it is all of it.
        if usage.output_tokens() == 0 || self.request.endpoint.api == Api::Messages {
            let more = written.tokens().saturating_sub(usage.output_tokens());
            usage.set(Bucket::Output, usage.get(Bucket::Output).saturating_add(more));
        }
        if let (0, Some(prompt)) = (usage.input_tokens(), &self.prompt) {
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
