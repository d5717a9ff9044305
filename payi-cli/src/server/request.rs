//! One request: who, what for, how it went, and how its cost came about, line by line.

use askama::Template;
use axum::{
    extract::{Path, RawQuery, State},
    response::Response,
};
use payi_core::{
    context::Resolved,
    events::{Event, Outcome},
    ledger::StoredEvent,
    money::Money,
    pricing::{Cost, CostSource, Explanation, Names, PriceBook, Priced},
    usage::Usage,
};
use uuid::Uuid;

use crate::server::{
    app::{App, Failed},
    format,
    page::{self, Frame, Section},
    params::Params,
};

#[derive(Template)]
#[template(path = "request.html")]
struct Page {
    frame: Frame,
    id: String,
    outcome: &'static str,
    cost: String,
    source: &'static str,
    context: Vec<(String, String)>,
    timing: Vec<(String, String)>,
    receipt: Vec<(String, String)>,
    attempts: Vec<page::Link>,
    lines: Vec<Line>,
    matched: Vec<(String, String)>,
    /// The book no longer says what the ledger says.
    differs: Option<String>,
    sum: String,
    request: Option<String>,
    response: Vec<String>,
    back: String,
}

/// A line of the arithmetic.
struct Line {
    item: String,
    count: String,
    rate: String,
    amount: String,
}

/// The page.
pub(crate) async fn show(
    State(app): State<App>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failed> {
    let params = Params::read(&query.unwrap_or_default());
    let Some(found) = app.view(move |view| view.find(&id)).await? else {
        return Ok(page::not_found("A request is named by its event id, or by how it begins or ends."));
    };
    let &[id] = &found.ids[..] else {
        return Ok(page::not_found(&match found.count {
            0 => "The ledger has no request of this id.".to_owned(),
            count => format!("The ids of {} requests begin or end so.", format::count(count)),
        }));
    };
    let (as_of, found, health) =
        app.view(move |view| Ok((view.as_of(), view.request(id)?, view.health()?))).await?;
    let Some((stored, attempts)) = found else {
        return Ok(page::not_found("The ledger has no request of this id."));
    };
    let frame = Frame::new(Section::Requests, format!("Request {id}"), &params, as_of, health.in_flight);
    Ok(page::render(&make(frame, &params, app.book(), (&stored, &attempts))))
}

fn make(
    frame: Frame,
    params: &Params,
    book: &PriceBook,
    (stored, attempts): (&StoredEvent, &[(u32, Uuid)]),
) -> Page {
    let event = &stored.event;
    let explained = explain(event, &stored.who, book);
    let exchange = event.exchange.as_deref();
    let link = |(n, id): &(u32, Uuid)| {
        page::Link::new(format!("Attempt {n}"), params.bare().at(&format!("/requests/{id}")), *id == event.id)
    };
    Page {
        frame,
        id: event.id.to_string(),
        outcome: event.outcome.name(),
        cost: event.cost.known().map_or_else(|| "unpriced".into(), format::money),
        source: source(event),
        context: context(&stored.who),
        timing: timing(event, params),
        receipt: receipt(stored),
        attempts: if attempts.len() > 1 { attempts.iter().map(link).collect() } else { Vec::new() },
        lines: lines(event, &explained),
        matched: explained.iter().flat_map(matched).collect(),
        differs: differs(event, &explained),
        sum: sum(&explained)
            .known()
            .or_else(|| event.cost.known().filter(|_| explained.is_empty()))
            .map_or_else(|| "no price is known".into(), format::money),
        request: exchange.and_then(|x| x.request_json.as_deref()).map(pretty),
        response: exchange.map(|x| x.response_json.iter().map(|j| pretty(j)).collect()).unwrap_or_default(),
        back: params.at("/requests"),
    }
}

/// Where its cost comes from; what was refused has none.
pub(crate) fn source(event: &Event) -> &'static str {
    if event.outcome == Outcome::Blocked { "never sent" } else { event.cost.source.name() }
}

/// How the book prices it today, by the names that it was priced by when it was made: first the model that answered,
/// then each other that took part.
///
/// Empty where nothing was used, as far as anybody has said, and nothing is owed.
pub(crate) fn explain(event: &Event, who: &Resolved, book: &PriceBook) -> Vec<Explanation> {
    if event.usage.is_empty() && event.cost.known().is_none_or(|cost| cost == Money::ZERO) {
        return Vec::new();
    }
    let at_us = event.started_at.duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_micros());
    let names = Names {
        called: &event.provider,
        category: who.price_as_category.as_deref(),
        resource: who.price_as_resource.as_deref(),
        asked: event.request_model.as_deref(),
        answered: event.response_model.as_deref(),
    };
    let scope = who.resource_scope.as_deref().and_then(|scope| scope.strip_prefix("datazone."));
    // A price is no better than the counts that it is of.
    let guessed = event.usage_estimated || event.usage_suspect;
    let explained = |model: &str, usage: &Usage| {
        let mut explanation = book.explain(&Priced {
            provider: names.provider(),
            // Pay-i's resources of Vertex say whose model it is; its price list does not.
            model: model.strip_prefix("google.").filter(|_| names.provider() == "google").unwrap_or(model),
            at_us: i64::try_from(at_us).unwrap_or(i64::MAX),
            service_tier: event.service_tier.as_deref(),
            geo: event.geo.as_deref().or(scope),
            usage,
        });
        if guessed && explanation.cost.source == CostSource::Computed {
            explanation.cost.source = CostSource::Estimated;
        }
        explanation
    };
    let own = event.own_usage();
    let known = names.models().map(|model| explained(model, &own));
    let known = known.into_iter().find(|e| e.cost.source != CostSource::Unpriced);
    let answered = known.unwrap_or_else(|| explained(names.models().next().unwrap_or_default(), &own));
    let others = event.elsewhere.iter().map(|(model, usage)| explained(model, usage));
    std::iter::once(answered).chain(others).collect()
}

/// What they come to together.
pub(crate) fn sum(explained: &[Explanation]) -> Cost {
    explained.iter().map(|part| part.cost).reduce(|a, b| a + b).unwrap_or(Cost::UNPRICED)
}

/// The arithmetic of all models, each line under its model's name where there are several.
fn lines(event: &Event, explained: &[Explanation]) -> Vec<Line> {
    let others = event.elsewhere.iter().map(|(model, _)| Some(&**model));
    let answered = event.response_model.as_deref().or(event.request_model.as_deref());
    let models = std::iter::once(answered.filter(|_| !event.elsewhere.is_empty())).chain(others);
    let parts = models.zip(explained);
    parts.flat_map(|(model, part)| part.lines.iter().map(move |it| line(model, it))).collect()
}

fn line(model: Option<&str>, line: &payi_core::pricing::Line) -> Line {
    Line {
        item: model.map_or_else(|| line.item.to_owned(), |model| format!("{model}: {}", line.item)),
        count: format::count(line.count),
        rate: line.rate.map_or_else(|| "no price".into(), |rate| rate.to_string()),
        amount: line.amount.map_or_else(|| "—".into(), format::money),
    }
}

/// Why the lines do not add up to what the ledger says, if they do not.
pub(crate) fn differs(event: &Event, explained: &[Explanation]) -> Option<String> {
    if event.cost.source == CostSource::Reported {
        return Some(
            "The provider said what it costs; the lines are what this book would have charged.".into(),
        );
    }
    if event.outcome == Outcome::Blocked {
        return Some("A limit refused it before it was sent: nothing was used, and nothing is owed.".into());
    }
    if explained.is_empty() {
        let unknown = event.cost.known().is_none();
        return unknown.then(|| "Nobody has said what it used, so it has no price.".into());
    }
    let unknown = explained.iter().all(|part| part.matched.is_none());
    if !event.category.starts_with("system.") && unknown && event.cost.known().is_some() {
        return Some("It was charged at prices of your own, put to the collector; the book has none.".into());
    }
    let now = sum(explained).known().unwrap_or(Money::ZERO);
    let then = event.cost.known().unwrap_or(Money::ZERO);
    if now < then && event.usage_estimated && !event.limits.is_empty() {
        return Some("Nobody has said what it used: it is charged what limits had reserved for it.".into());
    }
    (now != then).then(|| {
        format!(
            "The ledger says {}: prices were other ones when it was written. The ledger is not changed.",
            format::money(then)
        )
    })
}

fn matched(explanation: &Explanation) -> Vec<(String, String)> {
    let Some(matched) = &explanation.matched else { return Vec::new() };
    let mut rows = vec![
        ("Priced as".into(), format!("{} / {}", matched.provider, matched.model)),
        ("Match".into(), matched.kind.name().into()),
    ];
    if let Some(tier) = &matched.tier {
        rows.push(("Tier".into(), tier.to_string()));
    }
    if let Some(region) = &matched.region {
        rows.push(("Region".into(), region.to_string()));
    }
    rows.push(("Prices from".into(), matched.source.to_string()));
    rows
}

fn context(who: &Resolved) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: Option<&str>| {
        rows.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    };
    row("User", Some(who.user_id.as_deref().unwrap_or("Unattributed")));
    row("Account", who.account_name.as_deref());
    if let Some(case) = &who.use_case {
        row("Use case", Some(&case.name));
        row("Instance", case.id.as_deref());
        row("Version", case.version.map(|v| v.to_string()).as_deref());
        row("Step", case.step.as_deref());
    }
    let list = |items: &[payi_core::context::Text]| {
        let items: Vec<&str> = items.iter().map(|i| &**i).collect();
        (!items.is_empty()).then(|| items.join(", "))
    };
    row("Limits", list(&who.limit_ids).as_deref());
    row("Tags", list(&who.request_tags).as_deref());
    row("Priced as category", who.price_as_category.as_deref());
    row("Priced as resource", who.price_as_resource.as_deref());
    row("Resource scope", who.resource_scope.as_deref());
    for (name, value) in &who.request_properties {
        row(&format!("Property {}", &**name), Some(value.as_deref().unwrap_or("null")));
    }
    for (name, value) in who.use_case.iter().flat_map(|case| &case.properties) {
        row(&format!("Use-case property {}", &**name), Some(value.as_deref().unwrap_or("null")));
    }
    rows
}

fn timing(event: &Event, params: &Params) -> Vec<(String, String)> {
    let mut rows = vec![
        (format!("Began ({})", params.zone_name), format::moment(event.started_at, &params.zone)),
        ("Took".into(), format::duration(event.latency)),
    ];
    if let Some(first) = event.time_to_first_token {
        rows.push(("First token after".into(), format::duration(first)));
    }
    rows
}

/// Why its usage is not to be trusted to the last token, and what of it.
pub(crate) fn doubts(event: &Event) -> impl Iterator<Item = (&'static str, &'static str)> {
    let estimated = event.usage_estimated.then_some(("Usage", "estimated: the answer does not say"));
    let suspect = event.usage_suspect.then_some(("Usage counts", "contradicted each other and were clamped"));
    estimated.into_iter().chain(suspect)
}

fn receipt(stored: &StoredEvent) -> Vec<(String, String)> {
    let event = &stored.event;
    let mut rows = Vec::new();
    let mut row = |name: &str, value: Option<String>| {
        rows.extend(value.map(|value| (name.to_owned(), value)));
    };
    row("Provider", Some(event.provider.to_string()));
    row("Operation", Some(format!("{}{}", event.operation, if event.streamed { ", streamed" } else { "" })));
    row("Category", Some(event.category.to_string()));
    row("Model asked for", event.request_model.as_deref().map(Into::into));
    row("Model that answered", event.response_model.as_deref().map(Into::into));
    row("HTTP status", event.http_status.map(|s| s.to_string()));
    let failed = if event.outcome == Outcome::Blocked { "Refused because of" } else { "Error" };
    row(failed, event.error.as_deref().map(Into::into));
    row("Response id", event.response_id.as_deref().map(Into::into));
    row("Service tier", event.service_tier.as_deref().map(Into::into));
    row("Region", event.geo.as_deref().map(Into::into));
    row("Reported cost", event.reported_cost.map(format::money));
    row("Attempt", Some(event.attempt.to_string()));
    row("Call id", (event.call_id != event.id).then(|| event.call_id.to_string()));
    row("Corrects fact", stored.corrects.map(|seq| seq.to_string()));
    for (name, doubt) in doubts(event) {
        row(name, Some(doubt.into()));
    }
    row("Fact", Some(stored.seq.to_string()));
    rows
}

/// JSON with its lines indented; anything else as it is.
fn pretty(json: &str) -> String {
    serde_json::from_str::<serde_json::Value>(json)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .unwrap_or_else(|_| json.to_owned())
}
