//! The end of calls whose answers are made in the background: where their bill is counted, and that it is counted once.

use crate::{
    clients::{
        call::{End, Ended, Inner},
        receipt::Settled,
    },
    events::{Bill, Later, Outcome},
    pricing::Cost,
    usage::{Reading, Usage},
};

/// A call that waits for its bill, as it ended but for that.
#[derive(Debug)]
struct Waiting {
    call: Inner,
    reading: Reading,
    end: End,
}

impl Later for Waiting {
    fn billed(self: Box<Self>, reading: Reading) {
        self.call.close(reading, &End::Complete).record();
    }

    fn charged_already(mut self: Box<Self>) {
        self.call.course.shown = true;
        self.call.close(self.reading, &self.end).record();
    }

    fn given_up(self: Box<Self>) -> bool {
        let charged = self.reading.usage.is_some() || self.call.reserves();
        self.call.close(self.reading, &self.end).record();
        charged
    }
}

/// Ends a call, or the fetching of its answer; `None` if it waits for its bill.
pub(super) fn end(mut call: Inner, reading: Reading, end: End) -> Option<Ended> {
    let Some(id) = reading.response_id.clone() else { return Some(call.close(reading, &end)) };
    let pipeline = std::sync::Arc::clone(&call.start.pipeline);
    let fetched = call.start.endpoint().free;
    let told = reading.usage.is_some() && !reading.estimated;
    let over = reading.error.is_some() || call.course.status.is_some_and(|status| status >= 400);
    match () {
        () if told => match pipeline.background.bill(&id) {
            Bill::New => {}
            Bill::Charged => call.course.shown = true,
            Bill::Awaited(caller) => {
                call.course.shown = true;
                caller.billed(reading.clone());
            }
        },
        () if fetched && (over || call.start.endpoint().operation == "responses.cancel") => {
            pipeline.background.without_bill(&id);
        }
        () if !fetched && !over => {
            call.course.ended = call.course.ended.or_else(|| Some(call.start.started.elapsed()));
            let outcome = if matches!(end, End::Complete) { Outcome::Ok } else { Outcome::Aborted };
            if let Some(receipt) = &call.course.receipt {
                receipt.settle(Settled { outcome, usage: Usage::new(), cost: Cost::UNPRICED });
            }
            pipeline.background.wait(id, Box::new(Waiting { call, reading, end }));
            return None;
        }
        () => {}
    }
    Some(call.close(reading, &end))
}
