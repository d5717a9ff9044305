//! One attempt over HTTP: before it is sent, whichever client sends it.

use std::{future::Future, pin::Pin, sync::Arc};

use http::{HeaderMap, header};

use crate::{
    clients::{
        call::{self, Attempt, PriceAs, Repeat, Said},
        capture::{KEPT_MAX, Keep},
        detect::{self, Endpoint, detect, makes_nothing},
        gate::{self, Sent},
        headers::{self, Effective},
        incoming::Begun,
        inline::{Note, without_inline_data},
        request::{self, Body},
    },
    context::{self, Context, KeySet},
    error::Kind,
    events::{Exchange, PayIAccess, Pipeline, Settings, StreamUsage},
    usage::{
        Api, Guardrail, guardrail,
        sample::{self, Prompt},
    },
};

/// A request that is about to be sent, but for its headers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing<'r> {
    pub(crate) method: &'r str,
    pub(crate) scheme: &'r str,
    pub(crate) host: &'r str,
    pub(crate) port: Option<u16>,
    pub(crate) path: &'r str,
    /// The body, if all of it is in memory.
    pub(crate) body: Option<&'r [u8]>,
    /// How Pay-i knows the client.
    pub(crate) module: &'static str,
}

/// An attempt that has begun, and is to be sent.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) begun: Begun,
    /// What goes instead of the body as it was written.
    pub(crate) body: Option<Vec<u8>>,
}

/// Begins an attempt. This is no `async fn`, so that the futures of callers keep nothing of what it works with.
pub(crate) fn begin<'r>(
    context: Context,
    request: Outgoing<'r>,
    headers: &mut HeaderMap,
    repeat: Repeat,
) -> Beginning<'r> {
    match at_once(context, &request, headers, repeat) {
        AtOnce::Known(begun) => {
            Beginning::Known(begun.map(|begun| begun.map(|begun| Ready { begun, body: None })))
        }
        AtOnce::NotYet(unprepared) => unprepared.begin(request, headers, repeat),
    }
}

/// How an attempt begins, as far as that is known without reading its request, or changing it.
pub(crate) enum AtOnce {
    /// It is sent as it was written; or nobody is listening; or it may not be sent.
    Known(crate::Result<Option<Begun>>),
    NotYet(Unprepared),
}

/// An attempt whose request has to be read before it begins, or may have to be changed.
pub(crate) struct Unprepared {
    pipeline: Arc<Pipeline>,
    context: Context,
    /// What it is for, if that is known already.
    endpoint: Option<Arc<Endpoint>>,
}

/// Begins an attempt, if its request is a short one that is sent as it was written, and of which nothing has to be
/// known before; what it says is read by the thread that notes that it is under way, or with its answer.
pub(crate) fn at_once(
    context: Context,
    request: &Outgoing<'_>,
    headers: &HeaderMap,
    repeat: Repeat,
) -> AtOnce {
    #[cfg(feature = "tracing")]
    let context = crate::clients::tracing::calling(context);
    let context = context.for_call();
    let Some(pipeline) = context.root::<Pipeline>() else { return AtOnce::Known(Ok(None)) };
    let described = match reading(&pipeline, &context, request, headers) {
        Reading::Later(described) => described,
        Reading::First(endpoint) => return AtOnce::NotYet(Unprepared { pipeline, context, endpoint }),
    };
    AtOnce::Known(attributed(&pipeline.settings, context).map(|context| {
        let attempt = Attempt::begin(pipeline, context, described, repeat);
        Some(Begun::new(attempt, Keep::Nothing, false, true))
    }))
}

/// When a request is read.
enum Reading {
    /// By whoever comes to ask.
    Later(call::Request),
    /// Before it is sent; with its endpoint, if that is known already.
    First(Option<Arc<Endpoint>>),
}

/// Tells when a request is read.
fn reading(pipeline: &Pipeline, context: &Context, request: &Outgoing<'_>, headers: &HeaderMap) -> Reading {
    let Some(body) = request.body.filter(|body| body.len() <= sample::KEPT_MAX) else {
        return Reading::First(None);
    };
    let settings = &pipeline.settings;
    let asks = settings.exchange
        || settings.log_prompt_and_response
        || !settings.mappings.is_empty()
        || gate::has_limits(pipeline)
        || context.has_flags();
    #[cfg(feature = "relay")]
    let asks = asks || crate::clients::relay::is_at(request.host, request.port);
    if asks || headers::say_something(headers) || makes_nothing(request.method) {
        return Reading::First(None);
    }
    let endpoint = detect(request.method, request.host, request.path);
    let asks_for_usage = asks_for_usage(settings, request.host, &endpoint) && request::may_stream(body);
    // Whether an answer is made in the background must be known before somebody fetches it.
    if asks_for_usage || request::may_be_background(endpoint.api, body) || !endpoint.is_text() {
        return Reading::First(Some(endpoint));
    }
    Reading::Later(call::Request::unread(endpoint, Prompt::of(body)))
}

impl Unprepared {
    /// Begins it.
    pub(crate) fn begin<'r>(
        self,
        request: Outgoing<'r>,
        headers: &mut HeaderMap,
        repeat: Repeat,
    ) -> Beginning<'r> {
        #[cfg(feature = "relay")]
        if crate::clients::relay::takes_over(request.host, request.port, &self.context, headers) {
            return Beginning::Known(Ok(None));
        }
        match self.prepare(request, headers, repeat) {
            Ok(prepared) => prepared.begin(),
            Err(error) => Beginning::Known(Err(error)),
        }
    }

    fn prepare<'r>(
        self,
        request: Outgoing<'r>,
        headers: &mut HeaderMap,
        repeat: Repeat,
    ) -> crate::Result<Prepared<'r>> {
        let Self { pipeline, context, endpoint } = self;
        let settings = &pipeline.settings;
        let at_pay_i = |pay_i: &PayIAccess| pay_i.is_at(request.scheme, request.host, request.port);
        let call_site = context.call_site();
        let Effective { context, keep, price_as } = headers::apply(&pipeline, context, at_pay_i, headers);
        let context = match call_site {
            Some(site) => context.called_at(site),
            None => context,
        };
        let context = attributed(settings, context)?;
        let mut endpoint = endpoint.unwrap_or_else(|| detect(request.method, request.host, request.path));
        let body =
            request.body.filter(|_| !makes_nothing(request.method)).map(Body::read).unwrap_or_default();
        let may_be_changed = (body.stream || pipeline.gate.is_some()) && may_be_changed(headers);
        let asked = asks_for_usage(settings, request.host, &endpoint)
            .then(|| {
                request
                    .body
                    .filter(|_| body.stream && may_be_changed)
                    .and_then(|bytes| body.with_stream_usage(bytes))
            })
            .flatten();
        let exchange = (keep || settings.exchange).then(|| {
            Box::new(Exchange {
                provider_uri: Some(base(&request, &endpoint)),
                instrumented_module: Some(request.module.into()),
                request_json: request
                    .body
                    .filter(|bytes| keep && bytes.len() <= KEPT_MAX)
                    .map(|bytes| kept(settings, asked.as_deref().unwrap_or(bytes))),
                guardrail: guardrail_of(&endpoint, &request, headers),
                ..Exchange::default()
            })
        });
        let api = endpoint.api;
        let picture = request.body.filter(|_| api == Api::Images).and_then(request::picture);
        let billed = request.body.and_then(|body| request::billed(&endpoint, body));
        let mut said = Said { picture, billed, ..Said::of(&endpoint, body.model, price_as) };
        let context = mapped(settings, request.host, &mut endpoint, &mut said, context);
        let prompt = request
            .body
            .filter(|_| endpoint.is_text() || body.stream || streams(&endpoint, request.path))
            .map(Prompt::of);
        let plain = !headers.contains_key(header::CONTENT_ENCODING);
        // Whether an answer is made in the background must be known before somebody fetches it.
        let later = plain
            && !endpoint.free
            && request.body.is_some_and(|body| !request::may_be_background(api, body));
        let keep = Keep::of(keep, settings.instrument_inline_data);
        let mut described = call::Request::read(endpoint, said);
        (described.prompt, described.exchange) = (prompt, exchange);
        Ok(Prepared {
            context,
            described,
            repeat,
            body: request.body,
            asked,
            plain,
            may_be_changed,
            keep,
            later,
            pipeline,
        })
    }
}

/// All that is known before limits are asked.
struct Prepared<'r> {
    pipeline: Arc<Pipeline>,
    context: Context,
    described: call::Request,
    repeat: Repeat,
    /// The body as it was written.
    body: Option<&'r [u8]>,
    /// The same, but asking for the usage of its stream.
    asked: Option<Vec<u8>>,
    /// The body is in clear.
    plain: bool,
    may_be_changed: bool,
    keep: Keep,
    later: bool,
}

/// How an attempt begins.
pub(crate) enum Beginning<'r> {
    /// It has begun; or nobody is listening, and the request was not touched; or a relay of ours will count it, and is
    /// told by a header whom it is for; or it may not be sent.
    Known(crate::Result<Option<Ready>>),
    /// Once limits have said that it may.
    Asking(Pin<Box<dyn Future<Output = crate::Result<Ready>> + Send + 'r>>),
}

impl Beginning<'_> {
    /// The attempt, once it has begun; `None` if it is nobody's.
    ///
    /// # Errors
    ///
    /// [`Kind::Unattributed`], where a test demands that calls are for somebody; [`Kind::Limit`], where a limit refuses
    /// the call.
    #[inline]
    pub(crate) async fn wait(self) -> crate::Result<Option<Ready>> {
        match self {
            Self::Known(ready) => ready,
            Self::Asking(asking) => asking.await.map(Some),
        }
    }
}

impl<'r> Prepared<'r> {
    fn begin(self) -> Beginning<'r> {
        let Self { pipeline, context, described, repeat, keep, later, .. } = self;
        let hide = self.asked.is_some();
        let ready = move |attempt, body| Ready { begun: Begun::new(attempt, keep, hide, later), body };
        let Some(gate) = gate::before(&pipeline, &described) else {
            let attempt = Attempt::begin(pipeline, context, described, repeat);
            return Beginning::Known(Ok(Some(ready(attempt, self.asked))));
        };
        Beginning::Asking(Box::pin(async move {
            let sent = Sent {
                body: self.asked.as_deref().or(self.body).filter(|_| self.plain),
                may_be_changed: self.may_be_changed,
            };
            let admitted = gate::through(&gate, pipeline, context, described, sent, repeat).await?;
            Ok(ready(admitted.attempt, admitted.body.or(self.asked)))
        }))
    }
}

/// The guardrail that a request to Bedrock names, in its body or in its headers.
fn guardrail_of(endpoint: &Endpoint, request: &Outgoing<'_>, headers: &HeaderMap) -> Option<Guardrail> {
    if endpoint.provider != "aws" {
        return None;
    }
    let header = |name| headers.get(name)?.to_str().ok().map(Into::into);
    let named = Guardrail {
        id: header("x-amzn-bedrock-guardrailidentifier"),
        version: header("x-amzn-bedrock-guardrailversion"),
        ..Guardrail::default()
    };
    if named.id.is_some() { Some(named) } else { request.body.and_then(guardrail::configured) }
}

/// Whether an endpoint streams without being asked to in the body.
fn streams(endpoint: &Endpoint, path: &str) -> bool {
    endpoint.provider == "ollama" || detect::has(path, "stream") || detect::has(path, "Stream")
}

/// A request as it is kept.
fn kept(settings: &Settings, body: &[u8]) -> Box<str> {
    if settings.instrument_inline_data {
        return String::from_utf8_lossy(body).into();
    }
    String::from_utf8_lossy(&without_inline_data(body, Note::AsPayI)).into()
}

/// Lays over what was found by itself what the settings say of this host and of this model.
fn mapped(
    settings: &Settings,
    host: &str,
    endpoint: &mut Arc<Endpoint>,
    Said { model, price_as, .. }: &mut Said,
    context: Context,
) -> Context {
    // Who says anything about the price in a scope, or on the call, says all of it.
    let said = price_as.category.is_some() || price_as.resource.is_some();
    if let Some(category) = settings.mappings.category(host) {
        Arc::make_mut(endpoint).category = category.to_string().into();
        price_as.category.get_or_insert_with(|| category.clone());
    }
    if said {
        return context;
    }
    let Some(model) = model.as_deref() else { return context };
    let is_called = |name: &str| endpoint.is_called(model, name);
    let Some(mapping) = settings.mappings.model(host, is_called) else { return context };
    *price_as = PriceAs {
        category: mapping.price_as_category.clone().or_else(|| price_as.category.take()),
        resource: mapping.price_as_resource.clone(),
    };
    let keys = context::builder()
        .price_as_category(mapping.price_as_category.as_deref())
        .price_as_resource(mapping.price_as_resource.as_deref())
        .resource_scope(mapping.resource_scope.as_deref());
    context.with(keys)
}

/// The context with a note of which required keys it lacks.
#[inline]
fn attributed(settings: &Settings, context: Context) -> crate::Result<Context> {
    let missing = context.missing(settings.require);
    if missing.is_empty() { Ok(context) } else { unattributed(settings, context, missing) }
}

fn unattributed(settings: &Settings, context: Context, missing: KeySet) -> crate::Result<Context> {
    if settings.refuse_unattributed {
        let site = context.call_site().map(|site| format!(" made at {site}")).unwrap_or_default();
        let message = format!(
            "the call{site} has no {missing}, which this test requires; open a scope around it, with \
             `track_context!` or `#[track]`"
        );
        return Err(crate::Error::new(Kind::Unattributed, message));
    }
    Ok(context.without(missing))
}

/// Whether streams from there are made to carry their usage.
fn asks_for_usage(settings: &Settings, host: &str, endpoint: &Endpoint) -> bool {
    let accepts = |host: &str| settings.stream_usage_hosts.iter().any(|known| **known == *host);
    settings.stream_usage == StreamUsage::Auto
        && (endpoint.accepts_stream_usage || (endpoint.api == Api::Chat && accepts(host)))
}

/// Whether a body may grow: not if the caller has signed it, measured it or packed it.
fn may_be_changed(headers: &HeaderMap) -> bool {
    const FIXED: [&str; 7] = [
        "content-length",
        "content-encoding",
        "content-md5",
        "content-digest",
        "digest",
        "signature",
        "x-amz-content-sha256",
    ];
    // A request has few headers: one look at each is less than a look-up of each name.
    !headers.iter().any(|(name, value)| match name.as_str() {
        "authorization" => {
            value.as_bytes().starts_with(b"AWS4-") || value.as_bytes().starts_with(b"Signature")
        }
        name => FIXED.contains(&name),
    })
}

/// The address of the host's API, without credentials, query and endpoint.
fn base(request: &Outgoing<'_>, endpoint: &Endpoint) -> Box<str> {
    let path = request.path.get(..endpoint.base).unwrap_or_default().trim_end_matches('/');
    // OpenAI's clients are given an address with the version in it, and a slash; others the host alone.
    let path = if endpoint.host_alone {
        path.find("/v1").map_or(path, |version| &path[..version]).to_owned()
    } else {
        format!("{path}/")
    };
    let (scheme, host) = (request.scheme, request.host);
    match request.port {
        Some(port) => format!("{scheme}://{host}:{port}{path}").into(),
        None => format!("{scheme}://{host}{path}").into(),
    }
}

#[cfg(test)]
#[path = "outgoing_tests.rs"]
mod tests;
