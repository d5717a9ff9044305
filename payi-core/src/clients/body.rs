//! An answer's body, passed on as it comes and read on the way: never buffered, never held up.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::{
    clients::{
        call::{Attempt, End},
        capture::{Capture, Keep},
        hide::Hide,
    },
    usage::{Api, Meter, Reading, Usage},
};

/// What happens to an answer as its pieces pass. Dropping it ends the attempt.
#[derive(Debug)]
pub(crate) struct Watch {
    open: Option<Open>,
    hide: Option<Hide>,
}

#[derive(Debug)]
struct Open {
    attempt: Attempt,
    meter: Meter,
    capture: Option<Capture>,
    api: Api,
    /// The bytes can be read.
    readable: bool,
    /// How long the head says it is, in bytes.
    length: Option<u64>,
}

/// What an answer's head says about its body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'h> {
    pub(crate) status: u16,
    pub(crate) content_type: &'h str,
    pub(crate) content_encoding: &'h str,
    /// How long the body will be, in bytes, where that is said.
    pub(crate) length: Option<u64>,
    /// What the head says was used.
    pub(crate) said: Option<Usage>,
}

impl Head<'_> {
    fn is_sse(self) -> bool {
        self.content_type.starts_with("text/event-stream")
    }

    fn is_lines(self) -> bool {
        self.content_type.starts_with("application/x-ndjson")
            || self.content_type.starts_with("application/stream+json")
    }

    fn is_aws(self) -> bool {
        self.content_type.starts_with("application/vnd.amazon.eventstream")
    }

    fn is_stream(self) -> bool {
        self.is_sse() || self.is_lines() || self.is_aws()
    }

    fn is_encoded(self) -> bool {
        !matches!(self.content_encoding, "" | "identity")
    }

    /// What reads the body, and whether it can.
    fn meter(self, api: Api) -> (Meter, bool) {
        let plain = self.plain(api);
        if !self.is_encoded() {
            return (plain, true);
        }
        match Meter::packed(plain, self.content_encoding) {
            Some(meter) => (meter, true),
            None => (Meter::opaque(api), false),
        }
    }

    /// What reads the body where it is not compressed.
    fn plain(self, api: Api) -> Meter {
        let text = self.content_type.is_empty() || self.content_type.contains("json");
        match () {
            () if self.is_sse() => Meter::sse(api),
            () if self.is_lines() => Meter::lines(api),
            () if self.is_aws() => Meter::aws(api),
            // Some servers call their JSON plain text; sound and pictures are called what they are.
            () if text || (api != Api::Unknown && self.content_type.starts_with("text/")) => Meter::json(api),
            () => Meter::opaque(api),
        }
    }
}

impl Watch {
    /// Watches the answer to `attempt`.
    pub(crate) fn new(mut attempt: Attempt, api: Api, head: Head<'_>, keep: Keep, hide: bool) -> Self {
        attempt.head(head.status, head.is_stream());
        let capture = Capture::new(head.is_sse(), keep).filter(|_| !head.is_encoded());
        let hide = (hide && head.is_sse() && !head.is_encoded()).then(Hide::default);
        let (mut meter, readable) = head.meter(api);
        if let Some(said) = head.said {
            meter.said(said);
        }
        let length = head.length.filter(|_| !head.is_encoded());
        Self { open: Some(Open { attempt, meter, capture, api, readable, length }), hide }
    }

    /// Watches nothing.
    #[cfg(feature = "tower")]
    pub(crate) const fn none() -> Self {
        Self { open: None, hide: None }
    }

    pub(crate) const fn is_hiding(&self) -> bool {
        self.hide.is_some()
    }

    /// A piece has arrived; what of it the caller gets.
    pub(crate) fn data(&mut self, bytes: Bytes) -> Bytes {
        if let Some(open) = &mut self.open {
            open.attempt.piece();
            open.meter.push(&bytes);
            if let Some(capture) = &mut open.capture {
                capture.push(&bytes);
            }
        }
        match &mut self.hide {
            Some(hide) => hide.pass(bytes),
            None => bytes,
        }
    }

    /// What was held back when the end came.
    pub(crate) fn rest(&mut self) -> Option<Bytes> {
        self.hide.as_mut().and_then(Hide::rest)
    }

    /// The answer has ended.
    pub(crate) fn close(&mut self, end: &End) {
        let Some(open) = self.open.take() else { return };
        open.close(end);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(mut open) = self.open.take() {
            // Clients stop at the mark of the end, and do not wait for the connection to agree.
            let end = if open.meter.is_complete() { End::Complete } else { End::Dropped };
            open.close(&end);
        }
    }
}

impl Open {
    fn close(mut self, end: &End) {
        let cut = self.meter.is_cut(matches!(end, End::Complete));
        let mut sample = self.meter.sample();
        if let (true, Some(length)) = (cut, self.length) {
            sample.expect(length);
        }
        let mut reading = self.meter.finish();
        if !self.readable {
            reading = Reading { malformed: true, ..Reading::default() };
        }
        if let (Some(capture), Some(exchange)) = (self.capture, self.attempt.exchange()) {
            reading.function_calls = capture.finish(self.api, exchange);
        }
        self.attempt.estimate(&mut reading, &sample, end, cut);
        self.attempt.settle(reading, end);
    }
}

pin_project_lite::pin_project! {
    /// A body that is watched.
    pub(crate) struct Tee<B: Body> {
        #[pin]
        inner: B,
        watch: Watch,
        code: fn(&dyn std::any::Any) -> &'static str,
        // What comes after the bytes that were held back.
        next: Option<Result<Frame<Bytes>, B::Error>>,
    }
}

impl<B: Body<Data = Bytes>> Tee<B> {
    /// Watches `inner`; `code` names what went wrong when it breaks off.
    pub(crate) fn new(inner: B, mut watch: Watch, code: fn(&dyn std::any::Any) -> &'static str) -> Self {
        if inner.is_end_stream() {
            watch.close(&End::Complete);
        }
        Self { inner, watch, code, next: None }
    }
}

impl<B: Body<Data = Bytes>> Body for Tee<B>
where
    B::Error: 'static,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        if let Some(next) = this.next.take() {
            return Poll::Ready(Some(next));
        }
        loop {
            let last = match ready!(this.inner.as_mut().poll_frame(task)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => Ok(this.watch.data(data)),
                    Err(trailers) => Err(Some(Ok(trailers))),
                },
                Some(Err(error)) => {
                    this.watch.close(&End::Broken((this.code)(&error)));
                    Err(Some(Err(error)))
                }
                None => {
                    this.watch.close(&End::Complete);
                    Err(None)
                }
            };
            let data = match last {
                Ok(data) => data,
                Err(last) => {
                    let Some(rest) = this.watch.rest() else { return Poll::Ready(last) };
                    *this.next = last;
                    return Poll::Ready(Some(Ok(Frame::data(rest))));
                }
            };
            if this.inner.is_end_stream() {
                // Who knows the length does not ask again.
                this.watch.close(&End::Complete);
            }
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        if self.watch.is_hiding() { SizeHint::default() } else { self.inner.size_hint() }
    }

    fn is_end_stream(&self) -> bool {
        !self.watch.is_hiding() && self.inner.is_end_stream()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::{collections::VecDeque, task::Waker};

    use super::*;

    /// A body that is played: pieces, trailers, an error.
    struct Played(VecDeque<Result<Frame<Bytes>, &'static str>>);

    impl Body for Played {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _task: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            Poll::Ready(self.0.pop_front())
        }
    }

    fn through(frames: impl IntoIterator<Item = Result<Frame<Bytes>, &'static str>>) -> Vec<String> {
        let watch = Watch { open: None, hide: Some(Hide::default()) };
        let mut tee = std::pin::pin!(Tee::new(Played(frames.into_iter().collect()), watch, |_| "body"));
        let mut got = Vec::new();
        while let Poll::Ready(Some(frame)) = tee.as_mut().poll_frame(&mut Context::from_waker(Waker::noop()))
        {
            got.push(match frame.map(Frame::into_data) {
                Ok(Ok(data)) => String::from_utf8_lossy(&data).into_owned(),
                Ok(Err(_)) => "(trailers)".into(),
                Err(error) => format!("({error})"),
            });
        }
        got
    }

    #[test]
    fn what_was_held_back_comes_before_the_break_and_before_trailers() {
        let piece = |text: &'static str| Ok(Frame::data(Bytes::from_static(text.as_bytes())));
        let whole = "data: {\"choices\":[1]}\n\n";
        assert_eq!(
            through([piece(whole), piece("data: {\"choi"), Err("reset")]),
            [whole, "data: {\"choi", "(reset)"]
        );
        let trailers = Ok(Frame::trailers(http::HeaderMap::new()));
        assert_eq!(through([piece("data: {"), trailers]), ["data: {", "(trailers)"]);
        assert_eq!(through([piece(whole), Err("reset")]), [whole, "(reset)"]);
        assert_eq!(through([piece("data: x")]), ["data: x"]);
    }
}
