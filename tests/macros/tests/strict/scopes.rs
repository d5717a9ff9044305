//! `track_context!` in edition 2021, beside other macros, on other executors.

use std::{cell::RefCell, rc::Rc, time::Duration};

use futures::{executor::block_on, FutureExt as _, StreamExt as _};
use payi::track_context;

use super::{call, turn, who};

#[test]
fn temporaries_of_the_last_expression_are_no_obstacle() {
    let cell = RefCell::new(String::from("x"));
    let length = track_context!(user_id = "ann", { cell.borrow().len() + who().len() });
    assert_eq!(length, 4);
    let awaited = block_on(async {
        track_context!(user_id = "ann", { call().map(RefCell::new).await.borrow().len() })
    });
    assert_eq!(awaited, 3);
}

#[test]
fn smol_runs_scopes_as_well() {
    let seen = smol::block_on(async {
        track_context!(user_id = "ann", {
            smol::Timer::after(Duration::from_millis(1)).await;
            let carried = track_context!(account_name = "acme", async { call().await });
            let (mine, theirs) = futures::join!(call(), smol::spawn(carried));
            assert_eq!(mine, theirs);
            mine
        })
    });
    assert_eq!((seen.as_str(), who().as_str()), ("ann", "-"));
}

#[test]
fn local_tasks_keep_to_their_own_scope() {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else {
        panic!("no runtime")
    };
    let tasks = tokio::task::LocalSet::new();
    let seen = Rc::new(RefCell::new(Vec::new()));
    tasks.block_on(&runtime, async {
        let handles: Vec<_> = ["ann", "bob", "cid"]
            .into_iter()
            .map(|user| {
                let seen = Rc::clone(&seen);
                tokio::task::spawn_local(async move {
                    track_context!(user_id = user, {
                        turn().await;
                        let answer = call().await;
                        seen.borrow_mut().push((user, answer));
                    });
                    who()
                })
            })
            .collect();
        for handle in handles {
            assert_eq!(handle.await.as_deref().ok(), Some("-"));
        }
    });
    assert!(seen.borrow().iter().all(|(user, seen)| user == seen));
    assert_eq!(seen.borrow().len(), 3);
}

#[test]
fn a_scope_may_stand_inside_a_generated_stream() {
    let stream = async_stream::stream! {
        for user in ["ann", "bob"] {
            let answer = track_context!(user_id = user, {
                turn().await;
                call().await
            });
            yield (answer, who());
        }
    };
    let seen = block_on(stream.collect::<Vec<_>>());
    assert_eq!(seen, [("ann".to_owned(), "-".to_owned()), ("bob".to_owned(), "-".to_owned())]);
}

#[test]
fn a_generated_stream_may_yield_inside_a_scope() {
    let stream = async_stream::stream! {
        for user in ["ann", "bob"] {
            track_context!(user_id = user, {
                yield (user, who());
                turn().await;
                yield (user, call().await);
            });
        }
    };
    block_on(async {
        let mut stream = std::pin::pin!(stream);
        let mut count = 0;
        while let Some((user, seen)) = stream.next().await {
            assert_eq!(
                (seen.as_str(), who().as_str()),
                (user, "-"),
                "whoever reads the stream has no part in it"
            );
            count += 1;
        }
        assert_eq!(count, 4);
    });
}

#[test]
fn own_bodies_inside_a_block_are_their_own() {
    block_on(track_context!(user_id = "ann", async {
        let stream = async_stream::stream! { yield call().await; };
        let outside = track_context!(account_name = "acme", {
            turn().await;
            stream.collect::<Vec<_>>().await
        });
        assert_eq!(outside, ["ann"]);
    }));
}

#[test]
fn unknown_macros_are_fine_where_nothing_awaits_and_marked_where_something_does() {
    macro_rules! twice {
        ($value:expr) => {
            [$value, $value]
        };
    }
    track_context!(user_id = "ann", {
        assert_eq!(twice!(who()), ["ann", "ann"]);
    });
    block_on(async {
        track_context!(user_id = "ann", {
            turn().await;
            assert_eq!(payi::opaque!(twice!(who())), ["ann", "ann"]);
        });
    });
}

#[test]
fn nothing_is_changed_by_a_scope_without_keys() {
    track_context!(user_id = "ann", {
        track_context!({ assert_eq!(who(), "ann") });
        assert!(call().now_or_never().is_none());
    });
}
