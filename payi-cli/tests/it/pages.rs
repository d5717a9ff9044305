//! Every page of the dashboard, asked for without a browser: what it says, and what it refuses.

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use payi_core::ledger::read::{Dimension, Query};

use crate::support::Service;

const PAGES: [&str; 9] = [
    "/?range=all",
    "/cost-drivers/users?range=all",
    "/cost-drivers/accounts?range=all",
    "/cost-drivers/use-cases?range=all&by=step",
    "/cost-drivers/models?range=all",
    "/cost-drivers/users/detail?range=all&user_id=ada",
    "/cost-drivers/users/detail?range=all&no=user_id",
    "/requests?range=all",
    "/requests?range=all&source=unpriced&sort=cost",
];

#[tokio::test]
async fn every_page_says_the_same_total_as_the_users_report() {
    let place = Service::sample();
    let report = place.ledger.users(&payi_core::ledger::Filter::new()).unwrap();
    let total = report.total.cost.to_string();
    for path in &PAGES[..5] {
        let page = place.page(path).await;
        assert!(page.contains(&total), "{path} does not say {total}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&place.page("/cost-drivers/users/export.json?range=all").await).unwrap();
    assert_eq!(json["total"]["cost_usd"], total);
    assert_eq!(json["rows"].as_array().unwrap().len(), report.rows.len());
    for row in &report.rows {
        let same = json["rows"].as_array().unwrap().iter().find(|r| {
            r["user_id"].as_str() == row.user_id.as_deref()
                && r["account_name"].as_str() == row.account_name.as_deref()
        });
        let same = same.unwrap_or_else(|| panic!("{:?} is not exported", row.user_id));
        assert_eq!(same["cost_usd"], row.totals.cost.to_string());
        assert_eq!(same["calls"]["ok"], row.totals.calls.ok);
        assert_eq!(same["calls"]["failed"], row.totals.calls.failed);
        assert_eq!(same["unpriced_calls"], row.totals.unpriced_calls);
        assert_eq!(same["tokens"]["cache_read"], row.totals.tokens.cache_read);
    }
}

#[tokio::test]
async fn any_split_adds_up_to_the_same() {
    let place = Service::sample();
    let whole = place.ledger.users(&payi_core::ledger::Filter::new()).unwrap().total;
    for dimension in Dimension::ALL {
        let mut query = Query::default();
        query.by = vec![dimension];
        query.limit = Some(2);
        let report = place.ledger.view(|view| view.drivers(&query, &[])).unwrap();
        assert_eq!(report.total.totals, whole, "{}", dimension.name());
        let mut shown = payi_core::ledger::read::Figures::default();
        for row in report.rows.iter().chain(&report.nameless) {
            shown.add(&row.figures);
        }
        let rest = report.total.less(&shown);
        assert_eq!(rest.totals.cost + shown.totals.cost, whole.cost);
    }
}

#[tokio::test]
async fn what_a_user_calls_himself_stays_text() {
    let place = Service::sample();
    for path in PAGES {
        let page = place.page(path).await;
        assert!(!page.contains("<script>alert"), "{path}");
        assert!(!page.contains('\u{1b}'), "{path}: an escape sequence");
        assert!(!page.contains(" style="), "{path}: inline style, which the policy would refuse");
        assert_eq!(page.matches("<script").count(), 1, "{path}: only our own script");
    }
    let csv = place.page("/cost-drivers/users/export.csv?range=all").await;
    assert!(csv.contains("'=cmd()"), "{csv}");
}

#[tokio::test]
async fn conditions_narrow_and_nonsense_harms_nobody() {
    let place = Service::sample();
    let page = place.page("/cost-drivers/users?range=all&account_name=acme").await;
    assert!(page.contains("ada") && !page.contains("用户1"));
    let page = place.page("/cost-drivers/users?range=all&q=%25").await;
    assert!(page.contains("Nothing in this range matches"), "a wildcard is a character");
    for injection in ["';drop table facts;--", "1 OR 1=1", "\") UNION SELECT 1 --"] {
        let quoted: String = form_urlencoded::byte_serialize(injection.as_bytes()).collect();
        for key in
            ["user_id", "q", "sort", "by", "model", "outcome", "use_case_version", "range", "source", "page"]
        {
            for path in ["/cost-drivers/users", "/requests", "/cost-drivers/models/export.json", "/"] {
                place.page(&format!("{path}?{key}={quoted}")).await;
            }
        }
    }
    assert!(place.ledger.last_seq().unwrap() > 0);
}

#[tokio::test]
async fn other_names_frames_and_paths_are_refused() {
    let place = Service::sample();
    let request = Request::get("/").header(header::HOST, "evil.example").body(Body::empty()).unwrap();
    assert_eq!(place.ask(request).await.status(), StatusCode::FORBIDDEN);
    let request = Request::get("/").header(header::HOST, "127.0.0.1:1").body(Body::empty()).unwrap();
    let response = place.ask(request).await;
    assert_eq!(response.status(), StatusCode::OK);
    let says = |name: &str| response.headers().get(name).unwrap().to_str().unwrap().to_owned();
    assert!(says("content-security-policy").contains("default-src 'none'"));
    assert!(says("content-security-policy").contains("frame-ancestors 'none'"));
    assert_eq!(says("x-frame-options"), "DENY");
    assert_eq!(says("x-content-type-options"), "nosniff");
    for path in [
        "/assets/../Cargo.toml",
        "/assets/..%2f..%2fCargo.toml",
        "/assets/%2e%2e/x",
        "/requests/..%2f..%2fetc",
        "/nowhere",
    ] {
        assert_eq!(place.get(path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn machines_get_their_answers() {
    let place = Service::sample();
    assert_eq!(place.page("/healthz").await, "ok\n");
    assert_eq!(place.page("/readyz").await, "ready\n");
    let metrics = place.page("/metrics").await;
    assert!(metrics.contains("payi_calls_total{outcome=\"ok\"}"), "{metrics}");
    assert!(!metrics.contains("ada"), "users are no label");
}
