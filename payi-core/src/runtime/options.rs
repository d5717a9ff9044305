//! Every setting, where it may come from, and what is wrong with it.

use std::{path::PathBuf, time::Duration};

use crate::{
    Result,
    context::{Entry, KeySet},
    error::{Error, Kind},
    events::{Mappings, PAY_I, PayIAccess, Secret, StreamUsage},
    limits::Limit,
    pricing::PriceBook,
};

/// The ledger's file, unless told otherwise.
pub(super) const LEDGER: &str = "payi.db";

/// Environment variables that are settings.
const VARIABLES: &[&str] =
    &["PAYI_API_KEY", "PAYI_BASE_URL", "PAYI_LEDGER", "PAYI_PRICES", "PAYI_OTLP", "PAYI_CONFIG"];

/// Variables of the official Python SDK and of the ledger, which are no settings here and may well be set.
const FOREIGN: &[&str] = &["PAYI_CUSTOM_HEADERS", "PAYI_LOG", "PAYI_LEDGER_KEY"];

/// Where calls are recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    File(PathBuf),
    Memory,
}

/// What one source says; `None` leaves it to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    /// Where the rest is written down.
    pub(super) config: Option<PathBuf>,
    pub(super) api_key: Option<Secret>,
    pub(super) base_url: Option<String>,
    pub(super) ledger: Option<Place>,
    pub(super) bulk: Option<bool>,
    pub(super) json_lines: Option<PathBuf>,
    pub(super) offline: Option<PathBuf>,
    pub(super) otlp: Option<String>,
    #[cfg(feature = "otel")]
    pub(super) semconv: crate::sink::otel::Semconv,
    /// A file with a price book.
    pub(super) prices: Option<PathBuf>,
    /// Prices in TOML, to be laid over the book.
    pub(super) price_texts: Vec<String>,
    #[cfg(feature = "ledger")]
    pub(super) durability: Option<crate::ledger::Durability>,
    /// How long prompts are kept, where they are kept.
    pub(super) keep_prompts: Option<Duration>,
    pub(super) record_on_spans: Option<bool>,
    pub(super) require: Option<KeySet>,
    pub(super) stream_usage: Option<StreamUsage>,
    pub(super) instrument_inline_data: Option<bool>,
    pub(super) stream_usage_hosts: Vec<Box<str>>,
    pub(super) mappings: Mappings,
    /// Those that are to be in force: of two of one id the later one counts.
    pub(super) limits: Vec<Limit>,
    /// The process-wide context: of two entries for a key the later one counts.
    pub(super) context: Vec<Entry>,
}

impl Options {
    /// What the environment says. `variables` are its names and values.
    pub(super) fn from_environment(variables: impl Iterator<Item = (String, String)>) -> Result<Self> {
        let mut options = Self::default();
        for (name, value) in variables.filter(|(name, value)| name.starts_with("PAYI_") && !value.is_empty())
        {
            match name.as_str() {
                "PAYI_API_KEY" => options.api_key = Some(api_key(&value, &name)?),
                "PAYI_BASE_URL" => options.base_url = Some(base_url(&value, &name)?),
                "PAYI_OTLP" => options.otlp = Some(base_url(&value, &name)?),
                "PAYI_LEDGER" => options.ledger = Some(place(value.into())),
                "PAYI_PRICES" => options.prices = Some(value.into()),
                "PAYI_CONFIG" => options.config = Some(value.into()),
                foreign if FOREIGN.contains(&foreign) => {}
                // Others may have variables of that beginning for purposes of their own.
                other if closest(other, VARIABLES).is_none() => {
                    crate::error::say!(debug, target: "payi", name = other, "unknown environment variable");
                }
                other => return Err(unknown("environment variable", other, VARIABLES)),
            }
        }
        Ok(options)
    }

    /// Whether events go anywhere but into the ledger.
    pub(super) fn delivers(&self) -> bool {
        self.api_key.is_some() || self.json_lines.is_some() || self.offline.is_some()
    }

    /// The ledger's file; `None` if it is in memory.
    pub(super) fn ledger_file(&self) -> Option<PathBuf> {
        match &self.ledger {
            Some(Place::Memory) => None,
            Some(Place::File(path)) => Some(path.clone()),
            None => Some(LEDGER.into()),
        }
    }

    /// Where Pay-i is, and the key for it, if there is one.
    pub(super) fn pay_i(&self) -> PayIAccess {
        let base_url = self.base_url.clone().unwrap_or_else(|| PAY_I.to_owned());
        PayIAccess { base_url, key: self.api_key.clone() }
    }

    /// These, and `lower` where these say nothing.
    pub(super) fn or(self, lower: Self) -> Self {
        Self {
            api_key: self.api_key.or(lower.api_key),
            base_url: self.base_url.or(lower.base_url),
            ledger: self.ledger.or(lower.ledger),
            bulk: self.bulk.or(lower.bulk),
            json_lines: self.json_lines.or(lower.json_lines),
            offline: self.offline.or(lower.offline),
            otlp: self.otlp.or(lower.otlp),
            #[cfg(feature = "otel")]
            semconv: self.semconv,
            prices: self.prices.or(lower.prices),
            config: self.config.or(lower.config),
            price_texts: [self.price_texts, lower.price_texts].concat(),
            #[cfg(feature = "ledger")]
            durability: self.durability.or(lower.durability),
            keep_prompts: self.keep_prompts.or(lower.keep_prompts),
            record_on_spans: self.record_on_spans.or(lower.record_on_spans),
            require: self.require.or(lower.require),
            stream_usage: self.stream_usage.or(lower.stream_usage),
            instrument_inline_data: self.instrument_inline_data.or(lower.instrument_inline_data),
            stream_usage_hosts: [self.stream_usage_hosts, lower.stream_usage_hosts].concat(),
            mappings: self.mappings.followed_by(lower.mappings),
            limits: {
                let mut limits = lower.limits;
                limits.retain(|limit| self.limits.iter().all(|own| own.id != limit.id));
                limits.extend(self.limits);
                limits
            },
            context: {
                let mut context = lower.context;
                context.retain(|entry| self.context.iter().all(|own| own.key != entry.key));
                context.extend(self.context);
                context
            },
        }
    }

    /// What `given` says, then the environment, then the file that one of them names.
    pub(super) fn gathered(given: Self) -> Result<Self> {
        let variables =
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        let options = given.or(Self::from_environment(variables)?);
        #[cfg(feature = "config")]
        if let Some(path) = options.config.clone() {
            return Ok(options.or(super::config::load(&path)?));
        }
        #[cfg(not(feature = "config"))]
        if options.config.is_some() {
            crate::error::say!(warn, target: "payi", "PAYI_CONFIG is set, but payi was built without the feature `config`");
        }
        Ok(options)
    }

    /// The prices that calls are priced by, unless the builder was given a book.
    pub(super) fn book(&self) -> Result<&'static PriceBook> {
        #[cfg_attr(not(feature = "config"), allow(unused_mut, reason = "only a file holds more prices"))]
        let mut book = self.prices.as_ref().map(PriceBook::load).transpose()?;
        #[cfg(feature = "config")]
        for text in &self.price_texts {
            book = Some(book.as_ref().unwrap_or_else(|| PriceBook::embedded()).with_toml(text)?);
        }
        Ok(book.map_or_else(PriceBook::embedded, |book| Box::leak(Box::new(book))))
    }
}

/// A name that means nothing here, with the one that was probably meant.
pub(super) fn unknown(what: &str, name: &str, known: &[&str]) -> Error {
    let meant = closest(name, known).map_or_else(String::new, |known| format!("; did you mean `{known}`?"));
    Error::new(Kind::Config, format!("unknown {what} `{name}`{meant}"))
}

/// `:memory:`, as everywhere with SQLite, or a file.
pub(super) fn place(path: PathBuf) -> Place {
    if path.as_os_str() == ":memory:" { Place::Memory } else { Place::File(path) }
}

/// A key must fit a header; what is wrong with it is said without showing it.
pub(super) fn api_key(value: &str, from: &str) -> Result<Secret> {
    let key = value.trim();
    if key.is_empty() {
        return Err(Error::new(
            Kind::Config,
            format!("`{from}` is empty; leave it out to send nothing to Pay-i"),
        ));
    }
    if !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Error::new(
            Kind::Config,
            format!(
                "`{from}` holds a character that no key has (a space, a line break, a quotation mark?); copy it again"
            ),
        ));
    }
    Ok(Secret::new(key))
}

/// An `http` or `https` address with a host, without credentials, query or fragment; no slash at its end.
pub(super) fn base_url(value: &str, from: &str) -> Result<String> {
    let url = value.trim().trim_end_matches('/');
    let wrong = |what: &str| {
        let message = format!("`{from}` {what}; write it like `{PAY_I}` or `http://127.0.0.1:8080`");
        Err(Error::new(Kind::Config, message))
    };
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else {
        return wrong("does not start with http:// or https://");
    };
    let host = rest.split('/').next().unwrap_or_default();
    if host.is_empty() || host.starts_with(':') {
        return wrong("names no host");
    }
    if host.contains('@') {
        return wrong("holds credentials, which belong in `PAYI_API_KEY`");
    }
    if rest.contains(['?', '#', ' ', '\\']) || rest.chars().any(char::is_control) {
        return wrong("holds a query, a fragment or a space");
    }
    Ok(url.to_owned())
}

/// The candidate that `name` is most likely a slip of the pen for.
pub(super) fn closest<'c>(name: &str, candidates: &[&'c str]) -> Option<&'c str> {
    candidates
        .iter()
        .map(|candidate| (distance(name, candidate), *candidate))
        .filter(|(slips, candidate)| *slips <= candidate.len() / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Letters to insert, delete or change to get from one word to the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Result<Options> {
        Options::from_environment(pairs.iter().map(|&(k, v)| (k.into(), v.into())))
    }

    #[test]
    fn the_environment_is_read() {
        let found = environment(&[
            ("PAYI_API_KEY", "key-1\n"),
            ("PAYI_BASE_URL", "http://127.0.0.1:8080/"),
            ("PAYI_LEDGER", "/var/lib/payi.db"),
            ("PATH", "/bin"),
        ])
        .unwrap();
        assert_eq!(found.api_key.unwrap().expose(), "key-1");
        assert_eq!(found.base_url.as_deref(), Some("http://127.0.0.1:8080"));
        assert_eq!(found.ledger, Some(Place::File("/var/lib/payi.db".into())));
        assert_eq!(environment(&[("PAYI_LEDGER", ":memory:")]).unwrap().ledger, Some(Place::Memory));
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        let empty = environment(&[("PAYI_API_KEY", ""), ("PAYI_BASE_URL", ""), ("PAYI_LEDGER", "")]).unwrap();
        assert_eq!(format!("{empty:?}"), format!("{:?}", Options::default()));
    }

    #[test]
    fn a_slip_of_the_pen_is_refused_with_a_suggestion() {
        let error = environment(&[("PAYI_LEDGR", "x")]).unwrap_err();
        assert!(error.is_config());
        assert_eq!(
            error.to_string(),
            "unknown environment variable `PAYI_LEDGR`; did you mean `PAYI_LEDGER`?"
        );
    }

    #[test]
    fn variables_of_others_are_left_alone() {
        let foreign =
            [("PAYI_LOG", "debug"), ("PAYI_CUSTOM_HEADERS", "a: b"), ("PAYI_DEPLOYMENT_COLOUR", "blue")];
        assert_eq!(format!("{:?}", environment(&foreign).unwrap()), format!("{:?}", Options::default()));
    }

    #[test]
    fn a_bad_address_is_refused() {
        for bad in [
            "api.pay-i.com",
            "ftp://x",
            "https://",
            "https://:80",
            "https://key@host",
            "https://h/?q=1",
            "http://a b",
        ] {
            let error = base_url(bad, "PAYI_BASE_URL").unwrap_err();
            assert!(error.is_config(), "{bad}");
            assert!(error.to_string().starts_with("`PAYI_BASE_URL` "), "{error}");
        }
        assert_eq!(base_url("https://pay-i.internal/eu/", "x").unwrap(), "https://pay-i.internal/eu");
    }

    #[test]
    fn a_bad_key_is_refused_without_being_shown() {
        for bad in ["two words", "with\nbreak", "ключ"] {
            let error = api_key(bad, "PAYI_API_KEY").unwrap_err();
            assert!(error.is_config());
            assert!(!error.to_string().contains(bad), "{error}");
        }
        assert_eq!(format!("{:?}", api_key("s3cret", "x").unwrap()), "(secret)");
    }

    #[test]
    fn the_builder_wins_over_the_environment() {
        let builder = Options { ledger: Some(Place::Memory), ..Options::default() };
        let lower = environment(&[("PAYI_LEDGER", "a.db"), ("PAYI_API_KEY", "k")]).unwrap();
        let both = builder.or(lower);
        assert_eq!(both.ledger, Some(Place::Memory));
        assert!(both.api_key.is_some());
    }

    #[test]
    fn the_builders_context_wins_over_the_files_key_by_key() {
        use crate::context::entry::expression::{account_name, user_id};
        let builder = Options { context: vec![user_id("ours")], ..Options::default() };
        let file = Options { context: vec![user_id("theirs"), account_name("acme")], ..Options::default() };
        let keys: Vec<String> =
            builder.or(file).context.iter().map(|entry| format!("{:?}", entry.key)).collect();
        assert_eq!(keys, ["AccountName", "UserId"]);
    }

    /// The one table of options, on `instrument()`.
    #[test]
    fn every_option_is_in_the_table() {
        let table: Vec<&str> =
            include_str!("mod.rs").lines().filter(|line| line.starts_with("/// | ")).collect();
        for name in VARIABLES {
            assert_eq!(table.iter().filter(|row| row.contains(&format!("`{name}`"))).count(), 1, "{name}");
        }
        #[cfg(feature = "config")]
        for name in super::super::config::NAMES {
            let cell =
                |row: &&&str| row.split('|').nth(4).is_some_and(|cell| cell.contains(&format!("`{name}`")));
            assert_eq!(table.iter().filter(cell).count(), 1, "{name}");
        }
    }
}
