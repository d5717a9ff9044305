//! An event as one line of JSON: what an export holds, and what a person who asks for their data is given.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io::{self, Write},
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    context::{Context, Properties, Resolved, Text, UseCase},
    events::{Event, Exchange, Outcome},
    ledger::{
        StoredEvent, ids,
        rows::{ByModel, by_model, from_models},
    },
    money::Money,
    pricing::{Cost, CostSource},
    usage::{Bucket, FunctionCall, Guardrail, Usage},
};

type Str = Option<Box<str>>;

#[derive(Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of the format")]
struct Line {
    event_id: Box<str>,
    call_id: Box<str>,
    attempt: u32,
    /// It says how an attempt really ended that had been taken for abandoned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    correction: bool,
    user_id: Option<Text>,
    account_name: Option<Text>,
    use_case_name: Option<Text>,
    use_case_id: Option<Text>,
    use_case_version: Option<u32>,
    use_case_step: Option<Text>,
    #[serde(default)]
    use_case_properties: Properties,
    #[serde(default)]
    limit_ids: Vec<Text>,
    #[serde(default)]
    request_tags: Vec<Text>,
    #[serde(default)]
    request_properties: Properties,
    price_as_category: Option<Text>,
    price_as_resource: Option<Text>,
    resource_scope: Option<Text>,
    proxy: Option<bool>,
    log_prompt_and_response: Option<bool>,
    provider: Cow<'static, str>,
    operation: Cow<'static, str>,
    category: Cow<'static, str>,
    request_model: Str,
    response_model: Str,
    streamed: bool,
    started_at: Box<str>,
    latency_us: u64,
    time_to_first_token_us: Option<u64>,
    outcome: Box<str>,
    http_status: Option<u16>,
    error: Str,
    usage: BTreeMap<Box<str>, u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    usage_elsewhere: ByModel,
    #[serde(default)]
    usage_estimated: bool,
    #[serde(default)]
    usage_suspect: bool,
    #[serde(default)]
    free: bool,
    cost_usd: Box<str>,
    cost_source: Box<str>,
    reported_cost_usd: Str,
    response_id: Str,
    service_tier: Str,
    geo: Str,
    provider_uri: Str,
    instrumented_module: Str,
    #[serde(default)]
    function_calls: Vec<(Box<str>, Str)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    guardrail: Option<Guardrail>,
    request_json: Str,
    #[serde(default)]
    response_json: Vec<Box<str>>,
}

pub(super) fn write(stored: &StoredEvent, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &line(stored))?;
    out.write_all(b"\n")
}

fn us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn line(stored: &StoredEvent) -> Line {
    let (event, who) = (stored.event.clone(), stored.who.clone());
    let case = who.use_case.unwrap_or_default();
    let exchange = event.exchange.map(|exchange| *exchange).unwrap_or_default();
    Line {
        event_id: event.id.to_string().into(),
        call_id: event.call_id.to_string().into(),
        attempt: event.attempt,
        correction: stored.corrects.is_some(),
        user_id: who.user_id,
        account_name: who.account_name,
        use_case_name: (!case.name.is_empty()).then_some(case.name),
        use_case_id: case.id,
        use_case_version: case.version,
        use_case_step: case.step,
        use_case_properties: case.properties,
        limit_ids: who.limit_ids,
        request_tags: who.request_tags,
        request_properties: who.request_properties,
        price_as_category: who.price_as_category,
        price_as_resource: who.price_as_resource,
        resource_scope: who.resource_scope,
        proxy: who.proxy,
        log_prompt_and_response: who.log_prompt_and_response,
        provider: event.provider,
        operation: event.operation,
        category: event.category,
        request_model: event.request_model.map(Into::into),
        response_model: event.response_model,
        streamed: event.streamed,
        started_at: Timestamp::try_from(event.started_at)
            .map_or_else(|_| "".into(), |at| at.to_string().into()),
        latency_us: us(event.latency),
        time_to_first_token_us: event.time_to_first_token.map(us),
        outcome: event.outcome.name().into(),
        http_status: event.http_status,
        error: event.error,
        usage: event.usage.iter().map(|(bucket, n)| (bucket.name().into(), n)).collect(),
        usage_elsewhere: by_model(&event.elsewhere),
        usage_estimated: event.usage_estimated,
        usage_suspect: event.usage_suspect,
        free: event.free,
        cost_usd: event.cost.amount.to_string().into(),
        cost_source: event.cost.source.name().into(),
        reported_cost_usd: event.reported_cost.map(|cost| cost.to_string().into()),
        response_id: event.response_id,
        service_tier: event.service_tier,
        geo: event.geo,
        provider_uri: exchange.provider_uri,
        instrumented_module: exchange.instrumented_module,
        function_calls: exchange.function_calls.into_iter().map(|call| (call.name, call.arguments)).collect(),
        guardrail: exchange.guardrail,
        request_json: exchange.request_json,
        response_json: exchange.response_json,
    }
}

/// Reads a line; the error says what is wrong, and holds nothing of the line's content but names of fields.
pub(super) fn read(text: &str) -> Result<(Event, Resolved), String> {
    let line: Line = serde_json::from_str(text).map_err(|e| {
        // serde's own message may quote a value.
        format!(
            "{} at column {}",
            if e.is_data() { "a field is missing or of the wrong type" } else { "not JSON" },
            e.column()
        )
    })?;
    event(line).ok_or_else(|| "an id, time, name or amount in it cannot be read".into())
}

fn event(line: Line) -> Option<(Event, Resolved)> {
    let mut usage = Usage::new();
    for (name, count) in &line.usage {
        usage.set(Bucket::ALL.into_iter().find(|bucket| bucket.name() == &**name)?, *count);
    }
    let id: Uuid = line.event_id.parse().ok()?;
    let exchange = Exchange {
        provider_uri: line.provider_uri,
        instrumented_module: line.instrumented_module,
        response_headers: Vec::new(),
        function_calls: line
            .function_calls
            .into_iter()
            .map(|(name, arguments)| FunctionCall { name, arguments })
            .collect(),
        guardrail: line.guardrail,
        request_json: line.request_json,
        response_json: line.response_json,
    };
    let event = Event {
        id: if line.correction { ids::corrected(id) } else { id },
        call_id: line.call_id.parse().ok()?,
        attempt: line.attempt,
        context: Context::default(),
        provider: line.provider,
        operation: line.operation,
        category: line.category,
        request_model: line.request_model.as_deref().map(Text::new),
        response_model: line.response_model,
        streamed: line.streamed,
        started_at: SystemTime::try_from(line.started_at.parse::<Timestamp>().ok()?).ok()?,
        latency: Duration::from_micros(line.latency_us),
        time_to_first_token: line.time_to_first_token_us.map(Duration::from_micros),
        outcome: Outcome::ALL.into_iter().find(|outcome| outcome.name() == &*line.outcome)?,
        http_status: line.http_status,
        error: line.error,
        usage,
        elsewhere: from_models(line.usage_elsewhere),
        usage_estimated: line.usage_estimated,
        usage_suspect: line.usage_suspect,
        free: line.free,
        cost: Cost {
            amount: line.cost_usd.parse().ok()?,
            source: CostSource::ALL.into_iter().find(|source| source.name() == &*line.cost_source)?,
        },
        reported_cost: match line.reported_cost_usd {
            Some(cost) => Some(cost.parse::<Money>().ok()?),
            None => None,
        },
        response_id: line.response_id,
        service_tier: line.service_tier,
        geo: line.geo,
        limits: Vec::new(),
        exchange: (exchange != Exchange::default()).then(|| Box::new(exchange)),
    };
    let use_case = line.use_case_name.map(|name| UseCase {
        name,
        id: line.use_case_id,
        version: line.use_case_version,
        step: line.use_case_step,
        properties: line.use_case_properties,
    });
    let who = Resolved {
        user_id: line.user_id,
        account_name: line.account_name,
        use_case,
        limit_ids: line.limit_ids,
        request_tags: line.request_tags,
        request_properties: line.request_properties,
        price_as_category: line.price_as_category,
        price_as_resource: line.price_as_resource,
        resource_scope: line.resource_scope,
        proxy: line.proxy,
        log_prompt_and_response: line.log_prompt_and_response,
    };
    Some((event, who))
}
