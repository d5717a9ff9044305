//! What a collector does not do to us.

use std::time::Instant;

use super::*;
use crate::{
    ledger::{Ledger, sample},
    sink::deliver::{Courier, OfLedger},
    testing::{PayI, PayIAnswer},
};

#[test]
fn fault_22_a_span_that_a_collector_refuses_holds_up_no_other() {
    let (collector, ledger) = (PayI::start().unwrap(), Ledger::in_memory().unwrap());
    let source = OfLedger::new(ledger.another().unwrap(), NAME).unwrap();
    let otlp = Otlp::new(collector.url(), None, Semconv::default(), Parents::default()).unwrap();
    let courier = Courier::start(source, otlp).unwrap();
    collector.script(|request| {
        let bad = request.bytes.windows(6).any(|bytes| bytes == b"bad-un");
        PayIAnswer::status(if bad { 400 } else { 200 }, "")
    });
    let users = ["a", "b", "bad-un", "c", "d", "e", "f"];
    let events: Vec<_> = users.iter().map(|user| (sample::event(1), sample::who(user))).collect();
    sample::append(&ledger, &events);
    assert!(courier.wait(courier.ask(), Instant::now() + Duration::from_secs(20)));
    let aside = ledger.quarantined(NAME, 10).unwrap();
    assert_eq!(aside.iter().map(|event| (event.seq, &*event.reason)).collect::<Vec<_>>(), [(3, "http_400")]);
    assert_eq!(ledger.cursor(NAME).unwrap(), 7);
}
