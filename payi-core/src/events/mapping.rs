//! As what calls are priced by the host that they go to, or by the model that they ask for, where neither
//! a scope nor the call itself says it.

use crate::context::Text;

/// As what a model is priced, by the name that it has at some host: a deployment of Azure's, an alias of a
/// gateway's.
///
/// ```
/// use payi_core::events::ModelMapping;
///
/// let mapping = ModelMapping::new("our-chat")
///     .host("acme.openai.azure.com")
///     .price_as_resource("gpt-4o-2024-11-20")
///     .resource_scope("datazone");
/// # let _ = mapping;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a mapping is used by `Builder::model_mapping`"]
pub struct ModelMapping {
    model: Text,
    host: Option<Box<str>>,
    pub(crate) price_as_category: Option<Text>,
    pub(crate) price_as_resource: Option<Text>,
    pub(crate) resource_scope: Option<Text>,
}

impl ModelMapping {
    /// For calls that ask for `model`, by exactly this name, at any host.
    pub fn new(model: impl AsRef<str>) -> Self {
        Self {
            model: Text::new(model.as_ref()),
            host: None,
            price_as_category: None,
            price_as_resource: None,
            resource_scope: None,
        }
    }

    /// At this host only. A port, a path or a scheme in it means nothing: hosts are compared by name.
    pub fn host(mut self, host: impl AsRef<str>) -> Self {
        self.host = Some(name_of(host.as_ref()));
        self
    }

    /// Pay-i's category, and with it whose price list it is.
    pub fn price_as_category(mut self, category: impl AsRef<str>) -> Self {
        self.price_as_category = Some(Text::new(category.as_ref()));
        self
    }

    /// The model whose price it is.
    pub fn price_as_resource(mut self, resource: impl AsRef<str>) -> Self {
        self.price_as_resource = Some(Text::new(resource.as_ref()));
        self
    }

    /// The scope of the resource, as Pay-i wants it: `global`, `datazone`, `region.eu-west`.
    pub fn resource_scope(mut self, scope: impl AsRef<str>) -> Self {
        self.resource_scope = Some(Text::new(scope.as_ref()));
        self
    }
}

/// Every mapping, in the order in which it was given; the first that fits counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mappings {
    hosts: Vec<(Box<str>, Text)>,
    models: Vec<ModelMapping>,
}

impl Mappings {
    /// Calls to `host` are of `category`.
    pub fn map_host(&mut self, host: impl AsRef<str>, category: impl AsRef<str>) {
        self.hosts.push((name_of(host.as_ref()), Text::new(category.as_ref())));
    }

    /// Calls are priced as `mapping` says. One that says nothing of a price is left out.
    pub fn map_model(&mut self, mapping: ModelMapping) {
        if mapping.price_as_category.is_some() || mapping.price_as_resource.is_some() {
            self.models.push(mapping);
        }
    }

    /// These, and after them `others`.
    pub(crate) fn followed_by(mut self, others: Self) -> Self {
        self.hosts.extend(others.hosts);
        self.models.extend(others.models);
        self
    }

    /// Whether none was given.
    #[cfg(feature = "_http")]
    pub(crate) const fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.models.is_empty()
    }

    #[cfg_attr(not(feature = "_http"), allow(dead_code, reason = "only calls over HTTP have a host"))]
    pub(crate) fn category(&self, host: &str) -> Option<&Text> {
        let found = self.hosts.iter().find(|(name, _)| name.eq_ignore_ascii_case(host));
        found.map(|(_, category)| category)
    }

    /// The mapping of a model that `is_called` what it says.
    #[cfg_attr(not(feature = "_http"), allow(dead_code, reason = "only calls over HTTP have a host"))]
    pub(crate) fn model(&self, host: &str, is_called: impl Fn(&str) -> bool) -> Option<&ModelMapping> {
        self.models.iter().find(|mapping| {
            is_called(&mapping.model)
                && mapping.host.as_ref().is_none_or(|name| name.eq_ignore_ascii_case(host))
        })
    }
}

/// The name alone of a host, given as such, with a port, or as an address.
fn name_of(host: &str) -> Box<str> {
    let rest = host.trim().split_once("://").map_or(host.trim(), |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let name = match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => authority,
    };
    name.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_compared_by_name() {
        for given in ["llm.internal", "llm.internal:8080", "https://LLM.internal/v1", " llm.internal "] {
            let mut mappings = Mappings::default();
            mappings.map_host(given, "system.groq");
            assert_eq!(mappings.category("llm.internal").map(|c| &**c), Some("system.groq"), "{given}");
            assert_eq!(mappings.category("other"), None);
        }
    }

    #[test]
    fn the_first_that_fits_counts_and_what_says_nothing_is_left_out() {
        let mut mappings = Mappings::default();
        mappings.map_model(ModelMapping::new("a"));
        mappings.map_model(ModelMapping::new("a").host("one").price_as_resource("r1"));
        mappings.map_model(ModelMapping::new("a").price_as_resource("r2"));
        let resource =
            |host| mappings.model(host, |name| name == "a").unwrap().price_as_resource.clone().unwrap();
        assert_eq!((&*resource("one"), &*resource("two")), ("r1", "r2"));
        assert_eq!(mappings.model("one", |name| name == "A"), None, "models are told apart by case");
    }
}
