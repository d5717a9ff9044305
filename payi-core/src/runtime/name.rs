//! The use case of calls outside any `#[track]`: named after the executable.

use std::path::Path;

/// The longest use-case name that Pay-i accepts, in characters.
const LONGEST: usize = 64;

/// The executable's name as a use-case name; `None` if the system does not tell.
pub(super) fn of_executable() -> Option<String> {
    let path = std::env::current_exe().ok()?;
    Some(use_case(&path)).filter(|name| !name.is_empty())
}

/// Pay-i's rule for names: letters, digits, `.`, `-`, `_`, at most 64 of them.
fn use_case(executable: &Path) -> String {
    let stem = executable.file_stem().unwrap_or_default().to_string_lossy();
    stem.to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' })
        .take(LONGEST)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executable_gives_a_name_that_pay_i_accepts() {
        assert_eq!(use_case(Path::new("/usr/bin/Billing Service.exe")), "billing_service");
        assert_eq!(use_case(Path::new("bücher-api")), "b_cher-api");
        assert_eq!(use_case(Path::new(&"x".repeat(99))).len(), LONGEST);
        assert_eq!(use_case(Path::new("/")), "");
    }
}
