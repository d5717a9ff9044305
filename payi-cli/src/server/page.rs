//! What all pages have: the frame around them, the links beside them, and what is said when there is none.

use askama::Template;
use axum::{
    extract::Request,
    http::StatusCode,
    response::{Html, IntoResponse, Response},
};
use payi_core::ledger::read::{Dimension, Pick};

use crate::server::{
    app::Failed,
    assets, format,
    params::Params,
    range::{PRESETS, Resolved},
};

/// The frame of a page.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) title: String,
    pub(crate) style: &'static str,
    pub(crate) script: &'static str,
    pub(crate) icon: &'static str,
    pub(crate) nav: Vec<Link>,
    pub(crate) as_of: String,
    pub(crate) zone: String,
    pub(crate) in_flight: u64,
}

/// A link, and whether it leads to where one is.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) href: String,
    pub(crate) here: bool,
}

impl Link {
    pub(crate) fn new(name: impl Into<String>, href: String, here: bool) -> Self {
        Self { name: name.into(), href, here }
    }
}

/// The parts of the application, in the order of the sidebar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Overview,
    CostDrivers,
    Requests,
    Limits,
}

impl Frame {
    pub(crate) fn new(
        section: Section,
        title: impl Into<String>,
        params: &Params,
        as_of: std::time::SystemTime,
        in_flight: u64,
    ) -> Self {
        let bare = params.bare();
        let nav = [
            (Section::Overview, "Overview", "/"),
            (Section::CostDrivers, "Cost Drivers", "/cost-drivers/users"),
            (Section::Requests, "Requests", "/requests"),
            (Section::Limits, "Limits", "/limits"),
        ];
        Self {
            title: title.into(),
            style: assets::STYLE,
            script: assets::SCRIPT,
            icon: assets::ICON,
            nav: nav.map(|(s, name, path)| Link::new(name, bare.at(path), s == section)).into(),
            as_of: format::moment(as_of, &params.zone),
            zone: params.zone_name.clone(),
            in_flight,
        }
    }
}

/// The controls above a page: range, time zone and conditions.
#[derive(Debug)]
pub(crate) struct Filters {
    pub(crate) action: String,
    pub(crate) ranges: Vec<Choice>,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) range_label: String,
    pub(crate) zone: String,
    /// Conditions one may choose from.
    pub(crate) selects: Vec<Select>,
    /// Conditions in force, each with a link that lifts it.
    pub(crate) chips: Vec<Chip>,
    /// State that the form carries along.
    pub(crate) hidden: Vec<(&'static str, String)>,
    pub(crate) search: Option<String>,
    pub(crate) search_label: &'static str,
    pub(crate) reset: String,
}

/// A way to narrow a page.
#[derive(Debug)]
pub(crate) struct Select {
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    pub(crate) options: Vec<Choice>,
}

/// One option of a list.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) value: String,
    pub(crate) text: String,
    pub(crate) chosen: bool,
}

/// A condition in force.
#[derive(Debug)]
pub(crate) struct Chip {
    pub(crate) text: String,
    pub(crate) href: String,
}

/// Names that the ledger knows, for the lists of conditions.
pub(crate) type Known = Vec<(Dimension, Vec<String>)>;

/// How many names a list offers; others are reached through the tables.
pub(crate) const OFFERED: u32 = 200;

/// Dimensions that a page may be narrowed by.
pub(crate) const NARROWING: [Dimension; 5] =
    [Dimension::Account, Dimension::UseCase, Dimension::Model, Dimension::Provider, Dimension::Outcome];

impl Filters {
    pub(crate) fn new(params: &Params, path: &str, resolved: &Resolved, known: &Known) -> Self {
        let preset = match &params.range {
            crate::server::range::Range::Preset(name) => Some(*name),
            crate::server::range::Range::Days(..) => None,
        };
        let ranges = PRESETS.iter().map(|(name, text)| Choice {
            value: (*name).into(),
            text: (*text).into(),
            chosen: preset == Some(name),
        });
        let days =
            |at: &jiff::ZonedDateTime| if preset.is_none() { at.date().to_string() } else { String::new() };
        let last =
            resolved.until.checked_sub(jiff::ToSpan::day(1)).unwrap_or_else(|_| resolved.until.clone());
        let mut hidden = Vec::new();
        for (key, value) in [("by", &params.by), ("sort", &params.sort)] {
            hidden.extend(value.clone().map(|value| (key, value)));
        }
        let mut selects = Vec::new();
        for (dimension, names) in known {
            selects.push(select(params, *dimension, names));
        }
        for (dimension, pick) in &params.picks {
            let listed = known.iter().any(|(d, _)| d == dimension);
            match pick {
                Pick::Is(name) if !listed => hidden.push((dimension.name(), name.clone())),
                Pick::Is(_) => {}
                _ => hidden.push(("no", dimension.name().into())),
            }
        }
        hidden.extend(params.source.map(|source| ("source", source.name().into())));
        Self {
            action: path.into(),
            ranges: ranges.collect(),
            from: days(&resolved.since),
            to: days(&last),
            range_label: resolved.label.clone(),
            zone: params.zone_name.clone(),
            selects,
            chips: chips(params, path),
            hidden,
            search: None,
            search_label: "",
            reset: params.bare().at(path),
        }
    }

    pub(crate) fn searching(mut self, params: &Params, label: &'static str) -> Self {
        (self.search, self.search_label) = (Some(params.search.clone()), label);
        self
    }
}

fn select(params: &Params, dimension: Dimension, names: &[String]) -> Select {
    let picked = match params.picked(dimension) {
        Some(Pick::Is(name)) => Some(name.clone()),
        _ => None,
    };
    let any = Choice { value: String::new(), text: "Any".into(), chosen: picked.is_none() };
    let offered = names.iter().chain(picked.iter().filter(|p| !names.contains(p)));
    let options = offered.map(|name| Choice {
        value: name.clone(),
        text: format::clipped(name),
        chosen: picked.as_ref() == Some(name),
    });
    Select {
        name: dimension.name(),
        label: title(dimension),
        options: std::iter::once(any).chain(options).collect(),
    }
}

fn chips(params: &Params, path: &str) -> Vec<Chip> {
    let mut chips = Vec::new();
    for (dimension, pick) in &params.picks {
        let text = match pick {
            Pick::Is(name) => format!("{}: {}", title(*dimension), format::clipped(name)),
            _ => format!("{}: none", title(*dimension)),
        };
        chips.push(Chip { text, href: params.without(*dimension).at(path) });
    }
    if let Some(source) = params.source {
        let without = Params { source: None, ..params.first_page() };
        chips.push(Chip { text: format!("Cost: {}", source.name()), href: without.at(path) });
    }
    if !params.search.is_empty() {
        let without = Params { search: String::new(), ..params.first_page() };
        chips.push(Chip {
            text: format!("Search: {}", format::clipped(&params.search)),
            href: without.at(path),
        });
    }
    chips
}

/// A dimension's name as people read it.
pub(crate) const fn title(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::User => "User",
        Dimension::Account => "Account",
        Dimension::UseCase => "Use case",
        Dimension::Version => "Version",
        Dimension::Step => "Step",
        Dimension::Provider => "Provider",
        Dimension::Model => "Model",
        Dimension::Outcome => "Outcome",
        Dimension::Error => "Error",
        _ => "",
    }
}

/// A page that says why there is none.
#[derive(Template)]
#[template(path = "problem.html")]
struct Problem {
    frame: Frame,
    what: String,
    next: String,
}

fn problem(code: StatusCode, what: &str, next: &str) -> Response {
    let params = Params::read("");
    let mut frame = Frame::new(Section::Overview, what, &params, std::time::SystemTime::now(), 0);
    for link in &mut frame.nav {
        link.here = false;
    }
    (code, render(&Problem { frame, what: what.into(), next: next.into() })).into_response()
}

/// There is no such address.
pub(crate) async fn missing(request: Request) -> Response {
    let _ = request;
    not_found("There is no page at this address.")
}

/// There is no such tab.
pub(crate) fn missing_tab() -> Response {
    not_found("Cost Drivers has no such tab.")
}

pub(crate) fn not_found(what: &str) -> Response {
    problem(StatusCode::NOT_FOUND, what, "The pages there are stand in the sidebar.")
}

pub(crate) fn render(template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => Html(text).into_response(),
        Err(e) => {
            tracing::error!(error = %e, "payi serve: a page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        match self {
            Self::Ledger(e) => {
                tracing::error!(error = %e, "payi serve: the ledger could not be read");
                let what = "The ledger could not be read.";
                problem(StatusCode::SERVICE_UNAVAILABLE, what, "Its message is in the log of payi serve.")
            }
            Self::Panicked => {
                let what = "This page could not be made.";
                problem(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    what,
                    "A mistake of payi; what it says is in its log.",
                )
            }
            Self::Closing => problem(StatusCode::SERVICE_UNAVAILABLE, "payi serve is going down.", ""),
        }
    }
}
