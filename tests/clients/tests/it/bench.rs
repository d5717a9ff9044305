//! Many users at once, through one client: how many of their calls are seen, and for whom.

use std::{future::Future, time::Duration};

use futures::{
    FutureExt,
    future::{LocalBoxFuture, join_all},
};
use payi::{
    events::{Event, Outcome, Settings},
    testing::{Provider, Recorder},
};

/// How many users call at once.
pub(crate) const USERS: usize = 8;

/// A provider and a recorder.
pub(crate) struct Bench {
    pub(crate) provider: Provider,
    pub(crate) recorder: Recorder,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let mut settings = Settings::default();
        settings.stream_usage_hosts.push("127.0.0.1".into());
        let recorder = Recorder::new().settings(settings);
        Self { provider: Provider::start().unwrap(), recorder }
    }

    /// An address of the provider's.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.provider.url())
    }

    /// Runs `call` for `user`.
    pub(crate) fn of<'a, T>(
        &'a self,
        user: &'a str,
        call: impl Future<Output = T> + 'a,
    ) -> LocalBoxFuture<'a, T> {
        // A scope is made where it is asked for: inside the recorder's.
        let call = async move { payi::context().user_id(user).scope(call).await };
        self.recorder.scope(call).boxed_local()
    }

    /// The events so far, once every call has ended: some clients read in tasks of their own.
    pub(crate) async fn events(&self, count: usize) -> Vec<Event> {
        for _ in 0..2000 {
            if self.recorder.open_calls() == 0 && self.recorder.events().len() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(self.recorder.open_calls(), 0, "every attempt ends");
        self.recorder.take()
    }

    /// The one event.
    pub(crate) async fn event(&self) -> Event {
        let [event] = &self.events(1).await[..] else { panic!("one event") };
        event.clone()
    }

    /// Calls for every user at once, in one task, plain and then streamed, and prints how many were seen.
    ///
    /// `call` is given the user's number, whose call asks for a model of that number, and whether to stream.
    pub(crate) async fn everybody<F: Future<Output = ()>>(
        &self,
        client: &str,
        mut call: impl FnMut(usize, bool) -> F,
    ) {
        let mut seen = Vec::new();
        for streamed in [false, true] {
            let calls = (0..USERS).map(|n| {
                let call = call(n, streamed);
                async move { payi::context().user_id(user(n)).scope(call).await }
            });
            self.recorder.scope(join_all(calls)).await;
            let events = self.events(USERS).await;
            let right = events.iter().filter(|event| is_right(event, client)).count();
            assert_eq!((events.len(), right), (USERS, USERS), "{client}: {events:#?}");
            seen.push(events.len());
        }
        println!(
            "evidence clients: {client}: {} of {USERS} plain and {} of {USERS} streamed calls seen, each for its user",
            seen[0], seen[1]
        );
    }
}

fn user(n: usize) -> String {
    format!("u-{n}")
}

/// Whether a call was read to its end, with its usage, and is for the user whose number its model has.
fn is_right(event: &Event, client: &str) -> bool {
    let asked = event.request_model.as_deref().unwrap_or_default();
    let number = asked.rsplit(['-', ':']).next().and_then(|n| n.parse().ok());
    assert_eq!(event.outcome, Outcome::Ok, "{client}: {event:#?}");
    assert!(event.usage.output_tokens() >= 310, "{client}: {event:#?}");
    number.is_some_and(|n| event.context.resolve().user_id.as_deref() == Some(&*user(n)))
}
