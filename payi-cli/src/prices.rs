//! `payi prices`: what is in the book, and what usages cost by it.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fs::File,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
};

use clap::{Args, Subcommand, ValueEnum};
use payi_core::{
    pricing::{
        CostSource, Entry, Explanation, Listed, ListedRate, MatchKind, Matched, PriceBook, Priced, Query,
        Selector,
    },
    usage::{Api, Meter, Reading, Usage},
};
use serde_json::{Value, json};

use crate::{Failure, args::Book, output::csv, server::sum_of};

/// How a list of prices is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: one JSON object per line.
    Json,
    /// For spreadsheets.
    Csv,
}

#[derive(Debug, Args)]
pub(crate) struct Prices {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    book: Book,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Every model and its prices of today.
    List {
        /// Only this provider.
        #[arg(long, value_name = "ID")]
        provider: Option<String>,
        /// How the list is written.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// All prices of one model, past and future, of every tier and region.
    Show {
        /// The provider and the model, as `openai/gpt-4o`, by any name that a call of it is priced under.
        model: String,
    },
    /// Prices usages, one JSON object per line, and prints one JSON object for each.
    ///
    /// A line is `{"provider", "model", "usage" | "response", "id"?, "at"?, "service_tier"?, "processing"?, "speed"?,
    /// "search_context_size"?, "geo"?}`: `usage` holds totals that contain their parts (`input_tokens` is all input, and
    /// contains `cache_read_tokens`), `response` a provider's answer. Other keys are named on standard error, once each,
    /// and ignored.
    ///
    /// A line that cannot be read is named on standard error, the others are priced, and the exit code is 1. A model
    /// without a price is no such line: its answer says `unpriced`, its cost is null, and the exit code stays 0.
    Cost {
        /// The file with the lines; standard input where it is left out.
        file: Option<PathBuf>,
    },
}

pub(crate) fn run(args: &Prices, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), Failure> {
    let book = args.book.read()?;
    match &args.command {
        Command::List { provider, format } => list(book, provider.as_deref(), *format, out)?,
        Command::Show { model } => show(book, model, out)?,
        Command::Cost { file: None } => cost(book, &mut std::io::stdin().lock(), out, err)?,
        Command::Cost { file: Some(path) } => {
            let file = File::open(path).map_err(|e| {
                Failure::Misuse(format!("{} cannot be read ({e}); check the path", path.display()))
            })?;
            cost(book, &mut BufReader::new(file), out, err)?;
        }
    }
    Ok(out.flush()?)
}

fn list(
    book: &PriceBook,
    provider: Option<&str>,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    if let Some(id) = provider.filter(|id| book.models().all(|entry| entry.provider() != *id)) {
        let mut known: Vec<&str> = book.models().map(|entry| entry.provider()).collect();
        known.dedup();
        let message = format!("the book has no provider {id:?}; it has {}", known.join(", "));
        return Err(Failure::Misuse(message));
    }
    if format == Format::Csv {
        csv::cells(&["provider", "model", "prices", "source"].map(Into::into), 0, false, out)?;
    }
    for entry in book.models().filter(|entry| provider.is_none_or(|id| entry.provider() == id)) {
        let prices = entry.prices();
        match format {
            Format::Json => writeln!(out, "{}", described(&entry, &prices))?,
            Format::Table => {
                writeln!(out, "{:<12} {:<44} {}", entry.provider(), entry.model(), today(&prices))?;
            }
            Format::Csv => {
                let fields = [entry.provider(), entry.model(), &today(&prices), entry.source()];
                csv::cells(&fields.map(Into::into), 2, false, out)?;
            }
        }
    }
    Ok(())
}

/// The usual prices that hold now, as far as they do not change with the hour.
fn today(prices: &[Listed]) -> String {
    let now = jiff::Timestamp::now().as_microsecond();
    let mut usual = prices.iter().filter(|p| p.of.is_none() && p.hours.is_empty());
    let held = usual.rfind(|p| p.from_us.is_none_or(|from| from <= now));
    held.map_or_else(String::new, rates)
}

fn rates(listed: &Listed) -> String {
    let each = listed.rates.iter().map(|ListedRate { item, price, steps, .. }| {
        let steps = steps.iter().map(|(over, price)| format!(" (above {over}: {})", price.usd));
        format!("{item} {}{}", price.usd, steps.collect::<Vec<_>>().concat())
    });
    each.collect::<Vec<_>>().join(", ")
}

fn show(book: &PriceBook, model: &str, out: &mut dyn Write) -> Result<(), Failure> {
    let (provider, id) = model.split_once('/').ok_or_else(|| {
        Failure::Misuse(format!("\"{model}\" is not a provider and a model, as openai/gpt-4o"))
    })?;
    let found = named(book, provider, id).and_then(|matched| Some((entry(book, &matched)?, matched.kind)));
    let Some((entry, kind)) = found else {
        // As the book spells it, which is how a list of it is asked for.
        let known = book.models().map(|entry| entry.provider()).find(|id| id.eq_ignore_ascii_case(provider));
        let only = known.map(|id| format!(" --provider {id}")).unwrap_or_default();
        let message = format!("the book has no {model}; `payi prices list{only}` names what it has");
        return Err(Failure::Misuse(message));
    };
    let how = match kind {
        MatchKind::Exact if entry.provider().eq_ignore_ascii_case(provider) => String::new(),
        MatchKind::Similar => format!(" ({}, and so estimated: {model})", kind.name()),
        _ => format!(" ({}: {model})", kind.name()),
    };
    writeln!(out, "{}/{}{how}", entry.provider(), entry.model())?;
    let ids: Vec<_> = entry.ids().collect();
    if !ids.is_empty() {
        writeln!(out, "also: {}", ids.join(", "))?;
    }
    writeln!(out, "from: {}", entry.source())?;
    if let Some(most) = entry.max_output_tokens() {
        writeln!(out, "writes at most {most} tokens in one answer")?;
    }
    writeln!(
        out,
        "USD per million tokens (per million characters; per thousand searches, pages, requests; per hour of audio; per image):"
    )?;
    for listed in entry.prices() {
        writeln!(out, "  {}{}", heading(&listed), rates(&listed))?;
    }
    Ok(())
}

/// What a call of that name is priced by.
fn named(book: &PriceBook, provider: &str, model: &str) -> Option<Matched> {
    // The name alone decides; when it was called, and what was used, do not.
    let what = Priced { provider, model, at_us: 0, service_tier: None, geo: None, usage: &Usage::new() };
    book.explain(&what).matched
}

fn entry<'b>(book: &'b PriceBook, matched: &Matched) -> Option<Entry<'b>> {
    book.models().find(|entry| entry.provider() == &*matched.provider && entry.model() == &*matched.model)
}

fn heading(listed: &Listed) -> String {
    let mut words = Vec::new();
    if let Some((selector, name)) = &listed.of {
        words.push(format!("{} {name}", selector_name(*selector)));
    }
    if let Some(from) = listed.from_us.and_then(|us| jiff::Timestamp::from_microsecond(us).ok()) {
        words.push(format!("from {from}"));
    }
    let clock = |second: u32| format!("{:02}:{:02}", second / 3_600, second / 60 % 60);
    for (start, end) in &listed.hours {
        words.push(format!("{}-{} UTC", clock(*start), clock(*end)));
    }
    if listed.working_days {
        words.push("on working days".to_owned());
    }
    if listed.assumed {
        words.push("(assumed)".to_owned());
    }
    if let Some((num, den)) = listed.factor {
        words.push(format!("× {num}/{den}"));
    }
    let end = if words.is_empty() || listed.rates.is_empty() { "" } else { ": " };
    words.join(" ") + end
}

const fn selector_name(selector: Selector) -> &'static str {
    match selector {
        Selector::Tier => "tier",
        Selector::Geo => "region",
    }
}

fn described(entry: &Entry<'_>, prices: &[Listed]) -> Value {
    let price = |listed: &Listed| {
        let rates = listed.rates.iter().map(|ListedRate { item, price, steps, .. }| {
            let steps: Vec<Value> = steps
                .iter()
                .map(|(over, price)| json!({"above": over, "usd": price.usd.to_string()}))
                .collect();
            ((*item).to_owned(), json!({"usd": price.usd.to_string(), "per": price.per, "steps": steps}))
        });
        let of = listed.of.as_ref().map(|(selector, name)| json!({selector_name(*selector): name}));
        json!({
            "of": of,
            "from": listed.from_us.and_then(timestamp),
            "hours_utc": listed.hours,
            "working_days": listed.working_days,
            "assumed": listed.assumed,
            "factor": listed.factor.map(|(num, den)| format!("{num}/{den}")),
            "rates": rates.collect::<serde_json::Map<_, _>>(),
        })
    };
    json!({
        "provider": entry.provider(),
        "model": entry.model(),
        "ids": entry.ids().collect::<Vec<_>>(),
        "source": entry.source(),
        "max_output_tokens": entry.max_output_tokens(),
        "prices": prices.iter().map(price).collect::<Vec<_>>(),
    })
}

fn timestamp(us: i64) -> Option<String> {
    jiff::Timestamp::from_microsecond(us).ok().map(|at| at.to_string())
}

/// The keys of a line that are read.
const KEYS: [&str; 12] = [
    "id",
    "provider",
    "model",
    "usage",
    "response",
    "at",
    "service_tier",
    "processing",
    "speed",
    "search_context_size",
    "geo",
    "inference_geo",
];

/// One answer for each line. A line that cannot be read is told by its number, and the others are priced all
/// the same.
fn cost(
    book: &PriceBook,
    lines: &mut dyn BufRead,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), Failure> {
    let mut refused = false;
    let mut ignored = BTreeSet::new();
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        // A mark of the byte order, which some editors put before a text, is no part of it.
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            continue;
        }
        let mut answer = priced(book, text).or_else(|why| {
            refused = true;
            writeln!(err, "payi: line {number}: {why}")?;
            Ok::<_, Failure>(json!({"line": number, "error": why}))
        })?;
        // What the caller calls the line comes back with it.
        let asked: Value = serde_json::from_str(text).unwrap_or(Value::Null);
        // Files made for other tools say more on every line.
        let mut keys: Vec<_> = asked.as_object().into_iter().flat_map(|line| line.keys()).collect();
        keys.sort_unstable();
        for key in keys {
            if !KEYS.contains(&&**key) && ignored.insert(key.clone()) {
                let meant = if key == "tier" { "; the service tier is \"service_tier\"" } else { "" };
                writeln!(err, "payi: line {number}: the key {key:?} is not known, and is ignored{meant}")?;
            }
        }
        if let (Some(id), Some(answer)) = (asked.get("id"), answer.as_object_mut()) {
            answer.insert("id".to_owned(), id.clone());
        }
        writeln!(out, "{answer}")?;
    }
    out.flush()?;
    if refused { Err(Failure::Found) } else { Ok(()) }
}

fn priced(book: &PriceBook, line: &str) -> Result<Value, String> {
    let mut query = Query::read(line).map_err(|e| e.to_string())?;
    let asked: Value = serde_json::from_str(line).map_err(|e| e.to_string())?;
    let Some(response) = asked.get("response") else {
        if query.usage.is_none() {
            return Err("it has neither \"usage\" nor \"response\"".to_owned());
        }
        let usage = query.usage().map_err(|e| e.to_string())?;
        return Ok(shown(&[query.explain(book, &usage)], None));
    };
    // Without counts of a cache, Anthropic's usage looks like OpenAI's.
    let mut meter = Meter::json(if query.provider == "anthropic" { Api::Messages } else { Api::Unknown });
    meter.push(response.to_string().as_bytes());
    let Reading { usage, model, service_tier, geo, elsewhere, reported_cost, inconsistent, .. } =
        meter.finish();
    let usage = usage.ok_or("the response says nothing of its usage")?;
    query.geo = query.geo.or_else(|| geo.map(Into::into));
    query.service_tier = query.service_tier.or_else(|| service_tier.map(Into::into));
    let mut parts = vec![explained(book, &mut query, model.as_deref(), &usage)];
    for (model, usage) in &elsewhere {
        parts.push(explained(book, &mut query, Some(model), usage));
    }
    if inconsistent && parts[0].cost.source == CostSource::Computed {
        parts[0].cost.source = CostSource::Estimated;
    }
    Ok(shown(&parts, reported_cost.map(|amount| amount.to_string()).as_deref()))
}

/// At the model that answered; at the one that was asked for where the book does not know the former.
fn explained(book: &PriceBook, query: &mut Query, model: Option<&str>, usage: &Usage) -> Explanation {
    let asked = query.model.clone();
    if let Some(model) = model {
        model.clone_into(&mut query.model);
        let explanation = query.explain(book, usage);
        query.model.clone_from(&asked);
        if explanation.matched.is_some() {
            return explanation;
        }
    }
    query.explain(book, usage)
}

fn shown(parts: &[Explanation], reported: Option<&str>) -> Value {
    let sum = sum_of(parts);
    let source = if reported.is_some() { CostSource::Reported } else { sum.source };
    let computed = sum.known().map(|sum| sum.to_string());
    let lines = parts.iter().flat_map(|part| {
        let model = part.matched.as_ref().map(|m| Cow::Borrowed(&*m.model));
        part.lines.iter().map(move |line| {
            json!({
                "model": model,
                "item": line.item,
                "count": line.count,
                "rate_usd": line.rate.map(|rate| rate.usd.to_string()),
                "per": line.rate.map(|rate| rate.per),
                "amount_usd": line.amount.map(|amount| amount.to_string()),
            })
        })
    });
    let matched = parts[0].matched.as_ref().map(|m| {
        json!({
            "provider": m.provider,
            "model": m.model,
            "kind": m.kind.name(),
            "from": m.from_us.and_then(timestamp),
            "tier": m.tier,
            "region": m.region,
            "book": m.source,
        })
    });
    json!({
        "cost_usd": reported.or(computed.as_deref()),
        "computed_usd": computed,
        "source": source.name(),
        "match": matched,
        "lines": lines.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    fn answers(lines: &str) -> Vec<Value> {
        asked(lines).0
    }

    /// The answers, what was said on standard error, and whether all could be priced.
    fn asked(lines: &str) -> (Vec<Value>, String, bool) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let all = cost(PriceBook::embedded(), &mut lines.as_bytes(), &mut out, &mut err).is_ok();
        let out = String::from_utf8(out).unwrap();
        let answers = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (answers, String::from_utf8(err).unwrap(), all)
    }

    #[test]
    fn a_line_that_cannot_be_priced_is_named_and_the_others_are_priced() {
        let good = r#"{"provider": "openai", "model": "gpt-4o", "usage": {"input_tokens": 1000}}"#;
        for bad in [
            "not json",
            "[]",
            "7",
            r#"{"provider": "openai"}"#,
            r#"{"provider": "openai", "model": "gpt-4o"}"#,
            r#"{"provider": "openai", "model": "gpt-4o", "usage": 7}"#,
            r#"{"provider": "openai", "model": "gpt-4o", "usage": {"input_tokens": -1}}"#,
            r#"{"provider": "openai", "model": "gpt-4o", "usage": {"input_tokens": 1e99}}"#,
            r#"{"provider": "openai", "model": "gpt-4o", "usage": {"input_tokens": 18446744073709551616}}"#,
            r#"{"provider": "openai", "model": "gpt-4o", "usage": {"input_tokens": 1, "cache_read_tokens": 2}}"#,
            r#"{"provider": "openai", "model": "gpt-4o", "usage": {"input_jokes": 1}}"#,
            r#"{"provider": "openai", "model": "gpt-4o", "at": "yesterday", "usage": {"input_tokens": 1}}"#,
            r#"{"provider": "openai", "model": "gpt-4o", "response": {}}"#,
            r#"{"provider": "openai", "model": "gpt-4o", "response": "text"}"#,
        ] {
            let (answers, said, all) = asked(&format!("\u{feff}{good}\r\n\n{bad}\n{good}"));
            assert!(!all && said.starts_with("payi: line 3: ") && said.lines().count() == 1, "{bad}: {said}");
            assert_eq!(answers.len(), 3, "{bad}");
            assert_eq!((&answers[1]["line"], &answers[1]["cost_usd"]), (&json!(3), &Value::Null), "{bad}");
            for answer in [&answers[0], &answers[2]] {
                assert_eq!(answer["cost_usd"], json!("0.0025"), "{bad}");
            }
        }
        assert!(asked(good).2 && asked("").2);
    }

    #[test]
    fn a_key_is_said_to_be_known_only_if_it_is_read() {
        for key in KEYS {
            let line = json!({"id": 1, "provider": "openai", "model": "gpt-4o", "usage": {}, "response": {}});
            let mut line = line.as_object().unwrap().clone();
            line.insert(key.to_owned(), json!([]));
            let line = Value::Object(line).to_string();
            let (answers, said, _) = asked(&line);
            assert!(!said.contains("is not known"), "{said}");
            match key {
                "id" => assert_eq!(answers[0]["id"], json!([])),
                "response" => assert!(said.contains("response"), "{said}"),
                _ => assert!(Query::read(&line).is_err(), "{key}"),
            }
        }
    }

    #[test]
    fn huge_counts_do_not_stop_the_others() {
        let usage =
            r#"{"provider": "openai", "model": "gpt-4o", "usage": {"input_tokens": 18446744073709551615}}"#;
        let (answers, _, all) = asked(usage);
        assert!(all);
        assert_eq!(answers[0]["cost_usd"], json!("46116860184273.8790375"));
    }

    #[test]
    fn prices_usages_and_answers_line_by_line() {
        let all = answers(concat!(
            r#"{"id": 7, "provider": "openai", "model": "gpt-4o", "at": "2026-11-23T12:00:00Z", "usage": {"input_tokens": 1000, "cache_read_tokens": 400, "output_tokens": 10}}"#,
            "\n\n",
            r#"{"provider": "openai", "model": "alias", "response": {"object": "chat.completion", "model": "gpt-4o-2024-08-06", "usage": {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010}}}"#,
            "\n",
            r#"{"provider": "openai", "model": "nobody-knows-it", "usage": {"input_tokens": 1}}"#,
            "\nnot json\n",
        ));
        assert_eq!((&all[0]["cost_usd"], &all[0]["source"]), (&json!("0.0021"), &json!("computed")));
        assert_eq!((&all[0]["id"], &all[0]["match"]["kind"]), (&json!(7), &json!("exact")));
        assert_eq!(all[0]["lines"][1]["amount_usd"], json!("0.0005"));
        assert_eq!((&all[1]["cost_usd"], &all[1]["match"]["model"]), (&json!("0.0026"), &json!("gpt-4o")));
        assert_eq!((&all[2]["cost_usd"], &all[2]["source"]), (&Value::Null, &json!("unpriced")));
        assert!(all[3]["error"].as_str().unwrap().contains("provider"));
        assert_eq!(all.len(), 4);
    }
}
