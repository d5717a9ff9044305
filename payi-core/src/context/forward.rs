//! What a scoped future, stream or iterator can do because the one inside can.

use std::iter::FusedIterator;

use futures_core::{FusedFuture, FusedStream};

use crate::context::scoped::{Inside, Scoped};

impl<F: FusedFuture> FusedFuture for Scoped<F> {
    fn is_terminated(&self) -> bool {
        self.inner.as_ref().is_none_or(F::is_terminated)
    }
}

impl<S: FusedStream> FusedStream for Scoped<S> {
    fn is_terminated(&self) -> bool {
        self.inner.as_ref().is_none_or(S::is_terminated)
    }
}

/// Each item is made in the scope. What the caller does with it is not: `fold` and its like call `next`.
impl<I: Iterator> Iterator for Scoped<I> {
    type Item = I::Item;

    #[inline]
    fn next(&mut self) -> Option<I::Item> {
        let inner = self.inner.as_mut()?;
        let _inside = Inside::new(&mut self.frame);
        inner.next()
    }

    fn nth(&mut self, n: usize) -> Option<I::Item> {
        let inner = self.inner.as_mut()?;
        let _inside = Inside::new(&mut self.frame);
        inner.nth(n)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.as_ref().map_or((0, Some(0)), I::size_hint)
    }
}

impl<I: DoubleEndedIterator> DoubleEndedIterator for Scoped<I> {
    fn next_back(&mut self) -> Option<I::Item> {
        let inner = self.inner.as_mut()?;
        let _inside = Inside::new(&mut self.frame);
        inner.next_back()
    }

    fn nth_back(&mut self, n: usize) -> Option<I::Item> {
        let inner = self.inner.as_mut()?;
        let _inside = Inside::new(&mut self.frame);
        inner.nth_back(n)
    }
}

impl<I: ExactSizeIterator> ExactSizeIterator for Scoped<I> {
    fn len(&self) -> usize {
        self.inner.as_ref().map_or(0, I::len)
    }
}

impl<I: FusedIterator> FusedIterator for Scoped<I> {}

impl<T: Clone> Clone for Scoped<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), frame: self.frame.clone() }
    }
}
