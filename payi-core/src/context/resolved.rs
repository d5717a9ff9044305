//! Every key's value, after inheritance: what a call, a wire format and the ledger read.

use crate::context::{Key, Text, entry::Entry, slot::Slot};

/// Free keys and values, outermost scope first; a value may be null, which is kept.
pub type Properties = Vec<(Text, Option<Text>)>;

/// Every key's value, after inheritance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resolved {
    /// Who the call is for.
    pub user_id: Option<Text>,
    /// The customer, team or tenant the user belongs to.
    pub account_name: Option<Text>,
    /// What the call is for.
    pub use_case: Option<UseCase>,
    /// The limits the call counts against, each once, outermost scope first.
    pub limit_ids: Vec<Text>,
    /// Free labels of the call, each once, outermost scope first.
    pub request_tags: Vec<Text>,
    /// Free keys and values of the call.
    pub request_properties: Properties,
    /// The category the call is priced as, instead of the provider's own.
    pub price_as_category: Option<Text>,
    /// The resource the call is priced as, instead of its model.
    pub price_as_resource: Option<Text>,
    /// The scope of the resource (`global`, `datazone`, `region.<name>`).
    pub resource_scope: Option<Text>,
    /// Whether the call goes through Pay-i's proxy.
    pub proxy: Option<bool>,
    /// Whether the prompt and the answer are kept.
    pub log_prompt_and_response: Option<bool>,
}

/// What a call is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UseCase {
    /// Its name (`summarize`).
    pub name: Text,
    /// One execution of it; `None` if cleared.
    pub id: Option<Text>,
    /// Its version.
    pub version: Option<u32>,
    /// The step within it.
    pub step: Option<Text>,
    /// Free keys and values of the execution.
    pub properties: Properties,
}

/// One key each, as [`Context`](super::Context) hands them out.
impl Resolved {
    pub(crate) fn user_id(self) -> Option<Text> {
        self.user_id
    }

    pub(crate) fn account_name(self) -> Option<Text> {
        self.account_name
    }

    pub(crate) fn use_case_name(self) -> Option<Text> {
        self.use_case.map(|it| it.name)
    }

    pub(crate) fn use_case_id(self) -> Option<Text> {
        self.use_case.and_then(|it| it.id)
    }

    pub(crate) fn use_case_version(self) -> Option<u32> {
        self.use_case.and_then(|it| it.version)
    }

    pub(crate) fn use_case_step(self) -> Option<Text> {
        self.use_case.and_then(|it| it.step)
    }

    pub(crate) fn use_case_properties(self) -> Properties {
        self.use_case.map(|it| it.properties).unwrap_or_default()
    }

    pub(crate) fn limit_ids(self) -> Vec<Text> {
        self.limit_ids
    }

    pub(crate) fn request_tags(self) -> Vec<Text> {
        self.request_tags
    }

    pub(crate) fn request_properties(self) -> Properties {
        self.request_properties
    }

    pub(crate) fn price_as_category(self) -> Option<Text> {
        self.price_as_category
    }

    pub(crate) fn price_as_resource(self) -> Option<Text> {
        self.price_as_resource
    }

    pub(crate) fn resource_scope(self) -> Option<Text> {
        self.resource_scope
    }

    pub(crate) fn proxy(self) -> Option<bool> {
        self.proxy
    }

    pub(crate) fn log_prompt_and_response(self) -> Option<bool> {
        self.log_prompt_and_response
    }
}

impl Resolved {
    /// The same, as the keys of one scope that has no other around it.
    pub(crate) fn into_entries(self) -> Vec<Entry> {
        let text = |key, text: Option<Text>| text.map(|text| Entry { key, value: text.into_slot() });
        let flag = |key, flag: Option<bool>| flag.map(|flag| Entry { key, value: Slot::Flag(flag) });
        let list = |key, list: Vec<Text>| (!list.is_empty()).then(|| Entry { key, value: Slot::list(list) });
        let map = |key, map: Properties| (!map.is_empty()).then(|| Entry { key, value: Slot::map(map) });
        let use_case = self.use_case.into_iter().flat_map(|it| {
            let id = it.id.map_or(Slot::Clear, Text::into_slot);
            [
                text(Key::UseCaseName, Some(it.name)),
                Some(Entry { key: Key::UseCaseId, value: id }),
                it.version.map(|it| Entry { key: Key::UseCaseVersion, value: Slot::Version(it) }),
                text(Key::UseCaseStep, it.step),
                map(Key::UseCaseProperties, it.properties),
            ]
        });
        [
            text(Key::UserId, self.user_id),
            text(Key::AccountName, self.account_name),
            list(Key::LimitIds, self.limit_ids),
            list(Key::RequestTags, self.request_tags),
            map(Key::RequestProperties, self.request_properties),
            text(Key::PriceAsCategory, self.price_as_category),
            text(Key::PriceAsResource, self.price_as_resource),
            text(Key::ResourceScope, self.resource_scope),
            flag(Key::Proxy, self.proxy),
            flag(Key::LogPromptAndResponse, self.log_prompt_and_response),
        ]
        .into_iter()
        .chain(use_case)
        .flatten()
        .collect()
    }
}
