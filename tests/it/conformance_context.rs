//! What the official SDK's context was, case by case, replayed through the macros.
//!
//! `../shared/spec/conformance.json` holds runs of the Python SDK. Each case about the context is run
//! again with `track_context!` and `#[track]`, in sync and in async code, and what they see is compared
//! with what was captured there: the snapshots, and the attribution of each event that was sent. Where
//! the SDK is wrong, or refuses what is a key here, the case says what is right instead.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use payi::context::{Context, Resolved, Text};
use serde_json::{Map, Value, json};

/// One scope's keys, as a case gives them; what is absent inherits.
#[derive(Clone, Debug, Default)]
struct Args(Map<String, Value>);

impl Args {
    fn of(step: &Value, field: &str) -> Self {
        Self(step.get(field).and_then(Value::as_object).cloned().unwrap_or_default())
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str()
    }

    fn texts(&self, key: &str) -> Option<Vec<String>> {
        let list = self.0.get(key)?.as_array()?;
        Some(list.iter().filter_map(Value::as_str).map(String::from).collect())
    }

    fn version(&self) -> Option<u32> {
        self.0.get("use_case_version")?.as_u64()?.try_into().ok()
    }

    fn flag(&self, key: &str) -> Option<bool> {
        self.0.get(key)?.as_bool()
    }

    fn map(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }
}

type Steps = Vec<Value>;
type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What was seen: snapshots by label, and the context of each call.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<(Labelled, Vec<Value>)>>);

type Labelled = Vec<(String, Value)>;

impl Seen {
    fn context(&self, step: &Value) {
        let label = step["label"].as_str().unwrap_or_default().to_owned();
        let seen = snapshot(&Context::current().resolve());
        self.0.lock().unwrap().0.push((label, seen));
    }

    fn call(&self) {
        self.0.lock().unwrap().1.push(sent(&Context::current().resolve()));
    }
}

#[payi::track(
    user_id = args.text("user_id"), account_name = args.text("account_name"),
    use_case_name = args.text("use_case_name"), use_case_id = args.text("use_case_id"),
    use_case_version = args.version(), use_case_step = args.text("use_case_step"),
    use_case_properties = args.map("use_case_properties"), limit_ids = args.texts("limit_ids"),
    request_tags = args.texts("request_tags"), request_properties = args.map("request_properties"),
    proxy = args.flag("proxy"), log_prompt_and_response = args.flag("log_prompt_and_response"),
)]
fn tracked(args: &Args, steps: &[Value], seen: &Seen) {
    run(steps, seen);
}

/// Sync code: the steps that need no other task.
fn run(steps: &[Value], seen: &Seen) {
    for step in steps {
        let (args, body) = (Args::of(step, "args"), steps_of(&step["body"]));
        match step["op"].as_str().unwrap_or_default() {
            "context" => seen.context(step),
            "call" => seen.call(),
            "track" => tracked(&args, &body, seen),
            "track_context" => payi::track_context!(
                user_id = args.text("user_id"),
                account_name = args.text("account_name"),
                use_case_name = args.text("use_case_name"),
                use_case_id = args.text("use_case_id"),
                use_case_version = args.version(),
                use_case_step = args.text("use_case_step"),
                use_case_properties = args.map("use_case_properties"),
                limit_ids = args.texts("limit_ids"),
                request_tags = args.texts("request_tags"),
                request_properties = args.map("request_properties"),
                proxy = args.flag("proxy"),
                { run(&body, seen) }
            ),
            "thread" => {
                let seen = seen.clone();
                std::thread::spawn(move || run(&body, &seen)).join().unwrap();
            }
            other => panic!("a step this test does not know: {other}"),
        }
    }
}

#[payi::track(
    user_id = args.text("user_id"), account_name = args.text("account_name"),
    use_case_name = args.text("use_case_name"), use_case_id = args.text("use_case_id"),
    use_case_version = args.version(), use_case_step = args.text("use_case_step"),
    use_case_properties = args.map("use_case_properties"), limit_ids = args.texts("limit_ids"),
    request_tags = args.texts("request_tags"), request_properties = args.map("request_properties"),
    proxy = args.flag("proxy"), log_prompt_and_response = args.flag("log_prompt_and_response"),
)]
async fn tracked_async(args: Args, steps: Steps, seen: Seen) {
    run_async(steps, seen).await;
}

/// Async code: the same, and tasks.
fn run_async(steps: Steps, seen: Seen) -> Boxed {
    Box::pin(async move {
        for step in steps {
            tokio::task::yield_now().await;
            one_step(step, &seen).await;
        }
    })
}

async fn one_step(step: Value, seen: &Seen) {
    let (args, body) = (Args::of(&step, "args"), steps_of(&step["body"]));
    let children: Vec<Steps> = step["children"].as_array().into_iter().flatten().map(steps_of).collect();
    let seen = seen.clone();
    match step["op"].as_str().unwrap_or_default() {
        "context" => seen.context(&step),
        "call" => seen.call(),
        "sleep" => tokio::time::sleep(Duration::from_secs_f64(step["s"].as_f64().unwrap())).await,
        "track" => tracked_async(args, body, seen).await,
        "track_context" => {
            payi::track_context!(
                user_id = args.text("user_id"),
                account_name = args.text("account_name"),
                use_case_name = args.text("use_case_name"),
                use_case_id = args.text("use_case_id"),
                use_case_version = args.version(),
                use_case_step = args.text("use_case_step"),
                use_case_properties = args.map("use_case_properties"),
                limit_ids = args.texts("limit_ids"),
                request_tags = args.texts("request_tags"),
                request_properties = args.map("request_properties"),
                proxy = args.flag("proxy"),
                { run_async(body, seen).await }
            );
        }
        "gather" => {
            futures::future::join_all(children.into_iter().map(|child| run_async(child, seen.clone()))).await;
        }
        "task_group" => {
            let tasks: Vec<_> =
                children.into_iter().map(|it| payi::spawn(run_async(it, seen.clone()))).collect();
            for task in tasks {
                task.await.unwrap();
            }
        }
        "create_task" | "loop_create_task" => payi::spawn(run_async(body, seen)).await.unwrap(),
        "to_thread" => payi::spawn_blocking(move || run(&body, &seen)).await.unwrap(),
        "thread" => std::thread::spawn(move || run(&body, &seen)).join().unwrap(),
        "interleave" => interleave(Args::of(&step, "a"), Args::of(&step, "b"), seen).await,
        other => panic!("a step this test does not know: {other}"),
    }
}

/// Two tasks: A opens its scope, B opens its own, A looks and leaves, B looks and leaves.
async fn interleave(a: Args, b: Args, seen: Seen) {
    let opened = tokio::sync::Barrier::new(2);
    let left = tokio::sync::Barrier::new(2);
    let look = |label: &str| seen.context(&json!({ "label": label }));
    let in_a = async {
        payi::track_context!(user_id = a.text("user_id"), {
            opened.wait().await;
            look("A inside its own block while B is open");
        });
        left.wait().await;
    };
    let in_b = async {
        payi::track_context!(user_id = b.text("user_id"), {
            opened.wait().await;
            left.wait().await;
            look("B inside its own block after A exited");
        });
    };
    tokio::join!(in_a, in_b);
    look("after both");
}

fn steps_of(steps: &Value) -> Steps {
    steps.as_array().cloned().unwrap_or_default()
}

/// A context as `get_context()` shows it.
fn snapshot(it: &Resolved) -> Value {
    let mut shown = Map::new();
    let mut put = |key: &str, value: Option<Value>| value.map(|value| shown.insert(key.to_owned(), value));
    let text = |text: &Option<Text>| text.as_deref().map(Value::from);
    let list = |list: &[Text]| (!list.is_empty()).then(|| list.iter().map(Text::as_str).collect());
    let use_case = it.use_case.clone().unwrap_or_default();
    put("user_id", text(&it.user_id));
    put("account_name", text(&it.account_name));
    put("use_case_name", it.use_case.as_ref().map(|it| Value::from(it.name.as_str())));
    put("use_case_id", text(&use_case.id));
    put("use_case_version", use_case.version.map(Value::from));
    put("use_case_step", text(&use_case.step));
    put("use_case_properties", pairs(&use_case.properties));
    put("limit_ids", list(&it.limit_ids));
    put("request_tags", list(&it.request_tags));
    put("request_properties", pairs(&it.request_properties));
    Value::Object(shown)
}

fn pairs(properties: &payi::context::Properties) -> Option<Value> {
    let map: Map<_, _> = properties
        .iter()
        .map(|(key, value)| (key.as_str().to_owned(), value.as_deref().map_or(Value::Null, Value::from)))
        .collect();
    (!map.is_empty()).then_some(Value::Object(map))
}

/// The same as an event carries it: limit ids trimmed, empty ones left out.
fn sent(it: &Resolved) -> Value {
    let mut event = snapshot(it);
    let limits: BTreeSet<_> = it.limit_ids.iter().map(|it| it.trim()).filter(|it| !it.is_empty()).collect();
    event.as_object_mut().unwrap().remove("limit_ids");
    if !limits.is_empty() {
        event["limit_ids"] = limits.into_iter().collect();
    }
    event
}

/// An event that the SDK sent, in the same form.
fn captured_event(request: &Value) -> Value {
    let headers: BTreeMap<_, _> = request["headers"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str().unwrap_or_default().to_owned()))
        .collect();
    let mut event = Map::new();
    for key in payi::Key::ALL {
        let Some(value) = key.header().and_then(|name| headers.get(&name.to_ascii_lowercase())) else {
            continue;
        };
        let value = match key {
            payi::Key::LimitIds => value.split(',').collect::<BTreeSet<_>>().into_iter().collect(),
            payi::Key::UseCaseVersion => value.parse::<u32>().unwrap().into(),
            _ => Value::from(value.as_str()),
        };
        event.insert(key.name().to_owned(), value);
    }
    for (field, key) in [("properties", "request_properties"), ("use_case_properties", "use_case_properties")]
    {
        let mut map = request["body"][field].as_object().cloned().unwrap_or_default();
        map.retain(|key, _| !key.starts_with("system."));
        if !map.is_empty() {
            event.insert(key.to_owned(), Value::Object(map));
        }
    }
    Value::Object(event)
}

/// Sorts what has no order, and numbers made ids by first appearance.
fn normal(value: &Value) -> Value {
    fn walk(value: &mut Value, made: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::Array(list)) = map.get_mut("limit_ids") {
                    list.sort_by_key(ToString::to_string);
                }
                map.values_mut().for_each(|value| walk(value, made));
            }
            Value::Array(list) => list.iter_mut().for_each(|value| walk(value, made)),
            Value::String(text) if text.starts_with("<uuid:") || (text.len() == 36 && text.contains('-')) => {
                let number = made.iter().position(|it| it == text).unwrap_or_else(|| {
                    made.push(text.clone());
                    made.len() - 1
                });
                *text = format!("<uuid:{}>", number + 1);
            }
            // As the capture writes long text.
            Value::String(text) if text.len() > 2000 && !text.ends_with(" chars>") => {
                *text = format!("{}...<{} chars>", &text[..200], text.len());
            }
            _ => {}
        }
    }
    let mut value = value.clone();
    walk(&mut value, &mut Vec::new());
    value
}

/// What the case says: snapshots by label, then events. Order among tasks means nothing.
fn form(mut contexts: Labelled, mut events: Vec<Value>) -> Value {
    contexts.sort_by(|a, b| a.0.cmp(&b.0));
    events.sort_by_key(ToString::to_string);
    let contexts: Vec<_> = contexts.into_iter().map(|(label, context)| json!([label, context])).collect();
    normal(&json!({ "contexts": contexts, "events": events }))
}

fn captured(case: &Value) -> Value {
    let contexts = case["captured"]["contexts"].as_array().unwrap().iter().map(|it| {
        let mut context = it["context"].clone();
        context.as_object_mut().unwrap().remove("last_result");
        (it["label"].as_str().unwrap_or_default().to_owned(), context)
    });
    let events = case["captured"]["payi_requests"].as_array().unwrap().iter();
    let events = events.filter(|it| it["path"].as_str().is_some_and(|it| it.starts_with("/api/v1/ingest")));
    form(contexts.collect(), events.map(captured_event).collect())
}

/// A use case among the other keys that the SDK's cases have around it.
fn around(use_case: &Value) -> Value {
    let mut all = json!({"user_id": "u1", "account_name": "acct", "limit_ids": ["l1", "l2"],
        "request_properties": {"a": "1"}});
    all.as_object_mut().unwrap().extend(use_case.as_object().unwrap().clone());
    all
}

/// Cases that differ on purpose: why, and what is right instead.
fn deliberate(name: &str) -> Option<(&'static str, Value)> {
    let of = |contexts: Value, events: Value| {
        let contexts = contexts.as_array().unwrap().iter();
        let contexts = contexts.map(|it| (it[0].as_str().unwrap().to_owned(), it[1].clone())).collect();
        form(contexts, events.as_array().unwrap().clone())
    };
    let case =
        |user: &str| json!({"use_case_name": "uc", "use_case_id": "i", "limit_ids": ["l"], "user_id": user});
    let after = json!({"use_case_name": "uc", "use_case_id": "i", "limit_ids": ["l"]});
    Some(match name {
        "uc_id_new_name_nested" => {
            let old = json!({"use_case_name": "uc", "use_case_id": "id-1", "use_case_version": 3,
                "use_case_step": "s1", "use_case_properties": {"p": "q"}});
            let new = json!({"use_case_name": "uc2", "use_case_id": "<uuid:1>"});
            let contexts = json!([["outer", around(&old)], ["inner new name", around(&new)]]);
            ("another use case starts clean", of(contexts, json!([around(&new)])))
        }
        "uc_id_new_name_explicit" => {
            let new = json!({"use_case_name": "uc2", "use_case_id": "mine", "use_case_version": 9});
            ("another use case starts clean", of(json!([["inner", around(&new)]]), json!([])))
        }
        "non_ascii_user" => (
            "the event is not lost",
            of(
                json!([]),
                json!([{"user_id": "zoë", "account_name": "株式会社", "request_properties": {"k": "é"}}]),
            ),
        ),
        "async_gather" => (
            "each task is billed to its own user",
            of(json!([["A", case("A")], ["B", case("B")], ["after", after]]), json!([case("A"), case("B")])),
        ),
        "async_interleave" => (
            "A sees A and B sees B",
            of(
                json!([
                    ["A inside its own block while B is open", {"user_id": "A"}],
                    ["B inside its own block after A exited", {"user_id": "B"}],
                    ["after both", {}]
                ]),
                json!([]),
            ),
        ),
        "thread_raw" => (
            "a call in a thread without a scope is recorded, in the global context",
            of(json!([["raw thread", {}]]), json!([{}])),
        ),
        "track_rejects_step" => ("every key is a key of `#[track]`", of(json!([]), json!([]))),
        "track_rejects_request_tags" => ("`request_tags` is a key", of(json!([]), json!([]))),
        "proxy_per_context" => (
            "seen as the context of the call, which goes through the proxy and sends no event",
            of(json!([]), json!([{"user_id": "u"}])),
        ),
        _ => return None,
    })
}

fn is_about_context(name: &str) -> bool {
    let others = ["use_case_id_in_config_only", "non_ascii_user", "long_strings", "proxy_per_context"];
    ["ctx_", "uc_", "track_", "async_", "thread_"].iter().any(|it| name.starts_with(it))
        || others.contains(&name)
}

async fn replay(case: &Value, in_async: bool) -> Value {
    // The process-wide configuration of the case: the outermost scope.
    let config = Args::of(&case["instrument"], "config");
    let mut steps = case["steps"].clone();
    if !config.0.is_empty() {
        steps = json!([{ "op": "track_context", "args": config.0, "body": steps }]);
    }
    let (steps, seen) = (steps_of(&steps), Seen::default());
    if in_async {
        run_async(steps, seen.clone()).await;
    } else {
        run(&steps, &seen);
    }
    let (contexts, events) = std::mem::take(&mut *seen.0.lock().unwrap());
    form(contexts, events)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_context_is_what_the_sdk_captured() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/spec/conformance.json");
    let Ok(text) = fs::read_to_string(&path) else {
        eprintln!("SKIPPED: {} is not there, so nothing was compared", path.display());
        return;
    };
    let cases: Value = serde_json::from_str(&text).unwrap();
    let (mut passed, mut different, mut failed) = (0, Vec::new(), Vec::new());
    for case in cases["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        if !is_about_context(name) {
            continue;
        }
        let reason = deliberate(name);
        let expected = reason.as_ref().map_or_else(|| captured(case), |(_, better)| normal(better));
        assert!(reason.is_some() || case["sdk_defect"] != json!(true), "{name}: a defect to copy?");
        let mut seen = vec![replay(case, true).await];
        if case["mode"] != json!("async") {
            seen.push(replay(case, false).await);
        }
        match seen.iter().find(|it| **it != expected) {
            Some(seen) => failed.push(format!("{name}\n  expected {expected}\n  seen     {seen}")),
            None => match reason {
                Some((reason, _)) => different.push(format!("{name}: {reason}")),
                None => passed += 1,
            },
        }
    }
    assert!(failed.is_empty(), "{} cases differ:\n{}", failed.len(), failed.join("\n"));
    let (d, n) = (different.len(), passed + different.len());
    assert!(n >= 35, "only {n} cases found");
    println!(
        "evidence conformance-context: {passed} passed, {d} deliberately different ({}), of {n}",
        different.join("; ")
    );
}
