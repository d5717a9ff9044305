//! Under which names a call's price is looked for: what the caller said, else what answered, else what was asked for.

/// Pay-i's categories that have another name than the provider whose list they are priced by.
const CATEGORIES: [(&str, &str); 4] = [
    ("system.azureopenai", "azure"),
    ("system.azure", "azure"),
    ("system.google.vertex", "google"),
    ("system.aws.bedrock", "aws"),
];

/// Whose price list one of Pay-i's categories is priced by, by its id in the book.
///
/// ```
/// use payi_core::pricing::provider_of;
///
/// assert_eq!(provider_of("system.aws.bedrock"), "aws");
/// assert_eq!(provider_of("system.groq"), "groq");
/// assert_eq!(provider_of("our-gpus"), "our-gpus");
/// ```
pub fn provider_of(category: &str) -> &str {
    if let Some((_, provider)) = CATEGORIES.iter().find(|(known, _)| *known == category) {
        return provider;
    }
    let name = category.strip_prefix("system.").unwrap_or(category);
    // Databricks' say which part of it served the model.
    if name.starts_with("databricks") { "databricks" } else { name }
}

/// Pay-i's categories that are priced by a provider's list.
pub fn categories_of(provider: &str) -> Vec<String> {
    let known = CATEGORIES.iter().filter(|(_, of)| *of == provider);
    let mut names: Vec<String> = known.map(|(category, _)| (*category).to_owned()).collect();
    if names.is_empty() {
        names.push(format!("system.{provider}"));
    }
    names
}

/// What is known of a call that its price can be looked up by.
///
/// ```
/// use payi_core::pricing::Names;
///
/// let names = Names { asked: Some("gpt-4o"), answered: Some("gpt-4o-2024-08-06"), ..Names::of("openai") };
/// assert_eq!(names.provider(), "openai");
/// assert!(names.models().eq(["gpt-4o-2024-08-06", "gpt-4o"]));
///
/// let names = Names { category: Some("system.aws.bedrock"), resource: Some("contract-7"), ..names };
/// assert_eq!(names.provider(), "aws");
/// assert!(names.models().eq(["contract-7"]));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Names<'n> {
    /// The provider called, by its id in the book.
    pub called: &'n str,
    /// Pay-i's category that the caller wants the call priced as (`price_as_category`).
    pub category: Option<&'n str>,
    /// The model that the caller wants the call priced as (`price_as_resource`).
    pub resource: Option<&'n str>,
    /// The model asked for.
    pub asked: Option<&'n str>,
    /// The model that answered.
    pub answered: Option<&'n str>,
}

impl<'n> Names<'n> {
    /// Nothing but the provider.
    pub const fn of(called: &'n str) -> Self {
        Self { called, category: None, resource: None, asked: None, answered: None }
    }

    /// Whose price list it is.
    pub fn provider(&self) -> &'n str {
        self.category.map_or(self.called, provider_of)
    }

    /// The model's names, best first. The first one that has a price counts: some hosts answer with a name of
    /// their own for the model they were asked for.
    pub fn models(&self) -> impl Iterator<Item = &'n str> + use<'n> {
        // Bedrock's names say where a model runs, on which its price depends; the models' own do not.
        let by_path = self.called == "aws";
        let pair = if by_path { [self.asked, self.answered] } else { [self.answered, self.asked] };
        let all = if self.resource.is_some() { [self.resource, None] } else { pair };
        let second = all[1].filter(|name| Some(*name) != all[0]);
        all[0].into_iter().chain(second)
    }
}
