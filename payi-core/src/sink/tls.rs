//! The process-wide rustls provider, where nobody has installed one.

/// Installs ring as the process-wide crypto provider of rustls, unless there is one.
///
/// reqwest is built without a provider of its own here (`rustls-no-provider`), and such a reqwest
/// panics in `Client::new()` where none is installed; as cargo unites features, so would the
/// application's own clients. An application that prefers another provider installs it before
/// `payi::instrument()`, and it stays.
pub(crate) fn ensure_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Somebody may have been faster: theirs is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
