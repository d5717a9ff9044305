//! Open pages of the dashboard in a real Chromium: what they show is of the moment they name, whoever is looking, and
//! however many of them are open. Run by `.ci/evidence`.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test may panic")]

use std::time::{Duration, Instant};

use payi_browser_tests::{Browser, Place, Service};
use payi_core::{
    context::{Resolved, Text},
    ledger::{Collector, Ledger},
    testing::{sample_event, sample_ledger},
};
use serde_json::Value;

/// Longer than a page waits between two looks, and than the service between two of its own.
const WHILE: Duration = Duration::from_secs(5);

/// More than the connections a browser opens to a host.
const TABS: usize = 8;

/// The calls that the page says there are, and the moment it says that of.
async fn shown(browser: &Browser) -> (Value, Value) {
    let calls = browser.eval("document.querySelectorAll('.tile b')[1].innerText").await;
    (calls, browser.eval("document.querySelector('#asof time').innerText").await)
}

async fn until_shown(browser: &Browser, calls: &str) -> (Value, Value) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let shown = shown(browser).await;
        if shown.0 == calls {
            return shown;
        }
        assert!(Instant::now() < deadline, "{shown:?} instead of {calls} calls");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn call(ledger: &Ledger) {
    let mut who = Resolved::default();
    who.user_id = Some(Text::new("grace"));
    Collector::new(ledger, false).unwrap().place(&[(sample_event(), who)]).unwrap();
}

/// Has the page think that its tab is, or is not, in front.
async fn hide(browser: &Browser, hidden: bool) {
    let hide = format!(
        "(Object.defineProperty(document, 'hidden', {{value: {hidden}, configurable: true}}),
          document.dispatchEvent(new Event('visibilitychange')))"
    );
    browser.eval(&hide).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "evidence"]
async fn live() {
    let place = Place::new("live");
    let path = place.file("payi.db");
    sample_ledger(&path);
    let ledger = Ledger::open(&path).unwrap();
    let service = Service::start(&path).await;
    let browser = Browser::open(1280, 900, false).await;
    browser.go(&service.url("/?range=all")).await;
    let first = shown(&browser).await;
    assert_eq!(first.0, "10");
    let count =
        "(window.fetched = 0, window.fetch = (f => (...a) => (window.fetched++, f(...a)))(window.fetch), 0)";
    browser.eval(count).await;
    // The service tells a new listener once, at most.
    tokio::time::sleep(WHILE).await;

    // Somebody is in the figures: they stay, and what they are of stays with them.
    let before = shown(&browser).await;
    browser.eval("document.querySelector('main a').focus()").await;
    call(&ledger);
    tokio::time::sleep(WHILE).await;
    assert_eq!(shown(&browser).await, before);
    browser.eval("document.activeElement.blur()").await;
    let after = until_shown(&browser, "11").await;
    assert_ne!(after.1, before.1, "a new moment with the new figures");

    // Nobody sees the page: nothing is fetched, until somebody does.
    tokio::time::sleep(WHILE).await;
    hide(&browser, true).await;
    let fetched = browser.eval("window.fetched").await;
    call(&ledger);
    tokio::time::sleep(WHILE).await;
    assert_eq!(shown(&browser).await, after);
    assert_eq!(browser.eval("window.fetched").await, fetched, "hidden pages fetch nothing");
    hide(&browser, false).await;
    until_shown(&browser, "12").await;
    // And goes on listening.
    call(&ledger);
    until_shown(&browser, "13").await;

    // A fetch that fails is made again, though nothing more is added.
    let failing = "(window.fetch = (f => {
        const failures = [() => Promise.reject(new TypeError('gone')), async () => new Response('', {status: 503})];
        return (...a) => (failures.pop() ?? f)(...a);
    })(window.fetch), 0)";
    browser.eval(failing).await;
    call(&ledger);
    until_shown(&browser, "14").await;
    assert_eq!(browser.eval("document.documentElement.classList.contains('live')").await, true);

    // Every tab opens, however many are open.
    for n in 1..TABS {
        let tab = browser.page.new_window(true).await.unwrap().handle;
        browser.page.switch_to_window(tab).await.unwrap();
        let url = service.url("/?range=all");
        tokio::time::timeout(Duration::from_secs(20), browser.go(&url))
            .await
            .unwrap_or_else(|_| panic!("tab {n} hangs"));
        assert_eq!(shown(&browser).await.0, "14");
    }
    browser.close().await;
    println!(
        "evidence live: figures and their moment change together, none while somebody is in them; a hidden page fetches \
         nothing and is fresh when it is seen; a fetch that failed is made again; {TABS} tabs open at once"
    );
}
