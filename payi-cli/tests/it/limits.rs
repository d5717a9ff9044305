//! Limits from outside: over HTTP as Pay-i's clients ask for them, and from the command line.

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use payi_core::{
    ledger::LedgerStore,
    limits::{Kind, Limit, Limits, Subject},
};
use serde_json::{Value, json};

use crate::support::{Service, payi};

/// The service, and the command over the same ledger.
struct Place(Service);

impl Place {
    fn new() -> Self {
        Self(Service::empty())
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        self.0.send(method, path, &[("xProxy-Limit-IDs", "soft")], body).await
    }

    /// Runs `payi`; its exit code and what it wrote.
    fn payi(&self, args: &[&str]) -> (u8, String) {
        let ledger = self.0.ledger.path().unwrap().to_str().unwrap().to_owned();
        let (code, out, err) = payi(&[args, &["--ledger", &ledger]].concat(), None);
        (code, out + &err)
    }
}

fn event(id: &str, tokens: u64) -> Value {
    json!({
        "category": "system.openai", "resource": "gpt-4o-mini", "units": {"text": {"input": tokens, "output": 0}},
        "provider_response_id": id,
    })
}

#[tokio::test]
async fn limits_are_made_changed_reset_and_removed() {
    let place = Place::new();
    let new = json!({"limit_id": "lim 1", "limit_name": "n", "max": 5, "limit_type": "block", "threshold": 0.8,
        "properties": {"a": "b"}});
    let (status, made) = place.ask(Method::POST, "/api/v1/limits", new.clone()).await;
    assert_eq!(status, StatusCode::OK, "{made}");
    assert_eq!(made["limit"]["max"], 5.0);
    assert_eq!((&made["limit"]["threshold"], &made["limit"]["limit_type"]), (&json!(0.8), &json!("block")));
    assert_eq!(
        place.ask(Method::POST, "/api/v1/limits", new.clone()).await.1["limit"],
        made["limit"],
        "the same again"
    );
    let other =
        json!({"limit_id": "lim 1", "limit_name": "n", "max": 7, "limit_type": "block", "threshold": 0.8});
    assert_eq!(place.ask(Method::POST, "/api/v1/limits", other).await.0, StatusCode::CONFLICT);
    for (wrong, code) in [
        (json!({"limit_name": "n", "max": 0}), "invalid_max_limit"),
        (json!({"limit_name": "n", "max": -1}), "invalid_max_limit"),
        (json!({"limit_name": "n", "max": 1, "threshold": 0.5}), "create_limit_validation_failed"),
        (json!({"limit_name": "n", "max": 1, "limit_type": "maybe"}), "create_limit_validation_failed"),
        (json!({"max": 1}), "create_limit_validation_failed"),
        (json!({"limit_name": " ", "max": 1}), "create_limit_validation_failed"),
        (json!({"limit_name": "n", "max": 1, "window": "fortnight"}), "request_processing_error"),
    ] {
        let (status, refusal) = place.ask(Method::POST, "/api/v1/limits", wrong.clone()).await;
        assert_eq!(
            (status, &refusal["xproxy_error"]["code"]),
            (StatusCode::BAD_REQUEST, &json!(code)),
            "{wrong}"
        );
    }
    let one = "/api/v1/limits/lim%201";
    assert_eq!(place.ask(Method::GET, one, Value::Null).await.1["limit"], made["limit"]);
    let (_, changed) = place.ask(Method::PUT, one, json!({"max": 0.000_000_5})).await;
    assert_eq!(changed["limit"]["max"], 0.000_000_5, "{changed}");
    let (_, changed) = place
        .ask(Method::PUT, &format!("{one}/properties"), json!({"properties": {"a": null, "c": 1}}))
        .await;
    assert_eq!(changed[0]["limit"]["properties"], json!({"c": "1"}));
    let (_, reset) = place
        .ask(Method::POST, &format!("{one}/reset?resetDate=2026-02-01T00%3A00%3A00Z"), Value::Null)
        .await;
    assert_eq!(reset["limit_history"]["limit_reset_timestamp"], "2026-02-01T00:00:00Z", "{reset}");
    let future = format!("{one}/reset?resetDate=2999-02-01T00%3A00%3A00Z");
    assert_eq!(place.ask(Method::POST, &future, Value::Null).await.0, StatusCode::BAD_REQUEST);
    place.ask(Method::POST, "/api/v1/limits", json!({"limit_id": "zz", "limit_name": "z", "max": 1})).await;
    let (_, first) = place.ask(Method::GET, "/api/v1/limits?limit=1", Value::Null).await;
    assert_eq!(first["items"][0]["limit_id"], "lim 1");
    let next =
        format!("/api/v1/limits?limit=1&cursor={}", first["cursor"].as_str().unwrap().replace(' ', "%20"));
    let (_, second) = place.ask(Method::GET, &next, Value::Null).await;
    assert_eq!((&second["items"][0]["limit_id"], &second["cursor"]), (&json!("zz"), &Value::Null));
    assert_eq!(
        place.ask(Method::GET, "/api/v1/limits?limit_name=z", Value::Null).await.1["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(place.ask(Method::DELETE, one, Value::Null).await.0, StatusCode::OK);
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let (status, refusal) = place.ask(method, "/api/v1/limits/%FF", json!({})).await;
        assert_eq!((status, &refusal["statusCode"]), (StatusCode::BAD_REQUEST, &json!(400)), "{refusal}");
    }
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(place.ask(method, one, Value::Null).await.0, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn events_are_told_how_their_limits_stand_and_block_limits_take_none() {
    let place = Place::new();
    let new = json!({"limit_id": "soft", "limit_name": "n", "max": 0.001, "threshold": 0.75});
    place.ask(Method::POST, "/api/v1/limits", new).await;
    // 0.15 USD per million tokens.
    for (id, tokens, state) in [("a", 4_000, "ok"), ("b", 1_000, "exceeded"), ("c", 4_000, "overrun")] {
        let (_, answer) =
            place.ask(Method::POST, &format!("/api/v1/ingest?id={id}"), event(id, tokens)).await;
        assert_eq!(answer["xproxy_result"]["limits"], json!({"soft": {"state": state}}), "{answer}");
        assert_eq!(answer["xproxy_result"]["warnings"], json!([]));
    }
    let (_, again) = place.ask(Method::POST, "/api/v1/ingest?id=c", event("c", 4_000)).await;
    assert_eq!(again["xproxy_result"]["duplicate_request"], true);
    let (_, found) = place.ask(Method::GET, "/api/v1/limits/soft", Value::Null).await;
    let totals = &found["limit"]["totals"];
    assert_eq!(totals["cost"]["total"], json!({"base": 0.00135, "overrun_base": 0.00035}), "{totals}");
    assert_eq!((&totals["requests"]["overrun"], &totals["requests"]["total"]), (&json!(1), &json!(3)));
    let lower = |max: f64| place.ask(Method::PUT, "/api/v1/limits/soft", json!({ "max": max }));
    let (status, refusal) = lower(0.001_349).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(refusal["xproxy_error"]["code"], "invalid_max_limit_update", "{refusal}");
    assert_eq!(lower(0.001_35).await.1["limit"]["max"], 0.001_35, "what it has come to is enough");

    place
        .ask(
            Method::POST,
            "/api/v1/limits",
            json!({"limit_id": "hard", "limit_name": "h", "max": 1, "limit_type": "block"}),
        )
        .await;
    let mut named = event("d", 1);
    named["limit_ids"] = json!(["hard"]);
    let (status, bulk) = place.ask(Method::POST, "/api/v1/ingest/bulk", json!([named, event("e", 1)])).await;
    assert_eq!((status, &bulk["ingest_count"], &bulk["error_count"]), (StatusCode::OK, &json!(1), &json!(1)));
    let error = &bulk["errors"][0];
    assert_eq!(error["item_index"], 0);
    assert_eq!(error["xproxy_result"]["xproxy_error"]["code"], "blocking_limit_not_allowed", "{error}");
    assert_eq!(error["xproxy_result"]["xproxy_result"]["blocked_limit_ids"], json!(["hard"]));
}

#[tokio::test]
async fn the_command_line_makes_them_and_exits_as_they_stand() {
    let place = Place::new();
    assert_eq!(place.payi(&["limits", "status"]).0, 0);
    let (code, out) =
        place.payi(&["limits", "set", "soft", "--usd", "0.001", "--threshold", "75", "--allow"]);
    assert_eq!((code, out.trim()), (0, "soft: 0.001 USD, lifetime, calls that name it"));
    let (code, out) =
        place.payi(&["limits", "set", "u", "--usd", "10", "--each", "user", "--per", "month:Europe/Berlin"]);
    assert_eq!((code, out.trim()), (0, "u: 10 USD, month (Europe/Berlin), each user"));
    for wrong in [
        &["limits", "set", "x"][..],
        &["limits", "set", "x", "--usd", "1", "--calls", "2"],
        &["limits", "set", "x", "--usd", "0"],
        &["limits", "set", "x", "--tokens", "5", "--per", "rate:1m"],
        &["limits", "set", "x", "--usd", "1", "--per", "year"],
        &["limits", "delete", "nobody"],
        &["limits", "override", "u", "ada", "--max", "much"],
        &["limits", "override", "soft", "ada", "--max", "1"],
    ] {
        assert_eq!(place.payi(wrong).0, 2, "{wrong:?}");
    }
    let (code, out) = place.payi(&["limits", "override", "u", "ada", "--account", "acme", "--max", "25"]);
    assert_eq!((code, &*out), (0, "u: 25 USD for ada of acme\n"));
    for (id, tokens, code) in [("a", 4_000, 0), ("b", 1_000, 3), ("c", 4_000, 1)] {
        place.ask(Method::POST, &format!("/api/v1/ingest?id={id}"), event(id, tokens)).await;
        let (exit, out) = place.payi(&["limits", "status"]);
        assert_eq!(exit, code, "{out}");
    }
    let out = place.payi(&["limits", "status"]).1;
    let row = |id: &str| out.lines().find(|line| line.trim_start().starts_with(id)).unwrap_or_default();
    assert!(row("soft").contains(" allow ") && row("u ").contains(" block "), "{out}");
    let (code, out) = place.payi(&["limits", "status", "soft", "--format", "json"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    let row = &json["limits"][0];
    assert_eq!(
        (code, &row["spent"], &row["max"], &row["state"]),
        (1, &json!("0.00135"), &json!("0.001"), &json!("overrun"))
    );
    assert_eq!(
        place.payi(&["limits", "reset", "soft"]).1.trim(),
        "soft: starts anew; it had come to 0.00135 USD"
    );
    assert!(
        place
            .payi(&["limits", "history", "soft"])
            .1
            .contains("0.00135 of 0.001, 0.00035 over; 3 calls, 0 refused")
    );
    assert_eq!(place.payi(&["limits", "status"]).0, 0);
    let (code, out) = place.payi(&["limits", "delete", "soft"]);
    assert_eq!((code, &*out), (0, "soft: deleted, with its counters\n"));
}

#[tokio::test]
async fn setting_a_limit_again_changes_what_is_given_and_nothing_else() {
    let place = Place::new();
    let set = |args: &[&str]| place.payi(&[&["limits", "set", "u"], args].concat());
    let limit =
        || Limits::of(Arc::new(LedgerStore::new(place.0.ledger.clone()))).get("u").unwrap().unwrap().limit;
    assert_eq!(set(&["--name", "without a maximum"]).0, 2);
    let all = [
        "--usd",
        "10",
        "--each",
        "user",
        "--per",
        "day",
        "--threshold",
        "80",
        "--name",
        "n",
        "--policy",
        "strict",
    ];
    assert_eq!(set(&all).0, 0);
    place.payi(&["limits", "override", "u", "ada", "--max", "25"]);
    let properties = json!({"properties": {"team": "search"}});
    place.ask(Method::PUT, "/api/v1/limits/u/properties", properties).await;
    let mut wanted = Limit::clone(&limit());

    assert_eq!(set(&["--usd", "12"]), (0, "u: 12 USD, day (UTC), each user\n".into()));
    wanted.max = wanted.max / 10 * 12;
    assert_eq!(*limit(), wanted);
    assert_eq!(limit().max_of(&Subject::new("ada", "")), wanted.max / 12 * 25, "hers is still her own");
    assert_eq!(set(&["--allow", "--threshold", "0"]).0, 0);
    (wanted.kind, wanted.threshold) = (Kind::Allow, None);
    assert_eq!(*limit(), wanted);
    assert_eq!(set(&["--block", "--name", "m"]).0, 0);
    (wanted.kind, wanted.name) = (Kind::Block, "m".into());
    assert_eq!(*limit(), wanted);
    assert_eq!(set(&["--calls", "5"]).0, 0);
    assert_eq!((limit().max, limit().overrides.len()), (5, 0), "25 USD are no number of calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_at_once_are_all_kept() {
    let place = Place::new();
    let limit = "/api/v1/limits/u";
    place.payi(&["limits", "set", "u", "--usd", "1", "--each", "user"]);
    let names = (0..20).map(|n| format!("p{n}"));
    let property = |name: &String| json!({"properties": {name.as_str(): "kept"}});
    let puts = names.map(|name| {
        let (place, path) = (&place, format!("{limit}/properties"));
        async move { place.ask(Method::PUT, &path, property(&name)).await.0 }
    });
    let overrides = std::thread::scope(|threads| {
        let all: Vec<_> = (0..10)
            .map(|n| format!("user {n}"))
            .map(|user| {
                let place = &place;
                threads.spawn(move || place.payi(&["limits", "override", "u", &user, "--max", "2"]).0)
            })
            .collect();
        let put = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(futures::future::join_all(puts))
        });
        assert_eq!(put, [StatusCode::OK; 20]);
        all.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(overrides, [0; 10]);
    let (_, found) = place.ask(Method::GET, limit, Value::Null).await;
    assert_eq!(found["limit"]["properties"].as_object().unwrap().len(), 20, "{found}");
    let kept = Limits::of(Arc::new(LedgerStore::new(place.0.ledger.clone()))).get("u").unwrap().unwrap();
    assert_eq!(kept.limit.overrides.len(), 10);

    let makes = (1..=8).map(|max| {
        let new = json!({"limit_id": "one", "limit_name": "n", "max": max});
        place.ask(Method::POST, "/api/v1/limits", new)
    });
    let made = futures::future::join_all(makes).await;
    let (one, others): (Vec<_>, Vec<_>) = made.into_iter().partition(|(status, _)| *status == StatusCode::OK);
    assert_eq!((one.len(), others.len()), (1, 7), "the same id with other maxima");
    assert!(others.iter().all(|(_, refusal)| refusal["xproxy_error"]["code"] == "duplicate_limit_id"));
}

#[tokio::test]
async fn the_page_shows_what_is_used_and_left() {
    let place = Place::new();
    let empty = place.0.page("/limits").await;
    assert!(empty.contains("There are no limits"), "{empty}");
    place.payi(&[
        "limits",
        "set",
        "soft",
        "--usd",
        "0.001",
        "--threshold",
        "75",
        "--allow",
        "--name",
        "<b>&",
    ]);
    place.ask(Method::POST, "/api/v1/ingest?id=a", event("a", 5_000)).await;
    let page = place.0.page("/limits").await;
    for shown in
        ["&#60;b&#62;&#38;", "exceeded", "0.00075", "1 calls, 0 refused", "aria-current=\"page\">Limits"]
    {
        assert!(page.contains(shown), "{shown}: {page}");
    }
}

#[tokio::test]
async fn users_have_a_budget_beside_them() {
    let place = Place::new();
    let ada = [("xProxy-User-ID", "ada"), ("xProxy-Account-Name", "acme")];
    place.0.send(Method::POST, "/api/v1/ingest?id=a", &ada, event("a", 5_000)).await;
    assert!(!place.0.page("/cost-drivers/users").await.contains("reserved of"), "nobody has one");
    place.payi(&["limits", "set", "per-user", "--usd", "10", "--each", "user"]);
    place.0.send(Method::POST, "/api/v1/ingest?id=b", &ada, event("b", 5_000)).await;
    let users = place.0.page("/cost-drivers/users").await;
    assert!(users.contains("0.00075") && users.contains("reserved of 10"), "{users}");
}

#[tokio::test]
async fn the_page_shows_some_limits_at_a_time() {
    let place = Place::new();
    for n in 0..5 {
        let new = json!({"limit_id": format!("limit-{n}"), "limit_name": "n", "max": 1});
        place.ask(Method::POST, "/api/v1/limits", new).await;
    }
    let for_all = json!({"limit_id": "zz-all", "limit_name": "n", "max": 1, "scope": "everyone"});
    place.ask(Method::POST, "/api/v1/limits", for_all).await;
    let first = place.0.page("/limits?per_page=2").await;
    assert!(first.contains("zz-all") && first.contains("limit-0") && first.contains("1–2 of 6"), "{first}");
    assert!(!first.contains("limit-1"), "{first}");
    let last = place.0.page("/limits?per_page=2&page=3").await;
    assert!(last.contains("limit-4") && !last.contains("rel=\"next\""), "{last}");
    assert!(!place.0.page("/limits").await.contains("class=\"pager\""), "all are on one page");
}
