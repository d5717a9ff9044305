//! The one thread that writes what arrives: batches of many clients in one transaction, answered when it is
//! committed.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use payi_core::{
    context::{Properties, Resolved},
    events::Event,
    ledger::{Collector, Folder, KEEP_PROMPTS, Ledger, Placed},
};
use tokio::sync::{mpsc, oneshot};

use crate::server::api::error::Refusal;

/// Batches that wait for their transaction; further clients wait with theirs.
const WAITING: usize = 256;
/// Events in one transaction at most, unless one batch alone has more.
const EVENTS: usize = 8_192;
/// What has had its time is looked for this often.
const SWEEP: Duration = Duration::from_secs(180);

type Events = Vec<(Event, Resolved)>;

#[derive(Debug)]
enum Job {
    Place(Events, oneshot::Sender<Option<Vec<Placed>>>),
    SetProperties(i64, Properties, oneshot::Sender<Option<bool>>),
}

/// The way to the thread. It ends when the last of these is gone and everything sent is written.
#[derive(Clone, Debug)]
pub(crate) struct Writer(mpsc::Sender<Job>);

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(ledger: &Ledger, keep_prompts: bool) -> payi_core::Result<Self> {
        let collector = Collector::new(ledger, keep_prompts)?;
        let folder = Folder::new(ledger)?;
        let (to, jobs) = mpsc::channel(WAITING);
        let (news, grown) = sync_channel(1);
        let threads = [
            thread::Builder::new().name("payi-collector".into()).spawn(move || write(collector, jobs, &news)),
            thread::Builder::new()
                .name("payi-folder".into())
                .spawn(move || keep(&folder, &grown, keep_prompts)),
        ];
        for e in threads.into_iter().filter_map(Result::err) {
            tracing::error!(error = %e, "payi serve: no thread for the collector; events are refused");
        }
        Ok(Self(to))
    }

    /// Whether the thread is there.
    pub(crate) fn takes_events(&self) -> bool {
        !self.0.is_closed()
    }

    /// Writes events; what became of each, once that is durable.
    pub(crate) async fn place(&self, events: Events) -> Result<Vec<Placed>, Refusal> {
        self.ask(|reply| Job::Place(events, reply)).await
    }

    /// Lays properties over those of an event.
    pub(crate) async fn set_properties(&self, seq: i64, properties: Properties) -> Result<bool, Refusal> {
        self.ask(|reply| Job::SetProperties(seq, properties, reply)).await
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<Option<T>>) -> Job) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.0.send(job(reply)).await.map_err(|_| Refusal::unavailable())?;
        answer.await.ok().flatten().ok_or_else(Refusal::unavailable)
    }
}

/// Folds when something was written, and from time to time what other processes wrote, and lets go of what has had its
/// time, until the writer ends.
fn keep(folder: &Folder, grown: &Receiver<()>, keep_prompts: bool) {
    const PAUSE: Duration = Duration::from_secs(1);
    // What others keep is theirs to let go of: they may keep it longer.
    let keep_prompts = keep_prompts.then_some(KEEP_PROMPTS);
    let mut swept: Option<Instant> = None;
    let (mut fold_warned, mut sweep_warned) = (false, false);
    while grown.recv_timeout(PAUSE) != Err(RecvTimeoutError::Disconnected) {
        if let Err(e) = fold(folder)
            && !std::mem::replace(&mut fold_warned, true)
        {
            tracing::warn!(error = %e, "payi serve: the rollups are behind; reports stay exact, but take longer");
        }
        if swept.is_none_or(|at| at.elapsed() >= SWEEP) {
            swept = Some(Instant::now());
            if let Err(e) = folder.sweep(keep_prompts)
                && !std::mem::replace(&mut sweep_warned, true)
            {
                tracing::warn!(error = %e, "payi serve: what has had its time could not be deleted; it is tried again");
            }
        }
    }
}

fn fold(folder: &Folder) -> payi_core::Result<()> {
    while folder.fold()? {}
    Ok(())
}

fn write(mut collector: Collector, mut jobs: mpsc::Receiver<Job>, news: &SyncSender<()>) {
    let mut next = jobs.blocking_recv();
    while let Some(job) = next.take() {
        match job {
            Job::Place(events, reply) => {
                let mut batch = events;
                let mut replies = vec![(batch.len(), reply)];
                while batch.len() < EVENTS {
                    match jobs.try_recv() {
                        Ok(Job::Place(events, reply)) => {
                            replies.push((events.len(), reply));
                            batch.extend(events);
                        }
                        Ok(other) => {
                            next = Some(other);
                            break;
                        }
                        Err(_) => break,
                    }
                }
                answer(&mut collector, &batch, replies);
                // One message is enough to wake the other thread.
                let _ = news.try_send(());
            }
            Job::SetProperties(seq, properties, reply) => {
                let done = collector.set_properties(seq, &properties);
                let _ = reply.send(done.inspect_err(failed).ok());
            }
        }
        if next.is_none() {
            next = jobs.blocking_recv();
        }
    }
}

fn answer(
    collector: &mut Collector,
    batch: &[(Event, Resolved)],
    replies: Vec<(usize, oneshot::Sender<Option<Vec<Placed>>>)>,
) {
    let mut placed = collector.place(batch).inspect_err(failed).ok().map(Vec::into_iter);
    for (count, reply) in replies {
        // A client that has gone will send again, and be told that it is a duplicate.
        let _ = reply.send(placed.as_mut().map(|placed| placed.by_ref().take(count).collect()));
    }
}

fn failed(e: &payi_core::Error) {
    tracing::error!(error = %e, "payi serve: events could not be written; their clients are told to send again");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::time::SystemTime;

    use axum::{extract::State, http::StatusCode};
    use payi_core::{events::Exchange, pricing::PriceBook, testing::sample_event};

    use super::*;
    use crate::server::{app::App, health::ready};

    #[tokio::test]
    async fn a_service_whose_collector_has_ended_is_not_ready() {
        let app = App::new(&Ledger::in_memory().unwrap(), PriceBook::embedded()).unwrap();
        let (to, jobs) = mpsc::channel(1);
        let writer = Writer(to);
        assert_eq!(ready(State((app.clone(), writer.clone()))).await.status(), StatusCode::OK);
        // As a panic of its thread does.
        drop(jobs);
        assert_eq!(ready(State((app, writer))).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn a_service_lets_go_of_the_prompts_that_it_has_kept_long_enough() {
        let prompt = |age: Duration| {
            let mut exchange = Exchange::default();
            exchange.request_json = Some("{}".into());
            let mut event = sample_event();
            event.started_at = SystemTime::now() - age;
            event.exchange = Some(Box::new(exchange));
            event
        };
        let (old, young) = (prompt(KEEP_PROMPTS + Duration::from_secs(60)), prompt(Duration::from_secs(60)));
        let ledger = Ledger::in_memory().unwrap();
        let kept = |id| {
            let found = ledger.view(|view| view.request(id)).unwrap().unwrap();
            found.0.event.exchange.is_some_and(|exchange| exchange.request_json.is_some())
        };
        let mut collector = Collector::new(&ledger, true).unwrap();
        let events = [&old, &young].map(|event| (event.clone(), event.context.resolve()));
        collector.place(&events).unwrap();
        assert!(kept(old.id) && kept(young.id));

        // One that keeps none itself leaves others theirs.
        for (keeps, stays) in [(false, true), (true, false)] {
            let folder = Folder::new(&ledger).unwrap();
            let (news, grown) = sync_channel(1);
            let thread = thread::spawn(move || keep(&folder, &grown, keeps));
            news.send(()).unwrap();
            drop(news);
            thread.join().unwrap();
            assert_eq!((kept(old.id), kept(young.id)), (stays, true));
        }
    }
}
