//! The table of cost drivers: rows of figures into cells, and a footer that adds up to the last digit.

use payi_core::{
    ledger::read::{Calls, Dimension, Driver, Drivers, Figures, Order, Tokens},
    money::Money,
    pricing::CostSource,
};

use crate::server::{
    format::{self, Change},
    limits::Budget,
    page::title,
    params::Params,
};

/// A table ready for a template.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) caption: String,
    pub(crate) heads: Vec<Head>,
    pub(crate) rows: Vec<Row>,
    /// Rows on other pages, in one.
    pub(crate) rest: Option<Row>,
    /// Attempts that name nobody.
    pub(crate) nameless: Option<Row>,
    /// Calls of unknown cost, and where to look at them.
    pub(crate) unpriced: Option<(String, String)>,
    pub(crate) total: Row,
    /// Names in front of the figures.
    pub(crate) names: usize,
}

/// A column's heading; a link if rows can be sorted by it.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) text: &'static str,
    pub(crate) hint: &'static str,
    pub(crate) href: Option<String>,
    /// `ascending`, `descending` or nothing.
    pub(crate) sorted: &'static str,
    pub(crate) class: &'static str,
}

/// A row in cells.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) names: Vec<Name>,
    pub(crate) cost: String,
    /// Of 1000, for the bar behind the cost.
    pub(crate) bar: i128,
    pub(crate) share: String,
    pub(crate) change: Change,
    pub(crate) calls: String,
    pub(crate) calls_href: String,
    pub(crate) ok: String,
    pub(crate) not_ok: Vec<Count>,
    pub(crate) tokens: String,
    pub(crate) tokens_title: String,
    pub(crate) tokens_bar: Vec<Segment>,
    pub(crate) per_call: String,
    pub(crate) p50: String,
    pub(crate) p95: String,
    pub(crate) top_use_case: String,
    pub(crate) top_model: String,
    pub(crate) spark: String,
    pub(crate) first_seen: String,
    pub(crate) last_seen: String,
    pub(crate) sources: Vec<Segment>,
    pub(crate) sources_title: String,
    pub(crate) unpriced: u64,
    /// Of the limit nearest to its maximum, where there are limits for each user.
    pub(crate) budget: Option<Budget>,
}

/// A name in front of a row.
#[derive(Debug, Default)]
pub(crate) struct Name {
    pub(crate) text: String,
    /// The whole of it, where `text` is cut.
    pub(crate) whole: String,
    pub(crate) href: String,
    pub(crate) none: bool,
}

/// A count that is quiet where it is zero.
#[derive(Debug)]
pub(crate) struct Count {
    pub(crate) text: String,
    pub(crate) class: &'static str,
}

/// A piece of a bar: where it begins, how wide it is, what it is.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) x: u64,
    pub(crate) width: u64,
    pub(crate) class: &'static str,
}

/// Where the links of a table lead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) params: &'a Params,
    pub(crate) path: &'a str,
    pub(crate) detail: &'a str,
    pub(crate) dimensions: &'a [Dimension],
}

impl Table {
    pub(crate) fn new(report: &Drivers, place: Place<'_>) -> Self {
        let total = &report.total;
        let decimals = report.rows.iter().map(|r| r.figures.totals.cost).chain([total.totals.cost]);
        let shape = Shape {
            place,
            total: total.totals.cost,
            top: report.rows.iter().map(|r| r.figures.totals.cost).max().unwrap_or_default(),
            decimals: decimals
                .map(format::decimals)
                .max()
                .unwrap_or_default()
                .max(rest(report).map_or(0, |f| format::decimals(f.totals.cost))),
            abandoned: total.totals.calls.abandoned > 0,
        };
        let rest = rest(report).map(|figures| {
            let shown = report.rows.len();
            let mut row = shape.figures(&figures);
            row.names = vec![Name {
                text: format!("{} more on other pages", format::count((report.count - shown) as u64)),
                ..Name::default()
            }];
            row
        });
        let mut sum = shape.figures(total);
        sum.names = vec![Name { text: "Total".into(), ..Name::default() }];
        let unpriced = (total.totals.unpriced_calls > 0 && place.params.source.is_none()).then(|| {
            let params = Params { source: Some(CostSource::Unpriced), ..place.params.first_page() };
            (format::count(total.totals.unpriced_calls), params.at("/cost-drivers/models"))
        });
        Self {
            caption: caption(place.dimensions),
            heads: heads(place, shape.abandoned),
            rows: report.rows.iter().map(|row| shape.row(row)).collect(),
            rest,
            nameless: report.nameless.as_ref().map(|row| shape.nameless(row)),
            unpriced,
            total: sum,
            names: place.dimensions.len(),
        }
    }
}

impl Table {
    /// With a column of budgets, one for each row; none if nobody has one.
    pub(crate) fn with_budgets(mut self, budgets: Vec<Option<Budget>>) -> Self {
        if budgets.iter().any(Option::is_some) {
            self.heads.push(Head {
                text: "Budget",
                hint: "Used and reserved of the limit nearest to its maximum, now",
                href: None,
                sorted: "",
                class: "n",
            });
            for (row, budget) in self.rows.iter_mut().zip(budgets) {
                row.budget = budget;
            }
        }
        self
    }

    pub(crate) fn shows_budgets(&self) -> bool {
        self.heads.last().is_some_and(|head| head.text == "Budget")
    }

    /// Rows that stand below the others, whatever the order.
    pub(crate) fn pinned(&self) -> impl Iterator<Item = &Row> {
        self.rest.iter().chain(&self.nameless)
    }

    /// The footer.
    pub(crate) fn sum(&self) -> impl Iterator<Item = &Row> {
        std::iter::once(&self.total)
    }

    pub(crate) fn shows_use_case(&self) -> bool {
        self.heads.iter().any(|head| head.text == "Top use case")
    }

    pub(crate) fn shows_model(&self) -> bool {
        self.heads.iter().any(|head| head.text == "Top model")
    }
}

/// What is on other pages: the total without what is shown.
fn rest(report: &Drivers) -> Option<Figures> {
    (report.count > report.rows.len()).then(|| {
        let mut shown = Figures::default();
        for row in report.rows.iter().chain(&report.nameless) {
            shown.add(&row.figures);
        }
        report.total.less(&shown)
    })
}

fn caption(dimensions: &[Dimension]) -> String {
    let names: Vec<_> = dimensions.iter().map(|d| title(*d).to_lowercase()).collect();
    format!("Spend by {}", names.join(" and "))
}

fn heads(place: Place<'_>, abandoned: bool) -> Vec<Head> {
    let (order, reverse) = place.params.order();
    let sortable = |text, hint, name: &str, by: Order, class| {
        let here = order == by;
        let next = if here && !reverse { format!("-{name}") } else { name.to_owned() };
        let params = Params { sort: Some(next).filter(|n| n != "cost"), page: 1, ..place.params.clone() };
        let rises = (by == Order::Name) != reverse;
        let sorted = match (here, rises) {
            (false, _) => "",
            (true, true) => "ascending",
            (true, false) => "descending",
        };
        Head { text, hint, href: Some(params.at(place.path)), sorted, class }
    };
    let plain = |text, hint, class| Head { text, hint, href: None, sorted: "", class };
    let mut heads = Vec::new();
    for (i, dimension) in place.dimensions.iter().enumerate() {
        heads.push(if i == 0 {
            sortable(title(*dimension), "", "name", Order::Name, "name")
        } else {
            plain(title(*dimension), "", "name")
        });
    }
    heads.push(sortable("Cost, USD", "Exact; the footer is the sum of the rows", "cost", Order::Cost, "n"));
    heads.push(plain("Share", "Of the total", "n"));
    heads.push(sortable(
        "Change",
        "Against the range of the same length before",
        "change",
        Order::Change,
        "n",
    ));
    heads.push(sortable("Calls", "A retried call counts once", "calls", Order::Calls, "n"));
    heads.push(plain("OK", "Answered and read to the end", "n"));
    heads.push(sortable("Failed", "Refused or broken off by the provider", "failed", Order::Failed, "n"));
    heads.push(plain("Blocked", "Refused by a limit before they were sent", "n"));
    heads.push(plain("Aborted", "Left by the caller before the end", "n"));
    if abandoned {
        heads.push(plain("Lost", "Abandoned: their process died", "n"));
    }
    let tokens = "Input, cached, output, reasoning";
    heads.push(sortable("Tokens", tokens, "tokens", Order::Tokens, "n"));
    heads.push(sortable("≈ Per call", "Cost by calls, on average", "per_call", Order::CostPerCall, "n"));
    heads.push(plain("≈ p50", "Cost of an attempt: half cost no more", "n"));
    heads.push(plain("≈ p95", "Cost of an attempt: 95 of 100 cost no more", "n"));
    if !place.dimensions.contains(&Dimension::UseCase) {
        heads.push(plain("Top use case", "By cost", "name"));
    }
    if !place.dimensions.contains(&Dimension::Model) {
        heads.push(plain("Top model", "By cost", "name"));
    }
    heads.push(plain("Trend", "Cost over the range", ""));
    heads.push(sortable("First seen", "In the range", "first_seen", Order::FirstSeen, "n"));
    heads.push(sortable("Last seen", "In the range", "last_seen", Order::LastSeen, "n"));
    heads.push(plain("Source", "Where the cost comes from: reported, computed, estimated, unpriced", ""));
    heads
}

/// What all rows of a table share.
struct Shape<'a> {
    place: Place<'a>,
    total: Money,
    top: Money,
    decimals: usize,
    abandoned: bool,
}

impl Shape<'_> {
    fn row(&self, row: &Driver) -> Row {
        let mut params = self.place.params.first_page();
        let mut cells = self.figures(&row.figures);
        for (dimension, name) in self.place.dimensions.iter().zip(&row.names) {
            params = params.with(*dimension, name.as_deref());
        }
        let mut href = Some(params.at(self.place.detail));
        cells.calls_href = params.at("/requests");
        cells.names = row
            .names
            .iter()
            .map(|name| match name {
                Some(text) => Name {
                    text: format::clipped(text),
                    whole: format::whole(text),
                    href: href.take().unwrap_or_default(),
                    none: false,
                },
                None => Name { text: "—".into(), none: true, ..Name::default() },
            })
            .collect();
        let detail = &row.detail;
        let about = |amount: Option<Money>| amount.map_or_else(|| "—".into(), format::about);
        (cells.p50, cells.p95) = (about(detail.cost_p50), about(detail.cost_p95));
        let clipped = |name: &Option<String>| name.as_deref().map_or_else(|| "—".into(), format::clipped);
        cells.top_use_case = clipped(&detail.top_use_case);
        cells.top_model = clipped(&detail.top_model);
        cells.spark = crate::server::chart::sparkline(&detail.trend);
        cells
    }

    fn nameless(&self, row: &Driver) -> Row {
        let mut cells = self.figures(&row.figures);
        let Some(first) = self.place.dimensions.first() else { return cells };
        let params = self.place.params.with(*first, None);
        let what = if *first == Dimension::User {
            "Unattributed".into()
        } else {
            format!("No {}", title(*first).to_lowercase())
        };
        cells.calls_href = params.at("/requests");
        cells.names = vec![Name { text: what, href: params.at(self.place.detail), ..Name::default() }];
        cells
    }

    fn figures(&self, figures: &Figures) -> Row {
        let totals = &figures.totals;
        let zone = &self.place.params.zone;
        let at =
            |at: Option<std::time::SystemTime>| at.map_or_else(|| "—".into(), |at| format::brief(at, zone));
        Row {
            cost: match (totals.cost, totals.unpriced_calls) {
                (Money::ZERO, 1..) => "unpriced".into(),
                (cost, _) => format::aligned(cost, self.decimals),
            },
            bar: format::permille(totals.cost.pico(), self.top.pico()).unwrap_or(0).clamp(0, 1000),
            share: format::share(totals.cost, self.total),
            change: format::change(totals.cost, figures.before),
            calls: format::count(totals.calls.total()),
            ok: format::count(totals.calls.ok),
            not_ok: not_ok(&totals.calls, self.abandoned),
            tokens: format::short(totals.tokens.total()),
            tokens_title: tokens_title(&totals.tokens),
            tokens_bar: tokens_bar(&totals.tokens),
            per_call: format::about(figures.per_call()),
            first_seen: at(totals.first_seen),
            last_seen: at(totals.last_seen),
            sources: sources_bar(figures),
            sources_title: sources_title(figures),
            unpriced: totals.unpriced_calls,
            ..Row::default()
        }
    }
}

fn not_ok(calls: &Calls, abandoned: bool) -> Vec<Count> {
    let mut counts = vec![(calls.failed, "bad"), (calls.blocked, "warn"), (calls.aborted, "warn")];
    if abandoned {
        counts.push((calls.abandoned, "bad"));
    }
    let class = |n: u64, class| if n == 0 { "zero" } else { class };
    counts.into_iter().map(|(n, c)| Count { text: format::count(n), class: class(n, c) }).collect()
}

/// What the groups of tokens are called where there is room.
pub(crate) fn tokens_title(tokens: &Tokens) -> String {
    format!(
        "{} input, {} read from cache, {} written to cache, {} output, {} reasoning",
        format::count(tokens.input),
        format::count(tokens.cache_read),
        format::count(tokens.cache_write),
        format::count(tokens.output),
        format::count(tokens.reasoning)
    )
}

fn tokens_bar(tokens: &Tokens) -> Vec<Segment> {
    let groups = [
        (tokens.input, "t-in"),
        (tokens.cache_read, "t-read"),
        (tokens.cache_write, "t-write"),
        (tokens.output, "t-out"),
        (tokens.reasoning, "t-reason"),
    ];
    bar(&groups.map(|(n, class)| (i128::from(n), class)), 72)
}

fn sources_bar(figures: &Figures) -> Vec<Segment> {
    let classes = ["s-reported", "s-computed", "s-estimated", "s-unpriced"];
    let mut parts: Vec<_> =
        CostSource::ALL.iter().zip(classes).map(|(s, c)| (figures.from_source(*s).pico(), c)).collect();
    if let Some(unpriced) = parts.last_mut()
        && figures.totals.unpriced_calls > 0
    {
        // Unpriced calls have no cost to show: their share of the calls stands for it.
        let calls = i128::from(figures.totals.calls.total().max(1));
        let missing = i128::from(figures.totals.unpriced_calls.min(figures.totals.calls.total()));
        let known = figures.totals.cost.pico().max(1);
        unpriced.0 = if calls == missing { known } else { known * missing / (calls - missing) };
    }
    bar(&parts, 48)
}

fn sources_title(figures: &Figures) -> String {
    let mut parts = Vec::new();
    for source in [CostSource::Reported, CostSource::Computed, CostSource::Estimated] {
        let cost = figures.from_source(source);
        if cost != Money::ZERO {
            parts.push(format!("{} {}", format::share(cost, figures.totals.cost), source.name()));
        }
    }
    if figures.totals.unpriced_calls > 0 {
        parts.push(format!("{} calls unpriced", format::count(figures.totals.unpriced_calls)));
    }
    if parts.is_empty() { "Nothing was charged".into() } else { parts.join(", ") }
}

/// Parts of a whole as segments of a bar of that width.
fn bar(parts: &[(i128, &'static str)], width: u64) -> Vec<Segment> {
    let whole: i128 = parts.iter().map(|(n, _)| n.max(&0)).sum();
    let mut done: i128 = 0;
    let mut segments = Vec::new();
    for &(n, class) in parts {
        let n = n.max(0);
        let edge =
            |sum: i128| u64::try_from((sum * i128::from(width)).checked_div(whole).unwrap_or(0)).unwrap_or(0);
        let (x, end) = (edge(done), edge(done + n));
        if n > 0 {
            segments.push(Segment { x, width: (end - x).max(1), class });
        }
        done += n;
    }
    segments
}
