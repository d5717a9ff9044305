//! Every page of the dashboard, asked for without a browser: what it says, and what it refuses.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use payi_core::{
    ledger::read::{Dimension, Driver, Figures, Query, Totals},
    money::Money,
};
use serde_json::{Value, json};

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
    let json: Value =
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
        let all = place.ledger.view(|view| view.drivers(&query, &[])).unwrap();
        assert_eq!(all.total.totals, whole, "{}", dimension.name());
        assert_eq!(all.rows.len(), all.count, "{}", dimension.name());
        let sum = sum(all.rows.iter().chain(&all.nameless)).totals;
        let of = |totals: &Totals| (totals.cost, totals.attempts, totals.tokens, totals.unpriced_calls);
        assert_eq!(of(&sum), of(&whole), "{}", dimension.name());
        // What a page says is on other pages is what is there.
        query.limit = Some(2);
        let page = place.ledger.view(|view| view.drivers(&query, &[])).unwrap();
        let rest = page.total.less(&self::sum(page.rows.iter().chain(&page.nameless))).totals;
        let others = self::sum(all.rows.iter().skip(2)).totals;
        assert_eq!(of(&rest), of(&others), "{}", dimension.name());
    }
}

fn sum<'d>(rows: impl Iterator<Item = &'d Driver>) -> Figures {
    let mut sum = Figures::default();
    rows.for_each(|row| sum.add(&row.figures));
    sum
}

#[tokio::test]
async fn a_user_of_two_accounts_is_one_user_and_pays_for_nobody_else() {
    let place = Service::sample();
    for path in ["/?range=all", "/cost-drivers/users?range=all"] {
        let page = place.page(path).await;
        // Ada is in two accounts. 0.20248705… USD were spent for the six, and some more for nobody.
        let tile = page.split("<dt>Users</dt>").nth(1).unwrap().split("</div>").next().unwrap();
        assert_eq!(tile, "<dd><b>6</b><small>≈ 0.0337 each</small></dd>", "{path}");
    }
}

#[tokio::test]
async fn rows_are_ordered_by_what_their_column_shows() {
    let place = Service::sample();
    let number = |value: &Value| value.as_str().unwrap().parse::<Money>().unwrap().pico();
    let calls = |row: &Value| -> i128 {
        row["calls"].as_object().unwrap().values().map(|n| i128::from(n.as_u64().unwrap())).sum()
    };
    let figure = |row: &Value, name: &str| match name {
        "cost" => number(&row["cost_usd"]),
        "calls" => calls(row),
        "failed" => row["calls"]["failed"].as_i64().unwrap().into(),
        _ => number(&row["cost_usd"]) / calls(row),
    };
    let columns =
        [("cost", "Cost, USD"), ("calls", "Calls"), ("failed", "Failed"), ("per_call", "≈ Per call")];
    for (name, shown) in columns {
        let export = format!("/cost-drivers/users/export.json?range=all&sort={name}");
        let json: Value = serde_json::from_str(&place.page(&export).await).unwrap();
        // What was for nobody stands below all others.
        let rows = json["rows"].as_array().unwrap().iter().filter(|row| !row["user_id"].is_null());
        let figures: Vec<_> = rows.map(|row| figure(row, name)).collect();
        assert!(figures.is_sorted_by(|a, b| a >= b), "{name}: {figures:?}");
        let page = place.page(&format!("/cost-drivers/users?range=all&sort={name}")).await;
        let heading = page.split("aria-sort=\"descending\"").nth(1).unwrap().split("</a>").next().unwrap();
        assert!(heading.contains(shown), "{name}: {heading}");
    }
}

#[tokio::test]
async fn all_time_has_room_for_an_event_of_1970() {
    let place = Service::sample();
    let old = json!({"category": "system.openai", "resource": "gpt-4o-mini", "units": {"text": {"input": 0}},
        "event_timestamp": "1970-01-01T00:00:00Z"});
    place.send(Method::POST, "/api/v1/ingest?id=old", &[], old).await;
    for path in ["/?range=all", "/?from=1970-01-01&to=2030-01-01", "/?from=0001-01-01&to=9999-12-31"] {
        let page = place.page(path).await;
        assert!(
            page.contains("0.202489150001") && !page.contains("Nothing was spent in this range"),
            "{path}"
        );
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
    assert!(metrics.contains("\npayi_cost_usd_total 0.202489150001\n"), "{metrics}");
    assert!(!metrics.contains("ada"), "users are no label");
}

#[tokio::test]
async fn no_series_is_there_twice_and_models_add_up_to_all_cost() {
    let place = Service::sample();
    let long = "m".repeat(200);
    for n in 0..120 {
        // The first sixty differ in what does not fit into a label, the others in what does.
        let model = if n < 60 { format!("{long}{n}") } else { format!("model-{n}") };
        let event = json!({"category": "system.openai", "resource": model, "units": {"text": {"input": 9}},
            "cost": n});
        place.send(Method::POST, &format!("/api/v1/ingest?id=m{n}"), &[], event).await;
    }
    let metrics = place.page("/metrics").await;
    let samples: Vec<_> = metrics.lines().filter(|line| !line.starts_with('#')).collect();
    let mut series: Vec<_> = samples.iter().map(|line| line.rsplit_once(' ').unwrap().0).collect();
    series.sort_unstable();
    let (all, models) =
        (series.len(), series.iter().filter(|s| s.starts_with("payi_model_cost_usd{")).count());
    series.dedup();
    assert_eq!(series.len(), all, "{metrics}");
    assert!((2..=51).contains(&models), "{models}");
    let sum = |family: &str| -> Money {
        let of = samples.iter().filter(|line| line.starts_with(family));
        of.map(|line| line.rsplit_once(' ').unwrap().1.parse::<Money>().unwrap()).sum()
    };
    assert_eq!(sum("payi_model_cost_usd{"), sum("payi_cost_usd_total "));
    assert!(
        metrics.contains("# TYPE payi_model_cost_usd gauge"),
        "a model that becomes one of the named leaves `other`"
    );
}

#[tokio::test]
async fn a_ledger_that_cannot_be_read_is_no_missing_report() {
    let place = Service::sample();
    assert_eq!(place.get("/api/reports/users").await.0, StatusCode::OK);
    assert_eq!(place.get("/api/reports/nothing").await.0, StatusCode::NOT_FOUND);
    let path = place.ledger.path().unwrap();
    std::fs::File::options().write(true).open(path).unwrap().set_len(4096).unwrap();
    for path in ["/api/reports/users", "/readyz", "/"] {
        assert_eq!(place.get(path).await.0, StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
}
