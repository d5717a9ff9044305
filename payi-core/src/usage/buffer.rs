//! Buffers that are used again. What is filled by the thread of a call is mostly read, and freed, by another; to
//! allocate it anew each time would cost the call more than to fill it.

use std::{
    ops::{Deref, DerefMut},
    sync::Mutex,
};

/// How many are kept for the next to need one.
const COUNT: usize = 64;
/// The largest that is kept, in bytes: together they are no more than a megabyte.
const SIZE: usize = 16 * 1024;

static FREE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Bytes; where they were is kept for the next buffer.
#[derive(Debug, Default)]
pub(crate) struct Buffer(Vec<u8>);

impl Buffer {
    /// An empty one that has room for as many bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        // Nobody waits for another thread: the allocator has room too.
        let mut buffer = FREE.try_lock().ok().and_then(|mut free| free.pop()).unwrap_or_default();
        // No more than that, lest it becomes too large to be kept.
        buffer.reserve_exact(bytes);
        Self(buffer)
    }
}

impl From<&[u8]> for Buffer {
    fn from(bytes: &[u8]) -> Self {
        let mut buffer = Self::with_capacity(bytes.len());
        buffer.extend_from_slice(bytes);
        buffer
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.0);
        if !(1..=SIZE).contains(&buffer.capacity()) {
            return;
        }
        buffer.clear();
        if let Ok(mut free) = FREE.try_lock()
            && free.len() < COUNT
        {
            free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_in_a_buffer_is_not_in_the_next_and_few_are_kept() {
        let many: Vec<Buffer> =
            (0..2 * COUNT).map(|_| Buffer::from(b"somebody's prompt".as_slice())).collect();
        drop(many);
        drop(Buffer::with_capacity(2 * SIZE));
        let kept = FREE.lock().map_or(0, |free| free.len());
        assert!((1..=COUNT).contains(&kept), "{kept}");
        let next: Vec<Buffer> = (0..COUNT).map(|_| Buffer::with_capacity(4)).collect();
        assert!(next.iter().all(|next| next.is_empty() && (4..=SIZE).contains(&next.capacity())));
    }
}
