//! One event of Pay-i's API into one event of the ledger.

use std::time::{Duration, SystemTime};

use axum::http::HeaderMap;
use payi_core::{
    context::{Properties, Resolved, Text, UseCase},
    events::{Event, Exchange, Outcome},
    ledger::{corrected, foreign_id, is_correction},
    pricing::{CostSource, provider_of},
    usage::FunctionCall,
};
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::server::{
    api::{
        error::Refusal,
        prices::{Priced, Prices},
        units,
        use_cases::Definitions,
    },
    request::explain,
};

/// How far ahead of this machine's clock an event may be.
const AHEAD: Duration = Duration::from_secs(300);

/// The body of an event; in bulk also its attribution. What is not known here is left alone.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Body {
    category: Option<String>,
    resource: Option<String>,
    units: Option<Map<String, Value>>,
    event_timestamp: Option<Value>,
    end_to_end_latency_ms: Option<i64>,
    time_to_first_token_ms: Option<i64>,
    http_status_code: Option<i64>,
    properties: Option<Map<String, Value>>,
    use_case_properties: Option<Map<String, Value>>,
    provider_uri: Option<String>,
    provider_response_id: Option<String>,
    provider_request_json: Option<String>,
    provider_response_json: Option<Value>,
    provider_response_function_calls: Option<Vec<Call>>,
    // Of bulk only.
    account_name: Option<String>,
    user_id: Option<String>,
    limit_ids: Option<Vec<String>>,
    request_tags: Option<Vec<String>>,
    scope: Option<String>,
    use_case_id: Option<String>,
    use_case_name: Option<String>,
    use_case_step: Option<String>,
    use_case_version: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Call {
    name: String,
    arguments: Option<String>,
}

/// An event, understood and priced.
#[derive(Debug)]
pub(crate) struct Understood {
    pub(crate) event: Event,
    pub(crate) who: Resolved,
    pub(crate) priced: Priced,
}

impl Body {
    /// Lays the attribution of headers over the body.
    pub(crate) fn attributed(mut self, headers: &HeaderMap) -> Result<Self, Refusal> {
        let text = |name: &str| -> Option<String> {
            let value = headers.get(name)?;
            // Clients send UTF-8 here although HTTP only promises ASCII.
            Some(String::from_utf8_lossy(value.as_bytes()).trim().to_owned()).filter(|text| !text.is_empty())
        };
        let list = |name: &str| {
            let items = text(name)?;
            Some(
                items.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect(),
            )
        };
        self.user_id = text("xProxy-User-ID").or(self.user_id);
        self.account_name = text("xProxy-Account-Name").or(self.account_name);
        self.use_case_name = text("xProxy-UseCase-Name").or(self.use_case_name);
        self.use_case_id = text("xProxy-UseCase-ID").or(self.use_case_id);
        self.use_case_step = text("xProxy-UseCase-Step").or(self.use_case_step);
        self.scope = text("xProxy-Resource-Scope").or(self.scope);
        self.limit_ids = list("xProxy-Limit-IDs").or(self.limit_ids);
        self.request_tags = list("xProxy-Request-Tags").or(self.request_tags);
        if let Some(version) = text("xProxy-UseCase-Version") {
            let version = version.parse();
            self.use_case_version = Some(version.map_err(|_| {
                Refusal::bad("request_processing_error", "xProxy-UseCase-Version is a whole number from 0")
            })?);
        }
        if text("xProxy-Logging-Disable").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            (self.provider_request_json, self.provider_response_json) = (None, None);
        }
        Ok(self)
    }

    /// Says what the event was, or what is wrong with it. `id` is the response id of the address.
    pub(crate) fn understand(
        mut self,
        id: Option<String>,
        own: &Prices,
        definitions: &Definitions,
    ) -> Result<Understood, Refusal> {
        let category = self.category.take().filter(|c| !c.is_empty());
        let Some(category) = category else {
            return Err(Refusal::bad(
                "required_field_missing",
                "an event needs its category, such as system.openai",
            ));
        };
        let Some(units) = self.units.take() else {
            return Err(Refusal::bad(
                "required_field_missing",
                "an event needs its units; {} if nothing was used",
            ));
        };
        let units = units::read(&units)?;
        let now = SystemTime::now();
        let at = self.event_timestamp.as_ref().map(moment).transpose()?;
        if at.is_some_and(|at| at > now + AHEAD || at < SystemTime::UNIX_EPOCH) {
            let message =
                "event_timestamp is more than 5 minutes ahead of this machine's clock, or before 1970";
            return Err(Refusal::bad("invalid_ingest_event_timestamp", message));
        }
        let response_id = id.or_else(|| self.provider_response_id.take()).filter(|id| !id.is_empty());
        let event_id = match &response_id {
            Some(id) => own_id(id).unwrap_or_else(|| foreign_id(&category, id, at)),
            None => Uuid::now_v7(),
        };
        let mut event = Event::collected(event_id, at.unwrap_or(now), &category);
        event.response_id = response_id.map(Into::into);
        self.tell(&mut event);
        let mut who = self.who();
        definitions.apply(&mut event, &mut who);
        let (usage, meaningless) = units::usage(&units);
        event.usage = usage;
        let custom = own.find(&category, self.resource.as_deref(), event.started_at);
        let priced = match custom {
            Some(custom) => custom.price(&units),
            None => Priced::by_book(&explain(&event, &who, own.book()), meaningless),
        };
        event.cost = priced.cost;
        if event.usage.is_empty() && priced.unknown.is_empty() && event.cost.source == CostSource::Unpriced {
            // Nothing was used: that costs nothing, whatever the model.
            event.cost.source = CostSource::Computed;
        }
        Ok(Understood { event, who, priced })
    }

    fn who(&mut self) -> Resolved {
        let text = |value: Option<String>| value.filter(|v| !v.is_empty()).map(|v| Text::new(&v));
        let list =
            |items: Option<Vec<String>>| items.unwrap_or_default().iter().map(|i| Text::new(i)).collect();
        let mut who = Resolved::default();
        who.user_id = text(self.user_id.take());
        who.account_name = text(self.account_name.take());
        who.limit_ids = list(self.limit_ids.take());
        who.request_tags = list(self.request_tags.take());
        who.request_properties = properties(self.properties.take());
        who.resource_scope = text(self.scope.take());
        who.use_case = text(self.use_case_name.take()).map(|name| {
            let mut case = UseCase::default();
            case.name = name;
            case.id = text(self.use_case_id.take());
            case.version = self.use_case_version;
            case.step = text(self.use_case_step.take());
            case.properties = properties(self.use_case_properties.take());
            case
        });
        who
    }

    fn tell(&mut self, event: &mut Event) {
        let ms = |ms: Option<i64>| ms.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
        event.provider = provider_of(&event.category).to_owned().into();
        event.request_model =
            self.resource.as_deref().filter(|r| *r != "system.unknown_model").map(Into::into);
        event.latency = ms(self.end_to_end_latency_ms).unwrap_or_default();
        event.time_to_first_token = ms(self.time_to_first_token_ms);
        event.streamed = event.time_to_first_token.is_some();
        event.http_status =
            self.http_status_code.and_then(|code| u16::try_from(code).ok()).filter(|&c| c != 299);
        (event.outcome, event.error) = self.outcome();
        let mut exchange = Exchange::default();
        exchange.provider_uri = self.provider_uri.take().map(Into::into);
        exchange.request_json = self.provider_request_json.take().map(Into::into);
        exchange.response_json = match self.provider_response_json.take() {
            Some(Value::String(whole)) => vec![whole.into()],
            Some(Value::Array(parts)) => parts.iter().filter_map(Value::as_str).map(Into::into).collect(),
            _ => Vec::new(),
        };
        let calls = self.provider_response_function_calls.take().unwrap_or_default().into_iter();
        exchange.function_calls = calls
            .map(|c| FunctionCall { name: c.name.into(), arguments: c.arguments.map(Into::into) })
            .collect();
        event.exchange = (exchange != Exchange::default()).then(|| Box::new(exchange));
    }

    /// How it ended: our own deliverer says it, others by the status (299: a failure without one).
    fn outcome(&self) -> (Outcome, Option<Box<str>>) {
        let property = |name: &str| self.properties.as_ref()?.get(name)?.as_str();
        if let Some(outcome) = property("payi.outcome") {
            let named = Outcome::ALL.into_iter().find(|o| o.name() == outcome);
            return (named.unwrap_or(Outcome::Failed), None);
        }
        let failure =
            property("system.failure").map(|name| name.chars().take(100).collect::<String>().into());
        match self.http_status_code {
            None | Some(200..=298) => (Outcome::Ok, None),
            Some(code) => (Outcome::Failed, failure.or_else(|| Some(format!("http_{code}").into()))),
        }
    }
}

/// When an event was. A time of day without its offset may be anybody's.
fn moment(written: &Value) -> Result<SystemTime, Refusal> {
    let at = written.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    at.and_then(|at| SystemTime::try_from(at).ok()).ok_or_else(|| {
        let message = "event_timestamp is a time with its offset, as 2026-11-27T10:00:00Z or \
                       2026-11-27T11:00:00+01:00; in Python, datetime.now(timezone.utc).isoformat()";
        Refusal::bad("invalid_ingest_event_timestamp", message)
    })
}

/// An id that our own deliverer made of an event id. What corrects an abandoned event has that one's id.
fn own_id(response_id: &str) -> Option<Uuid> {
    let id = response_id.strip_prefix("payi_")?.parse::<Uuid>().ok()?;
    if is_correction(id) {
        return Some(corrected(id));
    }
    (id.get_version_num() == 7).then_some(id)
}

/// Flat text properties; the stack traces of the official SDK show whose machine it was, and are not kept.
pub(crate) fn properties(map: Option<Map<String, Value>>) -> Properties {
    let kept = map.unwrap_or_default().into_iter().filter(|(name, _)| name != "system.stack_trace");
    kept.filter(|(name, _)| name != "payi.outcome")
        .map(|(name, value)| {
            let value = match value {
                Value::Null => None,
                Value::String(text) => Some(Text::new(&text)),
                other => Some(Text::new(&other.to_string())),
            };
            (Text::new(&name), value)
        })
        .collect()
}
