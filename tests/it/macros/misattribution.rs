//! Real HTTP calls of many users at once: each event names the user whose call it was.
//!
//! Every request asks for a model of the user's own name, so that the event says twice whose it is: once
//! from the request itself, once from the context.

use std::{collections::HashSet, sync::Arc};

use futures::{StreamExt as _, stream::FuturesUnordered};
use payi::{
    events::Event,
    reqwest::Client,
    testing::{Provider, Recorder},
    track, track_context,
};
use tokio::{runtime::Builder, sync::Semaphore};

use super::turn;

/// How many connections are open at once: all users are in their scopes, and wait for their turn there.
const CONNECTIONS: usize = 250;

/// What a service has.
#[derive(Clone)]
struct Service {
    http: Client,
    url: Arc<str>,
    free: Arc<Semaphore>,
}

impl Service {
    fn new(provider: &Provider) -> Self {
        Self {
            http: Client::new(),
            url: format!("{}/v1/chat/completions", provider.url()).into(),
            free: Arc::new(Semaphore::new(CONNECTIONS)),
        }
    }

    /// Asks on behalf of whoever is current; the request names `user`.
    fn request(&self, user: &str) -> payi::reqwest::RequestBuilder {
        let message = serde_json::json!({ "role": "user", "content": "hello" });
        self.http.post(&*self.url).json(&serde_json::json!({ "model": user, "messages": [message] }))
    }

    #[track(use_case_name = "chat")]
    async fn ask(&self, user: &str) -> String {
        let _free = self.free.acquire().await.unwrap();
        turn().await;
        let answer = self.request(user).send().await.unwrap();
        turn().await;
        answer.text().await.unwrap()
    }

    /// One user's request: his scope, awaits, a call, and awaits after it.
    async fn one(&self, user: String) {
        track_context!(user_id = user, account_name = "acme", {
            turn().await;
            let answer = self.ask(&user).await;
            assert!(answer.contains("\"usage\""), "{answer}");
            turn().await;
        });
    }

    /// Two calls of one user in one `join!`: the first reads the context where it is made, the second when
    /// it is first polled.
    async fn two(&self, user: String) {
        track_context!(user_id = user, {
            let free = self.free.acquire().await.unwrap();
            let later = async {
                turn().await;
                self.request(&user).send().await
            };
            let (made, polled) = tokio::join!(self.request(&user).send(), later);
            for answer in [made.unwrap(), polled.unwrap()] {
                assert!(answer.text().await.unwrap().contains("\"usage\""));
            }
            drop(free);
        });
    }
}

/// How many of the events name another user than their request, or none.
fn wrong(events: &[Event]) -> usize {
    let right = |event: &&Event| event.context.user_id().as_deref() == event.request_model.as_deref();
    events.len() - events.iter().filter(right).count()
}

/// The figures of one run; fails unless there are `calls` events of `users` users, all right.
fn shown(how: &str, recorder: &Recorder, calls: usize, users: usize) -> String {
    let events = recorder.take();
    let named: HashSet<_> = events.iter().filter_map(|event| event.request_model.clone()).collect();
    let wrong = wrong(&events);
    assert_eq!((events.len(), named.len(), wrong, recorder.open_calls()), (calls, users, 0, 0), "{how}");
    format!("{how} {} events of {} users, {wrong} wrong", events.len(), named.len())
}

fn runs(count: usize) -> Vec<String> {
    let provider = Provider::start().unwrap();
    let mut figures = Vec::new();
    let workers = Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let alone = Builder::new_current_thread().enable_all().build().unwrap();
    for (how, runtime) in [("4 workers:", &workers), ("one thread:", &alone)] {
        let (service, recorder) = (Service::new(&provider), Recorder::new());
        runtime.block_on(recorder.scope(async {
            let tasks: Vec<_> = (0..count)
                .map(|n| {
                    let service = service.clone();
                    payi::spawn(async move { service.one(format!("user-{n}")).await })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        }));
        figures.push(shown(how, &recorder, count, count));
    }
    let (service, recorder) = (Service::new(&provider), Recorder::new());
    workers.block_on(recorder.scope(async {
        let mut together: FuturesUnordered<_> =
            (0..count).map(|n| service.one(format!("user-{n}"))).collect();
        while together.next().await.is_some() {}
    }));
    figures.push(shown("FuturesUnordered in one task:", &recorder, count, count));
    workers.block_on(recorder.scope(async {
        let mut together: FuturesUnordered<_> =
            (0..count / 2).map(|n| service.two(format!("user-{n}"))).collect();
        while together.next().await.is_some() {}
    }));
    figures.push(shown("join! in one task:", &recorder, count / 2 * 2, count / 2));
    figures
}

#[test]
fn no_call_is_billed_to_somebody_else() {
    runs(200);
}

#[test]
#[ignore = "evidence"]
fn no_call_of_ten_thousand_is_billed_to_somebody_else() {
    println!("evidence misattribution: {}", runs(10_000).join("; "));
}
