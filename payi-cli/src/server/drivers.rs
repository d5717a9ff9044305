//! Cost Drivers: the tabs, and the table below each.

use askama::Template;
use axum::{
    extract::{Path, RawQuery, State},
    response::{IntoResponse as _, Redirect, Response},
};
use payi_core::ledger::read::{Dimension, Drivers, Health};

use crate::server::{
    app::{App, Failed},
    limits,
    overview::{self, Tile},
    page::{self, Filters, Frame, Link, Section},
    params::Params,
    range,
    table::{Place, Table},
};

/// A tab: its name in addresses, its title, and the ways its rows may be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tab {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) one: &'static str,
    /// The first is the usual one; the name of each is what `by` says in the address.
    pub(crate) ways: &'static [(&'static str, &'static str, &'static [Dimension])],
}

use Dimension as D;

/// The tabs in their order; users first.
pub(crate) const TABS: [Tab; 4] = [
    Tab { name: "users", title: "Users", one: "User", ways: &[("user", "User", &[D::User, D::Account])] },
    Tab {
        name: "accounts",
        title: "Accounts",
        one: "Account",
        ways: &[("account", "Account", &[D::Account])],
    },
    Tab {
        name: "use-cases",
        title: "Use cases",
        one: "Use case",
        ways: &[
            ("use_case", "Use case", &[D::UseCase]),
            ("version", "Versions", &[D::UseCase, D::Version]),
            ("step", "Steps", &[D::UseCase, D::Step]),
        ],
    },
    Tab {
        name: "models",
        title: "Models",
        one: "Model",
        ways: &[("model", "Model", &[D::Model, D::Provider]), ("provider", "Providers", &[D::Provider])],
    },
];

impl Tab {
    pub(crate) fn find(name: &str) -> Option<Self> {
        TABS.into_iter().find(|tab| tab.name == name)
    }

    pub(crate) fn path(self) -> String {
        format!("/cost-drivers/{}", self.name)
    }

    /// The way its rows are made, by what the address says.
    pub(crate) fn way(self, by: Option<&str>) -> (usize, &'static [Dimension]) {
        let found = by.and_then(|by| self.ways.iter().position(|(name, ..)| *name == by)).unwrap_or(0);
        (found, self.ways[found].2)
    }
}

/// A step through pages of rows.
#[derive(Debug)]
pub(crate) struct Pager {
    pub(crate) text: String,
    pub(crate) previous: Option<String>,
    pub(crate) next: Option<String>,
}

#[derive(Template)]
#[template(path = "drivers.html")]
struct Page {
    frame: Frame,
    filters: Filters,
    tabs: Vec<Link>,
    ways: Vec<Link>,
    tiles: Vec<Tile>,
    table: Table,
    pager: Pager,
    csv: String,
    json: String,
}

/// The first tab.
pub(crate) async fn first(RawQuery(query): RawQuery) -> Redirect {
    Redirect::temporary(&Params::read(&query.unwrap_or_default()).at("/cost-drivers/users"))
}

struct Data {
    as_of: std::time::SystemTime,
    resolved: range::Resolved,
    report: Drivers,
    health: Health,
    known: page::Known,
}

/// A tab.
pub(crate) async fn show(
    State(app): State<App>,
    Path(tab): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failed> {
    let Some(tab) = Tab::find(&tab) else { return Ok(page::missing_tab()) };
    let params = Params::read(&query.unwrap_or_default());
    let (way, dimensions) = tab.way(params.by.as_deref());
    let asked = params.clone();
    let data = app
        .view(move |view| {
            let resolved = asked.range.resolve(&asked.now(), view.first()?);
            let times = range::times(&resolved.slots().0);
            let report = view.drivers(&asked.query(dimensions, &resolved), &times)?;
            let known = overview::known(view)?;
            Ok(Data { as_of: view.as_of(), resolved, report, health: view.health()?, known })
        })
        .await?;
    let path = tab.path();
    let detail = format!("{path}/detail");
    if data.report.rows.is_empty() && params.page > 1 {
        // The page is past the end, most likely since a condition was added.
        return Ok(Redirect::temporary(&Params { page: 1, ..params }.at(&path)).into_response());
    }
    let users = (tab.name == "users").then_some(&data.report);
    let budgets = match users {
        Some(report) => {
            let rows: Vec<_> = report.rows.iter().map(|row| limits::subject(&row.names)).collect();
            app.read(move |ledger| limits::budgets(ledger, &rows)).await?.map_err(Failed::Ledger)?
        }
        None => Vec::new(),
    };
    let place = Place { params: &params, path: &path, detail: &detail, dimensions };
    let label = if tab.name == "users" { "Search users and accounts" } else { "Search" };
    let page = Page {
        frame: Frame::new(
            Section::CostDrivers,
            format!("Cost Drivers: {}", tab.title),
            &params,
            data.as_of,
            data.health.in_flight,
        ),
        filters: Filters::new(&params, &path, &data.resolved, &data.known).searching(&params, label),
        tabs: tabs(&params, tab.name),
        ways: ways(&params, tab, way),
        tiles: overview::tiles(&data.report.total, users),
        table: Table::new(&data.report, place).with_budgets(budgets),
        pager: pager(&params, &path, data.report.rows.len(), data.report.count),
        csv: params.first_sorted().at(&format!("{path}/export.csv")),
        json: params.first_sorted().at(&format!("{path}/export.json")),
    };
    Ok(page::render(&page))
}

pub(crate) fn tabs(params: &Params, here: &str) -> Vec<Link> {
    let to = Params { by: None, search: String::new(), ..params.first_page() };
    TABS.iter().map(|tab| Link::new(tab.title, to.at(&tab.path()), tab.name == here)).collect()
}

fn ways(params: &Params, tab: Tab, here: usize) -> Vec<Link> {
    if tab.ways.len() < 2 {
        return Vec::new();
    }
    let link = |(i, (name, title, _)): (usize, &(&str, &str, &[Dimension]))| {
        let by = (i != 0).then(|| (*name).to_owned());
        Link::new(*title, Params { by, ..params.first_page() }.at(&tab.path()), i == here)
    };
    tab.ways.iter().enumerate().map(link).collect()
}

/// The steps to the pages around this one.
pub(crate) fn pager(params: &Params, path: &str, shown: usize, count: usize) -> Pager {
    let first = (params.page - 1) * params.per_page;
    let to = |page| Params { page, ..params.clone() }.at(path);
    let count_text = crate::server::format::count(count as u64);
    Pager {
        text: match shown {
            0 => "No rows".into(),
            _ if shown == count => format!("{count_text} {}", if count == 1 { "row" } else { "rows" }),
            _ => format!("{}–{} of {count_text}", first + 1, first + shown),
        },
        previous: (params.page > 1).then(|| to(params.page - 1)),
        next: (first + shown < count).then(|| to(params.page + 1)),
    }
}
