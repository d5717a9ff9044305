//! The first page: how much, for whom, on what, and since when.

use askama::Template;
use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use payi_core::{
    ledger::read::{Dimension, Drivers, Figures, Health, Order, Series, View},
    money::Money,
};

use crate::server::{
    app::{App, Failed},
    chart::{self, Chart},
    format::{self, Change},
    page::{self, Filters, Frame, Link, NARROWING, OFFERED, Section},
    params::Params,
    range,
};

/// A figure with its name.
#[derive(Debug, Default)]
pub(crate) struct Tile {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    pub(crate) note: String,
    pub(crate) change: Change,
}

/// Who or what most was spent on.
#[derive(Debug)]
struct Top {
    title: &'static str,
    rows: Vec<TopRow>,
    all: String,
}

#[derive(Debug)]
struct TopRow {
    name: String,
    whole: String,
    href: String,
    cost: String,
    calls: String,
    bar: i128,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Page {
    frame: Frame,
    filters: Filters,
    tiles: Vec<Tile>,
    splits: Vec<Link>,
    chart: Chart,
    tops: Vec<Top>,
    health: Vec<(String, String)>,
    empty: bool,
}

/// What a chart may be split by.
const SPLITS: [(&str, &str, Dimension); 4] = [
    ("user", "Users", Dimension::User),
    ("account", "Accounts", Dimension::Account),
    ("use_case", "Use cases", Dimension::UseCase),
    ("model", "Models", Dimension::Model),
];

pub(crate) fn split(params: &Params) -> (usize, Dimension) {
    let by = params.by.as_deref().unwrap_or("user");
    let found = SPLITS.iter().position(|(name, ..)| *name == by).unwrap_or(0);
    (found, SPLITS[found].2)
}

pub(crate) fn splits(params: &Params, path: &str, without: Option<Dimension>) -> Vec<Link> {
    let here = split(params).0;
    SPLITS
        .iter()
        .enumerate()
        .filter(|(_, (.., dimension))| Some(*dimension) != without)
        .map(|(i, (name, title, _))| {
            let by = (i != 0).then(|| (*name).to_owned());
            Link::new(*title, Params { by, ..params.first_page() }.at(path), i == here)
        })
        .collect()
}

struct Data {
    as_of: std::time::SystemTime,
    resolved: range::Resolved,
    users: Drivers,
    models: Drivers,
    use_cases: Drivers,
    series: Series,
    labels: Vec<String>,
    health: Health,
    known: page::Known,
}

fn read(view: &View<'_>, params: &Params) -> payi_core::ledger::read::Answer<Data> {
    let resolved = params.range.resolve(&params.now(), view.first()?);
    let (bounds, format) = resolved.slots();
    let times = range::times(&bounds);
    let top = |by: &[Dimension]| -> (_, &[_]) {
        let mut query = params.query(by, &resolved);
        (query.limit, query.offset, query.order) = (Some(5), 0, Order::default());
        (query, &[])
    };
    let asked = [
        top(&[Dimension::User, Dimension::Account]),
        top(&[Dimension::Provider, Dimension::Model]),
        top(&[Dimension::UseCase]),
    ];
    let mut tops = view.drivers_of(&asked)?.into_iter();
    let mut next = || tops.next().unwrap_or_default();
    let (users, models, use_cases) = (next(), next(), next());
    // After the tops: it is made of what they have read.
    let series = view.series(&params.query(&[split(params).1], &resolved), &times, chart::PARTS)?;
    let labels = labels(&bounds, format);
    let known = known(view)?;
    Ok(Data {
        as_of: view.as_of(),
        users,
        models,
        use_cases,
        series,
        labels,
        health: view.health()?,
        known,
        resolved,
    })
}

/// The names of slots; the last bound begins none.
pub(crate) fn labels(bounds: &[jiff::ZonedDateTime], format: &str) -> Vec<String> {
    let begin = bounds.get(..bounds.len().saturating_sub(1)).unwrap_or_default();
    begin.iter().map(|at| at.strftime(format).to_string()).collect()
}

/// The names that pages may be narrowed by.
pub(crate) fn known(view: &View<'_>) -> payi_core::ledger::read::Answer<page::Known> {
    NARROWING.into_iter().map(|dimension| Ok((dimension, view.names(dimension, OFFERED)?))).collect()
}

/// The page.
pub(crate) async fn show(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Failed> {
    let params = Params::read(&query.unwrap_or_default());
    let asked = params.clone();
    let data = app.view(move |view| read(view, &asked)).await?;
    let page = Page {
        frame: Frame::new(Section::Overview, "Overview", &params, data.as_of, data.health.in_flight),
        filters: Filters::new(&params, "/", &data.resolved, &data.known),
        tiles: tiles(&data.users.total, Some(&data.users)),
        splits: splits(&params, "/", None),
        chart: chart::stacked(&data.series, &data.labels, page::title(split(&params).1)),
        empty: data.health.last_seq == 0,
        tops: vec![
            top(
                "Users",
                &data.users,
                &params,
                "/cost-drivers/users",
                &[Dimension::User, Dimension::Account],
                0,
            ),
            top("Use cases", &data.use_cases, &params, "/cost-drivers/use-cases", &[Dimension::UseCase], 0),
            top(
                "Models",
                &data.models,
                &params,
                "/cost-drivers/models",
                &[Dimension::Provider, Dimension::Model],
                1,
            ),
        ],
        health: health(&data.health),
    };
    Ok(page::render(&page))
}

/// The strip of figures above a page. It is the footer of the table below it; where that is of `users`, it says how
/// many there are.
pub(crate) fn tiles(total: &Figures, users: Option<&Drivers>) -> Vec<Tile> {
    let totals = &total.totals;
    let calls = totals.calls.total();
    let mut tiles = vec![Tile {
        name: "Spend, USD",
        value: format::money(totals.cost),
        note: total.before.map_or_else(String::new, |before| format!("before: {}", format::money(before))),
        change: format::change(totals.cost, total.before),
    }];
    let attempts = totals.attempts;
    let note = if attempts > calls { format!("{} attempts", format::count(attempts)) } else { String::new() };
    tiles.push(Tile { name: "Calls", value: format::count(calls), note, ..Tile::default() });
    tiles.extend(users.map(users_tile));
    let failed = totals.calls.failed;
    let other = calls - totals.calls.ok - failed;
    tiles.push(Tile {
        name: "Error rate",
        value: format::share_of(failed, calls),
        note: format!("{} failed, {} stopped", format::count(failed), format::count(other)),
        ..Tile::default()
    });
    tiles.push(Tile {
        name: "Tokens",
        value: format::short(totals.tokens.total()),
        note: match totals.tokens.total() {
            0 => String::new(),
            all => format!("{} read from cache", format::share_of(totals.tokens.cache_read, all)),
        },
        ..Tile::default()
    });
    if totals.unpriced_calls > 0 {
        let note = "not in the spend".into();
        tiles.push(Tile {
            name: "Unpriced calls",
            value: format::count(totals.unpriced_calls),
            note,
            ..Tile::default()
        });
    }
    tiles
}

/// How many users there are, whatever accounts they belong to, and what one of them cost on average. What was spent
/// for nobody in particular is not theirs.
fn users_tile(report: &Drivers) -> Tile {
    let users = report.distinct as u64;
    let nobodys = report.nameless.as_ref().map(|row| row.figures).unwrap_or_default();
    let theirs = report.total.less(&nobodys).totals.cost;
    let each = theirs.pico().checked_div(users.into()).map(Money::from_pico);
    let note = each.map_or_else(String::new, |each| format!("≈ {} each", format::about(each)));
    Tile { name: "Users", value: format::count(users), note, ..Tile::default() }
}

fn top(
    title: &'static str,
    report: &Drivers,
    params: &Params,
    path: &str,
    dimensions: &[Dimension],
    shown: usize,
) -> Top {
    let most = report.rows.first().map_or(0, |row| row.figures.totals.cost.pico());
    let rows = report.rows.iter().chain(&report.nameless).take(6).map(|row| {
        let mut to = params.first_page();
        for (dimension, name) in dimensions.iter().zip(&row.names) {
            to = to.with(*dimension, name.as_deref());
        }
        let named = row.names.get(shown).and_then(Option::as_deref);
        let totals = &row.figures.totals;
        TopRow {
            name: named.map_or_else(
                || if title == "Users" { "Unattributed".into() } else { "None".into() },
                format::clipped,
            ),
            whole: named.map(format::whole).unwrap_or_default(),
            href: Params { by: None, ..to }.at(&format!("{path}/detail")),
            cost: format::spent(totals),
            calls: format::calls(totals.calls.total()),
            bar: format::permille(totals.cost.pico(), most).unwrap_or(0).clamp(0, 1000),
        }
    });
    Top { title, rows: rows.collect(), all: Params { by: None, ..params.first_page() }.at(path) }
}

fn health(health: &Health) -> Vec<(String, String)> {
    let losses = health.losses.iter().map(|(reason, n)| (format!("Lost: {reason}"), format::count(*n)));
    let lag = health.deliverers.iter().filter(|d| d.1 > 0 || d.2 > 0).map(|(name, lag, aside)| {
        (
            format!("Delivery {name}"),
            format!("{} to go, {} set aside", format::count(*lag), format::count(*aside)),
        )
    });
    losses.chain(lag).collect()
}
