//! The merge rules as a table, and what values turn into.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    mem::size_of,
    sync::Arc,
};

use crate::context::{
    Builder, Clear, Context, Entry, Frame, Key, KeySet, Loss, Properties, Resolved, Text, Value, builder,
    current,
    entry::{expression, in_place, item, literal, pair},
    frame::DEEP,
    merge,
};

type Keys = fn(Builder) -> Builder;

/// Scopes from the outermost inwards, and what the innermost one sees.
const TABLE: &[(&str, &[Keys], &str)] = &[
    ("nothing", &[], ""),
    ("none inherits", &[|k| k.user_id("u"), |k| k.user_id(None::<&str>)], "user_id=u"),
    (
        "inner replaces",
        &[|k| k.user_id("u").account_name("a"), |k| k.user_id("v")],
        "user_id=v account_name=a",
    ),
    ("empty clears", &[|k| k.user_id("u").account_name("a"), |k| k.user_id("")], "account_name=a"),
    ("Clear clears", &[|k| k.user_id("u").account_name("a"), |k| k.account_name(Clear)], "user_id=u"),
    (
        "cleared stays cleared",
        &[|k| k.user_id("u"), |k| k.user_id(Clear), |k| k.account_name("a")],
        "account_name=a",
    ),
    ("cleared, then given", &[|k| k.user_id("u"), |k| k.user_id(Clear), |k| k.user_id("v")], "user_id=v"),
    ("nothing is trimmed", &[|k| k.user_id(" u\n")], "user_id= u\n"),
    ("the last of its kind counts", &[|k| k.user_id("u").user_id("v")], "user_id=v"),
    (
        "prices",
        &[
            |k| k.price_as_category("c").price_as_resource("r").resource_scope("global"),
            |k| k.price_as_resource("s").resource_scope(""),
        ],
        "price_as_category=c price_as_resource=s",
    ),
    ("flags", &[|k| k.proxy(true).log_prompt_and_response(true), |k| k.proxy(false)], "proxy=false log=true"),
    ("lists unite", &[|k| k.limit_ids(["a", "b"]), |k| k.limit_ids(["b", "c"])], "limit_ids=[a,b,c]"),
    ("a list has each once", &[|k| k.limit_ids(["a", "a"])], "limit_ids=[a]"),
    ("an empty list clears", &[|k| k.limit_ids(["a"]), |k| k.limit_ids([""; 0])], ""),
    (
        "a list of nothing inherits",
        &[|k| k.limit_ids(["a"]), |k| k.limit_ids([None::<&str>])],
        "limit_ids=[a]",
    ),
    ("tags unite", &[|k| k.request_tags(["a"]), |k| k.request_tags(vec!["b"])], "request_tags=[a,b]"),
    (
        "properties lay over",
        &[
            |k| k.request_properties([("a", "1"), ("c", "3")]),
            |k| k.request_properties([("a", "9"), ("b", "2")]),
        ],
        "request_properties={a=9,c=3,b=2}",
    ),
    (
        "a null property is kept",
        &[|k| k.request_properties([("a", Some("1"))]), |k| k.request_properties([("a", None::<&str>)])],
        "request_properties={a=null}",
    ),
    (
        "no properties clear",
        &[|k| k.request_properties([("a", "1")]), |k| k.request_properties(BTreeMap::<&str, &str>::new())],
        "",
    ),
    (
        "the use case is a group",
        &[
            |k| k.use_case_name("n").use_case_id("i").use_case_version(2).use_case_step("s"),
            |k| k.user_id("u"),
        ],
        "user_id=u n/i v2 step=s",
    ),
    ("a version of 0 is one", &[|k| k.use_case_name("n").use_case_id("i").use_case_version(0)], "n/i v0"),
    (
        "an id alone replaces the id",
        &[|k| k.use_case_name("n").use_case_id("i").use_case_version(2), |k| k.use_case_id("j")],
        "n/j v2",
    ),
    (
        "the same name goes on",
        &[
            |k| k.use_case_name("n").use_case_id("i").use_case_step("s"),
            |k| k.use_case_name("n").use_case_version(3),
        ],
        "n/i v3 step=s",
    ),
    (
        "another name starts clean",
        &[
            |k| k.use_case_name("n").use_case_id("i").use_case_version(2).use_case_properties([("p", "q")]),
            |k| k.use_case_name("m").use_case_id("j"),
        ],
        "m/j",
    ),
    (
        "names differ by case",
        &[|k| k.use_case_name("n").use_case_id("i"), |k| k.use_case_name("N")],
        "N/<made>",
    ),
    ("an id is made", &[|k| k.use_case_name("n")], "n/<made>"),
    ("an empty id is none", &[|k| k.use_case_name("n").use_case_id("")], "n/-"),
    (
        "a cleared id stays cleared",
        &[|k| k.use_case_name("n").use_case_id(Clear), |k| k.use_case_name("n")],
        "n/-",
    ),
    (
        "a step clears",
        &[|k| k.use_case_name("n").use_case_id("i").use_case_step("s"), |k| k.use_case_step("")],
        "n/i",
    ),
    (
        "an empty name closes it, whatever else is given",
        &[
            |k| k.use_case_name("n").use_case_id("i"),
            |k| k.use_case_name("").use_case_id("j").use_case_version(1),
        ],
        "",
    ),
    ("without a name it is nothing", &[|k| k.use_case_id("i").use_case_version(1)], ""),
    (
        "nor is it remembered",
        &[|k| k.use_case_version(1).use_case_step("s"), |k| k.use_case_name("n").use_case_id("i")],
        "n/i",
    ),
    (
        "use-case properties lay over",
        &[
            |k| k.use_case_name("n").use_case_id("i").use_case_properties([("p", "q")]),
            |k| k.use_case_properties([("r", "s")]),
        ],
        "n/i {p=q,r=s}",
    ),
];

fn list(texts: &[Text]) -> String {
    texts.iter().map(Text::as_str).collect::<Vec<_>>().join(",")
}

fn map(properties: &Properties) -> String {
    let pairs = properties.iter().map(|(k, v)| format!("{k}={}", v.as_deref().unwrap_or("null")));
    pairs.collect::<Vec<_>>().join(",")
}

fn shown(it: &Resolved) -> String {
    let text = |name: &str, text: &Option<Text>| text.as_ref().map(|text| format!("{name}={text}"));
    let use_case = it.use_case.as_ref().map(|it| {
        let id = it.id.as_ref().map_or("-", Text::as_str);
        let id = if id.len() == 36 { "<made>" } else { id };
        let version = it.version.map(|it| format!(" v{it}")).unwrap_or_default();
        let step = it.step.as_ref().map(|it| format!(" step={it}")).unwrap_or_default();
        let map = Some(map(&it.properties)).filter(|it| !it.is_empty()).map(|it| format!(" {{{it}}}"));
        format!("{}/{id}{version}{step}{}", it.name, map.unwrap_or_default())
    });
    let some = |name: &str, list: String| (!list.is_empty()).then(|| format!("{name}{list}"));
    [
        text("user_id", &it.user_id),
        text("account_name", &it.account_name),
        use_case,
        some("limit_ids=", list(&it.limit_ids)).map(|it| it.replace('=', "=[") + "]"),
        some("request_tags=", list(&it.request_tags)).map(|it| it.replace('=', "=[") + "]"),
        some("", map(&it.request_properties)).map(|it| format!("request_properties={{{it}}}")),
        text("price_as_category", &it.price_as_category),
        text("price_as_resource", &it.price_as_resource),
        text("resource_scope", &it.resource_scope),
        it.proxy.map(|it| format!("proxy={it}")),
        it.log_prompt_and_response.map(|it| format!("log={it}")),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join(" ")
}

#[test]
fn inner_scopes_inherit_by_the_table() {
    for (name, scopes, expected) in TABLE {
        let context = scopes.iter().fold(Context::default(), |context, keys| context.with(keys(builder())));
        assert_eq!(shown(&context.resolve()), *expected, "{name}");
    }
}

/// However the scopes are nested, the result is that of one after the other.
#[test]
fn a_deep_chain_stands_on_a_merged_copy_that_says_the_same() {
    for (name, scopes, expected) in TABLE {
        let mut context = Context::default();
        for keys in *scopes {
            context = context.with(keys(builder()));
            for _ in 0..=DEEP {
                context = context.with(builder());
            }
        }
        assert_eq!(shown(&context.resolve()), *expected, "{name}");
    }
}

#[test]
fn a_chain_never_gets_long() {
    let mut context = Context::default();
    for user in 0..100_000 {
        context = context.with(builder().user_id(user).use_case_name("n"));
    }
    let frame = context.frame.as_deref().unwrap();
    let length = std::iter::successors(Some(frame), |frame| frame.parent()).count();
    assert!(length <= usize::from(DEEP) + 1, "{length}");
    assert_eq!(context.user_id().unwrap(), "99999");
}

#[test]
fn calls_in_one_scope_share_its_use_case_id_and_siblings_do_not() {
    let open = || Context::default().with(builder().use_case_name("n"));
    let (one, other) = (open(), open());
    let inner = one.with(builder().user_id("u"));
    assert_eq!(one.use_case_id(), one.use_case_id());
    assert_eq!(one.use_case_id(), inner.use_case_id());
    assert_ne!(one.use_case_id(), other.use_case_id());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let other = other.clone();
            std::thread::spawn(move || other.use_case_id())
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), other.use_case_id());
    }
}

#[test]
fn the_root_is_seen_by_all_but_those_with_a_root_of_their_own() {
    let keys = |user: &str| vec![expression::user_id(user), expression::use_case_name("app")];
    let global = Frame::root(None, keys("global"));
    let seen = |frame: Option<&Arc<Frame>>| {
        merge::resolve(frame.map(AsRef::as_ref), Some(&global)).user_id.map(String::from)
    };
    assert_eq!(seen(None).as_deref(), Some("global"), "a thread with no scope");
    let scope = Frame::child(None, [literal::account_name("a")]);
    assert_eq!(seen(Some(&scope)).as_deref(), Some("global"));
    let own = Frame::child(Some(Frame::root(None, Vec::new())), [literal::account_name("a")]);
    assert_eq!(seen(Some(&own)), None);
    let version = Frame::child(None, [literal::use_case_version(3)]);
    let use_case = merge::resolve(Some(&version), Some(&global)).use_case.unwrap();
    assert_eq!((use_case.name.as_str(), use_case.version), ("app", Some(3)), "goes on with the root's");
    let again = merge::resolve(None, Some(&global)).use_case.unwrap();
    assert_eq!(use_case.id, again.id, "one execution: that of the process");
}

#[test]
fn a_root_carries_something_however_deep() {
    let root = Frame::root(Some(Arc::new(7_u32)), vec![expression::user_id("u")]);
    let mut context = Context::of(root);
    for _ in 0..3 * DEEP {
        context = context.with(builder().limit_ids(["l"]));
    }
    assert_eq!(context.root::<u32>().as_deref(), Some(&7));
    assert_eq!(context.root::<u8>(), None, "of another type");
    assert_eq!(shown(&context.resolve()), "user_id=u limit_ids=[l]");
}

#[test]
fn keys_without_a_use_case_are_counted_once_per_scope() {
    let context = Context::default().with(builder().use_case_step("s"));
    let before = Loss::WithoutUseCase.count();
    context.resolve();
    context.resolve();
    // Other tests of this process count too.
    assert!(Loss::WithoutUseCase.count() > before);
}

#[test]
fn every_kind_of_value_becomes_its_text() {
    let text = |value: Value| value.to_text().map(String::from);
    assert_eq!(text(item("a")).as_deref(), Some("a"));
    assert_eq!(text(item(&String::from("a"))).as_deref(), Some("a"));
    assert_eq!(text(item(&std::borrow::Cow::Borrowed("a"))).as_deref(), Some("a"));
    assert_eq!(text(item(&Box::<str>::from("a"))).as_deref(), Some("a"));
    assert_eq!(text(item(&Arc::<str>::from("a"))).as_deref(), Some("a"));
    assert_eq!(text(item(&&&"a")).as_deref(), Some("a"));
    assert_eq!(text(item(&Some(Some("a")))).as_deref(), Some("a"));
    assert_eq!(text(item(&None::<String>)), None);
    assert_eq!(text(item(&i128::MIN)).as_deref(), Some("-170141183460469231731687303715884105728"));
    assert_eq!(text(item(&u64::MAX)).as_deref(), Some("18446744073709551615"));
    assert_eq!(text(item(&-1_i8)).as_deref(), Some("-1"));
    #[cfg(feature = "uuid")]
    assert_eq!(text(item(&uuid::Uuid::nil())).as_deref(), Some("00000000-0000-0000-0000-000000000000"));
    for length in [0, 1, 37, 38, 39, 1000] {
        let long = "é".repeat(length / 2) + &"x".repeat(length % 2);
        let kept = Text::new(&long);
        assert_eq!(kept, long.as_str());
        assert_eq!(kept.clone(), kept);
        assert_eq!(Text::display(&long), kept);
        assert_eq!(kept.is_empty(), long.is_empty());
    }
}

fn properties(entry: Entry) -> String {
    map(&merge::resolve(Some(&Frame::child(None, [entry])), None).request_properties)
}

#[test]
fn properties_are_read_from_whatever_holds_them() {
    #[derive(serde::Serialize)]
    struct Plan<'a> {
        name: &'a str,
        seats: u32,
        trial: bool,
        ratio: f64,
        until: Option<&'a str>,
        nested: Option<Vec<u8>>,
    }
    let mut plan = Plan { name: "pro", seats: 5, trial: true, ratio: 1.0, until: None, nested: None };
    let flat = "name=pro,seats=5,trial=True,ratio=1.0,until=null";
    assert_eq!(properties(expression::request_properties(&plan)), format!("{flat},nested=null"));
    let before = Loss::NestedProperty.count();
    plan.nested = Some(vec![1]);
    assert_eq!(properties(expression::request_properties(&plan)), flat, "the nested one is dropped");
    assert!(Loss::NestedProperty.count() > before);

    assert_eq!(properties(expression::request_properties(&[("a", "1"), ("b", "2")])), "a=1,b=2");
    assert_eq!(properties(expression::request_properties(&vec![("a", 1)])), "a=1");
    assert_eq!(
        properties(expression::request_properties(&BTreeMap::from([("a", Some(1)), ("b", None)]))),
        "a=1,b=null"
    );
    assert_eq!(properties(expression::request_properties(&HashMap::from([(7, 'x')]))), "7=x");
    assert_eq!(properties(expression::request_properties(&None::<BTreeMap<String, String>>)), "");
    assert_eq!(properties(expression::request_properties(&Clear)), "");
    assert_eq!(properties(expression::request_properties("nonsense")), "");
    assert_eq!(
        properties(in_place::request_properties([pair("a", &1), pair(&Some("b"), &None::<u8>)])),
        "a=1,b=null"
    );
    assert_eq!(
        properties(in_place::request_properties([pair("a", &true), pair("b", &0.5), pair("c", "")])),
        "a=True,b=0.5,c="
    );
    assert_eq!(properties(literal::request_properties(&[("a", "1")])), "a=1");
}

#[test]
fn lists_are_read_from_whatever_holds_them() {
    let limits = |entry| list(&merge::resolve(Some(&Frame::child(None, [entry])), None).limit_ids);
    assert_eq!(limits(expression::limit_ids(&["a", "b"])), "a,b");
    assert_eq!(limits(expression::limit_ids(["a", "b"].as_slice())), "a,b");
    assert_eq!(limits(expression::limit_ids(&Some(vec![Some("a"), None]))), "a");
    assert_eq!(limits(expression::limit_ids(&BTreeSet::from([2, 1]))), "1,2");
    assert_eq!(limits(in_place::limit_ids([item("a"), item(&7), item(&None::<&str>)])), "a,7");
    assert_eq!(limits(literal::limit_ids(&["a"])), "a");
}

#[test]
fn what_is_missing_is_named() {
    let context = Context::default().with(builder().user_id("u").use_case_step("s"));
    let asked = [Key::UserId, Key::AccountName, Key::UseCaseStep].into_iter().collect();
    assert_eq!(context.missing(asked).to_string(), "account_name, use_case_step");
    assert!(context.missing(KeySet::EMPTY).is_empty());
}

#[test]
fn the_table_is_sound() {
    let names: BTreeSet<_> = Key::ALL.iter().map(|key| key.name()).collect();
    let headers: BTreeSet<_> = Key::ALL.iter().filter_map(|key| key.header()).collect();
    assert_eq!((names.len(), headers.len()), (15, 14));
    assert!(Key::ALL.iter().enumerate().all(|(i, key)| *key as usize == i));
}

/// A frame with a few keys is one allocation, which the next scope uses again.
#[test]
fn frames_are_small() {
    assert_eq!(size_of::<Entry>(), 48);
    assert!(size_of::<Frame>() <= 264);
}

#[test]
fn a_scope_ends_with_its_guard_and_with_a_panic() {
    let outer = builder().user_id("outer").enter();
    let panicked = std::panic::catch_unwind(|| builder().user_id("inner").run(|| panic!("on purpose")));
    assert!(panicked.is_err());
    assert_eq!(current().user_id().unwrap(), "outer");
    drop(outer);
    assert_eq!(current().user_id(), None);
}

#[cfg(feature = "_http")]
#[test]
fn flags_are_seen_in_every_scope_and_in_the_process_wide_root() {
    let flags = || builder().log_prompt_and_response(false);
    let outer = flags().run(|| builder().user_id("u").build());
    assert!(outer.has_flags() && !builder().user_id("u").build().has_flags());
    let root = Frame::root(None, flags().into_entries());
    let called = Context { global: Some(root), ..Context::default() };
    assert!(called.has_flags());
}
