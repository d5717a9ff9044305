//! Every `#[track]` of the program, found without running it.
//!
//! Each registers itself when the program is loaded, by way of the `inventory` crate, which needs no
//! `unsafe` in the crate that is tracked.

use std::{collections::BTreeMap, fmt};

/// One `#[track]`: where it is, and what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Site {
    /// The function's name.
    pub function: &'static str,
    /// The module the function is in.
    pub module: &'static str,
    /// The source file, as the compiler was given it.
    pub file: &'static str,
    /// The line in the file, from 1.
    pub line: u32,
    /// The keys that it sets, in the order they are written.
    pub keys: &'static [SiteKey],
}

/// One key of a [`Site`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SiteKey {
    /// The key.
    pub key: &'static str,
    /// Its value, if that is a literal.
    pub literal: Option<&'static str>,
}

inventory::collect!(Site);

impl SiteKey {
    #[doc(hidden)]
    pub const fn new(key: &'static str, literal: Option<&'static str>) -> Self {
        Self { key, literal }
    }
}

impl Site {
    #[doc(hidden)]
    pub const fn new(
        function: &'static str,
        module: &'static str,
        file: &'static str,
        line: u32,
        keys: &'static [SiteKey],
    ) -> Self {
        Self { function, module, file, line, keys }
    }

    /// The value of a key, if the site sets it to a literal.
    pub fn literal(&self, key: &str) -> Option<&'static str> {
        self.keys.iter().find(|given| given.key == key)?.literal
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{} ({}:{})", self.module, self.function, self.file, self.line)
    }
}

/// Every `#[track]` that is linked into the program, sorted by file and line.
///
/// Of a library of which nothing is used the linker may leave out everything, its sites too.
///
/// ```
/// # use payi_core::context::inventory;
/// for site in inventory() {
///     println!("{site}: {}", site.literal("use_case_name").unwrap_or("no fixed use case"));
/// }
/// ```
pub fn inventory() -> Vec<Site> {
    let mut sites: Vec<_> = inventory::iter::<Site>().copied().collect();
    sites.sort_by_key(|site| (site.file, site.line));
    sites
}

/// A use case that several sites give different versions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conflict {
    /// The use case's name.
    pub use_case_name: &'static str,
    /// Every site that gives it a version.
    pub sites: Vec<Site>,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "use case `{}` has several versions:", self.use_case_name)?;
        for (i, site) in self.sites.iter().enumerate() {
            let version = site.literal("use_case_version").unwrap_or_default();
            write!(f, "{} {version} in {site}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// The use cases of [`inventory`](inventory()) that have literally different versions in different places.
///
/// For a test of your own: `assert!(payi::conflicting_versions().is_empty())`. At start-up each is logged.
pub fn conflicting_versions() -> Vec<Conflict> {
    conflicts(&inventory())
}

fn conflicts(sites: &[Site]) -> Vec<Conflict> {
    let mut named: BTreeMap<&str, Vec<Site>> = BTreeMap::new();
    for site in sites {
        if let (Some(name), Some(_)) = (site.literal("use_case_name"), site.literal("use_case_version")) {
            named.entry(name).or_default().push(*site);
        }
    }
    let differ = |sites: &[Site]| {
        sites
            .windows(2)
            .any(|pair| pair[0].literal("use_case_version") != pair[1].literal("use_case_version"))
    };
    let found = named.into_iter().filter(|(_, sites)| differ(sites));
    found.map(|(use_case_name, sites)| Conflict { use_case_name, sites }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn site(line: u32, keys: &'static [SiteKey]) -> Site {
        Site::new("f", "app", "src/app.rs", line, keys)
    }

    #[test]
    fn only_different_versions_of_one_use_case_conflict() {
        const CHAT_1: &[SiteKey] =
            &[SiteKey::new("use_case_name", Some("chat")), SiteKey::new("use_case_version", Some("1"))];
        const CHAT_2: &[SiteKey] =
            &[SiteKey::new("use_case_name", Some("chat")), SiteKey::new("use_case_version", Some("2"))];
        const CHAT: &[SiteKey] = &[SiteKey::new("use_case_name", Some("chat"))];
        const SUM_2: &[SiteKey] =
            &[SiteKey::new("use_case_name", Some("sum")), SiteKey::new("use_case_version", Some("2"))];
        assert_eq!(conflicts(&[site(1, CHAT_1), site(2, CHAT_1), site(3, CHAT), site(4, SUM_2)]), []);
        let found = conflicts(&[site(1, CHAT_1), site(2, CHAT_2), site(3, CHAT), site(4, SUM_2)]);
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].to_string(),
            "use case `chat` has several versions: 1 in app::f (src/app.rs:1), 2 in app::f (src/app.rs:2)"
        );
    }
}
