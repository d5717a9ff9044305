//! The one thread that writes what arrives: batches of many clients in one transaction, answered when it is
//! committed.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use payi_core::{
    context::{Properties, Resolved},
    events::Event,
    ledger::{Collector, Folder, Ledger, Placed},
};
use tokio::sync::{mpsc, oneshot};

use crate::server::api::error::Refusal;

/// Batches that wait for their transaction; further clients wait with theirs.
const WAITING: usize = 256;
/// Events in one transaction at most, unless one batch alone has more.
const EVENTS: usize = 8_192;

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
            thread::Builder::new().name("payi-folder".into()).spawn(move || fold(&folder, &grown)),
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

/// Folds when something was written, and from time to time what other processes wrote, until the writer ends.
fn fold(folder: &Folder, grown: &Receiver<()>) {
    const PAUSE: Duration = Duration::from_secs(1);
    let mut warned = false;
    while grown.recv_timeout(PAUSE) != Err(RecvTimeoutError::Disconnected) {
        loop {
            match folder.fold() {
                Ok(true) => {}
                Ok(false) => break,
                Err(e) => {
                    if !std::mem::replace(&mut warned, true) {
                        tracing::warn!(error = %e, "payi serve: the rollups are behind; reports stay exact, but take longer");
                    }
                    break;
                }
            }
        }
    }
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

    use axum::{extract::State, http::StatusCode};
    use payi_core::pricing::PriceBook;

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
}
