//! A path from the first line to knowing what every user costs. Follow it in order.

#[doc = include_str!("guides/day_1_instrument.md")]
pub mod day_1_instrument {}
