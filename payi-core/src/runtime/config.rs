//! The file named by `PAYI_CONFIG`: the options of the builder, in TOML, each by the same name.

mod limits;

use std::{path::Path, str::FromStr, time::Duration};

use toml::de::{DeTable, DeValue};

use crate::{
    Result,
    context::{self, Entry, Key, Properties, Text, entry::expression},
    error::{Error, Kind},
    events::{ModelMapping, StreamUsage},
    runtime::options::{self, Options, unknown},
};

/// The options of the file.
pub(super) const NAMES: &[&str] = &[
    "ledger",
    "durability",
    "keep_prompts_days",
    "api_key",
    "base_url",
    "bulk",
    "json_lines",
    "offline",
    "otlp",
    "record_on_spans",
    "prices",
    "price",
    "require",
    "stream_usage",
    "stream_usage_hosts",
    "instrument_inline_data",
    "host_mappings",
    "model_mapping",
    "context",
    "limit",
];

/// Reads the file.
pub(super) fn load(path: &Path) -> Result<Options> {
    let place = path.display();
    let text = std::fs::read_to_string(path).map_err(|e| {
        Error::with_source(
            Kind::Config,
            format!("the configuration {place}, named by PAYI_CONFIG, cannot be read; check the path"),
            e,
        )
    })?;
    read(&text).map_err(|e| Error::new(Kind::Config, format!("the configuration {place}: {e}")))
}

fn read(text: &str) -> Result<Options> {
    let table = DeTable::parse(text).map_err(|e| {
        // The parser's own message may show a line, and the line may be the one with the key.
        let line = e.span().map_or(0, |span| line(text, span.start));
        Error::new(Kind::Config, format!("line {line} is not TOML: {}", e.message()))
    })?;
    let mut options = Options::default();
    for (name, value) in table.get_ref() {
        match name.get_ref().as_ref() {
            // The book reads them itself, and leaves the rest of the file alone.
            "price" => options.price_texts.push(text.into()),
            "limit" => options.limits = limits::read(text, value)?,
            name => set(&mut options, name, value.get_ref())?,
        }
    }
    Ok(options)
}

/// The line of a byte, counted from 1.
fn line(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

fn set(options: &mut Options, name: &str, value: &DeValue<'_>) -> Result<()> {
    match name {
        "ledger" => options.ledger = Some(options::place(text_of(name, value)?.into())),
        #[cfg(feature = "ledger")]
        "durability" => {
            use crate::ledger::Durability::{Buffered, Synced};
            options.durability = Some(one_of(name, value, &[("synced", Synced), ("buffered", Buffered)])?);
        }
        #[cfg(not(feature = "ledger"))]
        "durability" => {}
        "keep_prompts_days" => {
            let days: u32 = number(value).ok_or_else(|| wrong(name, "is not a number of days"))?;
            options.keep_prompts = Some(Duration::from_secs(u64::from(days) * 86_400));
        }
        "api_key" => options.api_key = Some(options::api_key(text_of(name, value)?, name)?),
        "base_url" => options.base_url = Some(options::base_url(text_of(name, value)?, name)?),
        "bulk" => options.bulk = Some(flag(name, value)?),
        "json_lines" => options.json_lines = Some(text_of(name, value)?.into()),
        "offline" => options.offline = Some(text_of(name, value)?.into()),
        "otlp" => options.otlp = Some(options::base_url(text_of(name, value)?, name)?),
        "record_on_spans" => options.record_on_spans = Some(flag(name, value)?),
        "prices" => options.prices = Some(text_of(name, value)?.into()),
        "require" => {
            let keys = texts(name, value)?.into_iter().map(key).collect::<Result<_>>()?;
            options.require = Some(keys);
        }
        "stream_usage" => {
            let known = [("auto", StreamUsage::Auto), ("never", StreamUsage::Never)];
            options.stream_usage = Some(one_of(name, value, &known)?);
        }
        "stream_usage_hosts" => {
            options.stream_usage_hosts.extend(texts(name, value)?.into_iter().map(Box::from));
        }
        "instrument_inline_data" => options.instrument_inline_data = Some(flag(name, value)?),
        "host_mappings" => {
            let table = value.as_table().ok_or_else(|| wrong(name, "is written as [host_mappings]"))?;
            for (host, category) in table {
                options.mappings.map_host(host.get_ref(), text_of(host.get_ref(), category.get_ref())?);
            }
        }
        "model_mapping" => {
            let list = value.as_array().ok_or_else(|| wrong(name, "is written as [[model_mapping]]"))?;
            for one in list {
                options.mappings.map_model(model_mapping(one.get_ref())?);
            }
        }
        "context" => {
            let table = value.as_table().ok_or_else(|| wrong(name, "is written as [context]"))?;
            for (name, value) in table {
                options.context.push(entry(key(name.get_ref())?, value.get_ref())?);
            }
        }
        other => return Err(unknown("option", other, NAMES)),
    }
    Ok(())
}

fn model_mapping(value: &DeValue<'_>) -> Result<ModelMapping> {
    const NAMES: &[&str] = &["model", "host", "price_as_category", "price_as_resource", "resource_scope"];
    let table = value.as_table().ok_or_else(|| wrong("model_mapping", "is written as [[model_mapping]]"))?;
    let model = table.get("model").ok_or_else(|| wrong("model_mapping", "names no `model`"))?;
    let mut mapping = ModelMapping::new(text_of("model", model.get_ref())?);
    for (name, value) in table {
        let (name, value) = (name.get_ref().as_ref(), value.get_ref());
        mapping = match name {
            "model" => mapping,
            "host" => mapping.host(text_of(name, value)?),
            "price_as_category" => mapping.price_as_category(text_of(name, value)?),
            "price_as_resource" => mapping.price_as_resource(text_of(name, value)?),
            "resource_scope" => mapping.resource_scope(text_of(name, value)?),
            other => return Err(unknown("part of a model_mapping", other, NAMES)),
        };
    }
    Ok(mapping)
}

fn key(name: &str) -> Result<Key> {
    let names: Vec<&str> = Key::ALL.iter().map(|key| key.name()).collect();
    name.parse().map_err(|_| unknown("context key", name, &names))
}

/// A key of the context, with a value of its kind.
fn entry(key: Key, value: &DeValue<'_>) -> Result<Entry> {
    let name = key.name();
    Ok(match key.kind() {
        context::Kind::Text => Entry::of_text(key, text_of(name, value)?),
        context::Kind::Version => {
            let version: u32 = number(value).ok_or_else(|| wrong(name, "is not a whole number"))?;
            expression::use_case_version(&version)
        }
        context::Kind::Flag => Entry::of_flag(key, flag(name, value)?),
        context::Kind::List => Entry::of_list(key, texts(name, value)?.into_iter().map(Text::new).collect()),
        context::Kind::Map => {
            let table = value.as_table().ok_or_else(|| wrong(name, "is not a table of texts"))?;
            let pairs = table.iter().map(|(property, value)| {
                let value = text_of(property.get_ref(), value.get_ref())?;
                Ok((Text::new(property.get_ref()), Some(Text::new(value))))
            });
            Entry::of_map(key, pairs.collect::<Result<Properties>>()?)
        }
    })
}

fn text_of<'v>(name: &str, value: &'v DeValue<'_>) -> Result<&'v str> {
    value.as_str().ok_or_else(|| wrong(name, "is not a text in quotation marks"))
}

fn texts<'v>(name: &str, value: &'v DeValue<'_>) -> Result<Vec<&'v str>> {
    let list = value.as_array().ok_or_else(|| wrong(name, "is not a list of texts"))?;
    list.iter().map(|one| text_of(name, one.get_ref())).collect()
}

fn flag(name: &str, value: &DeValue<'_>) -> Result<bool> {
    value.as_bool().ok_or_else(|| wrong(name, "is neither true nor false"))
}

/// A whole number, written as people count.
fn number<T: FromStr>(value: &DeValue<'_>) -> Option<T> {
    let number = value.as_integer().filter(|number| number.radix() == 10)?;
    number.as_str().replace('_', "").parse().ok()
}

fn one_of<T: Copy>(name: &str, value: &DeValue<'_>, known: &[(&str, T)]) -> Result<T> {
    let found = known.iter().find(|(word, _)| Some(*word) == value.as_str()).map(|(_, meant)| *meant);
    found.ok_or_else(|| {
        let words: Vec<String> = known.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        wrong(name, &format!("is {}", words.join(" or ")))
    })
}

/// What is wrong with an option; its value is not shown.
fn wrong(name: &str, what: &str) -> Error {
    Error::new(Kind::Config, format!("`{name}` {what}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn everything_the_builder_takes_can_be_written_down() {
        let options = read(
            r#"
            ledger = "/var/lib/payi.db"
            durability = "buffered"
            keep_prompts_days = 7
            api_key = "k"
            base_url = "http://127.0.0.1:8080/"
            bulk = false
            json_lines = "events.jsonl"
            offline = "offline.json"
            otlp = "http://localhost:4318"
            record_on_spans = true
            prices = "book.txt"
            require = ["user_id", "use_case_name"]
            stream_usage = "never"
            stream_usage_hosts = ["llm.internal"]

            [host_mappings]
            "llm.internal" = "system.azureopenai"

            [[model_mapping]]
            model = "our-chat"
            host = "llm.internal"
            price_as_resource = "gpt-4o"

            [context]
            account_name = "acme"
            use_case_version = 3
            limit_ids = ["a", "b"]
            request_properties = { plan = "pro" }
            log_prompt_and_response = true

            [[price]]
            provider = "openai"
            model = "gpt-4o"
            input = 2
            output = 8
            "#,
        )
        .unwrap();
        assert_eq!(options.ledger, Some(options::place("/var/lib/payi.db".into())));
        #[cfg(feature = "ledger")]
        assert_eq!(options.durability, Some(crate::ledger::Durability::Buffered));
        assert_eq!(options.keep_prompts, Some(Duration::from_secs(7 * 86_400)));
        assert_eq!(options.base_url.as_deref(), Some("http://127.0.0.1:8080"));
        assert_eq!((options.bulk, options.record_on_spans), (Some(false), Some(true)));
        assert_eq!(options.require.unwrap().to_string(), "user_id, use_case_name");
        assert_eq!(options.stream_usage, Some(StreamUsage::Never));
        let keys: Vec<&str> = options.context.iter().map(|entry| entry.key.name()).collect();
        assert_eq!(keys.len(), 5, "{keys:?}");
        assert_eq!(options.price_texts.len(), 1);
        let mut mappings = crate::events::Mappings::default();
        mappings.map_host("llm.internal", "system.azureopenai");
        mappings.map_model(ModelMapping::new("our-chat").host("llm.internal").price_as_resource("gpt-4o"));
        assert_eq!(options.mappings, mappings);
    }

    #[test]
    fn a_mistake_is_told_with_what_was_meant_and_without_the_value() {
        for (text, said) in [
            ("ledgr = 'x'", "unknown option `ledgr`; did you mean `ledger`?"),
            ("[context]\nuser = 'x'", "unknown context key `user`"),
            ("[context]\nuser_idd = 'x'", "unknown context key `user_idd`; did you mean `user_id`?"),
            ("durability = 'hard'", "`durability` is \"synced\" or \"buffered\""),
            ("bulk = 'yes'", "`bulk` is neither true nor false"),
            ("require = 'user_id'", "`require` is not a list of texts"),
            ("bulk = true\napi_key = SECRET", "line 2 is not TOML"),
            ("api_key = 'SECRET SECRET'", "`api_key` holds a character"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.is_config() && error.to_string().starts_with(said), "{text}: {error}");
            assert!(!error.to_string().contains("SECRET"), "{error}");
        }
    }
}
