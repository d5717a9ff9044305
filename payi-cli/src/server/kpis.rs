//! The KPIs of a use case on its page: what they were to come to, and what its instances came to.

use jiff::tz::TimeZone;

use crate::server::{
    api::kpis::{self, Kpi, Score, Scores},
    app::{App, Failed},
    format,
    range::Resolved,
};

/// What the page shows of them.
#[derive(Debug)]
pub(crate) struct Kpis {
    pub(crate) rows: Vec<Row>,
    pub(crate) newest: Vec<Given>,
    pub(crate) note: String,
}

/// One KPI.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) goal: String,
    pub(crate) mean: String,
    pub(crate) state: &'static str,
    pub(crate) class: &'static str,
    pub(crate) least: String,
    pub(crate) most: String,
    pub(crate) scored: String,
}

/// One score.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) instance: String,
    pub(crate) kpi: String,
    pub(crate) score: String,
    pub(crate) when: String,
}

impl Kpis {
    /// Those of a use case, with the scores given in a range; `None` if it has none.
    pub(crate) async fn read(
        app: &App,
        case: &str,
        range: &Resolved,
        zone: &TimeZone,
    ) -> Result<Option<Self>, Failed> {
        let (case, range) = (case.to_owned(), range.since()..range.until());
        let scores = app.read(move |ledger| kpis::of(ledger, &case, &range)).await?;
        let scores = scores.map_err(Failed::Ledger)?;
        Ok((!scores.kpis.is_empty()).then(|| Self::of(&scores, zone)))
    }

    fn of(scores: &Scores, zone: &TimeZone) -> Self {
        let note = match scores.instances {
            0 => "no instance was scored in this range".into(),
            1 => "1 instance was scored in this range".into(),
            n => format!("{} instances were scored in this range", format::count(n)),
        };
        let given = |score: &Score| {
            let kpi = &scores.kpis[score.kpi];
            Given {
                instance: format::clipped(&score.instance),
                kpi: format::clipped(&kpi.name),
                score: one(&kpi.kind, score.value),
                when: format::moment(score.at, zone),
            }
        };
        Self {
            newest: scores.newest.iter().map(given).collect(),
            rows: scores.kpis.iter().map(row).collect(),
            note,
        }
    }
}

fn row(kpi: &Kpi) -> Row {
    let mean = (kpi.scored > 0).then(|| kpi.sum / f64::from(kpi.scored));
    let (state, class) = match mean {
        None => ("not scored", ""),
        Some(mean) if mean >= kpi.goal => ("reached", "ok"),
        Some(_) => ("missed", "missed"),
    };
    let shown = |value: f64| if kpi.scored > 0 { one(&kpi.kind, value) } else { "—".into() };
    Row {
        name: format::clipped(&kpi.name),
        description: format::clipped(&kpi.description),
        goal: average(&kpi.kind, kpi.goal),
        mean: mean.map_or_else(|| "—".into(), |mean| average(&kpi.kind, mean)),
        state,
        class,
        least: shown(kpi.least),
        most: shown(kpi.most),
        scored: format::count(kpi.scored.into()),
    }
}

/// A score as its kind is read.
fn one(kind: &str, value: f64) -> String {
    match kind {
        "boolean" => (if value > 0.5 { "yes" } else { "no" }).into(),
        _ => average(kind, value),
    }
}

/// A mean of scores; of yes and no, the share of yes.
fn average(kind: &str, value: f64) -> String {
    match kind {
        "boolean" => format!("{} % yes", number(value * 100.0)),
        "percentage" => format!("{} %", number(value)),
        "likert5" => format!("{} of 5", number(value)),
        "likert7" => format!("{} of 7", number(value)),
        "likert10" => format!("{} of 10", number(value)),
        _ => number(value),
    }
}

/// Two decimals at most, and none that say nothing.
fn number(value: f64) -> String {
    if value.abs() >= 1e12 {
        return format!("{value:.2e}");
    }
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.replace('-', "−") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_read_as_their_kind() {
        for (kind, value, text) in [
            ("boolean", 2.0 / 3.0, "66.67 % yes"),
            ("percentage", 80.0, "80 %"),
            ("likert5", 4.5, "4.5 of 5"),
            ("number", -0.001, "0"),
            ("number", -12.5, "−12.5"),
            ("number", 1e300, "1.00e300"),
        ] {
            assert_eq!(average(kind, value), text);
        }
        assert_eq!((one("boolean", 1.0), one("boolean", 0.0)), ("yes".into(), "no".into()));
    }
}
