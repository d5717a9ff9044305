//! Prices in TOML, for people: each `[[price]]` becomes a few lines of the book.

use std::fmt::Write as _;

use toml::de::{DeTable, DeValue};

use super::{PriceBook, format};
use crate::error::{Error, Kind};

impl PriceBook {
    /// This book with the prices in a TOML text laid over it.
    ///
    /// Each `[[price]]` names a provider and a model, and some of: other ids (`id`) and patterns
    /// (`like`) of the model; the model whose prices it has (`same_as = "openai/gpt-4o"`); prices by bucket, in
    /// US dollars for a million tokens (a thousand searches, pages or `requests`, an hour for
    /// `audio_ms`); the date they hold `from`; the service `tier` or region (`geo`) they are for; a
    /// `factor` on all of them, for a region; how many tokens the model writes at most
    /// (`max_output_tokens`). A price may be a string with steps:
    /// `"2.5>272000:5"` above, `"2>=200000:4"` from that many input tokens on. A model's
    /// usual prices are replaced together; those of a tier or region stay, unless an entry names it.
    /// Everything else in the text is left alone.
    ///
    /// ```
    /// use payi_core::pricing::PriceBook;
    ///
    /// let book = PriceBook::embedded().with_toml(r#"
    ///     [[price]]                    # a contract
    ///     provider = "openai"
    ///     model = "gpt-4o"
    ///     input = 2.25
    ///     cache_read = 1.125
    ///     output = "9"
    ///
    ///     [[price]]                    # a deployment, whose name says nothing
    ///     provider = "azure"
    ///     model = "prod-chat"
    ///     same_as = "openai/gpt-4o-mini"
    ///
    ///     [[price]]                    # a machine of one's own
    ///     provider = "ollama"
    ///     model = "any"
    ///     like = "*"
    ///     input = 0
    ///     output = 0
    /// "#)?;
    /// # Ok::<(), payi_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::is_config`] with what cannot be read, and where.
    pub fn with_toml(&self, text: &str) -> Result<Self, Error> {
        let table = DeTable::parse(text).map_err(|e| {
            Error::with_source(Kind::Config, format!("the prices are not TOML: {}", e.message()), e)
        })?;
        let mut book = format!("{}\nsource your own settings\n", format::HEADER);
        let mut entries = Vec::new();
        if let Some(prices) = table.get_ref().get("price") {
            let prices =
                prices.get_ref().as_array().ok_or_else(|| wrong("prices", "are written as [[price]]"))?;
            for (index, price) in prices.iter().enumerate() {
                let name = format!("[[price]] number {}", index + 1);
                let table = price.get_ref().as_table().ok_or_else(|| wrong(&name, "is not a table"))?;
                entries.push(entry(&name, table)?);
            }
        }
        // A model's entries stay together: the first one replaces what the book had.
        while let Some((model, lines)) = entries.first().cloned().map(|e: Entry| (e.model, e.lines)) {
            let rest: String = entries[1..].iter().filter(|e| e.model == model).map(|e| &*e.lines).collect();
            let _ = write!(book, "{model}\n{lines}{rest}");
            entries.retain(|e| e.model != model);
        }
        self.with_book(&book)
    }
}

#[derive(Clone)]
struct Entry {
    /// Its `provider` and `model` lines.
    model: String,
    lines: String,
}

fn wrong(what: &str, why: &str) -> Error {
    Error::new(Kind::Config, format!("{what} {why}"))
}

fn entry(name: &str, table: &DeTable<'_>) -> Result<Entry, Error> {
    let required = |key| {
        let value = table.get(key).ok_or_else(|| wrong(name, &format!("lacks `{key}`")))?;
        word(name, key, value.get_ref())
    };
    let model = format!("provider {}\nmodel {}", required("provider")?, required("model")?);
    let (mut lines, mut kind, mut rates) = (String::new(), "price".to_owned(), String::new());
    for (key, value) in table {
        let (key, value) = (&**key.get_ref(), value.get_ref());
        match key {
            "provider" | "model" => {}
            "id" | "like" => {
                let all = value.as_array().map(|all| all.iter().map(toml::Spanned::get_ref).collect());
                for one in all.unwrap_or_else(|| vec![value]) {
                    let _ = writeln!(lines, "{key} {}", word(name, key, one)?);
                }
            }
            "same_as" => {
                let other = word(name, key, value)?;
                let (provider, other) =
                    other.split_once('/').ok_or_else(|| wrong(name, "`same_as` is \"provider/model\""))?;
                let _ = writeln!(lines, "same {provider} {other}");
            }
            "tier" | "geo" => kind = format!("{key} {}", word(name, key, value)?),
            "factor" => {
                let _ = write!(rates, " x{}", word(name, key, value)?);
            }
            "max_output_tokens" => {
                let _ = writeln!(lines, "most output {}", word(name, key, value)?);
            }
            _ => {
                let _ = write!(rates, " {key}={}", word(name, key, value)?);
            }
        }
    }
    if !rates.is_empty() {
        let _ = writeln!(lines, "{kind}{rates}");
    }
    Ok(Entry { model, lines })
}

/// A value as it is written: numbers are never calculated with.
fn word(name: &str, key: &str, value: &DeValue<'_>) -> Result<String, Error> {
    let text = match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.as_str().replace('_', ""),
        DeValue::Float(number) => number.as_str().replace('_', ""),
        DeValue::Datetime(date) => date.to_string(),
        _ => return Err(wrong(name, &format!("`{key}` is neither text nor a number"))),
    };
    if text.is_empty() || text.contains(char::is_whitespace) {
        return Err(wrong(name, &format!("`{key}` is empty or holds a space")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;
    use crate::{
        pricing::{CostSource, Priced},
        usage::{Bucket, Usage},
    };

    fn cost(
        book: &PriceBook,
        provider: &str,
        model: &str,
        at: &str,
        tier: Option<&str>,
    ) -> (String, CostSource) {
        let usage = Usage::new().with(Bucket::Input, 1_000_000);
        let at_us = format::moment(at).unwrap();
        let what = Priced { provider, model, at_us, service_tier: tier, geo: None, usage: &usage };
        let cost = book.price(&what);
        (cost.amount.to_string(), cost.source)
    }

    #[test]
    fn lays_its_prices_over_the_book() {
        let text = r#"
            title = "left alone"
            [[price]]
            provider = "openai"
            model = "gpt-4o"
            id = ["our-4o"]
            input = 2.000_1
            output = "8"
            [[price]]
            provider = "ollama"
            model = "any"
            like = "*"
            input = 0
            [[price]]
            provider = "openai"
            model = "gpt-4o"
            from = 2027-01-01
            input = "1>=1000:3"
            [[price]]
            provider = "openai"
            model = "gpt-4o"
            tier = "batch"
            input = 0.5
            [[price]]
            provider = "azure"
            model = "prod-chat"
            same_as = "openai/gpt-4o-mini"
        "#;
        let book = PriceBook::embedded().with_toml(text).unwrap();
        let computed = CostSource::Computed;
        for (provider, model, at, tier, usd) in [
            ("openai", "gpt-4o", "2026-11-23", None, "2.0001"),
            ("openai", "our-4o", "2026-11-23", None, "2.0001"),
            ("openai", "gpt-4o", "2027-01-01", None, "3"),
            ("openai", "gpt-4o", "2026-11-23", Some("batch"), "0.5"),
            ("openai", "gpt-4o-mini", "2026-11-23", None, "0.15"),
            ("azure", "prod-chat", "2026-11-23", None, "0.15"),
            ("ollama", "llama3:8b", "2026-11-23", None, "0"),
        ] {
            assert_eq!(
                cost(&book, provider, model, at, tier),
                (usd.to_owned(), computed),
                "{provider} {model}"
            );
        }
    }

    #[test]
    fn sets_how_much_a_model_writes() {
        let text = "[[price]]\nprovider = 'p'\nmodel = 'm'\ninput = 1\nmax_output_tokens = 2_000";
        let book = PriceBook::embedded().with_toml(text).unwrap();
        assert_eq!(book.max_output_tokens("p", "m"), Some(2_000));
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, part) in [
            ("price = 3", "[[price]]"),
            ("[[price]]\nmodel = 'm'", "provider"),
            ("[[price]]\nprovider = 'p'\nmodel = 'm'\ninput = true", "`input`"),
            ("[[price]]\nprovider = 'p'\nmodel = 'm'\ninput = 1e-3", "input=1e-3"),
            ("[[price]]\nprovider = 'p'\nmodel = 'm'\ninputs = 1", "inputs=1"),
            ("[[price]]\nprovider = 'p'\nmodel = 'm'\nsame_as = 'x/y'", "does not have"),
            ("[[price]\n", "not TOML"),
        ] {
            let error = PriceBook::embedded().with_toml(text).unwrap_err();
            assert!(error.is_config() && error.to_string().contains(part), "{error}");
        }
    }
}
