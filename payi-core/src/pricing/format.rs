//! The book as text: what is committed, reviewed line by line, and loaded anew without a rebuild.
//!
//! ```text
//! payi prices 1
//! source <name> <version> <date> <licence> <address>
//! provider openai
//! also *openai*                       other names of the provider (patterns)
//! fallback anthropic                  whose models it resells
//! model gpt-5.6-sol
//! id gpt-5.6 gpt-5-6                  other ids of the same model
//! like gpt-5.6-sol-####-##-##         patterns: # a digit, * anything, !pattern exceptions
//! same openai gpt-4o                  the prices of a model that the book has, under another name
//! price input=5>272000:10 output=30   US dollars for a million tokens; above 272,000 input tokens 10
//! price from=2026-08-21 input=4       the last line in force applies
//! extra audio_input=40                what the price lines do not say
//! least audio_ms 10000                what is billed at least of something
//! most output 128000                  how many tokens it writes at most in one answer, reasoning included
//! tier batch from=2026-10-14 input=2  prices of a service tier, over the above
//! geo us x1.1                         a region's prices, or its factor
//! ```
//!
//! Attributes of `price`, `tier` and `geo`: `from=` a date or time (UTC), `utc=01:00-04:00,…` hours of
//! the day, `workdays` or `workdays=cn` (not on the holidays of a `holidays cn <dates>` line), `assumed`.

use crate::error::{Error, Kind};

use super::{
    book::Draft,
    model::{Model, Period, RateSet, Selected, When},
    pattern::Pattern,
    rate::{Factor, Price, Rate, Step, key_of, quoted},
};

pub(super) const HEADER: &str = "payi prices 1";

/// Lays the book in `text` over the draft: what it names is replaced, the rest stays.
pub(super) fn lay_over(draft: &mut Draft, text: &str) -> Result<(), Error> {
    let mut lines = text.lines().enumerate();
    if lines.next().is_none_or(|(_, line)| line.trim_end() != HEADER) {
        return Err(Error::new(Kind::Config, format!("a price book begins with the line \"{HEADER}\"")));
    }
    let mut reader = Reader { draft, provider: None, model: None };
    for (number, line) in lines {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        reader.line(line).map_err(|why| {
            Error::new(Kind::Config, format!("price book, line {}: {why} in \"{line}\"", number + 1))
        })?;
    }
    // Whatever is read next is laid over this.
    reader.draft.over = true;
    Ok(())
}

struct Reader<'d> {
    draft: &'d mut Draft,
    provider: Option<usize>,
    model: Option<Open>,
}

/// The model whose lines are being read.
struct Open {
    model: usize,
    /// Its first `price` line replaces what an earlier book said; so does the first of each tier and region.
    priced: bool,
    selected: Vec<(bool, Box<str>)>,
}

type Why = &'static str;

impl Reader<'_> {
    fn line(&mut self, line: &str) -> Result<(), Why> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "source" => self.draft.source(rest),
            "holidays" => self.holidays(rest)?,
            "provider" => {
                self.provider = Some(self.draft.provider(rest));
                self.model = None;
            }
            "also" => {
                let also: Option<Vec<_>> = rest.split(' ').map(Pattern::read).collect();
                let provider = self.provider()?;
                self.draft.providers[provider].also = also.ok_or("not a pattern")?;
            }
            "fallback" => {
                let provider = self.provider()?;
                self.draft.providers[provider].fallback = rest.split(' ').map(Into::into).collect();
            }
            "model" => {
                let model = self.draft.model(self.provider()?, rest);
                self.model = Some(Open { model, priced: false, selected: Vec::new() });
            }
            "id" => {
                let ids: Vec<Box<str>> = rest.split(' ').map(|id| id.to_lowercase().into()).collect();
                let model = self.model.as_ref().ok_or("a line before any \"model\"")?.model;
                self.draft.alias(self.provider()?, model, &ids);
            }
            "like" => {
                let patterns: Option<Vec<_>> = rest.split(' ').map(Pattern::read).collect();
                self.open()?.0.patterns.extend(patterns.ok_or("not a pattern")?);
            }
            "same" => self.same(rest)?,
            "extra" => {
                let (_, rates, _) = self.attributes(rest)?;
                self.open()?.0.extra = rates;
            }
            "least" => {
                let (name, count) = rest.split_once(' ').ok_or("no number")?;
                let key = key_of(name).and_then(|key| u8::try_from(key).ok()).ok_or("an unknown bucket")?;
                self.open()?.0.least = Some((key, count.parse().map_err(|_| "no number")?));
            }
            "most" => {
                let count = rest.strip_prefix("output ").ok_or("not \"output\" and a number")?;
                self.open()?.0.most_output = Some(count.parse().map_err(|_| "no number")?);
            }
            "price" => self.price(rest)?,
            "tier" | "geo" => self.selected(word == "tier", rest)?,
            _ => return Err("an unknown word"),
        }
        Ok(())
    }

    fn provider(&self) -> Result<usize, Why> {
        self.provider.ok_or("a line before any \"provider\"")
    }

    fn open(&mut self) -> Result<(&mut Model, &mut Open), Why> {
        let open = self.model.as_mut().ok_or("a line before any \"model\"")?;
        Ok((&mut self.draft.models[open.model], open))
    }

    fn holidays(&mut self, rest: &str) -> Result<(), Why> {
        let (name, days) = rest.split_once(' ').ok_or("no days")?;
        let mut days: Vec<i64> =
            days.split(' ').map(|day| Ok(midnight(day)?.0)).collect::<Result<_, Why>>()?;
        days.sort_unstable();
        self.draft.holidays.push((name.into(), days.into()));
        Ok(())
    }

    fn same(&mut self, rest: &str) -> Result<(), Why> {
        let (provider, model) = rest.split_once(' ').ok_or("no provider and model")?;
        let other = self.draft.known(provider, model).ok_or("a model that the book does not have")?;
        let (model, open) = self.open()?;
        open.priced = true;
        let id = std::mem::take(&mut model.id);
        let (aliases, patterns) = (std::mem::take(&mut model.aliases), std::mem::take(&mut model.patterns));
        *model = Model { id, aliases, patterns, ..other };
        Ok(())
    }

    fn price(&mut self, rest: &str) -> Result<(), Why> {
        let (when, rates, _) = self.attributes(rest)?;
        let source = self.draft.newest_source();
        let (model, open) = self.open()?;
        if !std::mem::replace(&mut open.priced, true) {
            model.periods.clear();
            model.source = source;
        }
        model.periods.push(Period { when, rates });
        Ok(())
    }

    fn selected(&mut self, tier: bool, rest: &str) -> Result<(), Why> {
        let (name, rest) = rest.split_once(' ').ok_or("no price")?;
        let name: Box<str> = name.to_lowercase().into();
        let (when, rates, factor) = self.attributes(rest)?;
        let (model, open) = self.open()?;
        let all = if tier { &mut model.tiers } else { &mut model.regions };
        if !open.selected.contains(&(tier, name.clone())) {
            all.retain(|selected| selected.name != name);
            open.selected.push((tier, name.clone()));
        }
        all.push(Selected { name, when, rates, factor });
        Ok(())
    }

    fn attributes(&self, rest: &str) -> Result<(When, RateSet, Factor), Why> {
        let (mut when, mut rates, mut factor) = (When::default(), Vec::new(), Factor::ONE);
        for attribute in rest.split(' ').filter(|a| !a.is_empty()) {
            match attribute.split_once('=') {
                Some(("from", from)) => when.from_us = moment(from)?,
                Some(("utc", hours)) => when.hours = read_hours(hours)?,
                Some(("workdays", name)) => {
                    let days = self.draft.holidays.iter().rev().find(|(known, _)| **known == *name);
                    when.working_days = Some(days.ok_or("unknown holidays")?.1.clone());
                }
                Some((key, rate)) => rates.push(read_rate(key, rate)?),
                None if attribute == "workdays" => when.working_days = Some(Box::default()),
                None if attribute == "assumed" => when.assumed = true,
                None => {
                    let text = attribute.strip_prefix('x').ok_or("an unknown attribute")?;
                    factor = Factor::read(text).ok_or("not a factor")?;
                }
            }
        }
        rates.sort_by_key(|&(key, _)| key);
        Ok((when, rates.into(), factor))
    }
}

/// `input=5>272000:10`, with `>=` where the dearer price begins at the number itself.
pub(super) fn read_rate(key: &str, rate: &str) -> Result<(u8, Rate), Why> {
    let key = key_of(key).ok_or("an unknown kind of price")?;
    let units = quoted(key).0;
    let mut parts = rate.split('>');
    let read = |text: &str| Price::read(text, units).ok_or("not a price in plain decimal US dollars");
    let base = read(parts.next().unwrap_or_default())?;
    let step = |part: &str| {
        let (from, price) = part.split_once(':').ok_or("a step without its price")?;
        let (number, inclusive) = from.strip_prefix('=').map_or((from, false), |number| (number, true));
        let number: u64 = number.parse().map_err(|_| "a step without its number of tokens")?;
        Ok(Step { over: number.saturating_sub(u64::from(inclusive)), price: read(price)? })
    };
    let mut steps: Vec<Step> = parts.map(step).collect::<Result<_, Why>>()?;
    steps.sort_by_key(|step| step.over);
    Ok((u8::try_from(key).map_err(|_| "too many kinds")?, Rate { base, steps: steps.into() }))
}

fn read_hours(text: &str) -> Result<Box<[(u32, u32)]>, Why> {
    let second = |text: &str| -> Option<u32> {
        let (hour, minute) = text.split_once(':')?;
        let (hour, minute): (u32, u32) = (hour.parse().ok()?, minute.parse().ok()?);
        (hour <= 24 && minute < 60).then_some(hour * 3_600 + minute * 60)
    };
    let mut all = Vec::new();
    for window in text.split(',') {
        let ends = window.split_once('-').and_then(|(start, end)| Some((second(start)?, second(end)?)));
        match ends.ok_or("not hours such as 01:00-04:00")? {
            (start, end) if start < end => all.push((start, end)),
            (start, end) => all.extend([(start, 24 * 3_600), (0, end)]),
        }
    }
    Ok(all.into())
}

/// A date's midnight or a moment, UTC, in microseconds since 1970.
pub(super) fn moment(text: &str) -> Result<i64, Why> {
    if text.len() == 10 {
        return Ok(midnight(text)?.1);
    }
    let stamp: jiff::Timestamp = text.parse().map_err(|_| "not a date such as 2026-08-21")?;
    Ok(stamp.as_microsecond())
}

fn midnight(text: &str) -> Result<(i64, i64), Why> {
    let date: jiff::civil::Date = text.parse().map_err(|_| "not a date such as 2026-08-21")?;
    let at = jiff::tz::TimeZone::UTC
        .to_timestamp(date.at(0, 0, 0, 0))
        .map_err(|_| "not a date such as 2026-08-21")?;
    let us = at.as_microsecond();
    Ok((us.div_euclid(86_400_000_000), us))
}
