//! A path from the first line to knowing what every user costs. Follow it in order.
//!
//! Day 1 and the page on clients are tested where those clients are at hand, in `tests/clients`; the others here.
//! What a guide's tests need beyond the default features keeps back the tests, not the guide.

#[cfg_attr(not(doctest), doc = include_str!("guides/day_1_instrument.md"))]
pub mod day_1_instrument {}

#[cfg_attr(not(doctest), doc = include_str!("guides/clients.md"))]
pub mod clients {}

#[doc = include_str!("guides/day_2_track_users.md")]
pub mod day_2_track_users {}

#[doc = include_str!("guides/day_3_use_cases.md")]
pub mod day_3_use_cases {}

#[cfg(all(feature = "ledger", feature = "reqwest"))]
#[cfg_attr(any(not(doctest), feature = "testing"), doc = include_str!("guides/day_4_limits.md"))]
pub mod day_4_limits {}

#[doc = include_str!("guides/dashboard.md")]
pub mod dashboard {}

#[doc = include_str!("guides/from_python.md")]
pub mod from_python {}

#[cfg(feature = "_calls")]
#[doc = include_str!("guides/pricing.md")]
pub mod pricing {}

#[cfg(all(feature = "_calls", feature = "tokio"))]
#[doc = include_str!("guides/concurrency.md")]
pub mod concurrency {}

#[cfg(all(feature = "ledger", feature = "reqwest"))]
#[cfg_attr(any(not(doctest), feature = "testing"), doc = include_str!("guides/delivery.md"))]
pub mod delivery {}

#[cfg(feature = "_calls")]
#[doc = include_str!("guides/privacy.md")]
pub mod privacy {}
