//! How a plain `reqwest::Client` says whom a request is for: it asks its cookies at every request, in the
//! task that makes it.

use std::sync::Arc;

use ::reqwest::Url;
use http::HeaderValue;

use super::{Shared, serve};
use crate::context::Context;

/// A cookie provider for `reqwest::ClientBuilder::cookie_provider`, of either major version.
#[derive(Debug)]
pub struct Cookies(Arc<Shared>);

impl Cookies {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// A token for the running code's context, if the request goes to the relay.
    fn cookie(&self, url: &Url) -> Option<HeaderValue> {
        if !self.0.is_at(url.host_str()?, url.port()) {
            return None;
        }
        let context = Context::current();
        #[cfg(feature = "tracing")]
        let context = crate::clients::tracing::passed_on(context);
        HeaderValue::from_str(&serve::cookie(&self.0.table.keep(context))).ok()
    }
}

impl ::reqwest::cookie::CookieStore for Cookies {
    fn set_cookies(&self, _: &mut dyn Iterator<Item = &HeaderValue>, _: &Url) {}

    fn cookies(&self, url: &Url) -> Option<HeaderValue> {
        self.cookie(url)
    }
}

#[cfg(feature = "reqwest-0_12")]
impl ::reqwest012::cookie::CookieStore for Cookies {
    fn set_cookies(&self, _: &mut dyn Iterator<Item = &HeaderValue>, _: &Url) {}

    fn cookies(&self, url: &Url) -> Option<HeaderValue> {
        self.cookie(url)
    }
}
