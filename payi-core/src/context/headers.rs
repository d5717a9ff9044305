//! The context between processes: W3C baggage, and Pay-i's own headers from a caller that is trusted.
//!
//! A context names people, so it leaves only for hosts that are listed, with keys that are listed; and it
//! is believed only where the caller is trusted, which no library can know. Both are said in a
//! [`Handover`]. Values travel percent-encoded (any Unicode, line breaks included); what does not fit in
//! the budget is left out whole, least important keys first, and counted.
//!
//! ```text
//! baggage: payi.user_id=u-1,payi.use_case_name=summarize,payi.limit_ids=a%2Cb;list
//! ```

use std::fmt::Write as _;

use crate::context::{
    Context, Entry, Frame, Key, Kind, Properties, Resolved, Text,
    entry::expression,
    loss::{self, Loss},
};

/// The header that carries a context: [W3C baggage](https://www.w3.org/TR/baggage/).
pub const BAGGAGE: &str = "baggage";

/// In front of each of our keys among the other members of the baggage.
const PREFIX: &str = "payi.";

/// The most that a caller's headers may hold, whoever sent them: the rest is not read.
const MOST_READ: usize = 8192;

/// What of a context is handed to other processes, and to which.
///
/// ```
/// use payi_core::context::{self, Context, Handover, Key};
///
/// let handover = Handover::to_hosts(["internal.example", "*.svc.cluster.local"]);
/// let context = context::builder().user_id("zoë").use_case_name("summarize").use_case_id("run-7").request_tags(["secret"]).build();
///
/// assert_eq!(
///     context.to_headers(&handover, "api.svc.cluster.local"),
///     [("baggage", "payi.user_id=zo%C3%AB,payi.use_case_name=summarize,payi.use_case_id=run-7".to_owned())],
/// );
/// assert!(context.to_headers(&handover, "api.openai.com").is_empty(), "not on the list");
///
/// let headers = context.to_headers(&handover, "internal.example");
/// let there = Context::from_headers(headers.iter().map(|(name, value)| (*name, value.as_bytes())), &handover);
/// assert_eq!(there.user_id().as_deref(), Some("zoë"));
/// ```
#[derive(Clone, Debug)]
pub struct Handover {
    hosts: Vec<Box<str>>,
    keys: Vec<Key>,
    budget: usize,
}

impl Handover {
    /// The keys that are handed over unless others are named, most important first.
    pub const KEYS: &'static [Key] = &[
        Key::UserId,
        Key::AccountName,
        Key::UseCaseName,
        Key::UseCaseId,
        Key::UseCaseVersion,
        Key::UseCaseStep,
    ];

    /// To these hosts, without port; `*.` in front stands for every host below. To no other.
    pub fn to_hosts<H: AsRef<str>>(hosts: impl IntoIterator<Item = H>) -> Self {
        let hosts = hosts.into_iter().map(|host| host.as_ref().to_ascii_lowercase().into()).collect();
        Self { hosts, keys: Self::KEYS.to_vec(), budget: 4096 }
    }

    /// To nobody: for a service that only reads.
    pub fn to_nobody() -> Self {
        Self::to_hosts([""; 0])
    }

    /// Hands over, and reads, these keys only, most important first.
    #[must_use]
    pub fn keys(mut self, keys: &[Key]) -> Self {
        self.keys = keys.to_vec();
        self
    }

    /// The longest header it writes, in bytes; 4,096 unless told.
    #[must_use]
    pub const fn budget(mut self, bytes: usize) -> Self {
        self.budget = bytes;
        self
    }

    /// Whether `host` may be told.
    fn allows(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.hosts.iter().any(|allowed| match allowed.strip_prefix("*.") {
            Some(above) => host.strip_suffix(above).is_some_and(|below| below.ends_with('.')),
            None => **allowed == *host,
        })
    }
}

impl Context {
    /// The headers that hand this context to `host`: none, if the host may not be told or nothing is set.
    ///
    /// To keep other members of a `baggage` header that the request already has, join the two with a comma.
    pub fn to_headers(&self, handover: &Handover, host: &str) -> Vec<(&'static str, String)> {
        if !handover.allows(host) {
            return Vec::new();
        }
        let resolved = self.resolve();
        let mut header = String::new();
        for key in &handover.keys {
            let Some(value) = written(*key, &resolved) else { continue };
            let start = header.len();
            let comma = if header.is_empty() { "" } else { "," };
            // Writing to a `String` does not fail.
            let _ = write!(header, "{comma}{PREFIX}{key}={value}");
            if header.len() > handover.budget {
                header.truncate(start);
                loss::count(Loss::HeaderBudget);
            }
        }
        if header.is_empty() { Vec::new() } else { vec![(BAGGAGE, header)] }
    }

    /// The context that a trusted caller's headers hand over, inside the one that is current now.
    ///
    /// Reads `baggage`, and Pay-i's own `xProxy-User-ID`, `-Account-Name`, `-UseCase-Name`, `-ID`, `-Version`
    /// and `-Step`, which win, as a call's own headers do in Pay-i's SDKs. Only the handover's keys are read.
    /// What cannot be read is left out and counted. Do not call it for callers you do not trust: they could
    /// spend in anybody's name.
    pub fn from_headers<'h>(
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
        handover: &Handover,
    ) -> Self {
        let (mut baggage, mut own) = (Vec::new(), Vec::new());
        let mut room = MOST_READ;
        for (name, value) in headers {
            let ours = Key::ALL.iter().copied().find(|key| own_header(*key, name));
            if !name.eq_ignore_ascii_case(BAGGAGE) && ours.is_none() {
                continue;
            }
            let Some(rest) = room.checked_sub(value.len()) else {
                loss::count(Loss::BadHeader);
                continue;
            };
            room = rest;
            match (ours, std::str::from_utf8(value)) {
                (_, Err(_)) => loss::count(Loss::BadHeader),
                (Some(key), Ok(value)) => {
                    own.extend(if_allowed(handover, key, || read_own(key, value.trim())));
                }
                (None, Ok(value)) => baggage.extend(members(value, handover)),
            }
        }
        baggage.append(&mut own);
        let current = Self::current();
        if baggage.is_empty() {
            return current;
        }
        Self { frame: Some(Frame::collected(current.frame.clone(), baggage)), ..current }
    }
}

/// Whether `name` is the header that Pay-i's SDKs use for `key`, of those that a caller may set.
fn own_header(key: Key, name: &str) -> bool {
    use Key::{AccountName, UseCaseId, UseCaseName, UseCaseStep, UseCaseVersion, UserId};
    matches!(key, UserId | AccountName | UseCaseName | UseCaseId | UseCaseVersion | UseCaseStep)
        && key.header().is_some_and(|header| header.eq_ignore_ascii_case(name))
}

/// Our members of a `baggage` header.
fn members<'h>(header: &'h str, handover: &'h Handover) -> impl Iterator<Item = Entry> + 'h {
    header.split(',').filter_map(|member| {
        // A member may have properties behind a semicolon; none of ours has.
        let member = member.split(';').next().unwrap_or_default();
        let (name, value) = member.trim().strip_prefix(PREFIX)?.split_once('=')?;
        let key = name.trim().parse().ok()?;
        if_allowed(handover, key, || read(key, value.trim()))
    })
}

fn if_allowed(handover: &Handover, key: Key, read: impl FnOnce() -> Option<Entry>) -> Option<Entry> {
    if !handover.keys.contains(&key) {
        return None;
    }
    let entry = read();
    if entry.is_none() {
        loss::count(Loss::BadHeader);
    }
    entry
}

/// The value of `key` as a member of the baggage.
fn written(key: Key, resolved: &Resolved) -> Option<String> {
    let use_case = resolved.use_case.as_ref();
    let text = |text: Option<&Text>| text.map(|text| encoded(text));
    let list = |list: &[Text]| {
        let parts: Vec<_> = list.iter().map(|text| encoded(text)).collect();
        // A comma ends a member, so the parts are encoded twice.
        (!parts.is_empty()).then(|| encoded(&parts.join(",")))
    };
    let map = |map: &Properties| {
        let pairs = map.iter().map(|(key, value)| match value {
            Some(value) => format!("{}={}", encoded(key), encoded(value)),
            None => encoded(key),
        });
        let pairs: Vec<_> = pairs.collect();
        (!pairs.is_empty()).then(|| encoded(&pairs.join(",")))
    };
    match key {
        Key::UserId => text(resolved.user_id.as_ref()),
        Key::AccountName => text(resolved.account_name.as_ref()),
        Key::UseCaseName => text(use_case.map(|it| &it.name)),
        Key::UseCaseId => text(use_case.and_then(|it| it.id.as_ref())),
        Key::UseCaseVersion => use_case.and_then(|it| it.version).map(|it| it.to_string()),
        Key::UseCaseStep => text(use_case.and_then(|it| it.step.as_ref())),
        Key::UseCaseProperties => use_case.and_then(|it| map(&it.properties)),
        Key::LimitIds => list(&resolved.limit_ids),
        Key::RequestTags => list(&resolved.request_tags),
        Key::RequestProperties => map(&resolved.request_properties),
        Key::PriceAsCategory => text(resolved.price_as_category.as_ref()),
        Key::PriceAsResource => text(resolved.price_as_resource.as_ref()),
        Key::ResourceScope => text(resolved.resource_scope.as_ref()),
        Key::Proxy => resolved.proxy.map(|it| it.to_string()),
        Key::LogPromptAndResponse => resolved.log_prompt_and_response.map(|it| it.to_string()),
    }
}

/// The entry that a member's value gives for `key`.
fn read(key: Key, value: &str) -> Option<Entry> {
    let value = decoded(value)?;
    Some(match key.kind() {
        Kind::Text => Entry::of_text(key, &value),
        Kind::Version => expression::use_case_version(&value.parse::<u32>().ok()?),
        Kind::Flag => Entry::of_flag(key, value.parse().ok()?),
        Kind::List => {
            let parts: Option<Vec<_>> = value.split(',').map(|it| decoded(it).map(Text::from)).collect();
            Entry::of_list(key, parts?)
        }
        Kind::Map => {
            let pair = |pair: &str| match pair.split_once('=') {
                Some((key, value)) => Some((decoded(key)?.into(), Some(decoded(value)?.into()))),
                None => Some((decoded(pair)?.into(), None)),
            };
            Entry::of_map(key, value.split(',').map(pair).collect::<Option<_>>()?)
        }
    })
}

/// The entry that the value of Pay-i's own header gives for `key`.
///
/// Its SDKs write values as they are, per cent signs included. Only what no header can carry is encoded, by
/// ours: so it is decoded only if that brings such a thing to light.
fn read_own(key: Key, value: &str) -> Option<Entry> {
    if key.kind() == Kind::Version {
        return read(key, value);
    }
    let strange = |text: &String| text.bytes().any(|byte| byte != b' ' && !byte.is_ascii_graphic());
    let text = decoded(value).filter(strange);
    Some(Entry::of_text(key, text.as_deref().unwrap_or(value)))
}

/// `text` with everything percent-encoded that is not plain in a URL, a header and a cookie.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':' | b'/' | b'@') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// The text that was encoded; `None` if it is cut off or no UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let (high, low) = (char::from(rest.next()?), char::from(rest.next()?));
                u8::try_from(high.to_digit(16)? * 16 + low.to_digit(16)?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;
    use crate::context::{Builder, builder};

    fn everywhere() -> Handover {
        Handover::to_hosts(["here"]).keys(Key::ALL)
    }

    /// What arrives in a process that knows nothing of this one.
    fn handed(keys: Builder, handover: &Handover) -> Resolved {
        let headers = Context::default().with(keys).to_headers(handover, "here");
        Context::from_headers(headers.iter().map(|(name, value)| (*name, value.as_bytes())), handover)
            .resolve()
    }

    fn received(headers: &[(&str, &str)], handover: &Handover) -> Resolved {
        Context::from_headers(headers.iter().map(|(name, value)| (*name, value.as_bytes())), handover)
            .resolve()
    }

    #[test]
    fn every_key_comes_back() {
        let keys = builder()
            .user_id("u=1,2;3")
            .account_name("株式会社")
            .use_case_name("n")
            .use_case_id("i")
            .use_case_version(3)
            .use_case_step("s")
            .use_case_properties([("a,b", Some("c=d")), ("null", None)])
            .limit_ids(["a,b", "%2C"])
            .request_tags(["t"])
            .request_properties([("k", "line\nbreak")])
            .price_as_category("c")
            .price_as_resource("r")
            .resource_scope("global")
            .proxy(true)
            .log_prompt_and_response(false);
        let sent = Context::default().with(keys.clone()).resolve();
        assert_eq!(handed(keys, &everywhere()), sent);
    }

    #[test]
    fn hosts_and_keys_are_those_on_the_list() {
        let handover = Handover::to_hosts(["a.example", "*.b.example"]);
        for (host, told) in [
            ("a.example", true),
            ("A.EXAMPLE", true),
            ("a.example.", true),
            ("x.a.example", false),
            ("x.b.example", true),
            ("x.y.b.example", true),
            ("b.example", false),
            ("evilb.example", false),
            ("", false),
        ] {
            assert_eq!(handover.allows(host), told, "{host}");
        }
        let keys = builder().user_id("u").use_case_name("n").use_case_step("s");
        let handed = handed(keys, &Handover::to_hosts(["here"]).keys(&[Key::UserId]));
        assert_eq!((handed.user_id.as_deref(), handed.use_case), (Some("u"), None));
    }

    #[test]
    fn what_does_not_fit_is_left_out_whole_and_counted() {
        let before = Loss::HeaderBudget.count();
        let keys = builder()
            .user_id("u".repeat(50))
            .account_name("a".repeat(500))
            .use_case_name("n")
            .use_case_id("i");
        let handover = Handover::to_hosts(["here"]).budget(150);
        let header = Context::default().with(keys).to_headers(&handover, "here").remove(0).1;
        assert!(header.len() <= 150 && header.contains("payi.user_id") && header.contains("use_case_name"));
        assert!(!header.contains("account"));
        assert!(Loss::HeaderBudget.count() > before);
    }

    #[test]
    fn a_python_service_hands_its_user_on() {
        let all = Handover::to_nobody().keys(Key::ALL);
        let headers = [
            ("xproxy-user-id", "u-1"),
            ("xProxy-Account-Name", "acme"),
            ("xProxy-UseCase-Name", "chat"),
            ("xProxy-UseCase-ID", "i-1"),
            ("xProxy-UseCase-Version", "4"),
            ("xProxy-UseCase-Step", "draft"),
            ("xProxy-Limit-IDs", "not-read"),
            ("baggage", "other=1,payi.user_id=loses;property,payi.limit_ids=a%2Cb, payi.nonsense=1"),
        ];
        let it = received(&headers, &all);
        let use_case = it.use_case.unwrap();
        assert_eq!((it.user_id.as_deref(), it.account_name.as_deref()), (Some("u-1"), Some("acme")));
        assert_eq!(
            (use_case.name.as_str(), use_case.id.as_deref(), use_case.version),
            ("chat", Some("i-1"), Some(4))
        );
        assert_eq!(use_case.step.as_deref(), Some("draft"));
        assert_eq!(it.limit_ids, ["a", "b"]);
    }

    #[test]
    fn own_headers_are_plain_unless_no_header_could_carry_what_they_say() {
        let handover = Handover::to_nobody();
        for (header, user) in [
            ("u-1", "u-1"),
            ("100%", "100%"),
            ("50%25", "50%25"),
            ("a, b;c=d", "a, b;c=d"),
            ("zo%C3%AB", "zoë"),
            ("zoë", "zoë"),
            ("100%25%20%C3%AB", "100% ë"),
        ] {
            let it = received(&[("xProxy-User-ID", header), ("xProxy-UseCase-Name", "c")], &handover);
            assert_eq!(it.user_id.as_deref(), Some(user), "{header}");
        }
        let all_of_it = [
            ("xProxy-UseCase-Name", "chat"),
            ("xProxy-UseCase-Version", "4"),
            ("xProxy-UseCase-Step", "draft"),
        ];
        let use_case = received(&all_of_it, &handover).use_case.unwrap();
        assert_eq!((use_case.version, use_case.step.as_deref()), (Some(4), Some("draft")));
    }

    #[test]
    fn long_headers_of_others_hide_none_of_ours() {
        let cookie = "c".repeat(2 * MOST_READ);
        let too_long = format!("payi.account_name={}", "a".repeat(MOST_READ));
        let headers = [("cookie", &*cookie), ("baggage", &*too_long), ("baggage", "payi.user_id=u")];
        let it = received(&headers, &everywhere());
        assert_eq!((it.user_id.as_deref(), it.account_name), (Some("u"), None));
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let all = Handover::to_nobody().keys(Key::ALL);
        let before = Loss::BadHeader.count();
        let it = received(
            &[("baggage", "payi.user_id=%4,payi.account_name=%FF,payi.use_case_version=x,=,;")],
            &all,
        );
        assert_eq!(it, Resolved::default());
        assert!(Loss::BadHeader.count() >= before + 3);
        let long = format!("payi.user_id={}", "u".repeat(MOST_READ));
        assert_eq!(received(&[("baggage", &long)], &all), Resolved::default());
    }

    proptest! {
        #[test]
        fn any_text_comes_back(user in "\\PC{1,60}|[\\x00-\\x7f]{1,60}") {
            let there = handed(builder().user_id(&user), &everywhere()).user_id.map(String::from);
            prop_assert_eq!(there, Some(user));
        }

        #[test]
        fn no_header_is_too_strange(header in "(payi\\.)?\\PC{0,80}") {
            received(&[(BAGGAGE, &header)], &everywhere());
        }
    }
}
