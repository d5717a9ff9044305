//! The relays of this process, for tracked clients whose requests go to one: the relay counts them, and is told
//! whom they are for.

use std::sync::{
    Arc, Mutex, PoisonError, Weak,
    atomic::{AtomicBool, Ordering},
};

use http::{HeaderMap, HeaderValue, header};

use super::{Shared, serve};
use crate::context::Context;

/// Whether there ever was one: without, nobody looks.
static ANY: AtomicBool = AtomicBool::new(false);

static RELAYS: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

pub(super) fn add(relay: &Arc<Shared>) {
    let mut relays = RELAYS.lock().unwrap_or_else(PoisonError::into_inner);
    relays.retain(|relay| relay.strong_count() > 0);
    relays.push(Arc::downgrade(relay));
    ANY.store(true, Ordering::Release);
}

fn at(host: &str, port: Option<u16>) -> Option<Arc<Shared>> {
    if !ANY.load(Ordering::Acquire) {
        return None;
    }
    let relays = RELAYS.lock().unwrap_or_else(PoisonError::into_inner);
    relays.iter().filter_map(Weak::upgrade).find(|relay| relay.is_at(host, port))
}

/// Whether a relay of ours is there.
pub(crate) fn is_at(host: &str, port: Option<u16>) -> bool {
    at(host, port).is_some()
}

/// Whether the request goes to a relay of ours; then its headers say for whom it is.
pub(crate) fn takes_over(host: &str, port: Option<u16>, context: &Context, headers: &mut HeaderMap) -> bool {
    let Some(relay) = at(host, port) else { return false };
    #[cfg(feature = "tracing")]
    crate::clients::tracing::passed_on(context.clone());
    let ours = serve::cookie(&relay.table.keep(context.clone()));
    let cookies = match headers.get(header::COOKIE).and_then(|theirs| theirs.to_str().ok()) {
        Some(theirs) => format!("{theirs}; {ours}"),
        None => ours,
    };
    if let Ok(cookies) = HeaderValue::from_str(&cookies) {
        headers.insert(header::COOKIE, cookies);
    }
    true
}
