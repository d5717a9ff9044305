//! An event in the form Pay-i takes: one body, and the attribution beside it or in it.
//!
//! | form | attribution | address |
//! |---|---|---|
//! | [`Wire::headers`] + [`Wire::body`] | in `xProxy-*` headers | `POST /api/v1/ingest?id=` |
//! | [`Wire::item`] | in the body, as UTF-8 | one element of `POST /api/v1/ingest/bulk` |
//!
//! A header carries neither a user called 曉明 nor a limit id with a comma in it, so an event that
//! [does not fit](Wire::fits_headers) goes by the bulk address even when it goes alone.
//!
//! What is deliberately not as in the official SDK: no stack trace, no text of exceptions, request and
//! answer only where they were asked for.

use std::{borrow::Cow, collections::BTreeMap};

use crate::{
    context::Resolved,
    events::{Event, Exchange, Outcome, is_correction},
    sink::{
        fields::{Answer, Body, Call, Header, Item, fits, millis, pairs, percent_encoded, timestamp},
        units,
    },
};

/// The status of an attempt that had no HTTP answer.
const NO_STATUS: u16 = 299;

/// The resource of an attempt that names no model.
const UNKNOWN_MODEL: &str = "system.unknown_model";

/// The header of the key.
pub(crate) const API_KEY: &str = "xProxy-api-key";

/// An event, about to be sent.
pub(crate) struct Wire<'a> {
    event: &'a Event,
    who: &'a Resolved,
    exchange: &'a Exchange,
    id: Cow<'a, str>,
    limit_ids: Vec<&'a str>,
}

impl<'a> Wire<'a> {
    /// `id_is_taken` says whether another event has already been sent under its [`provider_id`]: some hosts
    /// repeat their response ids, and Pay-i takes the second for a duplicate of the first. `blocked` are
    /// limits that Pay-i has refused on ingest. What corrects an abandoned event always goes by its event id, by which
    /// a collector of ours knows it for a correction.
    pub(crate) fn new(
        event: &'a Event,
        who: &'a Resolved,
        id_is_taken: bool,
        blocked: impl Fn(&str) -> bool,
    ) -> Self {
        let exchange = exchange(event);
        let id = match provider_id(event).filter(|_| !id_is_taken && !is_correction(event.id)) {
            Some(id) => Cow::Borrowed(id),
            None => Cow::Owned(format!("payi_{}", event.id)),
        };
        let limit_ids = who.limit_ids.iter().map(|id| id.trim());
        let limit_ids = limit_ids.filter(|id| !id.is_empty() && !blocked(id)).collect();
        Self { event, who, exchange, id, limit_ids }
    }

    /// The address of a single event, below the base address.
    pub(crate) fn path(&self) -> String {
        format!("/api/v1/ingest?id={}", percent_encoded(&self.id))
    }

    /// Whether the attribution arrives whole as headers.
    pub(crate) fn fits_headers(&self) -> bool {
        let listed = self.limit_ids.iter().copied().chain(self.who.request_tags.iter().map(|tag| &**tag));
        let mut plain = self.plain().into_iter().filter_map(|(_, value)| value);
        listed.into_iter().all(|item| fits(item) && !item.contains(',')) && plain.all(|value| fits(&value))
    }

    /// The attribution as headers.
    pub(crate) fn headers(&self) -> Vec<(&'static str, String)> {
        let tags: Vec<&str> = self.who.request_tags.iter().map(|tag| &**tag).collect();
        let lists = [("xProxy-Limit-IDs", self.limit_ids.join(",")), ("xProxy-Request-Tags", tags.join(","))];
        let plain = self.plain().into_iter().filter_map(|(name, value)| Some((name, value?.into_owned())));
        lists.into_iter().filter(|(_, list)| !list.is_empty()).chain(plain).collect()
    }

    /// The attribution as headers that any server can read back: what does not fit is percent-encoded.
    ///
    /// Only for servers that do not take bulks.
    pub(crate) fn encoded_headers(&self) -> Vec<(&'static str, String)> {
        if self.fits_headers() {
            return self.headers();
        }
        let encoded = |text: &str| if fits(text) { text.to_owned() } else { percent_encoded(text) };
        let list = |items: &mut dyn Iterator<Item = &str>| {
            let items =
                items.map(|item| if item.contains(',') { percent_encoded(item) } else { encoded(item) });
            items.collect::<Vec<_>>().join(",")
        };
        let limits = list(&mut self.limit_ids.iter().copied());
        let tags = list(&mut self.who.request_tags.iter().map(|tag| &**tag));
        let lists = [("xProxy-Limit-IDs", limits), ("xProxy-Request-Tags", tags)];
        let plain = self.plain().into_iter().filter_map(|(name, value)| Some((name, encoded(&value?))));
        lists.into_iter().filter(|(_, list)| !list.is_empty()).chain(plain).collect()
    }

    /// The attribution that is one text per header.
    fn plain(&self) -> [(&'static str, Option<Cow<'_, str>>); 8] {
        attribution(self.who, self.scope(), self.exchange.instrumented_module.as_deref())
    }

    /// The scope of the resource: as told, else as the answer says (Anthropic's `inference_geo`).
    fn scope(&self) -> Option<Cow<'_, str>> {
        let answered =
            self.event.geo.as_deref().filter(|geo| !matches!(*geo, "" | "global" | "not_available"));
        match answered {
            Some(geo) if self.event.provider.as_ref() == "anthropic" => {
                Some(format!("datazone.{geo}").into())
            }
            _ => self.who.resource_scope.as_deref().map(Cow::Borrowed),
        }
    }

    /// The body of a single event.
    pub(crate) fn body(&self) -> Body<'_> {
        let event = self.event;
        let refused = event.outcome == Outcome::Failed;
        Body {
            category: self.who.price_as_category.as_deref().unwrap_or(&event.category),
            resource: self.resource(),
            units: units::of(event),
            event_timestamp: timestamp(event.started_at),
            end_to_end_latency_ms: millis(event.latency),
            time_to_first_token_ms: event.time_to_first_token.map(millis),
            http_status_code: event.http_status.unwrap_or(NO_STATUS),
            properties: self.properties(),
            use_case_properties: self.who.use_case.as_ref().map(|u| pairs(&u.properties)).unwrap_or_default(),
            provider_uri: self.exchange.provider_uri.as_deref(),
            provider_response_id: &self.id,
            provider_request_json: self.exchange.request_json.as_deref(),
            provider_response_json: self.answer(),
            provider_response_headers: (!refused).then(|| self.response_headers()),
            provider_response_function_calls: self.function_calls(),
        }
    }

    /// The event as one element of a bulk body.
    pub(crate) fn item(&self) -> Item<'_> {
        let use_case = self.who.use_case.as_ref();
        Item {
            body: self.body(),
            account_name: self.who.account_name.as_deref(),
            limit_ids: &self.limit_ids,
            request_tags: self.who.request_tags.iter().map(|tag| &**tag).collect(),
            scope: self.scope(),
            use_case_id: use_case.and_then(|u| u.id.as_deref()),
            use_case_name: use_case.map(|u| &*u.name),
            use_case_step: use_case.and_then(|u| u.step.as_deref()),
            use_case_version: use_case.and_then(|u| u.version),
            user_id: self.who.user_id.as_deref(),
        }
    }

    fn resource(&self) -> Cow<'_, str> {
        let event = self.event;
        let claude_at_google = &*event.category == "system.google.vertex" && units::is_anthropic(event);
        let of = |maker: &str, model: &str| format!("{maker}.{model}").into();
        if let Some(resource) = self.who.price_as_resource.as_deref() {
            return if claude_at_google { of("anthropic", resource) } else { resource.into() };
        }
        let deployment = || header(self.exchange, "x-ms-deployment-name");
        let (asked, answered) = (event.request_model.as_deref(), event.response_model.as_deref());
        if units::is_google(event) {
            // The one who answers says which of a model's versions it was.
            return answered.or(asked).map_or(UNKNOWN_MODEL.into(), |model| of("google", model));
        }
        match asked.or_else(deployment).or(answered) {
            Some(model) if claude_at_google => of("anthropic", model),
            Some(model) => model.into(),
            None => UNKNOWN_MODEL.into(),
        }
    }

    /// The caller's properties, and ours where he has none of that name.
    fn properties(&self) -> BTreeMap<&str, Option<&str>> {
        let mut properties = pairs(&self.who.request_properties);
        let mut own = |name, value| {
            properties.entry(name).or_insert(Some(value));
        };
        if let Some(guardrail) = &self.exchange.guardrail {
            let intervened = guardrail.action.as_deref();
            for (name, value) in [
                ("system.aws.bedrock.guardrail.id", guardrail.id.as_deref()),
                ("system.aws.bedrock.guardrail.version", guardrail.version.as_deref()),
                ("system.failure", intervened),
                ("system.failure.description", intervened.map(|_| "Bedrock Guardrails intervened")),
                ("system.aws.bedrock.guardrail.action", intervened),
            ] {
                if let Some(value) = value {
                    own(name, value);
                }
            }
        }
        let code = self.event.error.as_deref();
        match (self.event.outcome, self.event.http_status) {
            // A status says it already.
            (Outcome::Ok, _) | (Outcome::Failed, Some(400..)) => {}
            (Outcome::Failed, _) => {
                own("system.failure", code.unwrap_or("failed"));
                own("system.failure.description", "the call did not end with a complete answer");
            }
            (Outcome::Aborted | Outcome::Blocked | Outcome::Abandoned, _) => {
                own("payi.outcome", self.event.outcome.name());
            }
        }
        properties
    }

    /// One text where the SDK sends one (plain answers of Anthropic and Bedrock, refusals), else a list.
    fn answer(&self) -> Option<Answer<'_>> {
        let parts = &self.exchange.response_json;
        let whole = units::is_anthropic(self.event) || is_bedrock(self.event);
        let single = whole && !self.event.streamed || self.event.outcome == Outcome::Failed;
        match &**parts {
            [] => None,
            [whole] if single => Some(Answer::Whole(whole)),
            parts => Some(Answer::Parts(parts.iter().map(|part| &**part).collect())),
        }
    }

    fn response_headers(&self) -> Vec<Header<'_>> {
        let headers = self.exchange.response_headers.iter();
        headers.map(|(name, value)| Header { name, value }).collect()
    }

    fn function_calls(&self) -> Vec<Call<'_>> {
        let calls = self.exchange.function_calls.iter();
        calls.map(|call| Call { name: &call.name, arguments: call.arguments.as_deref() }).collect()
    }
}

/// Who it is for, as headers that hold one text each.
pub(crate) fn attribution<'a>(
    who: &'a Resolved,
    scope: Option<Cow<'a, str>>,
    module: Option<&'a str>,
) -> [(&'static str, Option<Cow<'a, str>>); 8] {
    let use_case = who.use_case.as_ref();
    let text = |value: Option<&'a str>| value.map(Cow::Borrowed);
    [
        ("xProxy-UseCase-Name", text(use_case.map(|u| &*u.name))),
        ("xProxy-UseCase-ID", text(use_case.and_then(|u| u.id.as_deref()))),
        ("xProxy-UseCase-Version", use_case.and_then(|u| u.version).map(|v| v.to_string().into())),
        ("xProxy-UseCase-Step", text(use_case.and_then(|u| u.step.as_deref()))),
        ("xProxy-User-ID", text(who.user_id.as_deref())),
        ("xProxy-Account-Name", text(who.account_name.as_deref())),
        ("xProxy-Resource-Scope", scope),
        ("xProxy-Instrumented-Module", text(module)),
    ]
}

/// The provider's id of the answer; of a refusal, its id of the request.
pub(crate) fn provider_id(event: &Event) -> Option<&str> {
    let exchange = exchange(event);
    let of_request = || match event.http_status {
        Some(400..) => header(exchange, "x-request-id").or_else(|| header(exchange, "request-id")),
        _ => None,
    };
    // Bedrock knows its answers by the request; the id in the body is the model's own.
    let at_bedrock = if is_bedrock(event) { header(exchange, "x-amzn-requestid") } else { None };
    let id = at_bedrock.or(event.response_id.as_deref()).or_else(of_request);
    id.filter(|id| !id.is_empty())
}

fn is_bedrock(event: &Event) -> bool {
    &*event.provider == "aws"
}

fn exchange(event: &Event) -> &Exchange {
    static NOTHING: std::sync::OnceLock<Exchange> = std::sync::OnceLock::new();
    event.exchange.as_deref().unwrap_or_else(|| NOTHING.get_or_init(Exchange::default))
}

fn header<'a>(exchange: &'a Exchange, name: &str) -> Option<&'a str> {
    let mut headers = exchange.response_headers.iter();
    headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{context::UseCase, events::sample};

    fn wire<'a>(event: &'a Event, who: &'a Resolved) -> Wire<'a> {
        Wire::new(event, who, false, |_| false)
    }

    fn body(event: &Event, who: &Resolved) -> Value {
        serde_json::to_value(wire(event, who).body()).unwrap()
    }

    fn everything() -> Resolved {
        Resolved {
            user_id: Some("u1".into()),
            account_name: Some("acct".into()),
            use_case: Some(UseCase {
                name: "uc".into(),
                id: Some("id-1".into()),
                version: Some(3),
                step: Some("s1".into()),
                properties: vec![("p".into(), Some("q".into()))],
            }),
            limit_ids: vec![" l1 ".into(), "  ".into(), "l2".into()],
            request_tags: vec!["t1".into()],
            request_properties: vec![("a".into(), Some("1".into())), ("b".into(), None)],
            resource_scope: Some("global".into()),
            ..Resolved::default()
        }
    }

    #[test]
    fn every_key_has_its_place() {
        let (event, who) = (sample::chat(), everything());
        let wire = wire(&event, &who);
        assert_eq!(wire.path(), "/api/v1/ingest?id=chatcmpl-1");
        let headers: Vec<(&str, String)> = wire.headers();
        let expected = [
            ("xProxy-Limit-IDs", "l1,l2"),
            ("xProxy-Request-Tags", "t1"),
            ("xProxy-UseCase-Name", "uc"),
            ("xProxy-UseCase-ID", "id-1"),
            ("xProxy-UseCase-Version", "3"),
            ("xProxy-UseCase-Step", "s1"),
            ("xProxy-User-ID", "u1"),
            ("xProxy-Account-Name", "acct"),
            ("xProxy-Resource-Scope", "global"),
            ("xProxy-Instrumented-Module", "reqwest/0.13"),
        ];
        assert_eq!(headers, expected.map(|(name, value)| (name, value.to_owned())));
        let expected = json!({
            "category": "system.openai",
            "resource": "gpt-4o",
            "units": {"text": {"input": 10, "output": 5}},
            "event_timestamp": "2023-11-14T22:13:20.000042+00:00",
            "end_to_end_latency_ms": 321,
            "http_status_code": 200,
            "properties": {"a": "1", "b": null},
            "use_case_properties": {"p": "q"},
            "provider_uri": "https://api.openai.com/v1/",
            "provider_response_id": "chatcmpl-1",
            "provider_response_headers": [{"name": "x-request-id", "value": "req_1"}],
        });
        assert_eq!(serde_json::to_value(wire.body()).unwrap(), expected);
        let item = serde_json::to_value(wire.item()).unwrap();
        assert_eq!(item["limit_ids"], json!(["l1", "l2"]));
        assert_eq!(item["use_case_version"], json!(3));
        assert_eq!(item["scope"], json!("global"));
    }

    #[test]
    fn a_repeated_response_id_gives_way_to_the_event_id() {
        let (event, who) = (sample::chat(), sample::who("u"));
        let again = Wire::new(&event, &who, true, |_| false);
        assert_eq!(again.id, "payi_018bcfe5-6800-7000-8000-000000000001");
        let odd = Event { response_id: Some("resp/1 é".into()), ..sample::chat() };
        assert_eq!(wire(&odd, &who).path(), "/api/v1/ingest?id=resp%2F1%20%C3%A9");
    }

    #[test]
    fn what_a_header_cannot_carry_does_not_fit() {
        let event = sample::chat();
        assert!(wire(&event, &everything()).fits_headers());
        for user in ["曉明", "two\nlines", " padded", "nul\0", "José"] {
            assert!(!wire(&event, &sample::who(user)).fits_headers(), "{user:?}");
        }
        let encoded = wire(&event, &sample::who("José")).encoded_headers();
        assert!(encoded.contains(&("xProxy-User-ID", "Jos%C3%A9".into())), "{encoded:?}");
        let comma = Resolved { limit_ids: vec!["a,b".into()], ..Resolved::default() };
        assert!(!wire(&event, &comma).fits_headers());
    }

    #[test]
    fn limits_that_pay_i_refuses_are_left_out() {
        let (event, who) = (sample::chat(), everything());
        let wire = Wire::new(&event, &who, false, |limit| limit == "l1");
        assert!(wire.headers().contains(&("xProxy-Limit-IDs", "l2".into())));
    }

    #[test]
    fn a_refusal_says_its_status_and_no_more() {
        let mut event = Event {
            outcome: Outcome::Failed,
            http_status: Some(429),
            error: Some("rate_limit_exceeded".into()),
            usage: crate::usage::Usage::new(),
            response_id: None,
            ..sample::chat()
        };
        let refused = body(&event, &sample::who("u"));
        assert_eq!(refused["http_status_code"], 429);
        assert_eq!(refused["provider_response_id"], "req_1");
        assert_eq!(refused["units"], json!({}));
        assert!(refused.get("provider_response_headers").is_none());
        assert!(refused.get("properties").is_none());
        event.http_status = None;
        event.error = Some("connect".into());
        let unreachable = body(&event, &sample::who("u"));
        assert_eq!(unreachable["http_status_code"], NO_STATUS);
        assert_eq!(unreachable["properties"]["system.failure"], "connect");
        assert_eq!(unreachable["provider_response_id"], "payi_018bcfe5-6800-7000-8000-000000000001");
    }

    #[test]
    fn the_callers_property_wins_over_ours() {
        let event = Event { outcome: Outcome::Aborted, ..sample::chat() };
        assert_eq!(body(&event, &sample::who("u"))["properties"], json!({"payi.outcome": "aborted"}));
        let mine = Resolved {
            request_properties: vec![("payi.outcome".into(), Some("fine".into()))],
            ..Resolved::default()
        };
        assert_eq!(body(&event, &mine)["properties"], json!({"payi.outcome": "fine"}));
    }

    #[test]
    fn prices_may_be_named_by_the_caller() {
        let priced = Resolved {
            price_as_category: Some("system.azureopenai".into()),
            price_as_resource: Some("gpt-4o-mini".into()),
            ..Resolved::default()
        };
        let priced = body(&sample::chat(), &priced);
        assert_eq!(
            (&priced["category"], &priced["resource"]),
            (&json!("system.azureopenai"), &json!("gpt-4o-mini"))
        );
        let nameless = Event { request_model: None, response_model: None, ..sample::chat() };
        assert_eq!(body(&nameless, &sample::who("u"))["resource"], UNKNOWN_MODEL);
    }
}
