//! genai-prices' match clauses as the book's ids and patterns.

use serde_json::{Map, Value};

/// What a clause matches: whole ids, and patterns.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) ids: Vec<String>,
    pub(crate) patterns: Vec<String>,
}

impl Names {
    pub(crate) fn of(clause: &Value) -> Result<Self, String> {
        let mut names = Self::default();
        names.add(clause)?;
        Ok(names)
    }

    fn add(&mut self, clause: &Value) -> Result<(), String> {
        let (kind, value) = only(clause)?;
        if kind == "or" {
            return list(value)?.iter().try_for_each(|clause| self.add(clause));
        }
        if kind == "and" {
            self.patterns.push(both(list(value)?)?);
            return Ok(());
        }
        let text = value.as_str().ok_or_else(|| format!("{clause} is not text"))?;
        if kind == "regex" {
            for name in regex(text)? {
                let pattern = name.contains(['#', '*']);
                if pattern { &mut self.patterns } else { &mut self.ids }.push(name);
            }
            return Ok(());
        }
        if text.contains([' ', '*', '#', '!']) {
            return Err(format!("{text} contains a character of the book's own"));
        }
        let text = text.to_lowercase();
        match kind {
            "equals" => self.ids.push(text),
            "starts_with" => self.patterns.push(format!("{text}*")),
            "ends_with" => self.patterns.push(format!("*{text}")),
            "contains" => self.patterns.push(format!("*{text}*")),
            _ => return Err(format!("unknown clause {clause}")),
        }
        Ok(())
    }
}

fn only(clause: &Value) -> Result<(&str, &Value), String> {
    let map = clause.as_object().filter(|map| map.len() == 1);
    let (kind, value) =
        map.and_then(|map: &Map<_, _>| map.iter().next()).ok_or(format!("odd clause {clause}"))?;
    Ok((kind, value))
}

fn list(value: &Value) -> Result<&Vec<Value>, String> {
    value.as_array().ok_or_else(|| format!("{value} is not a list"))
}

/// Two contained words in order, or a prefix with an exception.
fn both(clauses: &[Value]) -> Result<String, String> {
    let [first, second] = clauses else { return Err("an \"and\" of other than two".into()) };
    let (first, second) = (only(first)?, only(second)?);
    match (first, second) {
        (("starts_with", start), ("regex", Value::String(regex))) if regex == NO_TTS => {
            Ok(format!("{}*!*-tts!*-tts-*", start.as_str().unwrap_or_default().to_lowercase()))
        }
        (("contains", a), ("contains", b)) => {
            // A provider such as `huggingface_groq`, which is also its id.
            Ok(format!("*{}_{}*", a.as_str().unwrap_or_default(), b.as_str().unwrap_or_default()))
        }
        _ => Err(format!("unknown \"and\" {clauses:?}")),
    }
}

const NO_TTS: &str = r"^(?!.*-[tT][tT][sS](?:$|-))";

/// The few forms of regular expression that the data uses, as every pattern they stand for.
fn regex(text: &str) -> Result<Vec<String>, String> {
    let body = text.strip_prefix('^').ok_or_else(|| format!("{text} is open at its start"))?;
    let (body, end) = body.strip_suffix('$').map_or((body, "*"), |body| (body, ""));
    let mut all = vec![String::new()];
    let mut rest = body;
    while let Some(c) = rest.chars().next() {
        let optional = rest.starts_with('(').then(|| rest.find(")?")).flatten();
        let (choices, used) = if let Some(close) = optional {
            let inside = regex(&format!("^{}$", &rest[1..close]))?;
            (inside.into_iter().chain([String::new()]).collect(), close + 2)
        } else if let Some(after) = rest.strip_prefix(r"\d") {
            let times = after.strip_prefix('{').and_then(|t| t.split_once('}'));
            let (times, used) = times.map_or((1, 0), |(n, _)| (n.parse().unwrap_or(1), n.len() + 2));
            (vec!["#".repeat(times)], 2 + used)
        } else if c == '[' {
            let close = rest.find(']').ok_or_else(|| format!("{text} lacks a bracket"))?;
            (rest[1..close].chars().map(String::from).collect(), close + 1)
        } else if c == '\\' {
            (vec![rest[1..].chars().take(1).collect()], 2)
        } else if c.is_ascii_alphanumeric() || "-_/@:=".contains(c) {
            (vec![c.to_lowercase().collect()], 1)
        } else {
            return Err(format!("{text}: \"{c}\" is not understood"));
        };
        all = all
            .iter()
            .flat_map(|head| choices.iter().map(move |choice: &String| format!("{head}{choice}")))
            .collect();
        rest = &rest[used..];
    }
    Ok(all.into_iter().map(|pattern| pattern + end).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    #[test]
    fn understands_the_expressions_in_use() {
        for (expression, patterns) in [
            (r"^gpt-5\.6-sol-\d{4}-\d{2}-\d{2}$", vec!["gpt-5.6-sol-####-##-##"]),
            (r"^claude-opus-5[-@]\d{8}$", vec!["claude-opus-5-########", "claude-opus-5@########"]),
            (r"^gemini-4-argon-\d", vec!["gemini-4-argon-#*"]),
            (r"^composer-2\.5\[fast=false\]$", vec!["composer-2.5[fast=false]"]),
            (r"^(a/)?b(-\d{2})?$", vec!["a/b-##", "a/b", "b-##", "b"]),
        ] {
            assert_eq!(regex(expression).unwrap(), patterns);
        }
        assert!(regex("^a|b$").is_err());
        assert!(regex("a$").is_err());
    }
}
