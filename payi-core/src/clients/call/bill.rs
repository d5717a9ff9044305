//! What a call costs, and under which names its price is looked for.

use std::time::UNIX_EPOCH;

use crate::{
    clients::call::{End, Inner, NOTHING, PriceAs},
    events::Outcome,
    pricing::{Cost, CostSource, Names, Priced},
    usage::{Reading, Usage},
};

impl Inner {
    /// What it costs; a refusal costs nothing, and what nobody said is unpriced.
    pub(super) fn cost(&self, reading: &Reading, outcome: Outcome, end: &End) -> Cost {
        let refused = outcome == Outcome::Failed
            && (self.course.status.is_some_and(|status| status >= 400)
                || matches!(end, End::Broken("connect")));
        let free = self.start.endpoint().free && !(reading.background && reading.usage.is_some());
        if free || self.course.shown {
            return NOTHING;
        }
        let reported = reading.reported_cost.map(|amount| Cost { amount, source: CostSource::Reported });
        let Some(usage) = &reading.usage else {
            return reported.unwrap_or(if refused { NOTHING } else { Cost::UNPRICED });
        };
        match reported {
            Some(reported) if !self.is_priced_as_other() => return reported,
            _ => {}
        }
        // Of the models that took part, only the one asked for can be priced as another.
        let mut cost = self
            .names(reading)
            .models()
            .map(|model| self.price(model, reading, usage))
            .find(|cost| cost.source != CostSource::Unpriced)
            .unwrap_or(Cost::UNPRICED);
        if let (CostSource::Unpriced, Some(reported)) = (cost.source, reported) {
            return reported;
        }
        for (model, usage) in &reading.elsewhere {
            cost = cost + self.price(model, reading, usage);
        }
        if cost.source == CostSource::Computed
            && (reading.inconsistent || reading.malformed || reading.estimated)
        {
            cost.source = CostSource::Estimated;
        }
        cost
    }

    /// Whether the caller has said as what it is to be priced. That a host is somebody's says nothing of prices.
    fn is_priced_as_other(&self) -> bool {
        let PriceAs { category, resource } = &self.start.said().price_as;
        resource.is_some() || category.as_ref().is_some_and(|said| **said != *self.start.endpoint().category)
    }

    fn names<'n>(&'n self, reading: &'n Reading) -> Names<'n> {
        let said = self.start.said();
        Names {
            called: &self.start.endpoint().provider,
            category: said.price_as.category.as_deref(),
            resource: said.price_as.resource.as_deref(),
            asked: said.model.as_deref(),
            answered: reading.model.as_deref(),
        }
    }

    fn price(&self, model: &str, reading: &Reading, usage: &Usage) -> Cost {
        let since_1970 = self.start.started_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.start.pipeline.book.price(&Priced {
            provider: self.names(reading).provider(),
            model,
            at_us: i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX),
            service_tier: reading.service_tier.as_deref(),
            geo: reading.geo.as_deref(),
            usage,
        })
    }
}
