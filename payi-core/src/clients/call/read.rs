//! The reading of answers over HTTP: at their end, or later, by whoever takes the event.

use std::sync::{Arc, MutexGuard, PoisonError};

use crate::{
    clients::{
        call::{Attempt, Course, End, Ended, Inner, Start},
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
            if inner.course.sent.is_some() {
                return false;
            }
            inner.course.held.is_none()
        })
    }

    /// In which dialect it is answered.
    pub(crate) fn api(&self) -> Api {
        self.0.as_ref().map_or(Api::Unknown, |inner| inner.start.endpoint().api)
    }

    /// What is billed by the request itself.
    pub(crate) fn billed(&self) -> Option<(Bucket, u64)> {
        self.0.as_ref()?.start.request.billed()
    }

    /// The answer has ended, and was read on its way.
    pub(crate) fn settle_read(mut self, reader: Reader, end: &End) {
        if let Some(mut inner) = self.0.take() {
            let reading = inner.reading(reader, end);
            inner.end(reading, *end);
        }
    }

    /// The answer has ended, and is yet to be read: now, if anybody holds the receipt, which says what it cost.
    #[inline]
    pub(crate) fn settle_unread(mut self, kept: Kept, end: &End) {
        let Some(Inner { start, mut course }) = self.0.take() else { return };
        course.ended = Some(start.started.elapsed());
        course.receipt = course.receipt.filter(|receipt| !receipt.is_alone());
        let parked = Parked { course, kept, end: *end };
        if parked.course.receipt.is_none() {
            *start.parked() = Some(parked);
            let pipeline = Arc::clone(&start.pipeline);
            pipeline.sink.record_unread(Unread::new(start));
        } else if let Some(ended) = parked.ended(start) {
            ended.record();
        }
    }
}

/// An attempt that has ended, but for its start and the reading of its answer.
#[derive(Debug)]
pub(super) struct Parked {
    course: Course,
    kept: Kept,
    end: End,
}

impl Parked {
    fn ended(self, start: Arc<Start>) -> Option<Ended> {
        let Self { course, kept, end } = self;
        let mut inner = Inner { start, course };
        let reading = inner.reading(kept.read(), &end);
        inner.ended(reading, end)
    }
}

impl Start {
    fn parked(&self) -> MutexGuard<'_, Option<Parked>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rest for Start {
    fn read(self: Arc<Self>) -> Option<Event> {
        let parked = self.parked().take()?;
        parked.ended(self).map(|ended| ended.event)
    }

    fn bytes(&self) -> usize {
        let answer = self.parked().as_ref().map_or(0, |parked| parked.kept.size());
        answer + self.request.prompt.as_ref().map_or(0, Prompt::size)
    }
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
            reading = Reading { malformed: true, ..Reading::default() };
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
