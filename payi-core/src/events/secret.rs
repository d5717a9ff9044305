//! Pay-i's key, and where it may go.

use std::fmt;

/// A key: never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Box<str>);

impl Secret {
    pub(crate) fn new(key: &str) -> Self {
        Self(key.into())
    }

    /// The key itself, for the one header it belongs in.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Where Pay-i is, unless told otherwise.
pub(crate) const PAY_I: &str = "https://api.pay-i.com";

/// Where Pay-i is, and the key for it.
#[derive(Clone, Debug)]
pub(crate) struct PayIAccess {
    pub(crate) base_url: String,
    pub(crate) key: Option<Secret>,
}

impl Default for PayIAccess {
    fn default() -> Self {
        Self { base_url: PAY_I.into(), key: None }
    }
}

impl PayIAccess {
    /// Whether an address is at Pay-i's host: scheme, name and port.
    #[cfg(feature = "_http")]
    pub(crate) fn is_at(&self, scheme: &str, host: &str, port: Option<u16>) -> bool {
        let Ok(base) = self.base_url.parse::<http::Uri>() else { return false };
        let default = |scheme: &str| if scheme == "https" { 443 } else { 80 };
        base.scheme_str().is_some_and(|ours| {
            let ports = (base.port_u16().unwrap_or(default(ours)), port.unwrap_or(default(scheme)));
            ours == scheme && ports.0 == ports.1
        }) && base.host().is_some_and(|ours| ours.eq_ignore_ascii_case(host))
    }
}
