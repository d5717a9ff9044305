//! The state of a page, read from its address and written into the links that change it.

use form_urlencoded::Serializer;
use jiff::{ZonedDateTime, civil::Date, tz::TimeZone};
use payi_core::{
    ledger::read::{Dimension, Order, Pick, Query},
    pricing::CostSource,
};

use crate::server::range::{self, PRESETS, Range};

/// Rows on a page, unless asked otherwise.
pub(crate) const PER_PAGE: usize = 50;

/// What an address may say of a page. What makes no sense counts as not said.
#[derive(Clone, Debug)]
pub(crate) struct Params {
    pub(crate) range: Range,
    pub(crate) zone: TimeZone,
    pub(crate) zone_name: String,
    pub(crate) picks: Vec<(Dimension, Pick)>,
    pub(crate) source: Option<CostSource>,
    pub(crate) search: String,
    /// A column, with `-` before it for its natural direction reversed.
    pub(crate) sort: Option<String>,
    pub(crate) page: usize,
    pub(crate) per_page: usize,
    /// What a chart is split by, or what a tab is split by.
    pub(crate) by: Option<String>,
}

/// Columns that rows may be sorted by, by their name in addresses.
const ORDERS: [(&str, Order); 9] = [
    ("cost", Order::Cost),
    ("change", Order::Change),
    ("calls", Order::Calls),
    ("failed", Order::Failed),
    ("tokens", Order::Tokens),
    ("per_call", Order::CostPerCall),
    ("last_seen", Order::LastSeen),
    ("first_seen", Order::FirstSeen),
    ("name", Order::Name),
];

impl Params {
    /// Reads the query of an address.
    pub(crate) fn read(query: &str) -> Self {
        let mut params = Self {
            range: Range::Preset("30d"),
            zone: TimeZone::UTC,
            zone_name: "UTC".into(),
            picks: Vec::new(),
            source: None,
            search: String::new(),
            sort: None,
            page: 1,
            per_page: PER_PAGE,
            by: None,
        };
        let (mut from, mut to) = (None, None);
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            if value.is_empty() {
                continue;
            }
            match &*key {
                "range" => {
                    if let Some((name, _)) = PRESETS.iter().find(|(name, _)| *name == value) {
                        params.range = Range::Preset(name);
                    }
                }
                "from" => from = value.parse::<Date>().ok(),
                "to" => to = value.parse::<Date>().ok(),
                "tz" => {
                    if let Some(zone) = range::zone(&value) {
                        (params.zone, params.zone_name) = (zone, value.into_owned());
                    }
                }
                "source" => params.source = CostSource::ALL.into_iter().find(|s| s.name() == value),
                "q" => params.search = value.into_owned(),
                "sort" => params.sort = Some(value.into_owned()),
                "by" => params.by = Some(value.into_owned()),
                "page" => params.page = value.parse().unwrap_or(1).clamp(1, 1_000_000),
                "per_page" => params.per_page = value.parse().unwrap_or(PER_PAGE).clamp(1, 500),
                "no" => params.pick(&value, Pick::Missing),
                key => params.pick(key, Pick::Is(value.into_owned())),
            }
        }
        if let (Some(from), Some(to)) = (from, to) {
            params.range = Range::Days(from.min(to), from.max(to));
        }
        params
    }

    fn pick(&mut self, name: &str, pick: Pick) {
        if let Some(dimension) = Dimension::ALL.into_iter().find(|d| d.name() == name) {
            self.set(dimension, pick);
        }
    }

    fn set(&mut self, dimension: Dimension, pick: Pick) {
        self.picks.retain(|(d, _)| *d != dimension);
        self.picks.push((dimension, pick));
        self.picks.sort_by_key(|(d, _)| *d);
    }

    /// What the page picks of a dimension.
    pub(crate) fn picked(&self, dimension: Dimension) -> Option<&Pick> {
        self.picks.iter().find(|(d, _)| *d == dimension).map(|(_, pick)| pick)
    }

    /// The moment, in the page's time zone.
    pub(crate) fn now(&self) -> ZonedDateTime {
        ZonedDateTime::now().with_time_zone(self.zone.clone())
    }

    /// The query of the page; the range is `resolved`.
    pub(crate) fn query(&self, by: &[Dimension], resolved: &range::Resolved) -> Query {
        let mut query = Query::default();
        query.since = Some(resolved.since());
        query.until = Some(resolved.until());
        query.picks.clone_from(&self.picks);
        query.source = self.source;
        query.by = by.to_vec();
        query.search.clone_from(&self.search);
        (query.order, query.reverse) = self.order();
        query.compare = resolved.comparable;
        query.offset = (self.page - 1) * self.per_page;
        query.limit = Some(self.per_page);
        query
    }

    /// The order of rows, and whether it is turned round.
    pub(crate) fn order(&self) -> (Order, bool) {
        let sort = self.sort.as_deref().unwrap_or("cost");
        let (name, reverse) = sort.strip_prefix('-').map_or((sort, false), |name| (name, true));
        ORDERS.iter().find(|(n, _)| *n == name).map_or((Order::Cost, false), |(_, order)| (*order, reverse))
    }

    /// The same range, zone and nothing else.
    pub(crate) fn bare(&self) -> Self {
        Self {
            picks: Vec::new(),
            source: None,
            search: String::new(),
            sort: None,
            page: 1,
            per_page: PER_PAGE,
            by: None,
            ..self.clone()
        }
    }

    /// The same conditions, from the first page on, sorted as usual.
    pub(crate) fn first_page(&self) -> Self {
        Self { page: 1, sort: None, ..self.clone() }
    }

    /// The same from the first page on, in the same order.
    pub(crate) fn first_sorted(&self) -> Self {
        Self { page: 1, per_page: PER_PAGE, ..self.clone() }
    }

    /// The same with a condition more, or another one; the page and the search begin anew.
    pub(crate) fn with(&self, dimension: Dimension, name: Option<&str>) -> Self {
        let mut params = Self { search: String::new(), ..self.first_page() };
        params.set(dimension, name.map_or(Pick::Missing, |name| Pick::Is(name.into())));
        params
    }

    /// The same without a condition.
    pub(crate) fn without(&self, dimension: Dimension) -> Self {
        let mut params = self.first_page();
        params.picks.retain(|(d, _)| *d != dimension);
        params
    }

    /// What the address says after its `?`, without what is as usual.
    pub(crate) fn write(&self) -> String {
        let mut out = Serializer::new(String::new());
        match &self.range {
            Range::Preset("30d") => {}
            Range::Preset(name) => drop(out.append_pair("range", name)),
            Range::Days(from, to) => {
                out.append_pair("from", &from.to_string()).append_pair("to", &to.to_string());
            }
        }
        if self.zone_name != "UTC" {
            out.append_pair("tz", &self.zone_name);
        }
        for (dimension, pick) in &self.picks {
            match pick {
                Pick::Is(name) => out.append_pair(dimension.name(), name),
                _ => out.append_pair("no", dimension.name()),
            };
        }
        if let Some(source) = self.source {
            out.append_pair("source", source.name());
        }
        let rest = [("q", Some(&self.search)), ("by", self.by.as_ref()), ("sort", self.sort.as_ref())];
        for (key, value) in rest {
            if let Some(value) = value.filter(|v| !v.is_empty()) {
                out.append_pair(key, value);
            }
        }
        if self.per_page != PER_PAGE {
            out.append_pair("per_page", &self.per_page.to_string());
        }
        if self.page != 1 {
            out.append_pair("page", &self.page.to_string());
        }
        out.finish()
    }

    /// An address at `path` with this state.
    pub(crate) fn at(&self, path: &str) -> String {
        let query = self.write();
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_was_written() {
        for query in [
            "",
            "range=7d&tz=Europe%2FBerlin",
            "from=2026-01-01&to=2026-02-03&user_id=a%26b%3D%3Cc%3E&no=account_name&q=%25",
            "model=gpt-4o&outcome=failed&source=unpriced&by=model&sort=-calls&per_page=10&page=3",
        ] {
            assert_eq!(Params::read(query).write(), query);
        }
    }

    #[test]
    fn nonsense_counts_as_not_said() {
        let params =
            Params::read("range=1%27;drop&tz=Moon&sort=cost;--&page=-4&per_page=99999999&f.user=1&no=seq");
        assert_eq!(params.range, Range::Preset("30d"));
        assert_eq!(params.zone_name, "UTC");
        assert_eq!(params.order(), (Order::Cost, false));
        assert_eq!((params.page, params.per_page), (1, 500));
        assert!(params.picks.is_empty());
    }
}
