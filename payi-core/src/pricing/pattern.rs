//! Which model an id means: patterns of the book, and the spellings under which hosts resell models.

use super::MatchKind;

/// A pattern over lower-case ids: `#` stands for a digit; `*` at either end for anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    core: Box<str>,
    open_start: bool,
    open_end: bool,
    /// Ids that match one of these are somebody else's.
    except: Box<[Pattern]>,
}

impl Pattern {
    /// Reads `claude-opus-5-*`, or `gemini-2.5-pro*!*-tts` with exceptions.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('!');
        let mut pattern = Self::read_one(parts.next()?)?;
        pattern.except = parts.map(Self::read_one).collect::<Option<_>>()?;
        Some(pattern)
    }

    fn read_one(text: &str) -> Option<Self> {
        let core = text.strip_prefix('*').unwrap_or(text);
        let (open_start, end) = (core.len() < text.len(), core.strip_suffix('*').unwrap_or(core));
        let open_end = end.len() < core.len();
        if text == "*" {
            return Some(Self { core: "".into(), open_start: true, open_end: true, except: Box::default() });
        }
        (!end.is_empty() && !end.contains('*')).then(|| Self {
            core: end.to_lowercase().into(),
            open_start,
            open_end,
            except: Box::default(),
        })
    }

    /// Whether the id matches, and whether what the stars stand for says nothing about the price.
    pub(super) fn matches(&self, id: &str) -> Option<Fit> {
        let at = self.find(id)?;
        if self.except.iter().any(|except| except.find(id).is_some()) {
            return None;
        }
        // A fine-tuned model's own name follows its base: all of them cost the same.
        let tuned = self.core.starts_with("ft:");
        let end = at + self.core.len();
        if self.core.is_empty() {
            return Some(Fit::Same);
        }
        let (before, after) = (id.get(..at)?, id.get(end..)?);
        // The pattern itself may end within the date: `claude-sonnet-4-2025*`.
        let dated = || without_stamp(id).is_some_and(|base| base.len() <= end);
        Some(if is_place(before) && (tuned || is_stamp(after) || dated()) { Fit::Same } else { Fit::Similar })
    }

    fn find(&self, id: &str) -> Option<usize> {
        let last = id.len().checked_sub(self.core.len())?;
        let mut starts = if self.open_start { 0..=last } else { 0..=0 };
        starts.find(|&at| (self.open_end || at == last) && self.fits(id.as_bytes(), at))
    }

    fn fits(&self, id: &[u8], at: usize) -> bool {
        let mut pairs = self.core.bytes().zip(&id[at..]);
        pairs.all(|(want, &have)| want == have || (want == b'#' && have.is_ascii_digit()))
    }
}

/// How well a pattern fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// The id adds a date, a version or a region.
    Same,
    /// The id adds a word: a newer or another model may be meant.
    Similar,
}

/// A date, a revision or `latest`: what providers append to the id of one and the same model.
fn is_stamp(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        match STAMPS.iter().find_map(|stamp| strip(rest, stamp)) {
            Some(shorter) => rest = shorter,
            None => return false,
        }
    }
    true
}

const STAMPS: [&str; 11] = [
    "-####-##-##",
    "-########",
    "@########",
    "-latest",
    "@latest",
    "@default",
    "-v#:##k",
    "-v#",
    ":#",
    ":##k",
    "-00#",
];

fn strip<'t>(text: &'t str, stamp: &str) -> Option<&'t str> {
    let head = text.as_bytes().get(..stamp.len())?;
    let same = stamp.bytes().zip(head).all(|(s, &t)| s == t || (s == b'#' && t.is_ascii_digit()));
    let rest = text.get(stamp.len()..).filter(|_| same)?;
    // `-20250929` must not be the beginning of a longer number.
    (!stamp.ends_with('#') || !rest.starts_with(|c: char| c.is_ascii_digit())).then_some(rest)
}

/// A path, or the regions and vendors that Bedrock puts before a model (`us.anthropic.`).
fn is_place(text: &str) -> bool {
    let name = text.rsplit('/').next().unwrap_or(text);
    name.is_empty()
        || name.ends_with('.') && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'.' || b == b'-')
}

/// The id as the model's maker spells it: without the paths of hosts, with dates in one form.
pub(super) fn normalise(id: &str) -> Option<String> {
    let mut short = id;
    for path in ["models/", "accounts/fireworks/models/"] {
        short = short.strip_prefix(path).unwrap_or(short);
    }
    if short.starts_with("publishers/") || short.starts_with("projects/") || short.starts_with("arn:") {
        short = short.rsplit('/').next().unwrap_or(short);
    }
    let mut id_now = short.replace('@', "-");
    let digits = id_now.bytes().rev().take_while(u8::is_ascii_digit).count();
    let date = id_now.len() - digits;
    if digits == 8 && id_now[..date].ends_with('-') && is_date(&id_now[date..]) {
        id_now.insert(date + 6, '-');
        id_now.insert(date + 4, '-');
    }
    (id_now != id).then_some(id_now)
}

/// How Azure's deployments are often called: a model, and how it is deployed. Where it runs anywhere its price is the
/// model's own; where it may not leave a region it is about that.
const DEPLOYED: [(&str, MatchKind); 8] = [
    ("-global-standard", MatchKind::Normalised),
    ("-globalstandard", MatchKind::Normalised),
    ("-data-zone-standard", MatchKind::Similar),
    ("-datazone-standard", MatchKind::Similar),
    ("-datazonestandard", MatchKind::Similar),
    ("-global-batch", MatchKind::Similar),
    ("-datazone-batch", MatchKind::Similar),
    ("-standard", MatchKind::Similar),
];

/// The model in the name of one of Azure's deployments, and how surely its price is the deployment's.
pub(super) fn deployed(id: &str) -> Option<(&str, MatchKind)> {
    DEPLOYED.iter().find_map(|&(how, kind)| Some((id.strip_suffix(how)?, kind)))
}

fn is_date(text: &str) -> bool {
    matches!(
        (text[..4].parse(), text[4..6].parse(), text[6..].parse()),
        (Ok(2020..=2099), Ok(1..=12), Ok(1..=31))
    )
}

/// The id without what says which snapshot of the model it is. Another snapshot may cost something else.
pub(super) fn without_stamp(id: &str) -> Option<&str> {
    let at =
        id.char_indices().skip(1).find(|&(at, c)| matches!(c, '-' | '@' | ':') && is_stamp(&id[at..]))?.0;
    Some(&id[..at])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    #[test]
    fn tells_a_snapshot_from_another_model() {
        for (pattern, id, fit) in [
            ("claude-opus-5", "claude-opus-5", Some(Fit::Same)),
            ("claude-opus-5", "claude-opus-50", None),
            ("claude-opus-5-########", "claude-opus-5-20260801", Some(Fit::Same)),
            ("claude-sonnet-4-5*", "claude-sonnet-4-5-20250929", Some(Fit::Same)),
            ("claude-sonnet-4-5*", "claude-sonnet-4-5-turbo", Some(Fit::Similar)),
            ("claude-sonnet-4-5*", "claude-sonnet-4-5-2025092912", Some(Fit::Similar)),
            ("claude-sonnet-4-2025*", "claude-sonnet-4-20250514", Some(Fit::Same)),
            ("*anthropic.claude-x*", "us.anthropic.claude-x-20250929-v1:0", Some(Fit::Same)),
            (
                "*claude-x*",
                "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-x-v1:0",
                Some(Fit::Same),
            ),
            ("*claude-x*", "my-claude-x", Some(Fit::Similar)),
            ("*", "anything", Some(Fit::Same)),
            ("*-mini", "gpt-mini", Some(Fit::Similar)),
            ("ft:gpt-4o-2024-*", "ft:gpt-4o-2024-08-06:acme::abc", Some(Fit::Same)),
            ("gemini-2.5-pro*!*-tts!*-tts-*", "gemini-2.5-pro-001", Some(Fit::Same)),
            ("gemini-2.5-pro*!*-tts!*-tts-*", "gemini-2.5-pro-preview-tts", None),
        ] {
            assert_eq!(Pattern::read(pattern).unwrap().matches(id), fit, "{pattern} {id}");
        }
    }

    #[test]
    fn normalises_spellings() {
        for (id, normal) in [
            ("gpt-4o", None),
            ("models/gemini-2.5-pro", Some("gemini-2.5-pro")),
            ("publishers/google/models/gemini-2.5-pro", Some("gemini-2.5-pro")),
            ("claude-sonnet-4-5@20250929", Some("claude-sonnet-4-5-2025-09-29")),
            ("gpt-5.2-20251211", Some("gpt-5.2-2025-12-11")),
            ("gpt-5.2-99999999", None),
        ] {
            assert_eq!(normalise(id).as_deref(), normal, "{id}");
        }
    }

    #[test]
    fn drops_stamps_only() {
        for (id, base) in [
            ("gpt-4o-2027-01-31", Some("gpt-4o")),
            ("claude-x-20250929-v1:0", Some("claude-x")),
            ("gemini-2.0-flash-001", Some("gemini-2.0-flash")),
            ("gpt-4o-mini", None),
            ("gpt-4o", None),
        ] {
            assert_eq!(without_stamp(id), base, "{id}");
        }
    }
}
