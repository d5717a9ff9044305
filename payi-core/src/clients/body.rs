//! An answer's body, passed on as it comes and read on the way: never buffered, never held up.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::clients::{
    call::{Attempt, End},
    hide::Hide,
    reader::{Head, When},
};

/// What happens to an answer as its pieces pass. Dropping it ends the attempt.
#[derive(Debug)]
pub(crate) struct Watch {
    open: Option<Open>,
    hide: Option<Box<Hide>>,
}

#[derive(Debug)]
struct Open {
    attempt: Attempt,
    answer: When,
    /// The answer is a stream, whose first piece is yet to come.
    awaits_first: bool,
}

impl Watch {
    /// Watches the answer to `attempt`, which is read as `answer` says; `hide` leaves out what the caller has not asked
    /// for.
    #[inline]
    pub(crate) fn new(attempt: Attempt, answer: When, head: Head<'_>, hide: bool) -> Self {
        let hide = (hide && head.is_sse() && !head.is_encoded()).then(Box::default);
        Self { open: Some(Open { attempt, answer, awaits_first: head.is_stream() }), hide }
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
            if std::mem::take(&mut open.awaits_first) {
                open.attempt.piece();
            }
            open.answer.push(&bytes);
        }
        match &mut self.hide {
            Some(hide) => hide.pass(bytes),
            None => bytes,
        }
    }

    /// What was held back when the end came.
    pub(crate) fn rest(&mut self) -> Option<Bytes> {
        self.hide.as_mut().and_then(|hide| hide.rest())
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
            let end = if open.answer.is_complete() { End::Complete } else { End::Dropped };
            open.close(&end);
        }
    }
}

impl Open {
    #[inline]
    fn close(self, end: &End) {
        match self.answer {
            When::Now(reader) => self.attempt.settle_read(*reader, end),
            When::Later(kept) => self.attempt.settle_unread(kept, end),
        }
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
        let watch = Watch { open: None, hide: Some(Box::default()) };
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
