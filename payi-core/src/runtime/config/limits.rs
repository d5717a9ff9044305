//! `[[limit]]`: the limits that are to be in force, in the words of `payi limits set` and of the builder.
//!
//! They come from people who cannot see the builder's types, so every mistake names its key and its line.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{flag, number, one_of, text_of, unknown, wrong};
use crate::{
    Result,
    error::{Error, Kind as ErrorKind},
    limits::{Kind, Limit, OnStoreFailure, Policy, Scope, Subject, Unpriced, Window},
    money::Money,
};

/// What a limit counts is named by its maximum.
const MAXIMA: &[&str] = &["usd", "calls", "tokens", "concurrent"];
const NAMES: &[&str] = &[
    "id",
    "name",
    "usd",
    "calls",
    "tokens",
    "concurrent",
    "block",
    "allow",
    "each",
    "per",
    "threshold",
    "policy",
    "unpriced",
    "on_store_failure",
    "override",
];
const EACH: &[(&str, Scope)] = &[
    ("attached", Scope::Attached),
    ("user", Scope::EachUser),
    ("account", Scope::EachAccount),
    ("use_case", Scope::EachUseCase),
    ("use-case", Scope::EachUseCase),
    ("everyone", Scope::Everyone),
];
const POLICIES: &[(&str, Policy)] = &[
    ("strict", Policy::Strict),
    ("estimate", Policy::Estimate),
    ("inject_max_tokens", Policy::InjectMaxTokens),
    ("inject-max-tokens", Policy::InjectMaxTokens),
];

/// Reads the tables of the file `text`.
pub(super) fn read(text: &str, value: &Spanned<DeValue<'_>>) -> Result<Vec<Limit>> {
    let form = || wrong("limit", "is written as [[limit]]");
    let tables = value.get_ref().as_array().ok_or_else(|| in_line(text, value.span().start, &form()))?;
    let mut limits: Vec<Limit> = Vec::new();
    for one in tables {
        let begin = one.span().start;
        let table = one.get_ref().as_table().ok_or_else(|| in_line(text, begin, &form()))?;
        let limit = limit(text, table, begin)?;
        if limits.iter().any(|other| other.id == limit.id) {
            return Err(in_line(text, begin, &wrong("id", "is that of a limit above")));
        }
        limits.push(limit);
    }
    Ok(limits)
}

/// An error with its place, which is a byte of the file.
fn in_line(text: &str, at: usize, error: &Error) -> Error {
    Error::new(ErrorKind::Config, format!("line {}: {error}", super::line(text, at)))
}

fn limit(text: &str, table: &DeTable<'_>, begin: usize) -> Result<Limit> {
    let mut limit = with_maximum(text, table, begin)?;
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        limit = with(limit, name, value.get_ref()).map_err(|e| in_line(text, key.span().start, &e))?;
    }
    // They are amounts of what is counted, for those whose it is: what that is has to be known.
    if let Some(overrides) = table.get("override") {
        limit = with_overrides(limit, text, overrides)?;
    }
    limit.check().map_err(|e| in_line(text, begin, &e))?;
    Ok(limit)
}

/// The limit as its id and its one maximum say it.
fn with_maximum(text: &str, table: &DeTable<'_>, begin: usize) -> Result<Limit> {
    let place = |e: Error| in_line(text, begin, &e);
    let id = table.get("id").ok_or_else(|| place(wrong("limit", "has no `id`")))?;
    let id = text_of("id", id.get_ref()).map_err(|e| in_line(text, id.span().start, &e))?;
    let mut maxima = MAXIMA.iter().filter_map(|name| Some((*name, table.get(*name)?)));
    let (Some((name, max)), None) = (maxima.next(), maxima.next()) else {
        return Err(place(wrong("limit", "has one maximum: `usd`, `calls`, `tokens` or `concurrent`")));
    };
    let value = max.get_ref();
    let made = match name {
        "usd" => usd(name, value).map(|max| Limit::block(id, max)),
        "calls" => count(name, value).map(|max| Limit::calls(id, max)),
        "tokens" => count(name, value).map(|max| Limit::tokens(id, max)),
        _ => count(name, value).map(|max| Limit::concurrent(id, max)),
    };
    if table.contains_key("block") && table.contains_key("allow") {
        return Err(place(wrong("allow", "is the contrary of `block`; give one of them")));
    }
    made.map_err(|e| in_line(text, max.span().start, &e))
}

/// The limit with one key more.
fn with(limit: Limit, name: &str, value: &DeValue<'_>) -> Result<Limit> {
    let kind = |blocks: bool| if blocks { Kind::Block } else { Kind::Allow };
    Ok(match name {
        "id" | "override" => limit,
        maximum if MAXIMA.contains(&maximum) => limit,
        "name" => limit.name(text_of(name, value)?),
        "block" => limit.kind(kind(flag(name, value)?)),
        "allow" => limit.kind(kind(!flag(name, value)?)),
        "each" => limit.scope(one_of(name, value, EACH)?),
        "per" => {
            let window = Window::parse(text_of(name, value)?);
            limit.window(window.map_err(|e| Error::new(ErrorKind::Config, format!("`{name}`: {e}")))?)
        }
        "threshold" => {
            let percent = number(value).filter(|percent| matches!(percent, 0 | 75..=99));
            match percent.ok_or_else(|| wrong(name, "is a percentage from 75 to 99, or 0 for none"))? {
                0 => limit,
                percent => limit.threshold_percent(percent),
            }
        }
        "policy" => limit.policy(one_of(name, value, POLICIES)?),
        "unpriced" => limit.unpriced(unpriced(name, value)?),
        "on_store_failure" => {
            let known = [("open", OnStoreFailure::Open), ("closed", OnStoreFailure::Closed)];
            limit.on_store_failure(one_of(name, value, &known)?)
        }
        other => return Err(unknown("part of a limit", other, NAMES)),
    })
}

fn with_overrides(mut limit: Limit, text: &str, value: &Spanned<DeValue<'_>>) -> Result<Limit> {
    let form = || wrong("override", "is a list of tables: { name = \"ada\", account = \"acme\", max = 25 }");
    let list = value.get_ref().as_array().ok_or_else(|| in_line(text, value.span().start, &form()))?;
    for one in list {
        let begin = one.span().start;
        let table = one.get_ref().as_table().ok_or_else(|| in_line(text, begin, &form()))?;
        limit = with_override(limit, table).map_err(|e| in_line(text, begin, &e))?;
    }
    Ok(limit)
}

fn with_override(limit: Limit, table: &DeTable<'_>) -> Result<Limit> {
    const NAMES: &[&str] = &["name", "account", "max"];
    if let Some((other, _)) = table.iter().find(|(key, _)| !NAMES.contains(&key.get_ref().as_ref())) {
        return Err(unknown("part of an override", other.get_ref(), NAMES));
    }
    let said = |name: &str| table.get(name).map(|value| text_of(name, value.get_ref())).transpose();
    let (name, account) = (said("name")?, said("account")?.unwrap_or_default());
    let name = name.ok_or_else(|| wrong("override", "names nobody: give it a `name`"))?;
    let max = table.get("max").ok_or_else(|| wrong("override", "has no `max`"))?.get_ref();
    if !limit.counts_apart(&Subject::new(name, account)) {
        let what =
            "is for one of those that `each` gives a counter of their own; `account` is that of a user";
        return Err(wrong("override", what));
    }
    Ok(match limit.max_usd() {
        Some(_) => limit.override_for(name, account, usd("max", max)?),
        None => limit.override_count(name, account, count("max", max)?),
    })
}

fn unpriced(name: &str, value: &DeValue<'_>) -> Result<Unpriced> {
    const TOKENS: i128 = 1_000_000;
    if let DeValue::Integer(_) | DeValue::Float(_) = value {
        let pico = usd(name, value)?.pico() / TOKENS;
        return u64::try_from(pico)
            .map(Unpriced::Assume)
            .map_err(|_| wrong(name, "is too large, or below 0"));
    }
    one_of(name, value, &[("refuse", Unpriced::Refuse), ("ignore", Unpriced::Ignore)])
        .map_err(|_| wrong(name, "is \"refuse\", \"ignore\" or US dollars for a million tokens"))
}

/// An amount in US dollars, digit by digit as it is written.
fn usd(name: &str, value: &DeValue<'_>) -> Result<Money> {
    let amount = match value {
        DeValue::String(text) => text.parse().ok(),
        DeValue::Float(number) => number.as_str().replace('_', "").parse().ok(),
        whole => number::<u64>(whole).and_then(|whole| whole.to_string().parse().ok()),
    };
    amount.ok_or_else(|| wrong(name, "is not an amount in US dollars, such as 10 or 0.50"))
}

fn count(name: &str, value: &DeValue<'_>) -> Result<u64> {
    number(value).ok_or_else(|| wrong(name, "is not a whole number"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::runtime::config;

    #[test]
    fn whatever_a_limit_can_say_can_be_written_down() {
        let limits = config::read(
            r#"
            [[limit]]
            id = "per-user"
            name = "10 USD per user and month"
            usd = 10
            each = "user"
            per = "month:Europe/Berlin"
            threshold = 80
            policy = "strict"
            unpriced = 2.5
            on_store_failure = "open"
            override = [{ name = "ada", account = "acme", max = 25.50 }]

            [[limit]]
            id = "minute"
            calls = 1_000
            each = "use-case"
            per = "rate:1m"

            [[limit]]
            id = "tokens"
            tokens = 50_000
            each = "account"
            per = "rolling:24h"
            allow = true

            [[limit.override]]
            name = "acme"
            max = 0

            [[limit]]
            id = "few"
            concurrent = 8
            each = "everyone"
            policy = "inject_max_tokens"
            unpriced = "ignore"

            [[limit]]
            id = "premium"
            usd = "0.000001"
            "#,
        )
        .unwrap()
        .limits;
        let month = Limit::block("per-user", "10".parse().unwrap())
            .name("10 USD per user and month")
            .each_user()
            .window(Window::month("Europe/Berlin").unwrap())
            .threshold_percent(80)
            .strict()
            .unpriced(Unpriced::Assume(2_500_000))
            .on_store_failure(OnStoreFailure::Open)
            .override_for("ada", "acme", "25.5".parse().unwrap());
        let minute =
            Limit::calls("minute", 1_000).each_use_case().window(Window::rate(Duration::from_secs(60)));
        let tokens = Limit::tokens("tokens", 50_000)
            .each_account()
            .window(Window::rolling(Duration::from_secs(86_400)))
            .kind(Kind::Allow)
            .override_count("acme", "", 0);
        let few =
            Limit::concurrent("few", 8).everyone().policy(Policy::InjectMaxTokens).unpriced(Unpriced::Ignore);
        assert_eq!(
            limits,
            [month, minute, tokens, few, Limit::block("premium", "0.000001".parse().unwrap())]
        );
    }

    #[test]
    fn a_mistake_names_its_key_and_its_line() {
        for (table, said) in [
            ("usd = 1", "line 2: `limit` has no `id`"),
            ("id = 7\nusd = 1", "line 3: `id` is not a text in quotation marks"),
            ("id = 'l'", "line 2: `limit` has one maximum: `usd`, `calls`, `tokens` or `concurrent`"),
            ("id = 'l'\nusd = 1\ncalls = 2", "line 2: `limit` has one maximum"),
            ("id = 'l'\nusd = '1 USD'", "line 4: `usd` is not an amount in US dollars"),
            ("id = 'l'\nusd = 1e3", "line 4: `usd` is not an amount in US dollars"),
            ("id = 'l'\nusd = -1", "line 4: `usd` is not an amount in US dollars"),
            ("id = 'l'\ncalls = 0x10", "line 4: `calls` is not a whole number"),
            ("id = 'l'\ncalls = 0", "line 2: a limit's maximum is above 0"),
            (
                "id = 'l'\nusd = 1\n\neech = 'user'",
                "line 6: unknown part of a limit `eech`; did you mean `each`?",
            ),
            ("id = 'l'\nusd = 1\neach = 'person'", "line 5: `each` is \"attached\" or \"user\" or"),
            ("id = 'l'\nusd = 1\nper = 'fortnight'", "line 5: `per`: \"fortnight\" is no window"),
            ("id = 'l'\nusd = 1\nper = 'day:Mars/Utopia'", "line 5: `per`: this machine knows no time zone"),
            ("id = 'l'\nusd = 1\nper = 'rate:1m'", "line 2: a rate counts calls"),
            ("id = 'l'\nusd = 1\nthreshold = 0.8", "line 5: `threshold` is a percentage"),
            ("id = 'l'\nusd = 1\npolicy = 'hard'", "line 5: `policy` is \"strict\" or"),
            ("id = 'l'\nusd = 1\nblock = true\nallow = true", "line 2: `allow` is the contrary"),
            ("id = 'l'\nusd = 1\nunpriced = 'free'", "line 5: `unpriced` is \"refuse\","),
            ("id = 'l'\nusd = 1\noverride = 5", "line 5: `override` is a list of tables"),
            (
                "id = 'l'\nusd = 1\noverride = [{ name = 'a', max = 2 }]",
                "line 5: `override` is for one of those that `each` gives",
            ),
            (
                "id = 'l'\nusd = 1\neach = 'user'\n[[limit.override]]\nname = 'a'\nusd = 2",
                "line 6: unknown part of an override `usd`",
            ),
            ("id = 'l'\nusd = 1\n[[limit]]\nid = 'l'\ncalls = 1", "line 5: `id` is that of a limit above"),
        ] {
            let error = config::read(&format!("bulk = true\n[[limit]]\n{table}\n")).unwrap_err();
            assert!(error.is_config() && error.to_string().starts_with(said), "{table}: {error}");
        }
        let error = config::read("limit = 5").unwrap_err();
        assert_eq!(error.to_string(), "line 1: `limit` is written as [[limit]]");
    }
}
