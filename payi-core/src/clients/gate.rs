//! The way into a call: through the gate of limits, or not at all.
//!
//! Every wrapper that can refuse begins its attempts here. What is refused is recorded as blocked and
//! never leaves the process.

use std::{sync::Arc, time::SystemTime};

use crate::{
    clients::{
        call::{Attempt, Held, Repeat, Request, Said},
        detect::Endpoint,
    },
    context::{Context, Resolved},
    events::Pipeline,
    limits::{Admission, Asked, Estimate, Gate, Model, Prompt, Refused, Unbounded, micros, refused},
    pricing::Names,
    usage::{
        Api,
        pick::{Picker, Rule, Rules, Then},
    },
};

/// What a wrapper knows of the request's body.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent<'a> {
    /// All of it, where it is in memory and not packed; else the call has no bound.
    pub(crate) body: Option<&'a [u8]>,
    /// Whether it may grow: not if the caller has signed or measured it.
    pub(crate) may_be_changed: bool,
}

/// An attempt that may be sent.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) attempt: Attempt,
    /// To be sent instead of the body that was given; only where a limit says so (`InjectMaxTokens`).
    pub(crate) body: Option<Vec<u8>>,
}

/// Reserves for an attempt that is yet to begin what it may come to; when limits were asked, if any has to do with it.
///
/// # Errors
///
/// As [`through`].
pub(crate) async fn reserve(
    pipeline: &Arc<Pipeline>,
    context: &Context,
    request: Request,
    prompt: &Prompt,
) -> crate::Result<Option<(SystemTime, Box<Held>)>> {
    let Some(gate) = before(pipeline, &request) else { return Ok(None) };
    let asked_at = pipeline.clock.now();
    let who = context.resolve();
    let asked = (&*request.endpoint, request.said(context));
    match ask(&gate, pipeline, &who, asked, prompt, micros(asked_at)).await {
        Ok(held) => Ok(held.map(|held| (asked_at, held))),
        Err(no) => Err(block(Arc::clone(pipeline), context.clone(), request, Repeat::NONE, *no)),
    }
}

/// The gate, if there is one before such calls.
pub(crate) fn before(pipeline: &Pipeline, request: &Request) -> Option<Arc<Gate>> {
    if request.endpoint.free {
        return None;
    }
    let gate = pipeline.gate.as_ref().filter(|_| has_limits(pipeline))?;
    Arc::clone(gate).downcast().ok()
}

/// Whether there is any limit.
pub(crate) fn has_limits(pipeline: &Pipeline) -> bool {
    pipeline.gate.as_ref().is_some_and(|gate| gate.downcast_ref().is_some_and(Gate::has_limits))
}

/// Records what is refused; the error that says so.
fn block(
    pipeline: Arc<Pipeline>,
    context: Context,
    request: Request,
    repeat: Repeat,
    no: Refused,
) -> crate::Error {
    Attempt::block(pipeline, context, request, repeat, (no.refusal.code(), no.marks));
    refused(no.refusal)
}

/// Begins an attempt, once every limit it counts against has reserved what it can cost.
///
/// It waits only where this process holds too little of a limit and has to ask for more, and then for a
/// bounded time.
///
/// # Errors
///
/// [`Error::is_limit`](crate::Error::is_limit): a limit refuses the call. Nothing may be sent; the refusal
/// is recorded already.
pub(crate) async fn through(
    gate: &Gate,
    pipeline: Arc<Pipeline>,
    context: Context,
    request: Request,
    sent: Sent<'_>,
    repeat: Repeat,
) -> crate::Result<Admitted> {
    let who = context.resolve();
    let started_at = pipeline.clock.now();
    let at_us = micros(started_at);
    let mut prompt = Prompt::read(sent.body);
    let asked = (&*request.endpoint, request.said(&context));
    let found = ask(gate, &pipeline, &who, asked, &prompt, at_us).await;
    let (found, body) = match (found, sent.body) {
        (Err(no), Some(body)) if sent.may_be_changed && gate.may_shorten(&who, &no) => {
            shorten(gate, &pipeline, &who, asked, &mut prompt, (body, at_us), no).await
        }
        (found, _) => (found, None),
    };
    match found {
        Ok(held) => {
            let attempt = Attempt::begin_held(pipeline, context, request, repeat, (started_at, held));
            Ok(Admitted { attempt, body })
        }
        Err(no) => Err(block(pipeline, context, request, repeat, *no)),
    }
}

async fn ask(
    gate: &Gate,
    pipeline: &Pipeline,
    who: &Resolved,
    (endpoint, said): (&Endpoint, &Said),
    prompt: &Prompt,
    at_us: i64,
) -> Result<Option<Box<Held>>, Box<Refused>> {
    let admission = {
        let resource = said.price_as.resource.as_deref();
        let name = resource.or(said.model.as_deref());
        let others = if resource.is_some() { &[][..] } else { &prompt.models };
        let category = said.price_as.category.as_deref();
        let provider = Names { category, ..Names::of(&endpoint.provider) }.provider();
        let api = endpoint.api;
        let estimate = || Estimate::new(pipeline.book, &Model { provider, name, others, api, at_us }, prompt);
        gate.admit(&Asked { who, at_us, estimate: &estimate })
    };
    match admission {
        Admission::Unlimited => Ok(None),
        Admission::Held(hold, estimate) => Ok(Some(Box::new(Held { hold, estimate }))),
        Admission::Wait(waiting, estimate) => Ok(Some(Box::new(Held { hold: waiting.await?, estimate }))),
        Admission::Refused(no) => Err(Box::new(no)),
    }
}

/// Answers so long are tried for, in turn.
const LENGTHS: [u64; 4] = [4_096, 1_024, 256, 64];

/// Gives the request the longest maximum that what is left can pay for.
async fn shorten(
    gate: &Gate,
    pipeline: &Pipeline,
    who: &Resolved,
    asked: (&Endpoint, &Said),
    prompt: &mut Prompt,
    (body, at_us): (&[u8], i64),
    mut no: Box<Refused>,
) -> (Result<Option<Box<Held>>, Box<Refused>>, Option<Vec<u8>>) {
    let hopeless = no.refusal.reason.is_some_and(|reason| reason != "unbounded");
    if hopeless || prompt.names_maximum || !matches!(prompt.unbounded, None | Some(Unbounded::NoMaximum)) {
        return (Err(no), None);
    }
    for length in LENGTHS {
        let Some(body) = with_maximum(body, asked.0, length) else { break };
        prompt.set_maximum(length);
        match ask(gate, pipeline, who, asked, prompt, at_us).await {
            Ok(held) => return (Ok(held), Some(body)),
            Err(again) => no = again,
        }
        // A shorter answer helps only where there is too little room.
        if no.refusal.reason.is_some() {
            break;
        }
    }
    (Err(no), None)
}

/// What a request calls the most that may be written.
const MAXIMA: &Rules<&str> = &Rules::new(&[
    Rule { level: 0, key: "max_tokens", then: Then::Keep("max_tokens") },
    Rule { level: 0, key: "max_completion_tokens", then: Then::Keep("max_completion_tokens") },
    Rule { level: 0, key: "max_output_tokens", then: Then::Keep("max_output_tokens") },
]);

/// The body with a maximum before its first key, or in the place of a `null` under the same name; every other byte
/// stays.
fn with_maximum(body: &[u8], endpoint: &Endpoint, length: u64) -> Option<Vec<u8>> {
    let key = match endpoint.api {
        // Models that think refuse the older name, there and at Azure.
        Api::Chat if matches!(&*endpoint.provider, "openai" | "azure") => "max_completion_tokens",
        Api::Chat | Api::Completions | Api::Messages => "max_tokens",
        Api::Responses => "max_output_tokens",
        _ => return None,
    };
    let said = Picker::over(MAXIMA, body);
    if let Some(null) = said.last(key) {
        let (head, tail) = body.split_at_checked(said.place(key)?)?;
        let tail = tail.strip_prefix(null)?;
        return Some([head, length.to_string().as_bytes(), tail].concat());
    }
    let brace = body.iter().position(|b| *b == b'{')?;
    let (head, tail) = body.split_at_checked(brace + 1)?;
    let empty = tail.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'}');
    let comma = if empty { "" } else { "," };
    Some([head, format!("\"{key}\":{length}{comma}").as_bytes(), tail].concat())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::clients::detect::detect;

    #[test]
    fn a_maximum_takes_the_place_of_a_null_or_comes_first() {
        const AZURE: &str = "/openai/deployments/gpt-5-eu/chat/completions";
        for (host, path, body, sent) in [
            (
                "api.groq.com",
                "/v1/chat/completions",
                r#"{"model":"m","max_tokens": null ,"messages":[]}"#,
                r#"{"model":"m","max_tokens": 9 ,"messages":[]}"#,
            ),
            ("api.groq.com", "/v1/chat/completions", r#"{"model":"m"}"#, r#"{"max_tokens":9,"model":"m"}"#),
            (
                "api.openai.com",
                "/v1/chat/completions",
                r#"{"max_tokens":null}"#,
                r#"{"max_completion_tokens":9,"max_tokens":null}"#,
            ),
            ("acme.openai.azure.com", AZURE, r#"{"n":1}"#, r#"{"max_completion_tokens":9,"n":1}"#),
            (
                "api.openai.com",
                "/v1/responses",
                r#"{"max_output_tokens":null}"#,
                r#"{"max_output_tokens":9}"#,
            ),
            ("api.anthropic.com", "/v1/messages", "{ }", r#"{"max_tokens":9 }"#),
        ] {
            let made = with_maximum(body.as_bytes(), &detect("POST", host, path), 9).unwrap();
            assert_eq!(String::from_utf8(made).unwrap(), sent, "{host}");
        }
    }

    /// One wait for a store that cannot be asked is enough: no shorter answer helps.
    #[test]
    fn a_request_is_not_shortened_for_want_of_a_store() {
        use std::{
            sync::atomic::Ordering::Relaxed,
            time::{Duration, Instant},
        };

        use crate::{
            context,
            limits::{Limit, Policy, Store as _, block_on, gate_tests::Faulty},
            sink::Fan,
        };

        let store = Faulty::new();
        let limit = Limit::block("l", "100".parse().unwrap()).policy(Policy::InjectMaxTokens).everyone();
        block_on(store.put(limit, 0)).unwrap();
        let gate = Gate::start(Arc::clone(&store) as Arc<_>, "p".into()).unwrap();
        store.every.store(1, Relaxed);
        let mut pipeline = Pipeline::new(Arc::new(Fan::new(std::iter::empty())));
        pipeline.gate = Some(Arc::new(gate));
        let endpoint = detect("POST", "api.openai.com", "/v1/chat/completions");
        let request = Request::read(endpoint, Said { model: Some("gpt-4o".into()), ..Said::default() });
        let sent = Sent { body: Some(br#"{"model":"gpt-4o","messages":[]}"#), may_be_changed: true };
        let since = Instant::now();
        let gate = before(&pipeline, &request).unwrap();
        let context = context::builder().build();
        let begun = through(&gate, Arc::new(pipeline), context, request, sent, Repeat::NONE);
        let refused = block_on(begun).unwrap_err();
        assert_eq!(refused.refusal().unwrap().reason, Some("store"));
        assert!(since.elapsed() < Duration::from_millis(1_400), "{:?}", since.elapsed());
    }
}
