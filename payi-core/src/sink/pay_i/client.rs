//! Pay-i's ingest, called by hand: for spend that no wrapped client sees.
//!
//! Unlike a tracked call this talks to Pay-i at once, waits for its answer, and leaves nothing in the
//! ledger.

use std::{collections::BTreeMap, fmt, time::Duration};

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use serde::Serialize;

use crate::{
    Error, Result,
    context::{Context, Resolved},
    error::Kind,
    events::Secret,
    sink::{
        delivered::Delivered,
        fields::{fits, pairs, percent_encoded},
        pay_i::answer::{self, Refusal},
        units::Unit,
        wire::{API_KEY, attribution},
    },
};

/// A client of Pay-i's ingest.
///
/// ```no_run
/// # async fn run() -> payi_core::Result<()> {
/// use payi_core::pay_i::{Client, Ingest};
///
/// let client = Client::new("https://api.pay-i.com", "key")?;
/// let event = Ingest::new("system.openai", "gpt-4o").units("text", 120, 48);
/// let said = client.ingest(&event).await?;
/// println!("{:?}", said.cost);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base_url: String,
    key: Secret,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

/// What became of a bulk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bulk {
    /// The events that were refused: their place in the bulk, and why, by Pay-i's code.
    pub refused: Vec<(usize, Box<str>)>,
}

/// Something spent.
#[derive(Clone, Debug)]
pub struct Ingest {
    category: String,
    resource: String,
    units: BTreeMap<String, Unit>,
    who: Resolved,
    id: Option<String>,
    event_timestamp: Option<String>,
    latency: Option<Duration>,
    first_token: Option<Duration>,
    first_completion_token: Option<Duration>,
    http_status: Option<u16>,
    disable_logging: Option<bool>,
}

impl Ingest {
    /// Something spent now, by whom and for what the running code's context says.
    pub fn new(category: impl Into<String>, resource: impl Into<String>) -> Self {
        Self {
            category: category.into(),
            resource: resource.into(),
            units: BTreeMap::new(),
            who: Context::current().resolve(),
            id: None,
            event_timestamp: None,
            latency: None,
            first_token: None,
            first_completion_token: None,
            http_status: None,
            disable_logging: None,
        }
    }

    /// So many units of that name (`text`, `vision`) went in, and so many came out.
    pub fn units(mut self, name: impl Into<String>, input: u64, output: u64) -> Self {
        self.units.insert(name.into(), Unit::both(input, output));
        self
    }

    /// Spent by whom and for what `context` says.
    pub fn context(mut self, context: &Context) -> Self {
        self.who = context.resolve();
        self
    }

    /// The provider's id of the answer: Pay-i takes a second event of the same id for the first.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// When, in ISO 8601; at most 5 minutes ahead of Pay-i's clock.
    pub fn event_timestamp(mut self, at: impl Into<String>) -> Self {
        self.event_timestamp = Some(at.into());
        self
    }

    /// How long the call took.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = Some(latency);
        self
    }

    /// How long it took to the first token.
    pub fn time_to_first_token(mut self, time: Duration) -> Self {
        self.first_token = Some(time);
        self
    }

    /// How long it took to the first token of the completion proper.
    pub fn time_to_first_completion_token(mut self, time: Duration) -> Self {
        self.first_completion_token = Some(time);
        self
    }

    /// The provider's HTTP status.
    pub fn http_status(mut self, status: u16) -> Self {
        self.http_status = Some(status);
        self
    }

    /// Whether Pay-i is to keep no prompts of it.
    pub fn disable_logging(mut self, disable: bool) -> Self {
        self.disable_logging = Some(disable);
        self
    }

    fn body(&self) -> Body<'_> {
        let ms = |time: Option<Duration>| time.map(|t| i32::try_from(t.as_millis()).unwrap_or(i32::MAX));
        let use_case = self.who.use_case.as_ref();
        Body {
            category: &self.category,
            resource: &self.resource,
            units: &self.units,
            event_timestamp: self.event_timestamp.as_deref(),
            end_to_end_latency_ms: ms(self.latency),
            time_to_first_token_ms: ms(self.first_token),
            time_to_first_completion_token_ms: ms(self.first_completion_token),
            http_status_code: self.http_status,
            provider_response_id: self.id.as_deref(),
            properties: pairs(&self.who.request_properties),
            use_case_properties: use_case.map(|u| pairs(&u.properties)).unwrap_or_default(),
        }
    }

    fn item(&self) -> Item<'_> {
        let use_case = self.who.use_case.as_ref();
        Item {
            body: self.body(),
            account_name: self.who.account_name.as_deref(),
            limit_ids: self.limit_ids(),
            request_tags: self.who.request_tags.iter().map(|tag| &**tag).collect(),
            scope: self.who.resource_scope.as_deref(),
            use_case_id: use_case.and_then(|u| u.id.as_deref()),
            use_case_name: use_case.map(|u| &*u.name),
            use_case_step: use_case.and_then(|u| u.step.as_deref()),
            use_case_version: use_case.and_then(|u| u.version),
            user_id: self.who.user_id.as_deref(),
        }
    }

    fn limit_ids(&self) -> Vec<&str> {
        self.who.limit_ids.iter().map(|id| id.trim()).filter(|id| !id.is_empty()).collect()
    }

    /// The attribution as headers; `None` if a header cannot carry it.
    fn headers(&self) -> Option<Vec<(&'static str, String)>> {
        let tags: Vec<&str> = self.who.request_tags.iter().map(|tag| &**tag).collect();
        let lists = [("xProxy-Limit-IDs", self.limit_ids()), ("xProxy-Request-Tags", tags)];
        let mut headers = Vec::new();
        for (name, items) in lists {
            if items.iter().any(|item| item.contains(',') || !fits(item)) {
                return None;
            }
            if !items.is_empty() {
                headers.push((name, items.join(",")));
            }
        }
        let scope = self.who.resource_scope.as_deref().map(Into::into);
        for (name, value) in attribution(&self.who, scope, None) {
            match value {
                Some(value) if fits(&value) => headers.push((name, value.into_owned())),
                Some(_) => return None,
                None => {}
            }
        }
        let logging = self.disable_logging.map(|disable| if disable { "True" } else { "False" });
        headers.extend(logging.map(|value| ("xProxy-Logging-Disable", value.to_owned())));
        Some(headers)
    }
}

impl Client {
    /// A client for the Pay-i at `base_url`, for the application that `key` belongs to.
    ///
    /// # Errors
    /// [`Error::is_config`] if the key fits no header.
    pub fn new(base_url: impl AsRef<str>, key: impl AsRef<str>) -> Result<Self> {
        #[cfg(feature = "rustls")]
        crate::sink::tls::ensure_provider();
        let wrong = |what| Error::new(Kind::Config, format!("{what} is not usable for Pay-i"));
        HeaderValue::from_str(key.as_ref()).map_err(|_| wrong("the key"))?;
        // The key is for one host: redirects are not followed.
        let http = reqwest::Client::builder()
            .user_agent(concat!("payi-rust/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            // Whatever features of reqwest others in the tree turn on: a small answer is to stay small.
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(60))
            .build()
            .map_err(|e| Error::with_source(Kind::Config, "no HTTP client could be made for Pay-i", e))?;
        let base_url = base_url.as_ref().trim_end_matches('/').to_owned();
        Ok(Self { http, base_url, key: Secret::new(key.as_ref()) })
    }

    /// Reports one event (`POST /api/v1/ingest`), and gives what Pay-i says of it.
    ///
    /// # Errors
    /// [`Error::is_delivery`] if Pay-i cannot be reached or refuses the event; the message holds its code.
    pub async fn ingest(&self, event: &Ingest) -> Result<Delivered> {
        let Some(headers) = event.headers() else {
            // What no header can carry goes in the body of a bulk of one.
            let bulk = self.ingest_bulk(std::slice::from_ref(event)).await?;
            return match bulk.refused.first() {
                Some((_, code)) => Err(refused(code)),
                None => Ok(Delivered::default()),
            };
        };
        let id = event.id.as_deref().map(|id| format!("?id={}", percent_encoded(id))).unwrap_or_default();
        let body = self.post(&format!("/api/v1/ingest{id}"), headers, &event.body()).await?;
        Ok(answer::delivered(&body))
    }

    /// Reports several events at once (`POST /api/v1/ingest/bulk`).
    ///
    /// # Errors
    /// [`Error::is_delivery`] if Pay-i cannot be reached or takes none of them.
    pub async fn ingest_bulk(&self, events: &[Ingest]) -> Result<Bulk> {
        let items: Vec<Item<'_>> = events.iter().map(Ingest::item).collect();
        let body = self.post("/api/v1/ingest/bulk", Vec::new(), &items).await?;
        let refused = answer::bulk(&body, events.len()).refused;
        Ok(Bulk { refused: refused.into_iter().map(|(index, refusal)| (index, refusal.reason())).collect() })
    }

    async fn post(
        &self,
        path: &str,
        headers: Vec<(&'static str, String)>,
        body: &impl Serialize,
    ) -> Result<Vec<u8>> {
        let broken = |e: reqwest::Error| {
            Error::with_source(Kind::Delivery, "Pay-i could not be reached; try again later", e.without_url())
        };
        let body = serde_json::to_vec(body)
            .map_err(|e| Error::with_source(Kind::Delivery, "the event could not be written as JSON", e))?;
        let mut key = HeaderValue::from_str(self.key.expose())
            .map_err(|e| Error::with_source(Kind::Config, "the key is not usable for Pay-i", e))?;
        key.set_sensitive(true);
        let mut request = self.http.post(format!("{}{path}", self.base_url)).header(API_KEY, key);
        request = request.header(ACCEPT, "application/json").header(CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response = request.body(body).send().await.map_err(broken)?;
        let status = response.status().as_u16();
        let body = response.bytes().await.map_err(broken)?.to_vec();
        if (200..300).contains(&status) && answer::is_an_answer(&body) {
            return Ok(body);
        }
        Err(refused(&Refusal::new(status, &body).reason()))
    }
}

fn refused(code: &str) -> Error {
    Error::new(Kind::Delivery, format!("Pay-i refused the event: {code}"))
}

#[derive(Serialize)]
struct Body<'a> {
    category: &'a str,
    resource: &'a str,
    units: &'a BTreeMap<String, Unit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_timestamp: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_to_end_latency_ms: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_to_first_token_ms: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_to_first_completion_token_ms: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_status_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_response_id: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    properties: BTreeMap<&'a str, Option<&'a str>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    use_case_properties: BTreeMap<&'a str, Option<&'a str>>,
}

#[derive(Serialize)]
struct Item<'a> {
    #[serde(flatten)]
    body: Body<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    limit_ids: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    request_tags: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    use_case_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    use_case_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    use_case_step: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    use_case_version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
}
