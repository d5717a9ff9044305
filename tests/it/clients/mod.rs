//! The tracked reqwest client against the provider on loopback: what is recorded, and that nothing
//! of what the caller sees is changed.

mod background;
mod faults;
mod garbage;
mod receipts;
mod streams;
mod transparent;

use payi::{
    events::Event,
    reqwest::Client,
    testing::{Answer, Provider, Recorder},
};

/// A provider, a client and a recorder.
struct Bench {
    provider: Provider,
    http: Client,
    recorder: Recorder,
}

impl Bench {
    fn new() -> Self {
        Self {
            provider: Provider::start().expect("a free port"),
            http: Client::new(),
            recorder: Recorder::new(),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.provider.url())
    }

    /// The one event recorded.
    fn event(&self) -> Event {
        assert_eq!(self.recorder.open_calls(), 0, "every attempt ends");
        let [event] = &self.recorder.take()[..] else { panic!("one event") };
        event.clone()
    }

    async fn chat(&self, body: &str) -> Result<String, payi::reqwest::Error> {
        let sent = self.http.post(self.url("/v1/chat/completions")).body(body.to_owned()).send();
        Ok(sent.await?.text().await?)
    }

    /// Asks for embeddings, gets all of an answer however large, and is charged eight tokens.
    async fn is_charged_for(&self, answer: Vec<u8>) {
        let length = answer.len();
        self.provider.next(Answer::json(answer));
        let call = async {
            self.http.post(self.url("/v1/embeddings")).body("{}").send().await.expect("a head").bytes().await
        };
        assert_eq!(self.recorder.scope(call).await.expect("a body").len(), length);
        let event = self.event();
        assert_eq!((event.usage.input_tokens(), event.usage_suspect), (8, false));
    }
}

const ASK: &str = r#"{"model":"gpt-4o-mini","messages":[]}"#;
const STREAM: &str =
    r#"{"model":"gpt-4o-mini","stream":true,"stream_options":{"include_usage":true},"messages":[]}"#;
