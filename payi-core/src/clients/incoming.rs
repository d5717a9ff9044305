//! One attempt over HTTP: around what comes back, whichever client sent it.

use http::{HeaderMap, header};

use crate::{
    clients::{
        body::Watch,
        call::Attempt,
        capture::Keep,
        reader::{Head, When},
        receipt::Receipt,
    },
    usage::{Bucket, Usage},
};

/// An attempt that has begun.
#[derive(Debug)]
pub(crate) struct Begun {
    attempt: Attempt,
    keep: Keep,
    /// The caller gets less than comes: the usage of a stream that did not ask for it.
    hide: bool,
    /// The answer may be read afterwards: other calls do not depend on it.
    later: bool,
}

impl Begun {
    pub(crate) const fn new(attempt: Attempt, keep: Keep, hide: bool, later: bool) -> Self {
        Self { attempt, keep, hide, later }
    }

    /// The id of the event that this will be.
    #[cfg(any(feature = "async-openai", feature = "aws", feature = "reqwest-middleware"))]
    pub(crate) fn id(&self) -> Option<uuid::Uuid> {
        self.attempt.receipt().map(|receipt| receipt.event_id())
    }

    /// There was no answer, for the reason given by a short code.
    pub(crate) fn fail(self, code: &'static str) {
        self.attempt.fail(code);
    }

    /// The answer's head has arrived: what watches its body from now on.
    ///
    /// The receipt goes into the head's extensions; a length that will not be true is taken out of it.
    pub(crate) fn answered(self, head: &mut http::response::Parts) -> Watch {
        let (watch, receipt) = self.watch(head);
        if let Some(receipt) = receipt {
            head.extensions.insert(receipt);
        }
        watch
    }

    /// The same, for who passes the receipt on himself.
    pub(crate) fn watch(self, head: &mut http::response::Parts) -> (Watch, Option<Receipt>) {
        let (answer, said) = head_of(head.status.as_u16(), &head.headers);
        let (receipt, has_time) =
            self.attempt.answered(answer.status, answer.is_stream(), || kept_headers(&head.headers));
        let billed = || {
            let (bucket, count) = self.attempt.billed().filter(|_| head.status.is_success())?;
            Some(Box::new(Usage::new().with(bucket, count)))
        };
        let later = self.later && has_time;
        let when = When::new(later, self.attempt.api(), answer, said.or_else(billed), self.keep);
        let watch = Watch::new(self.attempt, when, answer, self.hide);
        if watch.is_hiding() {
            // The stream becomes shorter than it was announced, if it was.
            head.headers.remove(header::CONTENT_LENGTH);
        }
        (watch, receipt)
    }
}

/// What the head of an answer says, also of what was used; of a header that is there twice the first counts. Answers
/// have few headers: one look at each is less than a look-up of each name.
fn head_of(status: u16, headers: &HeaderMap) -> (Head<'_>, Option<Box<Usage>>) {
    let (mut head, mut said) = (Head { status, ..Head::EMPTY }, None);
    for (name, value) in headers {
        let text = || value.to_str().unwrap_or_default();
        match () {
            () if *name == header::CONTENT_TYPE && head.content_type.is_empty() => {
                head.content_type = value.as_bytes();
            }
            () if *name == header::CONTENT_LENGTH && head.length.is_none() => {
                head.length = text().parse().ok();
            }
            () if *name == header::CONTENT_ENCODING && head.content_encoding.is_empty() => {
                head.content_encoding = text();
            }
            () if *name == "x-amzn-bedrock-input-token-count" && said.is_none() => {
                said = counted(text(), headers).map(Box::new);
            }
            () => {}
        }
    }
    (head, said)
}

/// Bedrock counts in the head of its answers, beside whatever the model says in the body.
fn counted(input: &str, headers: &HeaderMap) -> Option<Usage> {
    let other =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
    Some(
        Usage::new()
            .with(Bucket::Input, input.parse().ok()?)
            .with(Bucket::Output, other("x-amzn-bedrock-output-token-count"))
            .with(Bucket::CacheRead, other("x-amzn-bedrock-cache-read-input-token-count"))
            .with(Bucket::CacheWrite, other("x-amzn-bedrock-cache-write-input-token-count")),
    )
}

/// An answer's headers, without those that identify somebody or describe only the transport.
fn kept_headers(headers: &HeaderMap) -> Vec<(Box<str>, Box<str>)> {
    headers
        .iter()
        .filter(|(name, _)| {
            let name = name.as_str();
            !name.starts_with("content-")
                && !matches!(
                    name,
                    "transfer-encoding"
                        | "set-cookie"
                        | "set-cookie2"
                        | "cookie"
                        | "authorization"
                        | "proxy-authorization"
                        | "www-authenticate"
                        | "proxy-authenticate"
                )
        })
        .filter_map(|(name, value)| Some((name.as_str().into(), value.to_str().ok()?.into())))
        .collect()
}

/// What went wrong, in a word, as far as the operating system says it.
#[cfg(any(feature = "tower", feature = "aws"))]
pub(crate) fn code(error: &(dyn std::error::Error + 'static)) -> &'static str {
    use std::io::ErrorKind::{
        AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut,
    };
    let causes = std::iter::successors(Some(error), |error| error.source());
    match causes.filter_map(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind).last() {
        Some(ConnectionRefused | HostUnreachable | NetworkUnreachable | AddrNotAvailable) => "connect",
        Some(TimedOut) => "timeout",
        _ => "transport",
    }
}
