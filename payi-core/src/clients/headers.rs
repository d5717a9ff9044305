//! `xProxy-*` headers: those a caller has set by hand win over the context; those of proxy mode are
//! made from both.
//!
//! | mode | what the provider sees |
//! |---|---|
//! | direct, and whatever does not go to Pay-i | none of them: what they said is in the event |
//! | proxy (`proxy = true`), to Pay-i's address | all of them: Pay-i stands in between, and takes them off |
//!
//! A header replaces what the context says of its key; it adds to no list and lays itself over no map.
//! An empty one clears the key.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::{
    clients::call::PriceAs,
    context::{Context, Frame, Key, Properties, Resolved, Text, UseCase},
    error::say,
    events::{PayIAccess, Pipeline},
};

/// What the names of ours begin with, in lower case.
const PREFIX: &str = "xproxy-";
const LOGGING: &str = "xproxy-logging-disable";
const API_KEY: &str = "xproxy-api-key";

/// What the call is made for, all told.
#[derive(Debug)]
pub(crate) struct Effective {
    /// What the event is for.
    pub(crate) context: Context,
    /// Whether the prompt and the answer are kept.
    pub(crate) keep: bool,
    /// As what the call is priced, where that is said.
    pub(crate) price_as: PriceAs,
}

/// Lays the request's own headers over the context, and leaves those that its host is meant to see.
///
/// `at_pay_i` says whether the request goes to Pay-i: nobody else is told who a call is for, or given Pay-i's key. It
/// is asked only in proxy mode.
pub(crate) fn apply(
    pipeline: &Arc<Pipeline>,
    context: Context,
    at_pay_i: impl FnOnce(&PayIAccess) -> bool,
    headers: &mut HeaderMap,
) -> Effective {
    let settings = &pipeline.settings;
    let by_hand = headers.keys().any(|name| is_ours(name.as_str()));
    // Most calls say nothing by hand and go to the provider itself: they need three keys of fifteen.
    let ((proxy, log), price_as) = context.look(|keys| (keys.flags(), keys.price_as()));
    let keep = |log: Option<bool>| log.unwrap_or(settings.log_prompt_and_response) && !settings.never_log;
    if !by_hand && proxy != Some(true) {
        let (category, resource) = price_as;
        return Effective { context, keep: keep(log), price_as: PriceAs { category, resource } };
    }
    let mut who = context.resolve();
    if by_hand && read(headers, &mut who) {
        who.log_prompt_and_response = Some(false);
    }
    let astray = who.proxy == Some(true) && !at_pay_i(&settings.pay_i);
    if astray {
        goes_astray();
        // Pay-i will not see it, so it has to be told.
        who.proxy = Some(false);
    }
    let context = if by_hand || astray {
        let root: Arc<dyn Any + Send + Sync> = Arc::<Pipeline>::clone(pipeline);
        Context::of(Frame::root(Some(root), who.clone().into_entries()))
    } else {
        context
    };
    let keep = keep(who.log_prompt_and_response);
    if who.proxy == Some(true) {
        write(headers, &who, keep);
        if let Some(key) = &settings.pay_i.key
            && !headers.contains_key(API_KEY)
            && let Ok(mut key) = HeaderValue::from_str(key.expose())
        {
            key.set_sensitive(true);
            headers.insert(API_KEY, key);
        }
    } else if by_hand {
        let ours: Vec<HeaderName> = headers.keys().filter(|name| is_ours(name.as_str())).cloned().collect();
        for name in ours {
            headers.remove(name);
        }
    }
    let price_as = PriceAs { category: who.price_as_category, resource: who.price_as_resource };
    Effective { context, keep, price_as }
}

/// Whether a header of this name, in lower case, is one of ours.
#[inline]
pub(crate) fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Whether any of the headers says something of the call: whom it is for, or how its body is packed.
#[inline]
pub(crate) fn say_something(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| *name == header::CONTENT_ENCODING || is_ours(name.as_str()))
}

/// Says, once, that a call in proxy mode does not go through the proxy.
fn goes_astray() {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Relaxed) {
        say!(warn, target: "payi",
                    "a call with `proxy = true` does not go to Pay-i's address: it is reported like any other, and its host is \
                 not told who it is for; give the client an address of `payi::proxy`, or leave `proxy` out");
    }
}

/// The text of the key's header: `None` if there is none, or if it is no text.
fn text(headers: &HeaderMap, key: Key) -> Option<String> {
    let value = headers.get(name(key)?)?;
    let text = std::str::from_utf8(value.as_bytes()).ok()?;
    Some(text.trim().to_owned())
}

fn name(key: Key) -> Option<HeaderName> {
    HeaderName::from_bytes(key.header()?.as_bytes()).ok()
}

/// Lays what the headers say over `who`; whether they forbid to keep prompts.
fn read(headers: &HeaderMap, who: &mut Resolved) -> bool {
    let given = |key| text(headers, key);
    let some = |text: String| (!text.is_empty()).then(|| Text::new(&text));
    if let Some(user) = given(Key::UserId) {
        who.user_id = some(user);
    }
    if let Some(account) = given(Key::AccountName) {
        who.account_name = some(account);
    }
    if let Some(ids) = given(Key::LimitIds) {
        who.limit_ids = list(&ids);
    }
    if let Some(tags) = given(Key::RequestTags) {
        who.request_tags = list(&tags);
    }
    if let Some(properties) = given(Key::RequestProperties).and_then(|text| map(&text)) {
        who.request_properties = properties;
    }
    for (key, slot) in [
        (Key::PriceAsCategory, &mut who.price_as_category),
        (Key::PriceAsResource, &mut who.price_as_resource),
        (Key::ResourceScope, &mut who.resource_scope),
    ] {
        // An empty one falls back to the context.
        if let Some(text) = given(key).and_then(some) {
            *slot = Some(text);
        }
    }
    who.use_case = use_case(who.use_case.take(), headers);
    headers.get(LOGGING).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

/// The use case is taken as one: its name from a header brings none of the context's execution along.
fn use_case(outer: Option<UseCase>, headers: &HeaderMap) -> Option<UseCase> {
    let given = |key| text(headers, key).filter(|text| !text.is_empty());
    let id = given(Key::UseCaseId).map(|id| Text::new(&id));
    let version = given(Key::UseCaseVersion).and_then(|version| version.parse().ok());
    let step = given(Key::UseCaseStep).map(|step| Text::new(&step));
    let properties = text(headers, Key::UseCaseProperties).and_then(|text| map(&text));
    let inherited = outer.as_ref().map(|outer| outer.properties.clone()).unwrap_or_default();
    let mut use_case = match text(headers, Key::UseCaseName) {
        Some(name) if name.is_empty() => return None,
        Some(name) => UseCase { name: Text::new(&name), id, version, step, properties: inherited },
        None => {
            // What the context says of its own execution wins.
            let mut outer = outer?;
            outer.id = outer.id.or(id);
            outer.version = outer.version.or(version);
            outer.step = outer.step.or(step);
            outer
        }
    };
    if let Some(properties) = properties {
        use_case.properties = properties;
    }
    Some(use_case)
}

fn list(text: &str) -> Vec<Text> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Text::new).collect()
}

/// Plain JSON; `None`, with a word about it, if it is something else.
fn map(text: &str) -> Option<Properties> {
    if text.is_empty() {
        return Some(Properties::new());
    }
    let Ok(map) = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text) else {
        say!(warn, target: "payi", "a properties header is not a JSON object; it is ignored");
        return None;
    };
    Some(map.into_iter().map(|(name, value)| (Text::new(&name), plain(value))).collect())
}

fn plain(value: serde_json::Value) -> Option<Text> {
    match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(Text::new(&text)),
        other => Some(Text::new(&other.to_string())),
    }
}

/// Says in headers, to Pay-i's proxy, what `who` says.
fn write(headers: &mut HeaderMap, who: &Resolved, keep: bool) {
    let use_case = who.use_case.as_ref();
    let join = |items: &[Text]| {
        let items: Vec<&str> = items.iter().map(|item| item.trim()).filter(|item| !item.is_empty()).collect();
        (!items.is_empty()).then(|| items.join(","))
    };
    let own = |text: Option<&Text>| text.map(ToString::to_string);
    let values = [
        (Key::LimitIds, join(&who.limit_ids)),
        (Key::RequestTags, join(&who.request_tags)),
        (Key::UseCaseName, own(use_case.map(|u| &u.name))),
        (Key::UseCaseId, own(use_case.and_then(|u| u.id.as_ref()))),
        (Key::UseCaseVersion, use_case.and_then(|u| u.version).map(|v| v.to_string())),
        (Key::UseCaseStep, own(use_case.and_then(|u| u.step.as_ref()))),
        (Key::UseCaseProperties, use_case.and_then(|u| encoded(&u.properties))),
        (Key::RequestProperties, encoded(&who.request_properties)),
        (Key::UserId, own(who.user_id.as_ref())),
        (Key::AccountName, own(who.account_name.as_ref())),
        (Key::PriceAsCategory, own(who.price_as_category.as_ref())),
        (Key::PriceAsResource, own(who.price_as_resource.as_ref())),
        (Key::ResourceScope, own(who.resource_scope.as_ref())),
    ];
    for (key, value) in values {
        let Some(name) = name(key) else { continue };
        match value.map(|value| HeaderValue::from_str(&safe(&value))) {
            Some(Ok(value)) => drop(headers.insert(name, value)),
            Some(Err(_)) | None => drop(headers.remove(name)),
        }
    }
    if keep {
        headers.remove(LOGGING);
    } else {
        headers.insert(LOGGING, HeaderValue::from_static("True"));
    }
}

/// Base64 of compact JSON, which any text fits into.
fn encoded(properties: &Properties) -> Option<String> {
    if properties.is_empty() {
        return None;
    }
    let map: serde_json::Map<_, _> = properties
        .iter()
        .map(|(name, value)| (name.to_string(), value.as_ref().map(ToString::to_string).into()))
        .collect();
    Some(STANDARD.encode(serde_json::Value::Object(map).to_string()))
}

/// What no header can carry, percent-encoded.
fn safe(value: &str) -> std::borrow::Cow<'_, str> {
    if value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
        return value.into();
    }
    crate::sink::percent_encoded(value).into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::{context, events::Sink};

    struct Nowhere;

    impl Sink for Nowhere {
        fn record(&self, _event: crate::events::Event) {}
    }

    fn effective(context: Context, headers: &mut HeaderMap) -> Effective {
        sent_to(true, context, headers)
    }

    fn sent_to(pay_i: bool, context: Context, headers: &mut HeaderMap) -> Effective {
        let mut pipeline = Pipeline::new(Arc::new(Nowhere));
        pipeline.settings.log_prompt_and_response = true;
        apply(&Arc::new(pipeline), context, |_| pay_i, headers)
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let name = |name: &&'static str| HeaderName::from_bytes(name.as_bytes()).unwrap();
        pairs.iter().map(|(n, v)| (name(n), HeaderValue::from_static(v))).collect()
    }

    fn everything() -> Context {
        context::builder()
            .user_id("u1")
            .account_name("acct")
            .use_case_name("uc")
            .use_case_id("id-1")
            .use_case_version(3)
            .use_case_step("s1")
            .use_case_properties([("p", "q")])
            .limit_ids(["l1", "l2"])
            .request_properties([("a", "1")])
            .build()
    }

    #[test]
    fn headers_replace_and_the_provider_does_not_see_them() {
        let mut sent = headers(&[
            ("XPROXY-user-id", "u9"),
            ("xProxy-Limit-IDs", " l3 ,,l4"),
            ("xProxy-Request-Properties", r#"{"b": 2, "c": null}"#),
            ("xProxy-UseCase-Name", "other"),
            ("xProxy-UseCase-Version", "7"),
            ("x-mine", "stays"),
        ]);
        let Effective { context, keep, .. } = effective(everything(), &mut sent);
        let who = context.resolve();
        assert_eq!(who.user_id.as_deref(), Some("u9"));
        assert_eq!(who.account_name.as_deref(), Some("acct"));
        assert_eq!(who.limit_ids, ["l3", "l4"]);
        assert_eq!(who.request_properties, [("b".into(), Some("2".into())), ("c".into(), None)]);
        let use_case = who.use_case.unwrap();
        assert_eq!((&*use_case.name, use_case.id.as_deref(), use_case.version), ("other", None, Some(7)));
        assert_eq!(use_case.step, None);
        assert_eq!(use_case.properties.len(), 1, "the context's properties stay");
        assert!(keep);
        assert_eq!(sent.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-mine"]);
    }

    #[test]
    fn an_empty_header_clears() {
        let mut sent = headers(&[
            ("xProxy-User-ID", ""),
            ("xProxy-Account-Name", ""),
            ("xProxy-Limit-IDs", ""),
            ("xProxy-UseCase-Name", ""),
            ("xProxy-Request-Properties", ""),
            ("xProxy-Resource-Scope", ""),
        ]);
        let who = effective(everything(), &mut sent).context.resolve();
        assert_eq!(who, Resolved::default());
    }

    #[test]
    fn the_contexts_execution_wins_over_headers_without_a_name() {
        let mut sent = headers(&[("xProxy-UseCase-ID", "x"), ("xProxy-UseCase-Step", "y")]);
        let who = effective(context::builder().use_case_name("uc").use_case_step("s").build(), &mut sent)
            .context
            .resolve();
        let use_case = who.use_case.unwrap();
        assert_ne!(use_case.id.as_deref(), Some("x"), "the context has an id of its own making");
        assert_eq!(use_case.step.as_deref(), Some("s"));
    }

    #[test]
    fn nonsense_is_ignored_and_only_true_forbids_to_keep() {
        let mut sent =
            headers(&[("xProxy-Request-Properties", "{not json"), ("xProxy-Logging-Disable", "False")]);
        let found = effective(everything(), &mut sent);
        assert_eq!(found.context.resolve().request_properties.len(), 1);
        assert!(found.keep);
        assert!(!effective(everything(), &mut headers(&[("xproxy-logging-disable", "True")])).keep);
    }

    #[test]
    fn in_proxy_mode_the_provider_is_told_everything() {
        let context = everything();
        let proxied = context.run(|| context::builder().proxy(true).build());
        let mut sent = headers(&[("xproxy-user-id", "u9"), ("xproxy-provider-baseuri", "https://x")]);
        effective(proxied, &mut sent);
        let value = |name: &str| sent.get(name).map(|v| v.to_str().unwrap());
        assert_eq!(value("xproxy-user-id"), Some("u9"));
        assert_eq!(value("xproxy-limit-ids"), Some("l1,l2"));
        assert_eq!(value("xproxy-request-properties"), Some("eyJhIjoiMSJ9"));
        assert_eq!(value("xproxy-usecase-properties"), Some("eyJwIjoicSJ9"));
        assert_eq!(value("xproxy-usecase-version"), Some("3"));
        assert_eq!(value("xproxy-provider-baseuri"), Some("https://x"));
        assert_eq!(value(LOGGING), None);
        assert_eq!(value(API_KEY), None);
    }

    #[test]
    fn fault_33_values_that_no_header_can_carry_are_encoded_and_never_split() {
        let long = "x".repeat(64 * 1024);
        let mut seen = Vec::new();
        for value in [
            "a\r\nx-injected: 1",
            "nul\0nul",
            &long,
            "🦀",
            "\u{202e}abc",
            "caf\u{e9}",
            "cafe\u{301}",
            "%0d%0a",
        ] {
            let mut sent = HeaderMap::new();
            effective(context::builder().user_id(value).proxy(true).build(), &mut sent);
            assert!(!sent.contains_key("x-injected"), "{value:?}");
            let header = sent["xproxy-user-id"].to_str().unwrap().to_owned();
            assert!(header.len() <= 64 * 1024 && !header.is_empty());
            seen.push(header);
        }
        assert_eq!(seen[3], "%F0%9F%A6%80");
        assert_ne!(seen[5], seen[6], "composed and decomposed are two people");
    }

    #[test]
    fn a_call_in_proxy_mode_that_does_not_go_to_pay_i_is_a_call_like_any_other() {
        let proxied = everything().run(|| context::builder().proxy(true).build());
        let mut sent = headers(&[("xproxy-user-id", "u9"), ("x-mine", "stays")]);
        let found = sent_to(false, proxied, &mut sent);
        assert_eq!(sent.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-mine"]);
        let who = found.context.resolve();
        assert_eq!((who.proxy, who.user_id.as_deref()), (Some(false), Some("u9")), "Pay-i is sent its event");
    }
}
