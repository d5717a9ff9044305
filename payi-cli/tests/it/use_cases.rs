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
        (
            json!({"name": "x", "description": "d", "limit_config": {"max": 1, "threshold": 0.5}}),
            "create_limit_validation_failed",
        ),
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
async fn many_increments_at_once_are_all_counted_and_the_last_one_is_what_events_are_of() {
    let service = Service::empty();
    let names: Vec<String> = (0..8).map(|n| format!("c{n}")).collect();
    for name in &names {
        define(&service, name).await;
    }
    let paths: Vec<_> = names.iter().map(|name| format!("{CASES}/{name}/increment_version")).collect();
    let all = (0..12 * 8).map(|n| ok(&service, Method::POST, &paths[n % 8], Value::Null));
    futures::future::join_all(all).await;
    for name in &names {
        let found = ok(&service, Method::GET, &format!("{CASES}/{name}"), Value::Null).await;
        assert_eq!(found["type_version"], 13);
        let of = [("xProxy-UseCase-Name", name.as_str())];
        service.send(Method::POST, &format!("/api/v1/ingest?id={name}"), &of, event()).await;
    }
    let stored = service.ledger.follow(0, 10).unwrap();
    let versions: Vec<_> = stored.iter().map(|e| e.who.use_case.as_ref().unwrap().version).collect();
    assert_eq!(versions, [Some(13); 8]);
}

#[tokio::test]
async fn lists_are_read_a_page_at_a_time_in_either_order_and_never_beyond_their_name() {
    let service = Service::empty();
    for name in ["a", "a b", "b"] {
        define(&service, name).await;
        for kpi in ["k1", "k2", "k3"] {
            let new = json!({"name": kpi, "description": "d", "kpi_type": "number", "goal": 1});
            ok(&service, Method::POST, &format!("{CASES}/{}/kpis", name.replace(' ', "%20")), new).await;
        }
    }
    for (order, wanted) in [("", ["k1", "k2", "k3"]), ("&sort_ascending=false", ["k3", "k2", "k1"])] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        for _ in 0..3 {
            let path = format!("{CASES}/a/kpis?limit=1{order}{cursor}");
            let page = ok(&service, Method::GET, &path, Value::Null).await;
            seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["name"].clone()));
            cursor = page["cursor"].as_str().map_or(String::new(), |c| format!("&cursor={}", encoded(c)));
        }
        assert_eq!((seen, cursor.as_str()), (wanted.map(Value::from).to_vec(), ""));
    }
    let one = ok(&service, Method::GET, &format!("{CASES}/a/kpis?kpi_name=k2"), Value::Null).await;
    assert_eq!((one["items"].as_array().unwrap().len(), &one["items"][0]["name"]), (1, &json!("k2")));
    let none = ok(&service, Method::GET, &format!("{CASES}/a/kpis?kpi_name=k9"), Value::Null).await;
    assert_eq!(none["items"], json!([]));
    ok(&service, Method::DELETE, &format!("{CASES}/a"), Value::Null).await;
    let others = ok(&service, Method::GET, &format!("{CASES}/a%20b/kpis"), Value::Null).await;
    assert_eq!(others["items"].as_array().unwrap().len(), 3, "its neighbour keeps its own");
}

/// A cursor as an address has it.
fn encoded(cursor: &str) -> String {
    cursor.bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02X}"))
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

/// 1,000 tokens of gpt-4o-mini, at 0.15 USD per million, for an instance of `run`.
async fn ingest(service: &Service, id: &str, instance: &str) -> (StatusCode, Value) {
    let who = [("xProxy-UseCase-Name", "run"), ("xProxy-UseCase-ID", instance)];
    let call = json!({
        "category": "system.openai", "resource": "gpt-4o-mini", "units": {"text": {"input": 1000, "output": 0}},
    });
    service.send(Method::POST, &format!("/api/v1/ingest?id={id}"), &who, call).await
}

async fn define_limited(service: &Service, kind: &str) {
    let limit = json!({"max": 0.000_3, "threshold": 0.75, "limit_type": kind, "properties": {"team": "a"}});
    let new = json!({"name": "run", "description": "d", "limit_config": limit});
    ok(service, Method::POST, CASES, new).await;
}

const INSTANCES: &str = "/api/v1/use_cases/instances/run";

#[tokio::test]
async fn each_new_instance_has_a_limit_of_its_own_that_its_calls_count_against() {
    let mut service = Service::empty();
    define_limited(&service, "allow").await;
    let mut made = Vec::new();
    for _ in 0..2 {
        let instance = ok(&service, Method::POST, INSTANCES, Value::Null).await;
        made.push(["use_case_id", "limit_id"].map(|id| instance[id].as_str().unwrap().to_owned()));
    }
    assert_ne!(made[0][1], made[1][1]);
    let [id, limit] = &made[0];
    let limit_path = format!("/api/v1/limits/{limit}");
    let found = ok(&service, Method::GET, &limit_path, Value::Null).await["limit"].clone();
    assert_eq!((&found["max"], &found["threshold"]), (&json!(0.000_3), &json!(0.75)), "{found}");
    assert_eq!((&found["limit_type"], &found["properties"]), (&json!("allow"), &json!({"team": "a"})));
    for (call, state) in [("a", "ok"), ("b", "exceeded")] {
        let (_, answer) = ingest(&service, call, id).await;
        assert_eq!(answer["xproxy_result"]["limits"], json!({limit: {"state": state}}), "{answer}");
    }
    // Who took the definition's limit away took none from the instances; a new one has none.
    ok(&service, Method::DELETE, &format!("{CASES}/run/limit_config"), Value::Null).await;
    service.restart();
    let event = json!({
        "category": "system.openai", "resource": "gpt-4o-mini", "units": {"text": {"input": 1000, "output": 0}},
        "use_case_name": "run", "use_case_id": id,
    });
    let bulk = json!([event, event]);
    let answer = ok(&service, Method::POST, "/api/v1/ingest/bulk", bulk).await;
    assert_eq!(answer["ingest_count"], 2);
    let found = ok(&service, Method::GET, &limit_path, Value::Null).await["limit"].clone();
    let total = json!({"base": 0.000_6, "overrun_base": 0.000_3});
    assert_eq!(found["totals"]["cost"]["total"], total, "{found}");
    assert_eq!(found["totals"]["requests"]["total"], 4);
    let other = ok(&service, Method::GET, &format!("/api/v1/limits/{}", made[1][1]), Value::Null).await;
    assert_eq!(other["limit"]["totals"]["requests"]["total"], 0);
    let free = ok(&service, Method::POST, INSTANCES, Value::Null).await;
    assert_eq!(free["limit_id"], Value::Null);
    let gone = format!("{INSTANCES}/{id}");
    ok(&service, Method::DELETE, &gone, Value::Null).await;
    assert_eq!(
        refused(&service, Method::GET, &gone, Value::Null).await.0,
        404,
        "events name it, but it is gone"
    );
    assert_eq!(
        refused(&service, Method::GET, &limit_path, Value::Null).await,
        (404, "limit_not_found".into())
    );
    let (_, answer) = ingest(&service, "z", id).await;
    assert_eq!(
        (&answer["xproxy_result"]["limits"], &answer["xproxy_result"]["warnings"]),
        (&json!({}), &json!([]))
    );
}

#[tokio::test]
async fn an_instance_that_events_name_has_its_limit_from_the_first_of_them() {
    let service = Service::empty();
    define_limited(&service, "allow").await;
    let calls = ["a", "b", "c"].map(|call| ingest(&service, call, "run 1"));
    let answers = futures::future::join_all(calls).await;
    let made = ok(&service, Method::GET, &format!("{INSTANCES}/run%201"), Value::Null).await;
    let limit = made["limit_id"].as_str().unwrap();
    assert!(
        answers.iter().all(|(_, answer)| answer["xproxy_result"]["limits"][limit].is_object()),
        "{answers:?}"
    );
    let found = ok(&service, Method::GET, &format!("/api/v1/limits/{limit}"), Value::Null).await;
    assert_eq!(found["limit"]["totals"]["requests"]["total"], 3);
    assert_eq!(
        ok(&service, Method::GET, "/api/v1/limits", Value::Null).await["items"].as_array().unwrap().len(),
        1
    );
    // Its limit was taken away by itself: it counts against none, and nobody is warned of one.
    ok(&service, Method::DELETE, &format!("/api/v1/limits/{limit}"), Value::Null).await;
    let (_, answer) = ingest(&service, "d", "run 1").await;
    assert_eq!(
        (&answer["xproxy_result"]["limits"], &answer["xproxy_result"]["warnings"]),
        (&json!({}), &json!([]))
    );
}

#[tokio::test]
async fn an_instance_whose_limit_blocks_takes_no_events() {
    let service = Service::empty();
    define_limited(&service, "block").await;
    let made = ok(&service, Method::POST, INSTANCES, Value::Null).await;
    let (id, limit) = (made["use_case_id"].as_str().unwrap(), &made["limit_id"]);
    let (status, answer) = ingest(&service, "a", id).await;
    let code = &answer["xproxy_error"]["code"];
    assert_eq!((status.as_u16(), code), (400, &json!("blocking_limit_not_allowed")), "{answer}");
    assert_eq!(answer["xproxy_result"]["blocked_limit_ids"], json!([limit]));
    let event = json!({"category": "c", "units": {}, "use_case_name": "run", "use_case_id": id});
    let answer = ok(&service, Method::POST, "/api/v1/ingest/bulk", json!([event])).await;
    assert_eq!((&answer["ingest_count"], &answer["error_count"]), (&json!(0), &json!(1)));
    // One that only events name was never asked before its calls: they are taken.
    let (status, answer) = ingest(&service, "b", "run 2").await;
    assert_eq!((status, &answer["xproxy_result"]["limits"]), (StatusCode::OK, &json!({})));
}

#[tokio::test]
async fn a_use_cases_page_shows_its_kpis_and_what_its_instances_came_to() {
    let service = Service::empty();
    for case in ["run", "other"] {
        define(&service, case).await;
    }
    let address = "/cost-drivers/use-cases/detail?use_case_name=run";
    assert!(!service.page(address).await.contains("KPIs"), "there are none");
    for (case, kpi, kind, goal) in [
        ("run", "sta<r>s", "likert5", 3.5),
        ("run", "done", "boolean", 0.8),
        ("other", "stars", "number", 1.0),
    ] {
        let kpi = json!({"name": kpi, "description": "what <they> say", "kpi_type": kind, "goal": goal});
        ok(&service, Method::POST, &format!("{CASES}/{case}/kpis"), kpi).await;
    }
    let empty = service.page(address).await;
    assert!(empty.contains("sta&#60;r&#62;s") && empty.contains("no instance was scored"), "{empty}");
    for (case, instance, kpi, score) in [
        ("run", "i-1", "sta%3Cr%3Es", json!(4)),
        ("run", "i-2", "sta%3Cr%3Es", json!(4)),
        ("run", "i-3", "sta%3Cr%3Es", json!(3)),
        ("run", "i-1", "done", json!(true)),
        ("run", "i-2", "done", json!(false)),
        ("other", "i-9", "stars", json!(77)),
    ] {
        let path = format!("/api/v1/use_cases/instances/{case}/{instance}/kpis/{kpi}");
        ok(&service, Method::PUT, &path, json!({"score": score})).await;
    }
    let page = service.page(address).await;
    for shown in [
        "3.67 of 5",
        "3.5 of 5",
        "reached",
        "50 % yes",
        "80 % yes",
        "missed",
        "3 instances were scored",
        "i-3",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert!(!page.contains("77") && !page.contains("<they>"), "{page}");
    // The newest ten are shown one by one, the last one first; the figures are of all.
    for n in 10..22 {
        let path = format!("/api/v1/use_cases/instances/run/i-{n}/kpis/sta%3Cr%3Es");
        ok(&service, Method::PUT, &path, json!({"score": 2})).await;
    }
    let many = service.page(address).await;
    let newest = (10..22).filter(|n| many.contains(&format!("i-{n}"))).collect::<Vec<_>>();
    assert_eq!(newest, (12..22).collect::<Vec<_>>());
    assert!(many.find("i-21") < many.find("i-12") && !many.contains("i-3"), "{many}");
    assert!(many.contains("15 instances were scored") && many.contains("2.33 of 5"), "{many}");
    let long_ago =
        service.page("/cost-drivers/use-cases/detail?use_case_name=run&from=2020-01-01&to=2020-01-02").await;
    assert!(long_ago.contains("no instance was scored"), "{long_ago}");
}
