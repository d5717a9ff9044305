//! Pay-i as a place to deliver to: what is posted, and what each answer means for the events.
//!
//! A batch goes to `POST /api/v1/ingest/bulk`. A single event, and every event where the server does
//! not take bulks, goes to `POST /api/v1/ingest?id=`. Redirects are not followed: the key is for one
//! host only.

mod answer;
mod client;
mod http;
#[cfg(all(test, feature = "testing", feature = "ledger"))]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;

use std::{collections::HashSet, time::Duration};

use crate::{
    Result,
    events::Outcome,
    sink::{
        deliver::{Fate, Next, Pending, Place, Report, Source},
        delivered::{Carrying, Delivered},
        fields::Item,
        pay_i::{
            answer::{Bulk, Refusal},
            http::{Http, PATIENCE, Reply},
        },
        wire::{API_KEY, Wire, provider_id},
    },
};

pub use client::{Bulk as BulkAnswer, Client, Ingest};

/// The name of the cursor.
pub(crate) const NAME: &str = "pay-i";

const BULK: &str = "/api/v1/ingest/bulk";

/// How much goes into one bulk body, give or take an event.
const LARGEST_BULK: usize = 1 << 20;

/// How often in a row single events may be forbidden before it is the key that is taken to be wrong.
const FORBIDDEN: u32 = 3;

/// Pay-i, or whatever speaks its language.
pub(crate) struct PayI {
    http: Http,
    /// Whether the server takes bulks, as far as is known.
    bulk: bool,
    /// Limits that the server refuses on ingest, because they block.
    block_limits: HashSet<Box<str>>,
    forbidden: u32,
    /// Of the batch at hand, the events whose provider's id belongs to another event.
    taken: HashSet<i64>,
    receipts: Carrying,
}

impl PayI {
    /// `key` goes into one header of requests to `base_url` and nowhere else.
    pub(crate) fn new(base_url: &str, key: &str, bulk: bool) -> Result<Self> {
        Self::patient(base_url, key, bulk, PATIENCE)
    }

    fn patient(base_url: &str, key: &str, bulk: bool, patience: Duration) -> Result<Self> {
        let http = Http::new(base_url, API_KEY, key, patience)?;
        Ok(Self {
            http,
            bulk,
            block_limits: HashSet::new(),
            forbidden: 0,
            taken: HashSet::new(),
            receipts: Carrying::new(),
        })
    }

    /// Sends one event, at most twice: the second time without limits that the server has refused.
    fn one(&mut self, pending: &Pending) -> (Fate, Next) {
        let (fate, next, refusal) = self.post(pending);
        if let (Fate::Refused(_), Some(refusal)) = (&fate, refusal)
            && self.learn(pending, &refusal)
        {
            let (fate, next, _) = self.post(pending);
            return (self.told(pending, fate), next);
        }
        (self.told(pending, fate), next)
    }

    /// Who waits for word of a refused event is told that there is none.
    fn told(&self, pending: &Pending, fate: Fate) -> Fate {
        if matches!(fate, Fate::Refused(_)) {
            self.receipts.tell(pending.event.id, None);
        }
        fate
    }

    fn post(&mut self, pending: &Pending) -> (Fate, Next, Option<Refusal>) {
        let mut reply = self.send(pending);
        if matches!(&reply, Reply::Refused(refusal) if self.bulk && takes_no_bulks(refusal)) {
            // It may have been the address: this event went to it only because no header can carry it.
            let was_bulk = !self.wire(pending).fits_headers();
            if was_bulk {
                self.bulk = false;
                reply = self.send(pending);
            }
        }
        match reply {
            Reply::Taken(body) => {
                if let Some(refusal) = answer::refused_item(&body) {
                    return self.judge(refusal);
                }
                self.forbidden = 0;
                self.receipts.tell(pending.event.id, Some(answer::delivered(&body)));
                (Fate::Placed, Next::Go, None)
            }
            Reply::Refused(refusal) => self.judge(refusal),
            Reply::Failed => (Fate::Suspect, Next::Wait(None), None),
            Reply::Unavailable(told) => (Fate::Later, Next::Wait(told), None),
            Reply::Elsewhere => (Fate::Later, Next::Pause("wrong_address"), None),
        }
    }

    fn send(&self, pending: &Pending) -> Reply {
        let wire = self.wire(pending);
        if self.bulk && !wire.fits_headers() {
            return self.http.post(BULK, &[], &[wire.item()]);
        }
        self.http.post(&wire.path(), &wire.encoded_headers(), &wire.body())
    }

    /// What a refusal of a single event means.
    fn judge(&mut self, refusal: Refusal) -> (Fate, Next, Option<Refusal>) {
        match refusal.status {
            401 => return (Fate::Later, Next::Pause("invalid_api_key"), None),
            403 => {
                self.forbidden += 1;
                if self.forbidden >= FORBIDDEN {
                    return (Fate::Later, Next::Pause("forbidden"), None);
                }
            }
            404 | 405 if refusal.code.is_none() => return (Fate::Later, Next::Pause("wrong_address"), None),
            _ => self.forbidden = 0,
        }
        (Fate::Refused(refusal.reason()), Next::Go, Some(refusal))
    }

    /// Whether the refusal names limits that this event can do without; they are left out from now on.
    fn learn(&mut self, pending: &Pending, refusal: &Refusal) -> bool {
        if refusal.code.as_deref() != Some("blocking_limit_not_allowed") {
            return false;
        }
        let ids: Vec<&str> = pending.who.limit_ids.iter().map(|id| id.trim()).collect();
        let named: Vec<&str> = ids.iter().copied().filter(|id| refusal.names(id)).collect();
        // A server that names none means one of them: only where there is one is it known.
        let found = if named.is_empty() && ids.len() == 1 { ids } else { named };
        let before = self.block_limits.len();
        self.block_limits.extend(found.into_iter().map(Box::from));
        self.block_limits.len() > before
    }

    fn wire<'a>(&self, pending: &'a Pending) -> Wire<'a> {
        let taken = self.taken.contains(&pending.seq);
        Wire::new(&pending.event, &pending.who, taken, |limit| self.block_limits.contains(limit))
    }

    /// Sends several events at once.
    fn many(&mut self, batch: &[&Pending]) -> Report {
        let (reply, sent) = {
            let wires: Vec<Wire<'_>> = batch.iter().map(|pending| self.wire(pending)).collect();
            let items: Vec<Item<'_>> = wires.iter().map(Wire::item).collect();
            let mut body = Vec::with_capacity(batch.len() * 1024);
            body.push(b'[');
            let mut sent = 0;
            for item in &items {
                let start = body.len();
                if sent > 0 {
                    body.push(b',');
                }
                if serde_json::to_writer(&mut body, item).is_err() {
                    body.truncate(start);
                    break;
                }
                sent += 1;
                if body.len() > LARGEST_BULK {
                    break;
                }
            }
            body.push(b']');
            (self.http.post_bytes(BULK, &[], body), sent)
        };
        let mut report = self.read_bulk(reply, &batch[..sent]);
        report.fates.resize(batch.len(), Fate::Later);
        report
    }

    fn read_bulk(&mut self, reply: Reply, sent: &[&Pending]) -> Report {
        let n = sent.len();
        match reply {
            Reply::Taken(body) => self.read_items(answer::bulk(&body, n), sent),
            Reply::Refused(refusal) => match refusal.status {
                401 => Report::all(n, &Fate::Later, Next::Pause("invalid_api_key")),
                _ if takes_no_bulks(&refusal) => {
                    crate::error::say!(info, target: "payi", status = refusal.status, "Pay-i does not take bulks; events go one by one");
                    self.bulk = false;
                    Report::all(n, &Fate::Later, Next::Go)
                }
                // Too large, or one of them is bad: halve, until it is found.
                _ => Report::all(n, &Fate::Later, Next::Smaller),
            },
            Reply::Failed => Report::all(n, &Fate::Suspect, Next::Wait(None)),
            Reply::Unavailable(told) => Report::all(n, &Fate::Later, Next::Wait(told)),
            Reply::Elsewhere => Report::all(n, &Fate::Later, Next::Pause("wrong_address")),
        }
    }

    fn read_items(&mut self, bulk: Bulk, sent: &[&Pending]) -> Report {
        let mut report = Report::all(sent.len(), &Fate::Placed, Next::Go);
        self.forbidden = 0;
        for (index, refusal) in bulk.refused {
            let (Some(fate), Some(pending)) = (report.fates.get_mut(index), sent.get(index)) else {
                continue;
            };
            if refusal.is_passing() {
                *fate = Fate::Later;
                report.next = Next::Wait(None);
            } else if self.learn(pending, &refusal) {
                (*fate, report.next) = self.one(pending);
            } else {
                *fate = Fate::Refused(refusal.reason());
            }
        }
        for (pending, fate) in sent.iter().zip(&report.fates) {
            match fate {
                Fate::Placed => self.receipts.tell(pending.event.id, Some(Delivered::default())),
                Fate::Refused(_) => self.receipts.tell(pending.event.id, None),
                Fate::Later | Fate::Suspect => {}
            }
        }
        report
    }
}

impl Place for PayI {
    fn name(&self) -> &'static str {
        NAME
    }

    fn deliver(&mut self, batch: &[&Pending], source: &dyn Source) -> Report {
        // What went through Pay-i's proxy it knows already; what never left it need not know.
        let is_for_it = |p: &Pending| p.who.proxy != Some(true) && p.event.outcome != Outcome::Blocked;
        let (meant, others): (Vec<&Pending>, Vec<&Pending>) =
            batch.iter().copied().partition(|p| is_for_it(p));
        for pending in others {
            self.receipts.tell(pending.event.id, None);
        }
        let ids: Vec<_> = meant.iter().filter_map(|p| Some((provider_id(&p.event)?, p.seq))).collect();
        let taken = ids.iter().zip(source.are_taken(&ids)).filter(|(_, taken)| *taken);
        self.taken = taken.map(|((_, seq), _)| *seq).collect();
        let report = match &meant[..] {
            [] => Report::all(0, &Fate::Placed, Next::Go),
            [one] => {
                let (fate, next) = self.one(one);
                Report { fates: vec![fate], next }
            }
            // Pay-i says what a call cost, and how its limits stand, only to an event that comes alone.
            [first, others @ ..] if self.receipts.is_awaited(first.event.id) => {
                let (fate, next) = self.one(first);
                let later = vec![Fate::Later; others.len()];
                Report { fates: std::iter::once(fate).chain(later).collect(), next }
            }
            several if self.bulk => {
                let awaited = several.iter().position(|p| self.receipts.is_awaited(p.event.id));
                let (now, later) = several.split_at(awaited.unwrap_or(several.len()));
                let mut report = self.many(now);
                report.fates.resize(now.len() + later.len(), Fate::Later);
                report
            }
            several => self.one_by_one(several),
        };
        let mut fates = report.fates.into_iter();
        let fates = batch
            .iter()
            .map(|p| if is_for_it(p) { fates.next().unwrap_or(Fate::Later) } else { Fate::Placed });
        Report { fates: fates.collect(), next: report.next }
    }
}

impl PayI {
    /// Sends single events in their order, until one cannot be placed now.
    fn one_by_one(&mut self, batch: &[&Pending]) -> Report {
        let mut report = Report { fates: Vec::with_capacity(batch.len()), next: Next::Go };
        for pending in batch {
            let (fate, next) = self.one(pending);
            let stop = matches!(fate, Fate::Later | Fate::Suspect);
            report.fates.push(fate);
            report.next = next;
            if stop {
                break;
            }
        }
        report.fates.resize(batch.len(), Fate::Later);
        report
    }
}

/// Whether the server has no bulk address, or none for this key.
fn takes_no_bulks(refusal: &Refusal) -> bool {
    matches!(refusal.status, 403..=405 | 501)
}

/// How long the server asks to be left alone, if it says.
pub(crate) type Told = Option<Duration>;
