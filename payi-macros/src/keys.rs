//! The keys, in one table; a test holds it against payi-core's.

use proc_macro2::Ident;

/// What a key's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Version,
    Flag,
    List,
    Map,
}

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

const fn key(name: &'static str, kind: Kind) -> Key {
    Key { name, kind }
}

/// Every key, in the order of the documentation.
pub(crate) const KEYS: &[Key] = &[
    key("user_id", Kind::Text),
    key("account_name", Kind::Text),
    key("use_case_name", Kind::Text),
    key("use_case_id", Kind::Text),
    key("use_case_version", Kind::Version),
    key("use_case_step", Kind::Text),
    key("use_case_properties", Kind::Map),
    key("limit_ids", Kind::List),
    key("request_tags", Kind::List),
    key("request_properties", Kind::Map),
    key("price_as_category", Kind::Text),
    key("price_as_resource", Kind::Text),
    key("resource_scope", Kind::Text),
    key("proxy", Kind::Flag),
    key("log_prompt_and_response", Kind::Flag),
];

/// What people write when they mean one of ours: words of other tools and of older versions of Pay-i.
const ALSO_KNOWN_AS: &[(&str, &str)] = &[
    ("user", "user_id"),
    ("uid", "user_id"),
    ("customer_id", "user_id"),
    ("account", "account_name"),
    ("account_id", "account_name"),
    ("tenant", "account_name"),
    ("tenant_id", "account_name"),
    ("organization", "account_name"),
    ("org", "account_name"),
    ("use_case", "use_case_name"),
    ("usecase", "use_case_name"),
    ("name", "use_case_name"),
    ("feature", "use_case_name"),
    ("experience_name", "use_case_name"),
    ("experience_id", "use_case_id"),
    ("session_id", "use_case_id"),
    ("version", "use_case_version"),
    ("step", "use_case_step"),
    ("limit_id", "limit_ids"),
    ("limits", "limit_ids"),
    ("tags", "request_tags"),
    ("tag", "request_tags"),
    ("properties", "request_properties"),
    ("metadata", "request_properties"),
    ("category", "price_as_category"),
    ("resource", "price_as_resource"),
    ("scope", "resource_scope"),
    ("log_prompts", "log_prompt_and_response"),
];

/// The key of that name.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// How like two names must be for one to be offered for the other.
const CLOSE: f64 = 0.84;

/// The key that `name` is most like, if it is like one.
fn closest(name: &str) -> Option<&'static str> {
    let known_as = ALSO_KNOWN_AS.iter().find(|(other, _)| *other == name).map(|(_, key)| *key);
    known_as.or_else(|| {
        let scored = KEYS.iter().map(|key| (strsim::jaro_winkler(name, key.name), key.name));
        scored.filter(|(score, _)| *score >= CLOSE).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, key)| key)
    })
}

/// The mistake of writing a key that is none.
pub(crate) fn unknown(key: &Ident) -> syn::Error {
    let name = key.to_string();
    let message = if let Some(close) = closest(&name) {
        format!("unknown key `{name}`; did you mean `{close}`?")
    } else {
        let names: Vec<_> = KEYS.iter().map(|key| key.name).collect();
        format!("unknown key `{name}`; expected one of `{}`", names.join("`, `"))
    };
    syn::Error::new(key.span(), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_names_the_key_that_was_meant() {
        for (written, meant) in [
            ("usr_id", "user_id"),
            ("userid", "user_id"),
            ("use_case_nam", "use_case_name"),
            ("tenant", "account_name"),
            ("limit_id", "limit_ids"),
            ("request_property", "request_properties"),
        ] {
            assert_eq!(closest(written), Some(meant), "{written}");
        }
        assert_eq!(closest("colour"), None);
    }

    #[test]
    fn other_names_lead_to_keys() {
        assert!(ALSO_KNOWN_AS.iter().all(|(other, key)| find(key).is_some() && find(other).is_none()));
    }
}
