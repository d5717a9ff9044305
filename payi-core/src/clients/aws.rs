//! An interceptor that tracks calls to Bedrock made with the AWS SDK
//! ([aws-sdk-bedrockruntime](https://docs.rs/aws-sdk-bedrockruntime)): one line at the client's construction.
//!
//! ```
//! # use payi_core::clients as payi;
//! # struct Builder;
//! # impl Builder {
//! #     fn interceptor(self, _: impl aws_smithy_runtime_api::client::interceptors::Intercept + 'static) -> Self { self }
//! # }
//! # let config = Builder;
//! let config = config.interceptor(payi::aws::interceptor()); // aws_sdk_bedrockruntime::Config::builder()
//! # let _ = config;
//! ```
//!
//! Converse and InvokeModel, plain and streamed, are metered from the bytes of their answers; every attempt
//! that the SDK makes is an event of its own, and all attempts of one call share its `call_id`. Registered
//! for the client and once more for a single call (`.customize().interceptor(..)`), it counts once.
//!
//! `xProxy-*` headers set by an interceptor of your own are taken off before the request is signed. A
//! refusal ends the call before it is sent, and is inside the `SdkError`:
//! [`payi::Error::find`](crate::Error::find) locates it.
//!
//! The SDK's hooks are not async. Where this process holds too little of a limit and has to ask for more, the
//! executor's thread waits, not only the task: for half a second at the most, or one where the ledger hangs. On a
//! current-thread runtime all other tasks stand still meanwhile, also those whose end would make room.

use std::{
    any::Any,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use ::aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{
            Intercept,
            context::{
                BeforeDeserializationInterceptorContextMut, BeforeSerializationInterceptorContextRef,
                BeforeTransmitInterceptorContextMut, BeforeTransmitInterceptorContextRef, Error,
                FinalizerInterceptorContextRef,
            },
        },
        orchestrator::{HttpRequest, HttpResponse, OrchestratorError},
        runtime_components::RuntimeComponents,
    },
};
use ::aws_smithy_types::{
    body::SdkBody,
    config_bag::{ConfigBag, Storable, StoreReplace},
};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use uuid::Uuid;

use crate::{
    clients::{
        body::Tee,
        call::Repeat,
        headers,
        incoming::{self, Begun},
        outgoing::{self, Outgoing, Ready},
        receipt::Receipt,
    },
    context::Context,
    limits::block_on,
};

/// An interceptor for the `Config` of a client, or of one call.
pub fn interceptor() -> Interceptor {
    Interceptor(())
}

/// The interceptor made by [`interceptor`].
#[derive(Clone, Debug, Default)]
pub struct Interceptor(());

/// How Pay-i knows the client.
const MODULE: &str = "aws-sdk-bedrockruntime";

/// One call of the SDK's, on its way from hook to hook. There is one for each call, however many of these
/// interceptors are registered: whichever comes first does what there is to do, and the others find it done.
#[derive(Debug)]
struct Call {
    context: Context,
    /// The event of the first attempt.
    id: OnceLock<Uuid>,
    attempts: AtomicU32,
    attempt: Mutex<Stage>,
}

impl Storable for Call {
    type Storer = StoreReplace<Self>;
}

/// How far an attempt has come.
#[derive(Debug, Default)]
enum Stage {
    #[default]
    Ahead,
    Sent(Begun),
    /// Nothing is left to do: it is watched, has failed, was refused, or is nobody's.
    Over,
}

impl Call {
    fn swap(&self, stage: Stage) -> Stage {
        std::mem::replace(&mut *self.attempt.lock().unwrap_or_else(PoisonError::into_inner), stage)
    }

    /// Begins an attempt, unless another interceptor has.
    fn begin(&self, request: &mut HttpRequest) -> crate::Result<()> {
        let mut stage = self.attempt.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*stage, Stage::Ahead) {
            return Ok(());
        }
        *stage = Stage::Over;
        let repeat = Repeat {
            call_id: self.id.get().copied(),
            attempt: self.attempts.fetch_add(1, Ordering::Relaxed) + 1,
        };
        if let Some(begun) = begin(self.context.clone(), request, repeat)? {
            if let Some(id) = begun.id() {
                let _ = self.id.set(id);
            }
            *stage = Stage::Sent(begun);
        }
        Ok(())
    }

    /// The attempt under way, for whoever asks first.
    fn take(&self) -> Option<Begun> {
        match self.swap(Stage::Over) {
            Stage::Sent(begun) => Some(begun),
            Stage::Ahead | Stage::Over => None,
        }
    }
}

impl Intercept for Interceptor {
    fn name(&self) -> &'static str {
        "payi"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if bag.load::<Call>().is_none() {
            bag.interceptor_state().store_put(Call {
                context: Context::current(),
                id: OnceLock::new(),
                attempts: AtomicU32::new(0),
                attempt: Mutex::default(),
            });
        }
        Ok(())
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(call) = bag.load::<Call>() {
            call.swap(Stage::Ahead);
        }
        Ok(())
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        match bag.load::<Call>() {
            Some(call) => Ok(call.begin(context.request_mut())?),
            None => Ok(()),
        }
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(begun) = bag.load::<Call>().and_then(Call::take) {
            watch(begun, context.response_mut());
        }
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(begun) = bag.load::<Call>().and_then(Call::take) {
            begun.fail(context.output_or_error().and_then(Result::err).map_or("transport", code));
        }
        Ok(())
    }
}

fn begin(context: Context, request: &mut HttpRequest, repeat: Repeat) -> crate::Result<Option<Begun>> {
    let mut headers = header_map(request.headers().iter());
    let uri: Uri = request.uri().parse().unwrap_or_default();
    let outgoing = Outgoing {
        method: request.method(),
        scheme: uri.scheme_str().unwrap_or("https"),
        host: uri.host().unwrap_or_default(),
        port: uri.port_u16(),
        path: uri.path(),
        body: request.body().bytes(),
        module: MODULE,
    };
    // The SDK's hooks are not async: where a limit's store has to be asked, this thread waits, for a bounded time.
    let begun = block_on(outgoing::begin(context, outgoing, &mut headers, repeat).wait())?;
    let Some(Ready { begun, body }) = begun else { return Ok(None) };
    take_over(&headers, request);
    if let Some(body) = body {
        *request.body_mut() = body.into();
    }
    Ok(Some(begun))
}

/// Puts ours among `headers` into the request, in place of those that it has.
fn take_over(headers: &HeaderMap, request: &mut HttpRequest) {
    let old: Vec<String> = request
        .headers()
        .iter()
        .map(|(name, _)| name.to_owned())
        .filter(|name| headers::is_ours(name))
        .collect();
    for name in old {
        request.headers_mut().remove(name);
    }
    for (name, value) in headers.iter().filter(|(name, _)| headers::is_ours(name.as_str())) {
        if let Ok(value) = value.to_str() {
            let _ = request.headers_mut().try_insert(name.as_str().to_owned(), value.to_owned());
        }
    }
}

fn watch(begun: Begun, response: &mut HttpResponse) {
    let (mut head, ()) = http::Response::new(()).into_parts();
    head.status = http::StatusCode::from_u16(response.status().as_u16()).unwrap_or_default();
    head.headers = header_map(response.headers().iter());
    let watch = begun.answered(&mut head);
    if let Some(receipt) = head.extensions.remove::<Receipt>() {
        response.add_extension(receipt);
    }
    let body = std::mem::replace(response.body_mut(), SdkBody::taken());
    *response.body_mut() = SdkBody::from_body_1_x(Tee::new(body, watch, |_: &dyn Any| "body"));
}

fn header_map<'h>(headers: impl Iterator<Item = (&'h str, &'h str)>) -> HeaderMap {
    let known = |(name, value): (&str, &str)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
    };
    headers.filter_map(known).collect()
}

/// What went wrong, in a word.
fn code(error: &OrchestratorError<Error>) -> &'static str {
    match error.as_connector_error() {
        _ if error.is_timeout_error() => "timeout",
        Some(error) if error.is_timeout() => "timeout",
        Some(error) => incoming::code(error),
        None => "transport",
    }
}
