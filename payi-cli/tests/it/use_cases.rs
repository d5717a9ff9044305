//! Use cases, their versions, instances and KPIs: every address of theirs, and what ingest makes of them.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    collector::{WHO, event},
    support::Service,
};

const CASES: &str = "/api/v1/use_cases/definitions";

async fn ok(service: &Service, method: Method, path: &str, body: Value) -> Value {
    let (status, answer) = service.send(method, path, &[], body).await;
    assert!(status.is_success(), "{path}: {status} {answer}");
    answer
}

async fn refused(service: &Service, method: Method, path: &str, body: Value) -> (u16, String) {
    let (status, answer) = service.send(method, path, &[], body).await;
    assert_eq!(answer["statusCode"], status.as_u16(), "{path}: {answer}");
    (status.as_u16(), answer["xproxy_error"]["code"].as_str().unwrap().to_owned())
}

async fn define(service: &Service, name: &str) -> Value {
    ok(service, Method::POST, CASES, json!({"name": name, "description": "d"})).await
}

#[tokio::test]
async fn a_definition_is_made_changed_listed_and_taken_away() {
    let mut service = Service::empty();
    let made = define(&service, "sum/mar ize").await;
    assert_eq!((&made["type_version"], &made["logging_enabled"]), (&json!(1), &json!(true)));
    assert!(made["request_id"].is_string());
    let here = format!("{CASES}/sum%2Fmar%20ize");
    for (body, code) in [
        (json!({"name": "sum/mar ize", "description": "d"}), "use_case_already_exists"),
        (json!({"name": "", "description": "d"}), "invalid_use_case_name"),
        (json!({"name": "x"}), "invalid_use_case_description"),
        (json!({"name": "x", "description": "d", "limit_config": {"max": 0}}), "invalid_max_limit"),
        (json!([1]), "invalid_json"),
    ] {
        assert_eq!(refused(&service, Method::POST, CASES, body).await, (400, code.into()));
    }
    let changed = ok(&service, Method::PUT, &here, json!({"description": "other"})).await;
    assert_eq!(changed["description"], "other");
    let limit = json!({"max": 5.5, "limit_type": "allow", "threshold": 0.9, "properties": {"team": null}});
    let limited = ok(&service, Method::POST, &format!("{here}/limit_config"), limit.clone()).await;
    assert_eq!(limited["limit_config"], limit);
    let free = ok(&service, Method::DELETE, &format!("{here}/limit_config"), Value::Null).await;
    assert_eq!(free["limit_config"], Value::Null);
    let next = ok(&service, Method::POST, &format!("{here}/increment_version"), Value::Null).await;
    assert_eq!(next["type_version"], 2);
    service.restart();
    let found = ok(&service, Method::GET, &here, Value::Null).await;
    assert_eq!((&found["description"], &found["type_version"]), (&json!("other"), &json!(2)));
    for name in ["b", "a", "c"] {
        define(&service, name).await;
    }
    let names = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().into()).collect()
    };
    let mut walked = Vec::new();
    let mut query = String::from("limit=2");
    loop {
        let page = ok(&service, Method::GET, &format!("{CASES}?{query}"), Value::Null).await;
        walked.extend(names(&page));
        let Some(cursor) = page["cursor"].as_str() else { break };
        query = format!("limit=2&cursor={}", cursor.replace('/', "%2F").replace(' ', "%20"));
    }
    assert_eq!(walked, ["a", "b", "c", "sum/mar ize"]);
    let page = ok(&service, Method::GET, &format!("{CASES}?sort_ascending=false&limit=2"), Value::Null).await;
    assert_eq!(names(&page), ["sum/mar ize", "c"]);
    let page = ok(&service, Method::GET, &format!("{CASES}?use_case_name=b"), Value::Null).await;
    assert_eq!(names(&page), ["b"]);
    assert_eq!(refused(&service, Method::GET, &format!("{CASES}?limit=x"), Value::Null).await.0, 400);
    ok(&service, Method::DELETE, &here, Value::Null).await;
    assert_eq!(refused(&service, Method::GET, &here, Value::Null).await, (404, "use_case_not_found".into()));
}

#[tokio::test]
async fn many_increments_at_once_are_all_counted() {
    let service = Service::empty();
    define(&service, "c").await;
    let path = format!("{CASES}/c/increment_version");
    let all = (0..20).map(|_| ok(&service, Method::POST, &path, Value::Null));
    futures::future::join_all(all).await;
    assert_eq!(ok(&service, Method::GET, &format!("{CASES}/c"), Value::Null).await["type_version"], 21);
}

#[tokio::test]
async fn an_event_without_a_version_is_of_the_newest_and_an_instance_is_known_by_its_events() {
    let service = Service::empty();
    define(&service, "summarize").await;
    ok(&service, Method::POST, &format!("{CASES}/summarize/increment_version"), Value::Null).await;
    let newest = [("xProxy-UseCase-Name", "summarize"), ("xProxy-UseCase-ID", "run 1")];
    service.send(Method::POST, "/api/v1/ingest?id=a", &newest, event()).await;
    service
        .send(
            Method::POST,
            "/api/v1/ingest?id=b",
            &[WHO, &[("xProxy-UseCase-Version", "7")]].concat(),
            event(),
        )
        .await;
    let stored = service.ledger.follow(0, 10).unwrap();
    let versions: Vec<_> = stored.iter().map(|e| e.who.use_case.as_ref().unwrap().version).collect();
    assert_eq!(versions[0], Some(2));
    let of = |id: &str| format!("/api/v1/use_cases/instances/summarize/{id}");
    let found = ok(&service, Method::GET, &of("run%201"), Value::Null).await;
    assert_eq!((&found["use_case_id"], &found["type_version"]), (&json!("run 1"), &json!(2)));
    assert_eq!(
        refused(&service, Method::GET, &of("nobody"), Value::Null).await,
        (404, "use_case_instance_not_found".into())
    );
    let made = ok(&service, Method::POST, "/api/v1/use_cases/instances/summarize", Value::Null).await;
    let id = made["use_case_id"].as_str().unwrap().to_owned();
    assert_eq!(made["type_version"], 2);
    let path = format!("{}/properties", of(&id));
    ok(&service, Method::PUT, &path, json!({"properties": {"a": "1", "b": null}})).await;
    let laid = ok(&service, Method::PUT, &path, json!({"properties": {"a": "2"}})).await;
    assert_eq!(laid["properties"], json!({"a": "2", "b": null}));
    ok(&service, Method::DELETE, &of(&id), Value::Null).await;
    assert_eq!(refused(&service, Method::GET, &of(&id), Value::Null).await.0, 404);
}

#[tokio::test]
async fn scores_are_those_that_their_kpi_can_have() {
    let service = Service::empty();
    let path = format!("{CASES}/c/kpis");
    let stars = json!({"name": "stars", "description": "d", "kpi_type": "likert5", "goal": 4.5});
    let unknown = refused(&service, Method::POST, &path, stars.clone()).await;
    assert_eq!(unknown, (404, "use_case_not_found".into()));
    define(&service, "c").await;
    ok(&service, Method::POST, &path, stars.clone()).await;
    assert_eq!(refused(&service, Method::POST, &path, stars).await, (400, "kpi_already_exists".into()));
    let done = json!({"name": "done", "description": "d", "kpi_type": "boolean", "goal": 1});
    ok(&service, Method::POST, &path, done).await;
    let wrong = json!({"name": "x", "description": "d", "kpi_type": "colour", "goal": 1});
    assert_eq!(refused(&service, Method::POST, &path, wrong).await, (400, "required_field_missing".into()));
    let changed = ok(&service, Method::PUT, &format!("{path}/stars"), json!({"goal": 5})).await;
    assert_eq!((&changed["goal"], &changed["kpi_type"]), (&json!(5.0), &json!("likert5")));
    let page = ok(&service, Method::GET, &format!("{path}?kpi_name=done"), Value::Null).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 1);

    let scores = "/api/v1/use_cases/instances/c/run-1/kpis";
    for (kpi, score, status) in [
        ("stars", json!(4), StatusCode::NO_CONTENT),
        ("stars", json!(3), StatusCode::NO_CONTENT),
        ("stars", json!(6), StatusCode::BAD_REQUEST),
        ("stars", json!(2.5), StatusCode::BAD_REQUEST),
        ("stars", json!("4"), StatusCode::BAD_REQUEST),
        ("done", json!(true), StatusCode::NO_CONTENT),
        ("other", json!(1), StatusCode::NOT_FOUND),
    ] {
        let put = service.send(Method::PUT, &format!("{scores}/{kpi}"), &[], json!({"score": score})).await;
        assert_eq!(put.0, status, "{kpi} {score}");
    }
    let listed = ok(&service, Method::GET, scores, Value::Null).await;
    let told: Vec<_> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| (s["kpi_name"].clone(), s["score"].clone()))
        .collect();
    assert_eq!(told, [(json!("done"), json!(1.0)), (json!("stars"), json!(3.0))]);
    ok(&service, Method::PUT, &format!("{scores}/done"), json!({"score": null})).await;
    let listed = ok(&service, Method::GET, &format!("{scores}?kpi_name=done"), Value::Null).await;
    assert_eq!(listed["items"], json!([]));
    ok(&service, Method::DELETE, &format!("{path}/stars"), Value::Null).await;
    assert_eq!(refused(&service, Method::GET, &format!("{path}/stars"), Value::Null).await.0, 404);
}
