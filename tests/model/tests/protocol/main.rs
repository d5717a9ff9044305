//! Scopes of tasks that move between threads, on a scheduler that tries many interleavings.
//!
//! What is tested is payi-core's own: the guard and the wrapper are its source files, the blocks are written
//! with the macro. Only what they stand on is a model: the thread-local is one of shuttle's, whose threads
//! are scheduled one step at a time, and a frame holds one user.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "payi-core's files have more than is needed here"
)]
#![allow(clippy::unwrap_used, clippy::unused_self, clippy::trivially_copy_pass_by_ref, reason = "a test")]

mod context;

mod __private {
    //! What the macro expands to.
    pub use crate::context::guard::{Wait, branch, enter, enter_sync, nest, run, same, scoped, wait};

    pub mod expression {
        pub const fn user_id(user: &u32) -> crate::context::Entry {
            *user
        }
    }
}

use std::{
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    task::{Context, Poll, Waker},
};

use context::scope;
use futures::{FutureExt as _, future::BoxFuture};
use payi_macros::track_context;
use shuttle::{
    rand::{Rng as _, thread_rng},
    sync::{Arc, Mutex},
    thread,
};

/// The user of the running code; 0 outside of every scope.
fn user() -> u32 {
    scope::current().map_or(0, |frame| frame.0)
}

/// Reads the user when made, at each of its polls and when dropped: always the same one.
struct Ask {
    user: u32,
    polls: u8,
}

fn ask(expected: u32) -> Ask {
    assert_eq!(user(), expected, "made");
    Ask { user: expected, polls: 2 }
}

impl Future for Ask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        assert_eq!(user(), self.user, "polled");
        self.polls = self.polls.saturating_sub(1);
        if self.polls == 0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Ask {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(user(), self.user, "dropped");
        }
    }
}

/// A task for `n`, with every form of waiting.
async fn task(n: u32) {
    track_context!(@crate crate; user_id = n, {
        let held = ask(n);
        ask(n).await;
        track_context!(@crate crate; user_id = n + 1, {
            ask(n + 1).await;
            let carried = track_context!(@crate crate; user_id = n + 2, async move { ask(n + 2).await });
            futures::join!(ask(n + 1), carried);
            assert_eq!(user(), n + 1);
        });
        let mut first = ask(n).fuse();
        let mut second = async { track_context!(@crate crate; user_id = n + 3, { ask(n + 3).await }) }.boxed().fuse();
        futures::select! {
            () = first => ask(n).await,
            () = second => assert_eq!(user(), n),
        }
        held.await;
    });
    assert_eq!(user(), 0);
}

type Tasks = Arc<Mutex<Vec<BoxFuture<'static, ()>>>>;

/// Polls whatever task it finds, or drops it half way; its own scope is never touched.
fn worker(tasks: &Tasks, own: u32) {
    let _own = __private::enter_sync([own]);
    loop {
        let next = tasks.lock().unwrap().pop();
        let Some(mut next) = next else { break };
        let polled = track_in_nobody(|| next.as_mut().poll(&mut Context::from_waker(Waker::noop())));
        assert_eq!(user(), own, "after a poll");
        if polled.is_pending() {
            if thread_rng().gen_range(0_u8..8) == 0 {
                track_in_nobody(|| drop(next));
                assert_eq!(user(), own, "after a task was dropped");
                continue;
            }
            let mut tasks = tasks.lock().unwrap();
            let at = thread_rng().gen_range(0..=tasks.len());
            tasks.insert(at, next);
        }
    }
}

/// An executor's threads have no scope; this one does, to see that it stays.
fn track_in_nobody<R>(work: impl FnOnce() -> R) -> R {
    let own = scope::swap(None);
    let done = work();
    assert_eq!(user(), 0, "a task left its scope behind");
    scope::swap(own);
    done
}

#[test]
fn tasks_that_move_between_threads_never_see_another_scope() {
    static SCHEDULES: AtomicUsize = AtomicUsize::new(0);
    let schedules = 3_000;
    shuttle::check_random(
        || {
            SCHEDULES.fetch_add(1, Relaxed);
            let tasks: Tasks = Arc::new(Mutex::new((1..=4).map(|n| task(n * 10).boxed()).collect()));
            let workers: Vec<_> = (1..=3)
                .map(|own| {
                    let tasks = Arc::clone(&tasks);
                    thread::spawn(move || worker(&tasks, 1_000 + own))
                })
                .collect();
            for worker in workers {
                worker.join().unwrap();
            }
        },
        schedules,
    );
    println!("evidence scope-model: {} schedules of 4 tasks on 3 threads, 0 wrong", SCHEDULES.load(Relaxed));
    assert_eq!(SCHEDULES.load(Relaxed), schedules);
}
