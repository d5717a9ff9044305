//! The dashboard in a real Chromium: the guide's steps, every page, hostile names, and figures that agree with
//! the command line and the API to the last digit. Run by `.ci/evidence`.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test may panic")]

use std::{
    collections::BTreeMap,
    path::Path,
    process::Stdio,
    time::{Duration, SystemTime},
};

use fantoccini::Locator;
use payi_browser_tests::{Browser, Place, Service, axe, cells, define, payi, root, sdk};
use payi_core::{
    context::{Resolved, Text, UseCase},
    events::Event,
    ledger::{Collector, Ledger},
    money::Money,
    pricing::{Cost, CostSource},
    testing::{Load, load_ledger},
    usage::{Bucket, Usage},
};
use serde_json::Value;
use tokio::process::Command;
use uuid::Uuid;

/// User and account → calls and cost, as `payi users` says.
type Figures = BTreeMap<(String, String), (u64, String)>;

fn of_cli(ledger: &Path) -> (Figures, String) {
    of_command(["--ledger", ledger.to_str().unwrap()])
}

fn of_command(place: [&str; 2]) -> (Figures, String) {
    let json: Value =
        serde_json::from_str(&payi(&["users", place[0], place[1], "--format", "json"])).unwrap();
    let text = |value: &Value, none: &str| value.as_str().unwrap_or(none).to_owned();
    let rows = json["rows"].as_array().unwrap().iter().map(|row| {
        let calls = row["calls"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
        let key = (text(&row["user_id"], "Unattributed"), text(&row["account_name"], "—"));
        (key, (calls, text(&row["cost_usd"], "")))
    });
    (rows.collect(), text(&json["total"]["cost_usd"], ""))
}

/// The same as the Users tab shows it.
async fn of_page(browser: &Browser) -> (Figures, String) {
    let mut figures = Figures::new();
    for row in browser.table("#drivers tbody:not(.pinned)").await {
        figures.insert((row[0].clone(), row[1].clone()), (number(&row[5]), plain(&row[2])));
    }
    for row in browser.table("#drivers tbody.pinned").await.iter().filter(|row| row[0] == "Unattributed") {
        // One cell spans user and account.
        figures.insert((row[0].clone(), "—".into()), (number(&row[4]), plain(&row[1])));
    }
    let total = browser.table("#drivers tfoot").await;
    (figures, plain(&total[0][1]))
}

fn number(text: &str) -> u64 {
    text.replace(',', "").parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

/// `1,234.500000` → `1234.5`, as the command line writes it.
fn plain(text: &str) -> String {
    let text = text.trim_matches(|c: char| c.is_whitespace()).replace(',', "");
    if !text.contains('.') {
        return if text == "unpriced" { "0".into() } else { text };
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

async fn quickstart(ledger: &Path, env: &[(&str, &str)]) {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "-q", "--example", "quickstart"]).current_dir(root());
    command
        .env("PAYI_LEDGER", ledger)
        .env_remove("OPENAI_API_KEY")
        .env_remove("PAYI_API_KEY")
        .envs(env.iter().copied());
    let done = command.output().await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "evidence"]
async fn guide() {
    let place = Place::new("guide");
    let ledger = place.file("payi.db");
    // 1. Run your application, with different users.
    quickstart(&ledger, &[]).await;
    // 2., 3. Open the dashboard.
    let service = Service::start(&ledger).await;
    let browser = Browser::open(1280, 900, false).await;
    browser.go(&service.url("/")).await;
    // 4. Cost Drivers in the left sidebar.
    let link = browser.page.find(Locator::LinkText("Cost Drivers")).await.unwrap();
    let (x, ..) = link.rectangle().await.unwrap();
    assert!(x < 208.0, "the link is in the sidebar on the left");
    link.click().await.unwrap();
    // 5. The Users tab, first at the top of the page.
    let tabs = browser.eval("[...document.querySelectorAll('.tabs a')].map(a => a.innerText)").await;
    assert_eq!(tabs[0], "Users", "{tabs}");
    browser.page.find(Locator::LinkText("Users")).await.unwrap().click().await.unwrap();
    // 6. All user ids, with their request counts and spend.
    let (cli, total) = of_cli(&ledger);
    let (page, footer) = of_page(&browser).await;
    assert_eq!(page, cli);
    assert_eq!(footer, total);
    let users = cli.keys().filter(|(user, _)| user != "Unattributed").count();
    assert!(users >= 4, "{users}");
    browser.close().await;
    let calls: u64 = cli.values().map(|(calls, _)| calls).sum();
    println!(
        "evidence guide: 6 of 6 steps, {users} users, {calls} calls, USD {total} on the page and by payi users"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "evidence"]
async fn end_to_end() {
    let place = Place::new("sdk");
    let ledger = place.file("payi.db");
    let service = Service::start(&ledger).await;
    let python = sdk().await;
    let url = service.url("");
    let mut clients = Vec::new();
    for who in ["a", "b", "c"] {
        let mut command = Command::new(&python);
        command.arg(root().join("tests/browser/sdk.py")).args([who, "10"]);
        command
            .env("PAYI_API_KEY", "any")
            .env("PAYI_BASE_URL", &url)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        clients.push(command.spawn().unwrap());
    }
    quickstart(&place.file("app.db"), &[("PAYI_API_KEY", "any"), ("PAYI_BASE_URL", &url)]).await;
    // Some of its calls are for nobody, as one of the Rust program's is: they would share a row.
    let methods = Service::start(&place.file("methods.db")).await;
    let checks = every_method(&python, &methods.url("")).await;
    let mut told = BTreeMap::new();
    for client in clients {
        let done = client.wait_with_output().await.unwrap();
        let out = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{out}{}", String::from_utf8_lossy(&done.stderr));
        let json: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
        for (user, cost) in json.as_object().unwrap() {
            told.insert((user.clone(), "python".to_owned()), cost.as_str().unwrap().to_owned());
        }
    }
    let (cli, total) = of_cli(&ledger);
    for (who, cost) in &told {
        assert_eq!(&cli[who].1, cost, "{who:?}: what the SDK was told, and what the ledger says");
    }
    // What the Rust program's own ledger says of its users.
    let (own, _) = of_cli(&place.file("app.db"));
    for (who, (calls, cost)) in &own {
        assert_eq!(cli.get(who), Some(&(*calls, cost.clone())), "{who:?}: sent by the Rust program");
    }
    let browser = Browser::open(1280, 900, false).await;
    browser.go(&service.url("/cost-drivers/users")).await;
    let (page, footer) = of_page(&browser).await;
    assert_eq!(page, cli);
    assert_eq!(footer, total);
    let fetched = "fetch('/cost-drivers/users/export.json').then(r => r.json())";
    let api = browser.page.execute_async(&format!("{fetched}.then(arguments[0])"), Vec::new()).await.unwrap();
    assert_eq!(api["total"]["cost_usd"], total.as_str());
    browser.close().await;
    let asked = tokio::task::spawn_blocking(move || of_command(["--server", &url])).await.unwrap();
    assert_eq!(asked, (cli.clone(), total.clone()), "payi users --server");
    let calls: u64 = cli.values().map(|(calls, _)| calls).sum();
    println!(
        "evidence end-to-end: {calls} calls of 3 Python processes and a Rust program, {} users, USD {total} on the page, by payi users \
         with and without --server and by the API; {checks} checks of the official SDK's methods",
        cli.len()
    );
}

/// Every method of the official SDK, one by one; how many checks that were.
async fn every_method(python: &Path, url: &str) -> u64 {
    let mut command = Command::new(python);
    command
        .arg(root().join("tests/browser/sdk_rest.py"))
        .env("PAYI_API_KEY", "any")
        .env("PAYI_BASE_URL", url);
    let done = command.output().await.unwrap();
    let out = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{out}{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_str::<Value>(out.lines().last().unwrap()).unwrap()["checks"].as_u64().unwrap()
}

/// The official SDK's client works with limits as with Pay-i's own: what it is told has the fields of the captured case.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "evidence"]
async fn limits() {
    let place = Place::new("limits");
    let service = Service::start(&place.file("payi.db")).await;
    let mut command = Command::new(sdk().await);
    command.arg(root().join("tests/browser/sdk_limits.py")).env("PAYI_API_KEY", "any");
    let done = command.env("PAYI_BASE_URL", service.url("")).output().await.unwrap();
    let out = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{out}{}", String::from_utf8_lossy(&done.stderr));
    let told: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    let cases = root().join("../shared/spec/conformance.json");
    let cases: Value =
        serde_json::from_slice(&std::fs::read(cases).expect("../shared beside the project")).unwrap();
    let case =
        cases["cases"].as_array().unwrap().iter().find(|case| case["name"] == "client_limits").unwrap();
    let mut fields = 0;
    for call in case["captured"]["calls"].as_array().unwrap() {
        let name = call["label"].as_str().unwrap().trim_start_matches("payi.limits.");
        if let (Some(returned), Some(own)) = (call.get("returned"), told.get(name)) {
            fields += has_fields_of(own, returned, name);
        }
    }
    assert_eq!((&told["again"]["limit"], &told["another"]), (&told["create"]["limit"], &Value::from(409)));
    assert_eq!(told["update"]["limit"]["max"], 6.0);
    assert_eq!(told["blocked"], "blocking_limit_not_allowed");
    assert_eq!((&told["state-0"], &told["state-1"]), (&Value::from("ok"), &Value::from("overrun")));
    let total = |of: &Value| of["totals"]["cost"]["total"].clone();
    assert_eq!(total(&told["spent"]["limit"])["base"], 0.0015);
    assert_eq!(total(&told["reset"]["limit_history"])["overrun_base"], 0.0005);
    assert_eq!(total(&told["after"]["limit"])["base"], 0.0);
    assert_eq!(told["list"], serde_json::json!(["lim 1", "soft"]));
    assert_eq!(told["gone"], 404);
    println!(
        "evidence conformance-limits: the official SDK creates, reads, updates, resets, lists and deletes limits on payi serve: \
         {fields} fields as in client_limits, 409 for another of the same id, block limits refused by ingest"
    );
}

/// How many fields `own` has of those that were captured; each one has to be there.
fn has_fields_of(own: &Value, captured: &Value, at: &str) -> usize {
    let Some(fields) = captured.as_object() else { return 0 };
    fields
        .iter()
        .map(|(name, value)| {
            let found = own.get(name).unwrap_or_else(|| panic!("{at}: no field {name} in {own}"));
            1 + has_fields_of(found, value, name)
        })
        .sum()
}

const PAGES: [&str; 14] = [
    "/",
    "/?by=model&range=7d",
    "/cost-drivers/users",
    "/cost-drivers/accounts",
    "/cost-drivers/use-cases?by=version",
    "/cost-drivers/models?range=90d",
    "/cost-drivers/users/detail?user_id=user-00003&account_name=umbrella",
    "/cost-drivers/users/detail?no=user_id",
    "/cost-drivers/models?source=unpriced",
    "/requests?sort=cost",
    "/requests?outcome=failed&range=24h&tz=Asia%2FKolkata",
    "/cost-drivers/use-cases/detail?use_case_name=summarize",
    "/limits",
    "/nowhere",
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "evidence"]
async fn browser() {
    let place = Place::new("pages");
    let ledger = place.file("payi.db");
    let mut load = Load::default();
    (load.events, load.users, load.days) = (20_000, 400, 60);
    load_ledger(&ledger, &load).unwrap();
    let service = Service::start(&ledger).await;
    let axe = axe().await;
    let mut checks = policy(&service).await;
    for (width, dark) in [(1280, false), (1280, true), (360, false)] {
        let browser = Browser::open(width, 900, dark).await;
        // Once, and first: what is made here is on the pages that follow.
        if width == 1280 && !dark {
            checks += define(&browser, &service).await;
        }
        for path in PAGES {
            browser.go(&service.url(path)).await;
            checks += look(&browser, &axe, &format!("{path} at {width}, dark: {dark}")).await;
        }
        if width == 1280 && !dark {
            checks += use_it(&browser, &service).await;
        }
        browser.close().await;
    }
    checks += hostile(&place, &axe).await;
    checks += without_script(&service).await;
    println!(
        "evidence browser: {checks} checks of {} pages in Chromium, at 1280 and 360 px, light and dark, 0 serious findings of axe-core",
        PAGES.len() * 3 + HOSTILE_PAGES.len() * 2
    );
}

/// Names that try to be something else.
const HOSTILE: [&str; 9] = [
    "<script>window.pwned=1</script>",
    "\"><img src=x onerror=window.pwned=1>",
    "=cmd()|' /C calc'!A0",
    "javascript:window.pwned=1",
    "\u{202e}live\u{202c} rtl",
    "שלום עולם",
    "👩‍👩‍👧‍👦🎉",
    "../../etc/passwd%00",
    "'; DROP TABLE facts;--",
];

const HOSTILE_PAGES: [&str; 7] = [
    "/?range=all",
    "/?range=all&by=use_case",
    "/cost-drivers/users?range=all",
    "/cost-drivers/use-cases?range=all&by=step",
    "/cost-drivers/models?range=all",
    "/requests?range=all",
    "/cost-drivers/users/detail?range=all&user_id=%3Cscript%3Ewindow.pwned%3D1%3C%2Fscript%3E",
];

/// A ledger whose every name is hostile, in pages, in CSV and in JSON.
async fn hostile(place: &Place, axe: &str) -> u32 {
    let path = place.file("hostile.db");
    let long = "W".repeat(10_000);
    let names = || HOSTILE.into_iter().chain([long.as_str()]);
    {
        let mut collector = Collector::new(&Ledger::open(&path).unwrap(), false).unwrap();
        let events = names().map(|name| {
            let at = SystemTime::now() - Duration::from_secs(3_600);
            let mut event = Event::collected(Uuid::now_v7(), at, "system.openai");
            event.request_model = Some(name.into());
            event.usage = Usage::new().with(Bucket::Input, 9_000_000_000);
            event.cost =
                Cost { amount: Money::from_pico(9_000_000_000_000_000_001), source: CostSource::Computed };
            let mut who = Resolved::default();
            who.user_id = Some(Text::new(name));
            who.account_name = Some(Text::new(name));
            let mut case = UseCase::default();
            (case.name, case.step) = (Text::new(name), Some(Text::new(name)));
            who.use_case = Some(case);
            (event, who)
        });
        collector.place(&events.collect::<Vec<_>>()).unwrap();
    }
    let service = Service::start(&path).await;
    let mut checks = 0;
    for (width, dark) in [(1280, true), (360, false)] {
        let browser = Browser::open(width, 900, dark).await;
        for path in HOSTILE_PAGES {
            browser.go(&service.url(path)).await;
            checks += look(&browser, axe, &format!("{path} of hostile names at {width}")).await;
            let inert = "window.pwned === undefined && document.scripts.length === 1 && !document.querySelector('main img')";
            assert_eq!(browser.eval(inert).await, true, "{path}");
            checks += 1;
        }
        browser.close().await;
    }
    let browser = Browser::open(1280, 900, false).await;
    // A link of each name leads to its page, and nowhere else.
    for n in 0..names().count() {
        browser.go(&service.url("/cost-drivers/users?range=all&sort=name")).await;
        browser.eval(&format!("document.querySelectorAll('#drivers tbody th a')[{n}].click()")).await;
        browser.page.wait().for_element(Locator::Css(".crumb")).await.unwrap();
        let calls = "document.querySelectorAll('.tile b')[1].innerText";
        assert_eq!(browser.eval(calls).await, "1");
        checks += 1;
    }
    for tab in ["users", "accounts", "use-cases", "models"] {
        let fetched = |kind: &str| {
            let path = format!("/cost-drivers/{tab}/export.{kind}?range=all");
            format!(
                "fetch('{path}').then(r => r.text().then(t => [r.headers.get('content-type'), t])).then(arguments[0])"
            )
        };
        let csv = browser.page.execute_async(&fetched("csv"), Vec::new()).await.unwrap();
        assert!(csv[0].as_str().unwrap().starts_with("text/csv"), "{csv}");
        let cells = cells(csv[1].as_str().unwrap());
        let formulas: Vec<_> = cells.iter().filter(|cell| cell.starts_with(['=', '+', '-', '@'])).collect();
        assert!(
            formulas.is_empty() && cells.iter().any(|cell| cell.contains("=cmd()")),
            "{tab}: {formulas:?}"
        );
        let json = browser.page.execute_async(&fetched("json"), Vec::new()).await.unwrap();
        assert_eq!(json[0], "application/json");
        let rows: Value = serde_json::from_str(json[1].as_str().unwrap()).unwrap();
        assert_eq!(rows["rows"].as_array().unwrap().len(), names().count());
        checks += 2;
    }
    assert_eq!(browser.eval("window.pwned === undefined").await, true);
    browser.close().await;
    checks
}

/// The same by links and forms alone, in a browser that runs no script.
async fn without_script(service: &Service) -> u32 {
    let browser = Browser::without_script().await;
    let rows =
        async || browser.page.find_all(Locator::Css("#drivers tbody:not(.pinned) tr")).await.unwrap().len();
    browser.go(&service.url("/")).await;
    for link in ["Cost Drivers", "Calls", "Next"] {
        browser.page.find(Locator::LinkText(link)).await.unwrap().click().await.unwrap();
    }
    assert_eq!(rows().await, 50);
    assert!(browser.page.current_url().await.unwrap().as_str().ends_with("sort=calls&page=2"));
    let search = browser.page.find(Locator::Css("[data-search]")).await.unwrap();
    search.send_keys("user-0001").await.unwrap();
    browser.page.find(Locator::Css("form.filters button")).await.unwrap().click().await.unwrap();
    assert_eq!(rows().await, 10);
    browser.page.find(Locator::LinkText("user-00012")).await.unwrap().click().await.unwrap();
    browser.page.find(Locator::Css("[data-rows] tbody th a")).await.unwrap().click().await.unwrap();
    browser.page.find(Locator::Css("#arithmetic")).await.unwrap();
    browser.close().await;
    4
}

/// What our policy refuses is noticed: without that, `look` would look at nothing.
async fn policy(service: &Service) -> u32 {
    let browser = Browser::open(1280, 900, false).await;
    browser.go(&service.url("/")).await;
    browser.eval("document.body.setAttribute('style', 'color: red')").await;
    assert_eq!(browser.refused().await, serde_json::json!(["style-src-attr inline"]));
    browser.close().await;
    1
}

/// One page: complete, no wider than its window, no refusal of our own policy, no serious finding.
async fn look(browser: &Browser, axe: &str, what: &str) -> u32 {
    let wide =
        browser.eval("document.documentElement.scrollWidth - document.documentElement.clientWidth").await;
    assert_eq!(wide, 0, "{what} is wider than its window");
    assert_eq!(browser.eval("document.querySelectorAll('h1').length").await, 1, "{what}");
    assert_eq!(
        browser.eval("getComputedStyle(document.body).margin").await,
        "0px",
        "{what}: its style is applied"
    );
    assert_eq!(
        browser.refused().await,
        Value::Array(Vec::new()),
        "{what}: our own policy refuses what it has"
    );
    browser.page.execute(axe, Vec::new()).await.unwrap();
    let run = "axe.run(document, {resultTypes: ['violations']}).then(r => arguments[0](r.violations
        .filter(v => v.impact === 'serious' || v.impact === 'critical')
        .map(v => v.id + ': ' + v.nodes.slice(0, 3).map(n => n.html.slice(0, 160)).join(' | '))))";
    let found = browser.page.execute_async(run, Vec::new()).await.unwrap();
    assert_eq!(found, Value::Array(Vec::new()), "{what}");
    5
}

/// Sorts, searches, narrows, turns pages, drills down and exports.
async fn use_it(browser: &Browser, service: &Service) -> u32 {
    let first = "document.querySelector('#drivers tbody th').innerText";
    let rows = "document.querySelectorAll('#drivers tbody:not(.pinned) tr').length";
    browser.go(&service.url("/cost-drivers/users")).await;
    let top = browser.eval(first).await;
    browser.page.find(Locator::LinkText("Calls")).await.unwrap().click().await.unwrap();
    assert_eq!(
        browser.eval("document.querySelector('th[aria-sort]').innerText.includes('Calls')").await,
        true
    );
    browser.page.find(Locator::LinkText("Next")).await.unwrap().click().await.unwrap();
    assert_ne!(browser.eval(first).await, top);
    // `/` searches.
    browser.eval("document.body.focus()").await;
    browser.page.find(Locator::Css("body")).await.unwrap().send_keys("/").await.unwrap();
    let search = browser.page.active_element().await.unwrap();
    search.send_keys("user-0001\u{e007}").await.unwrap();
    browser.page.wait().for_element(Locator::Css(".chip")).await.unwrap();
    assert_eq!(browser.eval(rows).await, 10);
    // The footer is the sum of the rows, to the last digit.
    let table = browser.table("#drivers tbody:not(.pinned)").await;
    let sum: Money = table.iter().map(|row| plain(&row[2]).parse::<Money>().unwrap()).sum();
    let footer = browser.table("#drivers tfoot").await;
    assert_eq!(plain(&footer[0][1]), sum.to_string());
    let tile = browser.eval("document.querySelector('.tile b').innerText").await;
    assert_eq!(plain(tile.as_str().unwrap()), sum.to_string(), "the header equals the footer");
    // Down to a user, a request, and back.
    browser.page.find(Locator::LinkText("user-00012")).await.unwrap().click().await.unwrap();
    assert_eq!(browser.eval("document.querySelector('h1').innerText").await, "user-00012");
    browser.page.find(Locator::Css("[data-rows] tbody th a")).await.unwrap().click().await.unwrap();
    assert_eq!(browser.eval("document.querySelector('#arithmetic') !== null").await, true);
    browser.page.back().await.unwrap();
    browser.page.back().await.unwrap();
    assert_eq!(browser.eval(rows).await, 10, "the address kept the state");
    let csv = browser.eval("document.querySelector('.exports a').href").await;
    let fetched = format!("fetch('{}').then(r => r.text()).then(arguments[0])", csv.as_str().unwrap());
    let csv = browser.page.execute_async(&fetched, Vec::new()).await.unwrap();
    assert_eq!(csv.as_str().unwrap().lines().count(), 11);
    9
}
