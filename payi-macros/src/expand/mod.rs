//! The one place that writes code. Every path goes through `__private`; nothing is decided here.

pub(crate) mod block;
mod field;
mod track;

pub(crate) use block::expand as track_context;
