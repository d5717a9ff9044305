//! Stands for `payi_core::limits`'s `bound`: what a call may come to is what the test says.

use payi_core::{pricing::Cost, usage::Usage};

pub(crate) use payi_core::limits::Unbounded;

use crate::limits::Limit;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    Exact(i128),
    Upper(i128),
    Unbounded(Unbounded),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Estimate {
    pub(crate) usage: Usage,
    pub(crate) cost: Cost,
    pub(crate) unbounded: Option<Unbounded>,
}

impl Estimate {
    pub(crate) fn of(&self, _: &Limit) -> Result<Bound, ()> {
        Ok(self.unbounded.map_or(Bound::Upper(self.cost.amount.pico()), Bound::Unbounded))
    }
}
