//! One user, account, use case or model: over time, split by everything else, its errors and its speed.

use askama::Template;
use axum::{
    extract::{Path, RawQuery, State},
    response::Response,
};
use payi_core::ledger::{
    CallSite,
    read::{Dimension, Drivers, Health, Order, Pick, RequestOrder, Requests, Series},
};

use crate::server::{
    app::{App, Failed},
    chart::{self, Chart},
    drivers::{self, Tab},
    format,
    kpis::Kpis,
    overview::{self, Tile},
    page::{self, Filters, Frame, Link, Section, title},
    params::Params,
    range,
    requests::Line,
};

#[derive(Template)]
#[template(path = "detail.html")]
struct Page {
    frame: Frame,
    filters: Filters,
    tabs: Vec<Link>,
    kind: &'static str,
    heading: String,
    whole: String,
    also: Vec<(String, String)>,
    tiles: Vec<Tile>,
    splits: Vec<Link>,
    chart: Chart,
    /// Of a use case that has some.
    kpis: Option<Kpis>,
    parts: Vec<Part>,
    /// Lines of code that call for nobody, on the page of calls for nobody.
    sites: Option<Vec<Site>>,
    lines: Vec<Line>,
    more: String,
}

/// A small table: the same spend, split by one dimension.
struct Part {
    title: String,
    rows: Vec<PartRow>,
    rest: Option<(String, String)>,
}

struct PartRow {
    name: String,
    whole: String,
    href: String,
    cost: String,
    share: String,
    calls: String,
    bar: i128,
}

/// A line of code that makes calls without a key that is required.
struct Site {
    place: String,
    missing: String,
    calls: String,
    last: String,
}

impl Site {
    fn new(site: &CallSite, params: &Params) -> Self {
        Self {
            place: site
                .location
                .as_deref()
                .map_or_else(|| "a client that does not say where".into(), format::clipped),
            missing: format::clipped(&site.missing),
            calls: format::count(site.calls),
            last: format::moment(site.last, &params.zone),
        }
    }
}

struct Data {
    sites: Option<Vec<CallSite>>,
    as_of: std::time::SystemTime,
    resolved: range::Resolved,
    whole: Drivers,
    series: Series,
    labels: Vec<String>,
    parts: Vec<(Dimension, Drivers)>,
    requests: Requests,
    health: Health,
    known: page::Known,
}

/// What a page is split by: everything it is not itself about.
const PARTS: [Dimension; 6] = [
    Dimension::User,
    Dimension::Account,
    Dimension::UseCase,
    Dimension::Step,
    Dimension::Model,
    Dimension::Error,
];

fn read(view: &payi_core::ledger::read::View<'_>, params: &Params) -> payi_core::ledger::read::Answer<Data> {
    let resolved = params.range.resolve(&params.now(), view.first()?);
    let (bounds, form) = resolved.slots();
    let times = range::times(&bounds);
    let query = |by: &[Dimension], limit| {
        let mut query = params.query(by, &resolved);
        (query.offset, query.limit, query.order, query.reverse) = (0, Some(limit), Order::Cost, false);
        query
    };
    let split_by: Vec<_> = PARTS.into_iter().filter(|d| params.picked(*d).is_none()).collect();
    let mut asked = vec![(query(&[], 1), &*times)];
    for &dimension in &split_by {
        let mut query = query(&[dimension], 8);
        if dimension == Dimension::Error {
            // They are shown with their calls.
            query.order = Order::Calls;
        }
        asked.push((query, &[]));
    }
    let mut reports = view.drivers_of(&asked)?.into_iter();
    let whole = reports.next().unwrap_or_default();
    let parts = split_by.into_iter().zip(reports).collect();
    let nobody = params.picked(Dimension::User) == Some(&Pick::Missing);
    Ok(Data {
        sites: nobody.then(|| view.call_sites(Some(resolved.since()))).transpose()?,
        as_of: view.as_of(),
        whole,
        series: view.series(&query(&[split(params)], 1), &times, chart::PARTS)?,
        labels: overview::labels(&bounds, form),
        parts,
        requests: view.requests(&query(&[], 10), RequestOrder::Time)?,
        health: view.health()?,
        known: overview::known(view)?,
        resolved,
    })
}

/// Split by what the page asks for, but not by what it is about.
fn split(params: &Params) -> Dimension {
    let asked = overview::split(params).1;
    let fixed = |dimension: &Dimension| params.picked(*dimension).is_some();
    if params.by.is_some() || !fixed(&asked) {
        return asked;
    }
    [Dimension::Model, Dimension::UseCase, Dimension::Account]
        .into_iter()
        .find(|d| !fixed(d))
        .unwrap_or(asked)
}

/// The page of what the address names.
pub(crate) async fn show(
    State(app): State<App>,
    Path(tab): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failed> {
    let params = Params::read(&query.unwrap_or_default());
    let Some(tab) = Tab::find(&tab) else { return Ok(page::missing_tab()) };
    let about = tab.ways[0].2[0];
    if params.picks.is_empty() {
        return Ok(page::not_found("This address names nothing to look at."));
    }
    let asked = params.clone();
    let data = app.view(move |view| read(view, &asked)).await?;
    let kpis = match params.picked(Dimension::UseCase) {
        Some(Pick::Is(name)) if about == Dimension::UseCase => {
            Kpis::read(&app, name, &data.resolved, &params.zone).await?
        }
        _ => None,
    };
    let path = format!("{}/detail", tab.path());
    let name = |dimension| match params.picked(dimension) {
        Some(Pick::Is(name)) => Some(name.clone()),
        Some(_) if dimension == Dimension::User => Some("Unattributed".into()),
        Some(_) => Some("None".into()),
        None => None,
    };
    let heading = name(about).unwrap_or_else(|| "All".into());
    let also = params.picks.iter().map(|(d, _)| *d).filter(|d| *d != about);
    let also = also.filter_map(|d| Some((title(d).into(), format::clipped(&name(d)?)))).collect();
    let mut splits = overview::splits(&params, &path, Some(about));
    mark(&mut splits, split(&params));
    let page = Page {
        frame: Frame::new(
            Section::CostDrivers,
            format!("{} {}", tab.one, format::clipped(&heading)),
            &params,
            data.as_of,
            data.health.in_flight,
        ),
        filters: Filters::new(&params, &path, &data.resolved, &data.known),
        tabs: drivers::tabs(&Params { picks: Vec::new(), ..params.clone() }, tab.name),
        kind: tab.one,
        heading: format::clipped(&heading),
        whole: format::whole(&heading),
        also,
        tiles: tiles(&data),
        splits,
        chart: chart::stacked(&data.series, &data.labels, title(split(&params))),
        kpis,
        parts: data.parts.iter().filter_map(|(d, report)| part(*d, report, &params)).collect(),
        sites: data.sites.map(|sites| sites.iter().map(|site| Site::new(site, &params)).collect()),
        lines: data.requests.rows.iter().map(|row| Line::new(row, &params)).collect(),
        more: Params { by: None, ..params.first_page() }.at("/requests"),
    };
    Ok(page::render(&page))
}

fn mark(links: &mut [Link], dimension: Dimension) {
    for link in links {
        link.here = matches!(
            (link.name.as_str(), dimension),
            ("Users", Dimension::User)
                | ("Accounts", Dimension::Account)
                | ("Use cases", Dimension::UseCase)
                | ("Models", Dimension::Model)
        );
    }
}

fn tiles(data: &Data) -> Vec<Tile> {
    let mut tiles = overview::tiles(&data.whole.total, None);
    let Some(row) = data.whole.rows.first() else { return tiles };
    let about = |cost: Option<payi_core::money::Money>| cost.map_or_else(|| "—".into(), format::about);
    let took = |d: Option<std::time::Duration>| d.map_or_else(|| "—".into(), format::duration);
    let detail = &row.detail;
    let (value, note) = (about(detail.cost_p50), format!("p95 ≈ {}", about(detail.cost_p95)));
    tiles.push(Tile { name: "≈ USD each, p50", value, note, ..Tile::default() });
    let (value, note) = (took(detail.latency_p50), format!("p95 ≈ {}", took(detail.latency_p95)));
    tiles.push(Tile { name: "≈ Latency, p50", value, note, ..Tile::default() });
    tiles
}

fn part(dimension: Dimension, report: &Drivers, params: &Params) -> Option<Part> {
    let errors = dimension == Dimension::Error;
    let nameless = report.nameless.iter().filter(|_| !errors);
    let most =
        report.rows.iter().chain(&report.nameless).map(|r| r.figures.totals.cost.pico()).max().unwrap_or(0);
    let rows: Vec<_> = report
        .rows
        .iter()
        .chain(nameless)
        .map(|row| {
            let name = row.names.first().cloned().flatten();
            let totals = &row.figures.totals;
            let to = Params { by: None, ..params.with(dimension, name.as_deref()) };
            let path = match (dimension, about_tab(params)) {
                (Dimension::Error | Dimension::Step, _) | (_, None) => "/requests".into(),
                (_, Some(tab)) => format!("{}/detail", tab.path()),
            };
            PartRow {
                name: name.as_deref().map_or_else(|| "None".into(), format::clipped),
                whole: name.as_deref().map(format::whole).unwrap_or_default(),
                href: to.at(&path),
                cost: format::spent(totals),
                share: format::share(totals.cost, report.total.totals.cost),
                calls: format::calls(totals.calls.total()),
                bar: format::permille(totals.cost.pico(), most).unwrap_or(0).clamp(0, 1000),
            }
        })
        .collect();
    // A dimension that was never given says nothing.
    if report.rows.is_empty() {
        return None;
    }
    let rest = (report.count > report.rows.len()).then(|| {
        let shown = report
            .rows
            .iter()
            .chain(&report.nameless)
            .map(|r| r.figures.totals.cost)
            .sum::<payi_core::money::Money>();
        let left = report.total.totals.cost.pico() - shown.pico();
        let n = report.count - report.rows.len();
        (format!("{} more", format::count(n as u64)), format::money(payi_core::money::Money::from_pico(left)))
    });
    let title =
        if errors { "Errors by kind".into() } else { format!("By {}", title(dimension).to_lowercase()) };
    Some(Part { title, rows, rest })
}

/// The tab whose page these conditions belong to.
fn about_tab(params: &Params) -> Option<Tab> {
    drivers::TABS.into_iter().find(|tab| params.picked(tab.ways[0].2[0]).is_some())
}
