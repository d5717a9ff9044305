//! Requests: attempts one by one, newest first, narrowed by the conditions of the address.

use askama::Template;
use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use payi_core::{
    events::Outcome,
    ledger::read::{Dimension, Request, RequestOrder},
    pricing::CostSource,
};

use crate::server::{
    app::{App, Failed},
    drivers::Pager,
    format, overview,
    page::{self, Filters, Frame, Section},
    params::Params,
};

/// A request in a list.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) href: String,
    pub(crate) at: String,
    pub(crate) user: String,
    pub(crate) user_whole: String,
    pub(crate) user_href: String,
    pub(crate) account: String,
    pub(crate) use_case: String,
    pub(crate) model: String,
    pub(crate) outcome: &'static str,
    pub(crate) why: String,
    pub(crate) input: String,
    pub(crate) cached: String,
    pub(crate) output: String,
    pub(crate) latency: String,
    pub(crate) cost: String,
    pub(crate) source: &'static str,
}

impl Line {
    pub(crate) fn new(row: &Request, params: &Params) -> Self {
        let clipped = |name: &Option<String>| name.as_deref().map_or_else(|| "—".into(), format::clipped);
        let of_user = params.bare().with(Dimension::User, row.user_id.as_deref());
        Self {
            href: params.bare().at(&format!("/requests/{}", row.id)),
            at: format::moment(row.at, &params.zone),
            user: row.user_id.as_deref().map_or_else(|| "Unattributed".into(), format::clipped),
            user_whole: row.user_id.as_deref().map(format::whole).unwrap_or_default(),
            user_href: of_user.at("/cost-drivers/users/detail"),
            account: clipped(&row.account_name),
            use_case: clipped(&row.use_case_name),
            model: clipped(&row.model),
            outcome: row.outcome.name(),
            why: why(row),
            input: format::count(row.tokens.input),
            cached: format::count(row.tokens.cache_read + row.tokens.cache_write),
            output: format::count(row.tokens.output + row.tokens.reasoning),
            latency: format::duration(row.latency),
            cost: cost(row),
            source: row.cost.source.name(),
        }
    }
}

fn why(row: &Request) -> String {
    match (row.http_status, row.error.as_deref()) {
        (Some(status), Some(error)) => format!("{status} {}", format::clipped(error)),
        (None, Some(error)) => format::clipped(error),
        (Some(status), None) if row.outcome == Outcome::Failed => status.to_string(),
        _ => String::new(),
    }
}

/// What it cost; nothing was used by what was refused, and what is unpriced has no figure.
fn cost(row: &Request) -> String {
    match row.cost.source {
        CostSource::Unpriced if row.tokens.total() > 0 || row.outcome == Outcome::Ok => "unpriced".into(),
        _ => format::money(row.cost.amount),
    }
}

#[derive(Template)]
#[template(path = "requests.html")]
struct Page {
    frame: Frame,
    filters: Filters,
    orders: Vec<page::Link>,
    lines: Vec<Line>,
    pager: Pager,
    csv: String,
    json: String,
}

const ORDERS: [(&str, &str, RequestOrder); 4] = [
    ("time", "Newest", RequestOrder::Time),
    ("cost", "Most expensive", RequestOrder::Cost),
    ("latency", "Slowest", RequestOrder::Latency),
    ("tokens", "Most tokens", RequestOrder::Tokens),
];

pub(crate) fn order(params: &Params) -> (usize, RequestOrder) {
    let sort = params.sort.as_deref().unwrap_or("time");
    let found = ORDERS.iter().position(|(name, ..)| *name == sort).unwrap_or(0);
    (found, ORDERS[found].2)
}

/// The list.
pub(crate) async fn show(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Failed> {
    let params = Params::read(&query.unwrap_or_default());
    let asked = params.clone();
    let (here, by) = order(&params);
    let (as_of, resolved, requests, health, known) = app
        .view(move |view| {
            let resolved = asked.range.resolve(&asked.now(), view.first()?);
            let mut query = asked.query(&[], &resolved);
            query.reverse = false;
            let requests = view.requests(&query, by)?;
            Ok((view.as_of(), resolved, requests, view.health()?, overview::known(view)?))
        })
        .await?;
    let orders = ORDERS.iter().enumerate().map(|(i, (name, title, _))| {
        let sort = (i != 0).then(|| (*name).to_owned());
        page::Link::new(*title, Params { sort, page: 1, ..params.clone() }.at("/requests"), i == here)
    });
    let first = (params.page - 1) * params.per_page;
    let to = |page| Params { page, ..params.clone() }.at("/requests");
    let shown = requests.rows.len();
    let page = Page {
        frame: Frame::new(Section::Requests, "Requests", &params, as_of, health.in_flight),
        filters: Filters::new(&params, "/requests", &resolved, &known)
            .searching(&params, "Search users and response ids"),
        orders: orders.collect(),
        lines: requests.rows.iter().map(|row| Line::new(row, &params)).collect(),
        pager: Pager {
            text: if shown == 0 {
                "No requests".into()
            } else {
                format!("{}–{}", first + 1, first + shown)
            },
            previous: (params.page > 1).then(|| to(params.page - 1)),
            next: requests.more.then(|| to(params.page + 1)),
        },
        csv: params.first_sorted().at("/requests/export.csv"),
        json: params.first_sorted().at("/requests/export.json"),
    };
    Ok(page::render(&page))
}
