//! `track_context!`: everything legal in a block is legal in its block, and means the same.

use std::{
    fmt::Write as _,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Waker},
    time::Duration,
};

use futures::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use payi::track_context;

use super::{call, turn, who};

fn sync_return(given: Result<u8, String>) -> Result<u8, String> {
    let value = track_context!(user_id = "ann", {
        let value = given?;
        assert_eq!(who(), "ann");
        if value == 7 {
            return Ok(70);
        }
        value + 1
    });
    assert_eq!(who(), "-");
    Ok(value)
}

#[test]
fn sync_blocks_return_and_fail_as_blocks_do() {
    assert_eq!(sync_return(Ok(7)), Ok(70));
    assert_eq!(sync_return(Ok(1)), Ok(2));
    assert_eq!(sync_return(Err("no".into())), Err("no".into()));
    assert_eq!(who(), "-");
}

#[test]
fn sync_blocks_break_and_continue() {
    let mut seen = Vec::new();
    'all: for n in 0..10 {
        track_context!(user_id = n, {
            if n % 2 == 0 {
                continue 'all;
            }
            if n > 5 {
                break;
            }
            seen.push(who());
        });
    }
    assert_eq!(seen, ["1", "3", "5"]);
    assert_eq!(who(), "-");
}

async fn async_return(given: Result<u8, String>) -> Result<u8, String> {
    let value = track_context!(user_id = "ann", {
        turn().await;
        let value = given?;
        assert_eq!(call().await, "ann");
        let Some(rest) = value.checked_sub(1) else { return Err("zero".into()) };
        if value == 7 {
            return Ok(70);
        }
        rest
    });
    assert_eq!(who(), "-");
    turn().await;
    assert_eq!(who(), "-");
    Ok(value)
}

#[tokio::test]
async fn async_blocks_return_and_fail_as_blocks_do() {
    assert_eq!(async_return(Ok(7)).await, Ok(70));
    assert_eq!(async_return(Ok(1)).await, Ok(0));
    assert_eq!(async_return(Ok(0)).await, Err("zero".into()));
    assert_eq!(async_return(Err("no".into())).await, Err("no".into()));
    assert_eq!(who(), "-");
}

#[tokio::test]
async fn async_blocks_break_and_continue() {
    let mut seen = Vec::new();
    'all: for n in 0..10 {
        track_context!(user_id = n, {
            turn().await;
            if n % 2 == 0 {
                continue 'all;
            }
            if n > 5 {
                break 'all;
            }
            seen.push(call().await);
        });
    }
    assert_eq!(seen, ["1", "3", "5"]);
    assert_eq!(who(), "-");
}

/// Waits and asks in turns; whether it was `user` every time.
async fn branch(user: &str) -> bool {
    let inside = track_context!(user_id = user, {
        let mut right = true;
        for _ in 0..5 {
            right &= call().await == user && who() == user;
            turn().await;
            right &= who() == user;
        }
        right
    });
    inside && who() == "-"
}

async fn nested(user: &str) -> bool {
    let inner_user = format!("{user}.inner");
    let inside = track_context!(user_id = user, account_name = "acme", {
        turn().await;
        let inner = track_context!(user_id = inner_user, {
            let seen = call().await;
            turn().await;
            seen == inner_user
                && who() == inner_user
                && payi::current().account_name().as_deref() == Some("acme")
        });
        turn().await;
        inner && who() == user && call().await == user
    });
    inside && who() == "-"
}

#[tokio::test]
async fn branches_of_one_task_do_not_see_each_other() {
    let (a, b, c) = tokio::join!(branch("a"), branch("b"), nested("c"));
    assert!(a && b && c);

    let mut together: FuturesUnordered<_> = ["a", "b", "c", "d"].into_iter().map(branch).collect();
    while let Some(right) = together.next().await {
        assert!(right && who() == "-");
    }

    let buffered = futures::stream::iter(["a", "b", "c", "d", "e"]).map(nested).buffer_unordered(3);
    assert!(buffered.all(std::future::ready).await);
    assert_eq!(who(), "-");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_that_change_threads_keep_their_scope() {
    let tasks: Vec<_> = (0..50)
        .map(|n| {
            tokio::spawn(async move {
                let user = format!("u{n}");
                branch(&user).await && nested(&user).await && who() == "-"
            })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap());
    }
}

#[tokio::test]
async fn borrows_live_across_awaits_and_macros_may_await() {
    let mut written = Vec::new();
    let list = &mut written;
    track_context!(user_id = "ann", {
        let text = String::from("x");
        let borrowed = &text;
        turn().await;
        list.push(format!("{borrowed}{}", call().await));
        let mut out = String::new();
        write!(out, "{}-{}", call().await, who()).unwrap();
        list.push(out);
        list.extend(vec![call().await; 2]);
        assert_eq!(call().await, "ann", "asked by {}", call().await);
        assert!(matches!(call().await.as_str(), "ann" | "bob" if true));
    });
    assert_eq!(written, ["xann", "ann-ann", "ann", "ann"]);
}

#[tokio::test]
async fn awaits_may_stand_anywhere_in_an_expression() {
    async fn first<T>(a: T, _: T) -> T {
        a
    }
    let seen = track_context!(user_id = "ann", {
        let nested = first(first(call().await, call().await).await, call().await).await;
        let both = (call().await, if call().await == "ann" { call().await } else { String::new() });
        let closure = async |n: usize| (n, call().await);
        let later = async { call().await };
        match call().await.as_str() {
            "ann" => [nested, both.0, both.1, closure(1).await.1, later.await, call().map(|who| who).await]
                .concat(),
            other => other.to_owned(),
        }
    });
    assert_eq!(seen, "ann".repeat(6));
}

#[tokio::test]
async fn attributes_of_what_awaits_are_kept() {
    let seen = track_context!(user_id = "ann", {
        #[cfg(any())]
        this_is_not_compiled().await;
        #[cfg(any())]
        tokio::join!(nor_is_this());
        let list = [
            #[cfg(any())]
            nor_that().await,
            call().await,
        ];
        #[cfg(all())]
        call().await;
        list
    });
    assert_eq!(seen, ["ann"]);
}

#[tokio::test]
async fn values_are_evaluated_in_order_outside_the_scope() {
    let user = String::from("ann");
    let seen = track_context!(user_id = user, {
        track_context!(account_name = call().await, user_id = format!("{}+", call().await), {
            call().await + payi::current().account_name().unwrap().as_str()
        })
    });
    assert_eq!((seen.as_str(), user.as_str()), ("ann+ann", "ann"));
}

#[tokio::test]
async fn an_async_body_carries_the_scope() {
    let later = track_context!(user_id = "ann", async {
        turn().await;
        call().await
    });
    assert_eq!(who(), "-");
    assert_eq!(tokio::spawn(later).await.unwrap(), "ann");
    let user = "bob".to_owned();
    let moved = track_context!(user_id = user, async move { (user, call().await) });
    assert_eq!(moved.await, ("bob".to_owned(), "bob".to_owned()));
}

/// Says who it was for when it was dropped.
struct OnDrop(Arc<Mutex<Vec<String>>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(who());
    }
}

#[tokio::test]
async fn what_is_cancelled_leaves_nothing_behind() {
    let dropped = Arc::new(Mutex::new(Vec::new()));
    let held = OnDrop(Arc::clone(&dropped));
    let never = async {
        track_context!(user_id = "ann", {
            async move {
                let _held = held;
                std::future::pending::<()>().await;
            }
            .await;
        });
    };
    assert!(tokio::time::timeout(Duration::from_millis(1), never).await.is_err());
    assert_eq!(who(), "-");
    assert_eq!(*dropped.lock().unwrap(), ["ann"], "a future is dropped in the scope it was awaited in");
}

#[tokio::test]
async fn variables_of_a_cancelled_block_are_dropped_in_its_scope() {
    let dropped = Arc::new(Mutex::new(Vec::new()));
    let variable = || OnDrop(Arc::clone(&dropped));
    let by_await = async {
        track_context!(user_id = "ann", {
            let _held = variable();
            track_context!(user_id = "bob", {
                let _held = variable();
                std::future::pending::<()>().await;
            });
        });
    };
    let by_join = async {
        track_context!(user_id = "cid", {
            let _held = variable();
            tokio::join!(std::future::pending::<()>(), turn());
        });
    };
    let by_select = async {
        track_context!(user_id = "dan", {
            let _held = variable();
            tokio::select! { () = std::future::pending() => turn().await }
        });
    };
    assert!(tokio::time::timeout(Duration::from_millis(1), by_await).await.is_err());
    assert!(tokio::time::timeout(Duration::from_millis(1), by_join).await.is_err());
    assert!(tokio::time::timeout(Duration::from_millis(1), by_select).await.is_err());
    assert_eq!(*dropped.lock().unwrap(), ["bob", "ann", "cid", "dan"]);
    assert_eq!(who(), "-");
}

#[tokio::test]
async fn a_panic_leaves_nothing_behind() {
    for parks in [false, true] {
        let panics = async move {
            track_context!(user_id = "ann", {
                if parks {
                    turn().await;
                }
                assert_eq!(who(), "nobody");
            });
        };
        assert!(std::panic::AssertUnwindSafe(panics).catch_unwind().await.is_err());
        assert_eq!(who(), "-");
    }
}

#[test]
fn a_parked_block_is_not_in_force() {
    let mut block = pin!(async {
        track_context!(user_id = "ann", {
            assert_eq!(who(), "ann");
            turn().await;
            assert_eq!(who(), "ann");
        });
    });
    let mut cx = Context::from_waker(Waker::noop());
    track_context!(user_id = "bob", {
        while block.as_mut().poll(&mut cx).is_pending() {
            assert_eq!(who(), "bob");
        }
    });
    assert_eq!(who(), "-");
}

#[test]
fn it_needs_no_tokio() {
    let seen = futures::executor::block_on(async {
        track_context!(user_id = "ann", { futures::future::join(call(), call()).await })
    });
    assert_eq!(seen, ("ann".to_owned(), "ann".to_owned()));
}

#[test]
fn a_key_alone_means_a_variable_of_its_name() {
    let user_id = String::from("ann");
    let use_case_version = 3;
    track_context!(user_id, use_case_name = "chat", use_case_version, {
        assert_eq!(who(), "ann");
        assert_eq!(payi::current().use_case_version(), Some(3));
    });
    drop(user_id);
}

#[test]
fn fields_of_a_borrowed_value_can_be_given() {
    struct User {
        id: u64,
        plan: String,
        tags: Vec<String>,
    }
    let user = &User { id: 7, plan: "pro".into(), tags: vec!["a".into()] };
    track_context!(
        user_id = user.id,
        limit_ids = [user.plan, "free"],
        request_tags = user.tags,
        request_properties = [("plan", user.plan), ("seats", "3"), ("team", None)],
        {
            let context = payi::current();
            assert_eq!(context.user_id().as_deref(), Some("7"));
            assert_eq!(context.limit_ids(), ["pro", "free"]);
            assert_eq!(context.request_tags(), ["a"]);
            let properties = context.request_properties();
            assert_eq!(properties.len(), 3);
            assert_eq!(properties[2], ("team".into(), None));
        }
    );
}

#[test]
fn none_inherits_and_clear_clears() {
    track_context!(user_id = "ann", account_name = "acme", {
        track_context!(user_id = None, account_name = payi::Clear, {
            assert_eq!(who(), "ann");
            assert_eq!(payi::current().account_name(), None);
        });
    });
}
