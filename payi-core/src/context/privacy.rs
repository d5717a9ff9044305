//! Ids that name nobody: always the same for the same person, and of no use to whoever reads a report.

use std::fmt;

use ring::hmac;

use crate::context::{ContextValue, Text, Value};

/// A user id that is not the user's own.
///
/// What a report, a ledger and Pay-i need is to tell users apart, and to know them again. They need no
/// e-mail address for that, nor the key of your users' table.
///
/// ```
/// use payi_core::context::UserId;
///
/// # let secret = [7; 32];
/// // Known users: a keyed hash. Only who has the secret can find out whose it is.
/// let id = UserId::pseudonym(&secret, "ada@example.com");
/// assert_eq!(id, UserId::pseudonym(&secret, "ada@example.com"));
/// assert_ne!(id, UserId::pseudonym(&secret, "bob@example.com"));
/// assert!(id.as_str().starts_with("p_"));
///
/// // Visitors who have not signed in: from what a cookie or the session holds anyway.
/// let visitor = UserId::anonymous("3f1c0a52-session");
/// assert!(visitor.as_str().starts_with("anon_"));
/// # payi_core::context::builder().user_id(id);
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UserId(Text);

impl UserId {
    /// The pseudonym of the user `raw`: HMAC-SHA-256 under `secret`, of which it keeps 128 bits.
    ///
    /// Stable as long as the secret is; under another secret everybody is somebody else. Take 32 random
    /// bytes, keep them where passwords are kept, and never change them: who knows the secret can test
    /// guesses. Trim and lower-case `raw` first if your users' names ignore case: `Ada` and `ada` are two.
    pub fn pseudonym(secret: impl AsRef<[u8]>, raw: impl AsRef<str>) -> Self {
        Self::of("p_", secret.as_ref(), raw.as_ref())
    }

    /// An id for somebody unknown, the same for the same `seed`, such as a random session id.
    ///
    /// There is no secret in it: whoever can guess the seed can find the id. Do not seed it with what
    /// names a person; that is what [`pseudonym`](Self::pseudonym) is for.
    pub fn anonymous(seed: impl AsRef<str>) -> Self {
        Self::of("anon_", b"payi anonymous user", seed.as_ref())
    }

    fn of(prefix: &str, secret: &[u8], raw: &str) -> Self {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), raw.as_bytes());
        let half = tag.as_ref().iter().take(16).fold(0_u128, |half, byte| (half << 8) | u128::from(*byte));
        Self(Text::display(format_args!("{prefix}{half:032x}")))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl ContextValue for UserId {
    fn context_value(&self) -> Value {
        self.0.context_value()
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2: the key `Jefe`.
    #[test]
    fn a_pseudonym_is_half_of_an_hmac_sha_256() {
        let id = UserId::pseudonym("Jefe", "what do ya want for nothing?");
        assert_eq!(id.as_str(), "p_5bdcc146bf60754e6a042426089575c7");
    }

    #[test]
    fn ids_of_two_kinds_never_meet() {
        let (known, unknown) = (UserId::pseudonym("payi anonymous user", "x"), UserId::anonymous("x"));
        assert_ne!(known, unknown);
        assert_ne!(UserId::anonymous("x"), UserId::anonymous("y"));
        assert_ne!(UserId::pseudonym("a", "x"), UserId::pseudonym("b", "x"));
    }
}
