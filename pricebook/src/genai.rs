//! The data of genai-prices, provider by provider, as the book's text.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::{clause::Names, decimal};

/// Its price keys, and ours.
const KEYS: [(&str, &str); 17] = [
    ("input_mtok", "input"),
    ("cache_read_mtok", "cache_read"),
    ("cache_write_mtok", "cache_write"),
    ("cache_write_1h_mtok", "cache_write_1h"),
    ("input_audio_mtok", "audio_input"),
    ("cache_audio_read_mtok", "audio_cache_read"),
    ("input_image_mtok", "image_input"),
    ("cache_image_read_mtok", "image_cache_read"),
    ("input_video_mtok", "video_input"),
    ("output_mtok", "output"),
    ("output_reasoning_mtok", "reasoning"),
    ("output_audio_mtok", "audio_output"),
    ("output_image_mtok", "image_output"),
    ("web_searches_kcount", "web_searches"),
    ("storage_searches_kcount", "file_searches"),
    ("input_mchars", "characters"),
    ("input_document_kpages", "pages"),
];

/// What no bucket counts.
const LEFT_OUT: [&str; 4] = [
    "output_video_mtok",
    "output_citation_mtok",
    "input_annotated_document_kpages",
    "input_text_messages_kcount",
];

pub(crate) fn book(data: &Value, source: &str) -> Result<String, String> {
    let mut out = format!(
        "payi prices 1\n# Made by the workspace's pricebook program; corrections go into corrections.txt.\nsource {source}\n"
    );
    for provider in data.as_array().ok_or("not a list of providers")? {
        write_provider(&mut out, provider)?;
    }
    Ok(out)
}

fn write_provider(out: &mut String, provider: &Value) -> Result<(), String> {
    let id = text(provider, "id")?;
    let _ = writeln!(out, "\nprovider {id}");
    if let Some(clause) = provider.get("provider_match").filter(|v| !v.is_null()) {
        let names = Names::of(clause)?;
        let _ = writeln!(out, "also {}", [names.ids, names.patterns].concat().join(" "));
    }
    if let Some(Value::Array(others)) = provider.get("fallback_model_providers") {
        let others: Vec<_> = others.iter().filter_map(Value::as_str).collect();
        let _ = writeln!(out, "fallback {}", others.join(" "));
    }
    let models = provider.get("models").and_then(Value::as_array).ok_or("a provider without models")?;
    models.iter().try_for_each(|model| write_model(out, model).map_err(|why| format!("{id}: {why}")))
}

fn write_model(out: &mut String, model: &Value) -> Result<(), String> {
    let id = text(model, "id")?;
    let prices = model.get("prices").unwrap_or(&Value::Null);
    let periods: Vec<(Option<&Value>, &Value)> = match prices {
        Value::Array(list) => list.iter().map(|p| (p.get("constraint"), &p["prices"])).collect(),
        other => vec![(None, other)],
    };
    // Without any price, the model is as unknown as one that is not in the book.
    if periods.iter().all(|(_, prices)| prices.as_object().is_none_or(Map::is_empty))
        && !id.ends_with(":free")
    {
        return Ok(());
    }
    let names = Names::of(&model["match"]).map_err(|why| format!("{id}: {why}"))?;
    let _ = writeln!(out, "model {id}");
    let ids: Vec<_> = names.ids.into_iter().filter(|other| *other != id.to_lowercase()).collect();
    for (word, names) in [("id", ids), ("like", names.patterns)] {
        if !names.is_empty() {
            let _ = writeln!(out, "{word} {}", names.join(" "));
        }
    }
    for (constraint, prices) in periods {
        let mut rates = rates(prices).map_err(|why| format!("{id}: {why}"))?;
        if rates.is_empty() && id.ends_with(":free") {
            rates.push_str(" input=0 output=0");
        }
        let _ = writeln!(out, "price{}{rates}", when(constraint)?);
    }
    for variant in model.get("price_variants").and_then(Value::as_array).into_iter().flatten() {
        let rates = rates(&variant["prices"]).map_err(|why| format!("{id}: {why}"))?;
        if rates.is_empty() {
            continue;
        }
        let (word, name) = selector(&variant["when"])?;
        let _ = writeln!(out, "{word} {name}{}{rates}", when(variant.get("constraint"))?);
    }
    Ok(())
}

fn selector(when: &Value) -> Result<(&'static str, &str), String> {
    let map = when.as_object().filter(|map| map.len() == 1).ok_or_else(|| format!("odd variant {when}"))?;
    let (key, value) = map.iter().next().ok_or("an empty variant")?;
    let value = value.as_str().ok_or_else(|| format!("odd variant {when}"))?;
    match key.as_str() {
        "processing" | "service_tier" | "search_type" => Ok(("tier", value)),
        "speed" if value == "fast" => Ok(("tier", value)),
        "route" => Ok(("geo", value)),
        _ => Err(format!("unknown variant {when}")),
    }
}

fn when(constraint: Option<&Value>) -> Result<String, String> {
    let Some(constraint) = constraint.filter(|c| !c.is_null()) else { return Ok(String::new()) };
    if let Some(date) = constraint.get("start_date").and_then(Value::as_str) {
        return Ok(format!(" from={date}"));
    }
    let hour = |key| constraint.get(key).and_then(Value::as_str).and_then(|t| t.strip_suffix(":00+00:00"));
    match (hour("start_time"), hour("end_time")) {
        (Some(start), Some(end)) => Ok(format!(" utc={start}-{end}")),
        _ => Err(format!("unknown constraint {constraint}")),
    }
}

fn rates(prices: &Value) -> Result<String, String> {
    let prices = prices.as_object().ok_or("no prices")?;
    let mut out = String::new();
    for (theirs, ours) in KEYS {
        if let Some(rate) = prices.get(theirs) {
            let _ = write!(out, " {ours}={}", rate_text(rate)?);
        }
    }
    if let Some(hour) = prices.get("input_audio_hours").or_else(|| prices.get("audio_hours")) {
        let _ = write!(out, " audio_ms={}", rate_text(hour)?);
    }
    if let Some(fee) = prices.get("requests_kcount") {
        let _ = write!(out, " requests={}", rate_text(fee)?);
    }
    let known = |key: &str| {
        KEYS.iter().any(|(theirs, _)| *theirs == key)
            || LEFT_OUT.contains(&key)
            || ["audio_hours", "input_audio_hours", "requests_kcount"].contains(&key)
    };
    match prices.keys().find(|key| !known(key)) {
        Some(key) => Err(format!("unknown price {key}")),
        None => Ok(out),
    }
}

fn rate_text(rate: &Value) -> Result<String, String> {
    let number = |value: &Value| match value {
        Value::Number(number) => decimal::text(number),
        other => Err(format!("{other} is not a price")),
    };
    if rate.is_number() {
        return number(rate);
    }
    let mut out = number(&rate["base"])?;
    for tier in rate["tiers"].as_array().ok_or("tiers are not a list")? {
        let start = tier["start"].as_u64().ok_or("a tier without its start")?;
        // Upstream can only say "above": 199,999 is its way of saying "from 200,000".
        let from = if start % 1_000 == 999 { format!("={}", start + 1) } else { start.to_string() };
        let _ = write!(out, ">{from}:{}", number(&tier["price"])?);
    }
    Ok(out)
}

fn text<'v>(value: &'v Value, key: &str) -> Result<&'v str, String> {
    value.get(key).and_then(Value::as_str).ok_or_else(|| format!("no {key}"))
}
