//! The collector over HTTP, as its clients see it: costs, duplicates, errors, and the dashboard's figures after it.

use std::time::{Duration, SystemTime};

use axum::http::{Method, StatusCode};
use payi_core::ledger::Filter;
use serde_json::{Value, json};

use crate::support::Service;

pub(crate) fn event() -> Value {
    json!({
        "category": "system.openai", "resource": "gpt-4o-mini",
        "units": {"text": {"input": 1000, "output": 200}, "text_cache_read": {"input": 500, "output": 0}},
        "event_timestamp": "2026-11-23T10:00:00.000001+00:00", "end_to_end_latency_ms": 321,
        "http_status_code": 200, "properties": {"plan": "pro", "system.stack_trace": "[\"/home/me\"]"},
        "provider_response_id": "chatcmpl-1",
    })
}

pub(crate) const WHO: &[(&str, &str)] = &[
    ("xProxy-User-ID", "ada"),
    ("xProxy-Account-Name", "acme"),
    ("xProxy-UseCase-Name", "summarize"),
    ("xProxy-UseCase-ID", "run-1"),
    ("xProxy-UseCase-Version", "2"),
    ("xProxy-UseCase-Step", "fetch"),
];

#[tokio::test]
async fn an_event_is_priced_kept_and_found_again() {
    let place = Service::empty();
    let (status, answer) = place.send(Method::POST, "/api/v1/ingest?id=chatcmpl-1", WHO, event()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let result = &answer["xproxy_result"];
    // 1,000 at 0.15, 500 at 0.075 and 200 at 0.60 USD per million.
    assert_eq!(result["cost"]["total"]["base"], 0.000_307_5, "{result}");
    assert_eq!(result["cost"]["output"]["base"], 0.000_12);
    assert_eq!(result["cost"]["currency"], "usd");
    assert_eq!(result["user_id"], "ada");
    assert_eq!(result["use_case_step"], "fetch");
    assert_eq!(result["duplicate_request"], false);
    let id = answer["request_id"].as_str().unwrap();
    for path in [
        format!("/api/v1/requests/{id}/result"),
        "/api/v1/requests/provider/system.openai/chatcmpl-1/result".into(),
    ] {
        let (status, found) = place.send(Method::GET, &path, &[], Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert_eq!(found["xproxy_result"]["cost"], result["cost"]);
        assert_eq!(found["xproxy_result"]["request_id"], id);
    }
    let (status, _) = place
        .send(
            Method::PUT,
            &format!("/api/v1/requests/{id}/properties"),
            &[],
            json!({"properties": {"plan": "max", "k": null}}),
        )
        .await;
    assert_eq!(status, StatusCode::OK);
    let stored = place.ledger.follow(0, 10).unwrap();
    let properties: Vec<_> =
        stored[0].who.request_properties.iter().map(|(k, v)| (&**k, v.as_deref())).collect();
    assert_eq!(properties, [("plan", Some("max")), ("k", None)], "and no stack trace");
    assert_eq!(place.ledger.users(&Filter::new()).unwrap().total.cost.to_string(), "0.0003075");
}

#[tokio::test]
async fn what_is_sent_twice_counts_once() {
    let place = Service::empty();
    for round in 0..3 {
        let (_, answer) = place.send(Method::POST, "/api/v1/ingest?id=chatcmpl-1", WHO, event()).await;
        assert_eq!(answer["xproxy_result"]["duplicate_request"], round > 0);
    }
    // The same response id at another time is another call: some hosts repeat their ids.
    let mut later = event();
    later["event_timestamp"] = json!("2026-11-23T10:00:01Z");
    let (status, answer) =
        place.send(Method::POST, "/api/v1/ingest/bulk", &[], json!([event(), later, later])).await;
    assert_eq!((status, &answer["ingest_count"]), (StatusCode::OK, &json!(3)));
    assert_eq!(place.ledger.users(&Filter::new()).unwrap().total.calls.ok, 2);
}

#[tokio::test]
async fn how_an_abandoned_event_really_ended_takes_its_place() {
    let place = Service::empty();
    let mut abandoned = event();
    abandoned.as_object_mut().unwrap().remove("provider_response_id");
    let mut ended = abandoned.clone();
    ended["units"] = json!({"text": {"input": 100, "output": 20}});
    abandoned["properties"] = json!({"payi.outcome": "abandoned"});
    let (id, correction) = (
        "payi_019a9d3c-4a00-7000-8000-0000000000a1",
        // The same, marked as the correction that our own deliverer sends.
        "payi_019a9d3c-4a00-8000-8000-0000000000a1",
    );
    let send = async |id: &str, body: &Value| {
        let path = format!("/api/v1/ingest?id={id}");
        let (status, answer) = place.send(Method::POST, &path, WHO, body.clone()).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["xproxy_result"]["duplicate_request"].as_bool().unwrap()
    };
    assert!(!send(id, &abandoned).await);
    assert!(!send(correction, &ended).await);
    assert!(send(correction, &ended).await && send(id, &abandoned).await, "each counts once");
    let total = place.ledger.users(&Filter::new()).unwrap().total;
    assert_eq!((total.calls.ok, total.calls.abandoned, total.attempts), (1, 0, 1));
    assert_eq!((total.cost.to_string().as_str(), total.tokens.input), ("0.000027", 100));
}

#[tokio::test]
async fn what_is_older_than_what_was_pruned_is_refused_and_counted_as_lost() {
    let place = Service::empty();
    let mut recent = event();
    recent["event_timestamp"] = json!(jiff::Timestamp::now().to_string());
    recent["provider_response_id"] = json!("chatcmpl-2");
    let horizon = SystemTime::now() - Duration::from_secs(3600);
    place.ledger.prune(horizon).unwrap();
    let (status, answer) = place.send(Method::POST, "/api/v1/ingest", WHO, event()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    assert_eq!(answer["xproxy_error"]["code"], "invalid_ingest_event_timestamp");
    let bulk = json!([event(), recent]);
    let (status, answer) = place.send(Method::POST, "/api/v1/ingest/bulk", &[], bulk).await;
    assert_eq!(
        (status, &answer["ingest_count"], &answer["error_count"]),
        (StatusCode::OK, &json!(1), &json!(1))
    );
    assert_eq!(answer["errors"][0]["item_index"], 0);
    assert_eq!(place.ledger.users(&Filter::new()).unwrap().total.attempts, 1);
    let losses = place.ledger.losses().unwrap();
    assert_eq!(losses.iter().map(|loss| (&*loss.reason, loss.count)).collect::<Vec<_>>(), [("too_late", 2)]);
}

#[tokio::test]
async fn a_time_without_its_offset_is_refused_as_a_time_and_none_is_now() {
    let place = Service::empty();
    for (at, code) in [
        (json!("2026-11-23T10:00:00.000001"), "invalid_ingest_event_timestamp"),
        (json!("yesterday"), "invalid_ingest_event_timestamp"),
        (json!(1_790_000_000), "invalid_ingest_event_timestamp"),
        (json!("1969-12-31T23:59:59Z"), "invalid_ingest_event_timestamp"),
        (json!("2026-11-23T11:00:00+01:00"), ""),
        (Value::Null, ""),
    ] {
        let mut timed = event();
        timed["event_timestamp"] = at.clone();
        timed["provider_response_id"] = json!(at.to_string());
        let (status, answer) = place.send(Method::POST, "/api/v1/ingest", WHO, timed).await;
        let wanted = if code.is_empty() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
        assert_eq!(status, wanted, "{at}: {answer}");
        assert_eq!(answer["xproxy_error"]["code"].as_str().unwrap_or_default(), code, "{at}");
    }
}

#[tokio::test]
async fn bulk_keeps_the_good_and_names_the_bad() {
    let place = Service::empty();
    let who = json!({"user_id": "曉明, \"=1\"", "account_name": "acme", "use_case_name": "chat", "limit_ids": ["a,b"], "request_tags": ["t"]});
    let mut good = event();
    good.as_object_mut().unwrap().extend(who.as_object().unwrap().clone());
    let ahead = json!({"category": "c", "units": {}, "event_timestamp": "2999-01-01T00:00:00Z"});
    let items = json!([good, {"units": {}}, ahead, {"category": "c", "units": {"text": {"input": -1}}}, 7]);
    let (status, answer) = place.send(Method::POST, "/api/v1/ingest/bulk", &[], items).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["ingest_count"], 1);
    assert_eq!(answer["total_count"], 5);
    assert_eq!(answer["error_count"], 4);
    let codes: Vec<_> = answer["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["xproxy_result"]["xproxy_error"]["code"].as_str().unwrap())
        .collect();
    assert_eq!(
        codes,
        ["required_field_missing", "invalid_ingest_event_timestamp", "invalid_json", "invalid_json"]
    );
    let report = place.ledger.users(&Filter::new()).unwrap();
    assert_eq!(report.rows[0].user_id.as_deref(), Some("曉明, \"=1\""));
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused_by_code() {
    let place = Service::empty();
    let (status, answer) = place.plain(Method::POST, "/api/v1/ingest", &[], event().to_string()).await;
    assert_eq!(
        (status, &answer["xproxy_error"]["code"]),
        (StatusCode::UNAUTHORIZED, &json!("header_is_missing"))
    );
    let key = ("xProxy-api-key", "k");
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    for body in [deep.as_str(), "{", "", "null", "[]", "{\"category\": 1}"] {
        let (status, answer) = place.plain(Method::POST, "/api/v1/ingest", &[key], body.into()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        assert_eq!(answer["statusCode"], 400);
    }
    let (status, _) = place.plain(Method::POST, "/api/v1/ingest", &[key], " ".repeat(17 << 20)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let foreign = [key, ("origin", "https://evil.example")];
    let (status, _) = place.plain(Method::POST, "/api/v1/ingest", &foreign, event().to_string()).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, answer) = place.plain(Method::GET, "/api/v1/nowhere", &[key], String::new()).await;
    assert_eq!((status, &answer["statusCode"]), (StatusCode::NOT_FOUND, &json!(404)));
    assert_eq!(place.ledger.last_seq().unwrap(), 0, "nothing of it was kept");
}

#[tokio::test]
async fn fault_26_a_body_that_would_unpack_to_gigabytes_is_refused_unread() {
    let place = Service::empty();
    let key = ("xProxy-api-key", "k");
    for packing in ["gzip", "deflate", "br", "zstd", "gzip, gzip"] {
        for path in ["/api/v1/ingest", "/api/v1/ingest/bulk"] {
            let bomb = "x".repeat(1 << 20);
            let (status, _) =
                place.plain(Method::POST, path, &[key, ("content-encoding", packing)], bomb).await;
            assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{packing} {path}");
        }
    }
    assert_eq!(place.ledger.last_seq().unwrap(), 0);
}

#[tokio::test]
async fn a_failure_without_status_and_an_unknown_model_say_so() {
    let place = Service::empty();
    let mut failed = event();
    failed["http_status_code"] = json!(299);
    failed["units"] = json!({});
    failed["properties"] = json!({"system.failure": "APIConnectionError"});
    let mut strange = event();
    strange["resource"] = json!("our-own-model");
    strange["provider_response_id"] = json!("r2");
    place.send(Method::POST, "/api/v1/ingest", WHO, failed).await;
    let (_, answer) = place.send(Method::POST, "/api/v1/ingest", WHO, strange).await;
    assert_eq!(answer["xproxy_result"]["unknown_units"]["text"]["input"], 1000, "{answer}");
    let total = place.ledger.users(&Filter::new()).unwrap().total;
    assert_eq!((total.calls.failed, total.calls.ok, total.unpriced_calls), (1, 1, 1));
}

#[tokio::test]
async fn resources_of_ones_own_are_priced_exactly_and_survive_a_restart() {
    let mut place = Service::empty();
    let path = "/api/v1/categories/our-gpus/resources/llama-70b";
    let new = json!({
        "units": {"text": {"input_price": 0.000_000_1, "output_price": 0.000_000_4}},
        "start_timestamp": "2026-01-01T00:00:00Z",
    });
    let (status, made) = place.send(Method::POST, path, &[], new.clone()).await;
    assert_eq!(status, StatusCode::OK, "{made}");
    let id = made["resource_id"].as_str().unwrap().to_owned();
    let call = |response: &str| {
        let mut call = event();
        call["category"] = json!("our-gpus");
        call["resource"] = json!("llama-70b");
        call["units"] = json!({"text": {"input": 1000, "output": 100}});
        call["provider_response_id"] = json!(response);
        call
    };
    let (_, answer) = place.send(Method::POST, "/api/v1/ingest", WHO, call("r1")).await;
    assert_eq!(answer["xproxy_result"]["cost"]["total"]["base"], 0.000_14, "{answer}");
    assert_eq!(answer["xproxy_result"]["unknown_units"], json!({}));
    // Another service over the same ledger knows it too.
    place.restart();
    place.send(Method::POST, "/api/v1/ingest", WHO, call("r2")).await;
    assert_eq!(place.ledger.users(&Filter::new()).unwrap().total.cost.to_string(), "0.00028");
    let (_, page) = place.send(Method::GET, "/api/v1/categories?limit=1", &[], Value::Null).await;
    assert_eq!(page["items"], json!([{"category": "our-gpus"}]), "those of the book come after it");
    let (_, page) = place.send(Method::GET, path, &[], Value::Null).await;
    assert_eq!(page["items"][0]["resource_id"], id.as_str());
    let (status, _) = place.send(Method::DELETE, &format!("{path}/{id}"), &[], Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    let (status, answer) = place.send(Method::GET, &format!("{path}/{id}"), &[], Value::Null).await;
    assert_eq!(
        (status, &answer["xproxy_error"]["code"]),
        (StatusCode::NOT_FOUND, &json!("category_resource_not_found"))
    );
    let (_, answer) = place.send(Method::POST, "/api/v1/ingest", WHO, call("r3")).await;
    assert_eq!(answer["xproxy_result"]["unknown_units"]["text"]["input"], 1000, "{answer}");
    let (status, _) =
        place.send(Method::POST, "/api/v1/categories/system.openai/resources/x", &[], new).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let dear = json!({"units": {"text": {"input_price": 1e-13}}});
    let (status, _) = place.send(Method::POST, path, &[], dear).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "what would have to be rounded is refused");
}

/// All items of a list, some at a time.
async fn listed(place: &Service, path: &str) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let (status, page) =
            place.send(Method::GET, &format!("{path}?limit=7{cursor}"), &[], Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        let some = page["items"].as_array().unwrap();
        assert!(some.len() <= 7);
        items.extend(some.iter().cloned());
        let Some(next) = page["cursor"].as_str() else { return items };
        cursor = format!("&cursor={}", form_urlencoded::byte_serialize(next.as_bytes()).collect::<String>());
    }
}

#[tokio::test]
async fn the_books_categories_and_resources_are_listed_and_nobodys_to_change() {
    let place = Service::empty();
    let mine = "/api/v1/categories/our-gpus/resources/llama";
    let new = json!({"units": {"text": {"input_price": 0.000_000_1}}});
    place.send(Method::POST, mine, &[], new).await;
    let categories = listed(&place, "/api/v1/categories").await;
    for known in [
        "our-gpus",
        "system.openai",
        "system.azureopenai",
        "system.aws.bedrock",
        "system.google.vertex",
        "system.groq",
    ] {
        assert!(categories.contains(&json!({"category": known})), "{known}: {categories:?}");
    }
    let here = "/api/v1/categories/system.openai/resources";
    let all = listed(&place, here).await;
    let names: std::collections::BTreeSet<_> = all.iter().map(|r| r["resource"].as_str().unwrap()).collect();
    assert!(names.len() > 50 && names.contains("gpt-4o-mini"), "{names:?}");
    let ids: std::collections::BTreeSet<_> = all.iter().map(|r| r["resource_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), all.len(), "each version has an id of its own");
    let one = listed(&place, &format!("{here}/gpt-4o-mini")).await;
    let now = one.iter().find(|version| version["active"] == true).unwrap();
    assert_eq!(
        now["units"]["text"],
        json!({"input_price": 0.000_000_15, "output_price": 0.000_000_6}),
        "{now}"
    );
    assert_eq!(now["units"]["text_cache_read"]["input_price"], 0.000_000_075);
    let id = format!("{here}/gpt-4o-mini/{}", now["resource_id"].as_str().unwrap());
    assert_eq!(&place.send(Method::GET, &id, &[], Value::Null).await.1, now);
    let (status, _) = place.send(Method::GET, &format!("{here}/gpt-4o-mini/none"), &[], Value::Null).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (_, past) =
        place.send(Method::GET, &format!("{here}?Active=false&limit=1000"), &[], Value::Null).await;
    assert!(
        past["items"].as_array().unwrap().iter().all(|version| version["end_timestamp"].is_string()),
        "{past}"
    );
    for path in ["/api/v1/categories/system.openai", &format!("{here}/gpt-4o-mini"), &id] {
        let (status, answer) = place.send(Method::DELETE, path, &[], Value::Null).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {answer}");
    }
    // What is listed for a category is what its events are priced by.
    let mut call = event();
    (call["category"], call["resource"]) = (json!("system.groq"), json!("llama-3.3-70b-versatile"));
    let (_, answer) = place.send(Method::POST, "/api/v1/ingest", WHO, call).await;
    assert_eq!(answer["xproxy_result"]["unknown_units"], json!({}), "{answer}");
}

#[tokio::test]
async fn reports_are_csv_from_one_time_to_before_another() {
    let place = Service::empty();
    place.send(Method::POST, "/api/v1/ingest?id=chatcmpl-1", WHO, event()).await;
    let get = async |path: &str| {
        let request =
            axum::http::Request::get(path).header("host", "localhost").header("xProxy-api-key", "k");
        let answer = place.ask(request.body(axum::body::Body::empty()).unwrap()).await;
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
        (kind, String::from_utf8(body.to_vec()).unwrap())
    };
    let reports = "/api/v1/reports";
    let (kind, csv) =
        get(&format!("{reports}/users?from=2026-11-23T10:00:00Z&to=2026-11-24T00:00:00Z")).await;
    assert!(kind.starts_with("text/csv") && csv.contains("ada"), "{kind}: {csv}");
    let (_, before) =
        get(&format!("{reports}/users?from=2026-11-01T00:00:00Z&to=2026-11-23T10:00:00Z")).await;
    assert!(!before.contains("ada"), "{before}");
    for (path, status) in [("nobodys", 404), ("users?from=whenever", 400)] {
        let (found, answer) = place.send(Method::GET, &format!("{reports}/{path}"), &[], Value::Null).await;
        assert_eq!((found.as_u16(), &answer["statusCode"]), (status, &json!(status)), "{answer}");
    }
}
