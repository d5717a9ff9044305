//! Every key's value, after inheritance: what a call, a wire format and the ledger read.

use crate::context::Frame;

/// Free keys and values; a value may be null, which is kept.
pub type Properties = Vec<(Box<str>, Option<Box<str>>)>;

/// Every key's value, after inheritance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resolved {
    /// Who the call is for.
    pub user_id: Option<Box<str>>,
    /// The customer, team or tenant the user belongs to.
    pub account_name: Option<Box<str>>,
    /// What the call is for.
    pub use_case: Option<UseCase>,
    /// The limits the call counts against.
    pub limit_ids: Vec<Box<str>>,
    /// Free labels of the call.
    pub request_tags: Vec<Box<str>>,
    /// Free keys and values of the call.
    pub request_properties: Properties,
    /// The category the call is priced as, instead of the provider's own.
    pub price_as_category: Option<Box<str>>,
    /// The resource the call is priced as, instead of its model.
    pub price_as_resource: Option<Box<str>>,
    /// The scope of the resource (`global`, `datazone`, `region.<name>`).
    pub resource_scope: Option<Box<str>>,
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
    pub name: Box<str>,
    /// One execution of it; `None` if cleared.
    pub id: Option<Box<str>>,
    /// Its version.
    pub version: Option<u32>,
    /// The step within it.
    pub step: Option<Box<str>>,
    /// Free keys and values of the execution.
    pub properties: Properties,
}

impl Resolved {
    pub(crate) fn of(_frame: Option<&Frame>) -> Self {
        Self::default()
    }
}
