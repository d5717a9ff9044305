//! The one place that writes code. Every path goes through `__private`; nothing is decided here.

mod block;
mod boxed;
mod complete;
mod field;
mod site;
mod track;

pub(crate) use block::expand as track_context;
