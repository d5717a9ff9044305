//! Tests of payi with clients too heavy for the main package; see `tests/`.

#[cfg(doctest)]
#[doc = include_str!("../../../src/guides/day_1_instrument.md")]
mod day_1_instrument {}

#[cfg(doctest)]
#[doc = include_str!("../../../src/guides/clients.md")]
mod clients {}
