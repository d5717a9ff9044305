//! The table of keys: what each is called here, in Pay-i's headers, on its wire and in the ledger.
//!
//! Everything that exists once per key (the entries below, the builder's methods, the getters of
//! [`Context`](crate::context::Context)) is generated from this table, so a new key is one line here
//! and its rule in `merge`.

use std::{fmt, str::FromStr};

/// Calls the macro named with the table, a row each: name, key, kind, documentation, Pay-i's header,
/// Pay-i's field (in a bulk event), the ledger's column.
macro_rules! fields {
    ($with:ident) => {
        $with! {
            (user_id, UserId, text, "Who the call is for.",
                Some("xProxy-User-ID"), Some("user_id"), Some("user_id")),
            (account_name, AccountName, text, "The customer, team or tenant the user belongs to.",
                Some("xProxy-Account-Name"), Some("account_name"), Some("account_name")),
            (use_case_name, UseCaseName, text, "What the call is for: letters, digits, `.`, `_`, `-`; at most 64.",
                Some("xProxy-UseCase-Name"), Some("use_case_name"), Some("use_case_name")),
            (use_case_id, UseCaseId, text, "One execution of the use case; made by payi where it is not given.",
                Some("xProxy-UseCase-ID"), Some("use_case_id"), Some("use_case_id")),
            (use_case_version, UseCaseVersion, version, "The version of the use case.",
                Some("xProxy-UseCase-Version"), Some("use_case_version"), Some("use_case_version")),
            (use_case_step, UseCaseStep, text, "The step within the use case.",
                Some("xProxy-UseCase-Step"), Some("use_case_step"), Some("use_case_step")),
            (use_case_properties, UseCaseProperties, map, "Free keys and values of the execution.",
                Some("xProxy-UseCase-Properties"), Some("use_case_properties"), Some("use_case_properties")),
            (limit_ids, LimitIds, list, "The limits the call counts against; an inner scope adds to them.",
                Some("xProxy-Limit-IDs"), Some("limit_ids"), Some("limit_ids")),
            (request_tags, RequestTags, list, "Free labels of the call; an inner scope adds to them.",
                Some("xProxy-Request-Tags"), Some("request_tags"), Some("request_tags")),
            (request_properties, RequestProperties, map, "Free keys and values of the call.",
                Some("xProxy-Request-Properties"), Some("properties"), Some("request_properties")),
            (price_as_category, PriceAsCategory, text, "The category the call is priced as, instead of the provider's own.",
                Some("xProxy-PriceAs-Category"), Some("category"), Some("price_as_category")),
            (price_as_resource, PriceAsResource, text, "The resource the call is priced as, instead of its model.",
                Some("xProxy-PriceAs-Resource"), Some("resource"), Some("price_as_resource")),
            (resource_scope, ResourceScope, text, "The scope of the resource: `global`, `datazone`, `region.<name>`.",
                Some("xProxy-Resource-Scope"), Some("scope"), Some("resource_scope")),
            (proxy, Proxy, flag, "Whether the call goes through Pay-i's proxy.",
                None, None, None),
            (log_prompt_and_response, LogPromptAndResponse, flag, "Whether the prompt and the answer are kept.",
                Some("xProxy-Logging-Disable"), None, None),
        }
    };
}
pub(crate) use fields;

/// What a key's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// One text; an inner scope replaces it.
    Text,
    /// A `u32`; an inner scope replaces it.
    Version,
    /// Yes or no; an inner scope replaces it.
    Flag,
    /// Texts; an inner scope adds to them.
    List,
    /// Keys and values; an inner scope lays its own over them.
    Map,
}

/// One row of the table.
#[derive(Debug)]
struct Field {
    name: &'static str,
    kind: Kind,
    header: Option<&'static str>,
    wire: Option<&'static str>,
    column: Option<&'static str>,
}

macro_rules! kind {
    (text) => {
        Kind::Text
    };
    (version) => {
        Kind::Version
    };
    (flag) => {
        Kind::Flag
    };
    (list) => {
        Kind::List
    };
    (map) => {
        Kind::Map
    };
}

macro_rules! table {
    ($(($name:ident, $key:ident, $kind:ident, $doc:literal, $header:expr, $wire:expr, $column:expr),)*) => {
        /// A key of the context.
        ///
        /// ```
        /// # use payi_core::context::Key;
        /// assert_eq!(Key::UserId.name(), "user_id");
        /// assert_eq!(Key::UserId.header(), Some("xProxy-User-ID"));
        /// assert_eq!("limit_ids".parse(), Ok(Key::LimitIds));
        /// assert_eq!(Key::ALL.len(), 15);
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Key {
            $(#[doc = $doc] $key,)*
        }

        impl Key {
            /// Every key, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$key),*];

            const fn field(self) -> &'static Field {
                match self {
                    $(Self::$key => &Field {
                        name: stringify!($name),
                        kind: kind!($kind),
                        header: $header,
                        wire: $wire,
                        column: $column,
                    },)*
                }
            }
        }
    };
}
fields!(table);

impl Key {
    /// What it is called in the macros, the builder and the configuration.
    pub const fn name(self) -> &'static str {
        self.field().name
    }

    /// What its value is.
    pub const fn kind(self) -> Kind {
        self.field().kind
    }

    /// The header that carries it to Pay-i, if one does.
    pub const fn header(self) -> Option<&'static str> {
        self.field().header
    }

    /// The field that carries it in an event to Pay-i, if one does.
    pub const fn wire(self) -> Option<&'static str> {
        self.field().wire
    }

    /// The ledger's column for it, if it has one.
    pub const fn column(self) -> Option<&'static str> {
        self.field().column
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text names no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownKey;

impl fmt::Display for UnknownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a context key; expected one of ")?;
        for (i, key) in Key::ALL.iter().enumerate() {
            write!(f, "{}`{key}`", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownKey {}

impl FromStr for Key {
    type Err = UnknownKey;

    fn from_str(name: &str) -> Result<Self, UnknownKey> {
        Self::ALL.iter().copied().find(|key| key.name() == name).ok_or(UnknownKey)
    }
}
