//! Random programs of scopes, awaits, joins, selects, spawns, cancellations and panics: whoever is asked,
//! at whatever moment, it is the user of the lexically innermost scope.
//!
//! A program is a tree of [`Op`]s. Interpreting it passes down the user that a reader of the source would
//! name; every call compares that with what the context says when the call is made, when it is first
//! polled, when it is done, and when it is dropped instead.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use futures::{
    FutureExt as _, Stream, StreamExt as _,
    future::BoxFuture,
    stream::{self, FuturesUnordered},
};
use payi::{InContext, track, track_context};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tokio::runtime::Runtime;

/// Whom a call is for; `None` outside of every scope.
type User = Option<u32>;
type Ops = Arc<[Op]>;

#[derive(Clone, Debug)]
enum Op {
    /// A call: made, polled, done.
    Call,
    /// A call that is made here and awaited after a few turns.
    CallLater,
    /// Lets the others run.
    Turn(u8),
    /// A scope around the rest.
    Block(u32, Ops),
    /// Two scopes in one function.
    Nested(u32, u32, Ops),
    /// A scope left by `continue` and `break`.
    Loop(u32, Ops),
    /// A scope left by `return`.
    Return(u32, Ops),
    /// A scope left by a panic.
    Panic(u32, Ops),
    /// A sync scope, with calls that are made in it and run outside of it.
    Sync(u32),
    /// `#[track] async fn`.
    Tracked(u32, Ops),
    /// `#[track] fn -> BoxFuture`, awaited after a turn.
    Boxed(u32, Ops),
    /// `track_context!(.., async move { })`, awaited after a turn.
    Carried(u32, Ops),
    /// `join!` in a scope; branches made there, and branches with scopes of their own.
    Join(u32, Ops, Ops),
    /// `select!` in a scope: against a few turns, so that it is sometimes cancelled.
    Select(u32, Ops, u8),
    /// The `select!` of `futures`, by name, until both are done.
    SelectAll(u32, Ops, Ops),
    /// `FuturesUnordered` of branches with scopes, in a scope.
    Unordered(u32, Vec<(u32, Ops)>),
    /// `payi::spawn`.
    Spawned(Ops),
    /// `tokio::spawn`: inherits nothing.
    Foreign(Ops),
    /// `payi::spawn_blocking`.
    Blocking,
    /// A tracked stream, read in the scope that is there.
    Streamed(u32, u8),
}

fn ops() -> impl Strategy<Value = Ops> {
    let leaf = prop_oneof![
        4 => Just(Op::Call),
        1 => Just(Op::CallLater),
        2 => (0_u8..4).prop_map(Op::Turn),
        1 => any::<u32>().prop_map(Op::Sync),
        1 => (any::<u32>(), 0_u8..4).prop_map(|(user, n)| Op::Streamed(user, n)),
        1 => Just(Op::Blocking),
    ];
    let op = leaf.prop_recursive(5, 48, 4, |op| {
        let ops = prop::collection::vec(op, 1..4).prop_map(Ops::from).boxed();
        let user = any::<u32>;
        prop_oneof![
            3 => (user(), ops.clone()).prop_map(|(user, ops)| Op::Block(user, ops)),
            2 => (user(), user(), ops.clone()).prop_map(|(a, b, ops)| Op::Nested(a, b, ops)),
            1 => (user(), ops.clone()).prop_map(|(user, ops)| Op::Loop(user, ops)),
            1 => (user(), ops.clone()).prop_map(|(user, ops)| Op::Return(user, ops)),
            1 => (user(), ops.clone()).prop_map(|(user, ops)| Op::Panic(user, ops)),
            1 => (user(), ops.clone()).prop_map(|(user, ops)| Op::Tracked(user, ops)),
            1 => (user(), ops.clone()).prop_map(|(user, ops)| Op::Boxed(user, ops)),
            1 => (user(), ops.clone()).prop_map(|(user, ops)| Op::Carried(user, ops)),
            3 => (user(), ops.clone(), ops.clone()).prop_map(|(user, a, b)| Op::Join(user, a, b)),
            3 => (user(), ops.clone(), 0_u8..9).prop_map(|(user, ops, n)| Op::Select(user, ops, n)),
            2 => (user(), ops.clone(), ops.clone()).prop_map(|(user, a, b)| Op::SelectAll(user, a, b)),
            2 => (user(), prop::collection::vec((user(), ops.clone()), 1..4))
                .prop_map(|(user, all)| Op::Unordered(user, all)),
            1 => ops.clone().prop_map(Op::Spawned),
            1 => ops.prop_map(Op::Foreign),
        ]
    });
    prop::collection::vec(op, 1..5).prop_map(Ops::from)
}

/// What all calls of a run saw.
#[derive(Default)]
struct Tally {
    calls: AtomicU64,
    reads: AtomicU64,
    wrong: Mutex<Vec<String>>,
}

impl Tally {
    fn read(&self, user: User, when: &str) {
        self.reads.fetch_add(1, Relaxed);
        let seen = payi::current().user_id();
        let expected = user.map(|user| user.to_string());
        if seen.as_deref() != expected.as_deref() {
            self.wrong.lock().unwrap().push(format!("{when}: {seen:?} instead of {expected:?}"));
        }
    }
}

/// One call.
struct Ask {
    user: User,
    tally: Arc<Tally>,
    turns: u8,
    done: bool,
}

/// A call for whoever is current, who ought to be `user`.
fn ask(user: User, tally: &Arc<Tally>) -> Ask {
    tally.calls.fetch_add(1, Relaxed);
    tally.read(user, "made");
    Ask { user, tally: Arc::clone(tally), turns: 2, done: false }
}

impl Future for Ask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.tally.read(self.user, "polled");
        if let Some(turns) = self.turns.checked_sub(1) {
            self.turns = turns;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.done = true;
        Poll::Ready(())
    }
}

impl Drop for Ask {
    fn drop(&mut self) {
        if !self.done {
            self.tally.read(self.user, "dropped");
        }
    }
}

async fn turns(n: u8) {
    for _ in 0..n {
        tokio::task::yield_now().await;
    }
}

/// Runs `ops`; whoever reads the source says that it is for `user`.
fn run(ops: &Ops, user: User, tally: &Arc<Tally>) -> BoxFuture<'static, ()> {
    let (ops, tally) = (Arc::clone(ops), Arc::clone(tally));
    async move {
        for op in &*ops {
            scopes(op, user, &tally).await;
            tally.read(user, "between");
        }
    }
    .boxed()
}

async fn scopes(op: &Op, user: User, tally: &Arc<Tally>) {
    match op {
        Op::Call => ask(user, tally).await,
        Op::CallLater => {
            let call = ask(user, tally);
            turns(2).await;
            call.await;
        }
        Op::Turn(n) => turns(*n).await,
        Op::Block(inner, ops) => track_context!(user_id = *inner, {
            ask(Some(*inner), tally).await;
            run(ops, Some(*inner), tally).await;
            tally.read(Some(*inner), "after");
        }),
        Op::Nested(outer, inner, ops) => track_context!(user_id = *outer, {
            turns(1).await;
            track_context!(user_id = *inner, {
                run(ops, Some(*inner), tally).await;
                ask(Some(*inner), tally).await;
            });
            tally.read(Some(*outer), "between two");
            ask(Some(*outer), tally).await;
        }),
        Op::Loop(inner, ops) => {
            for n in 0..3 {
                track_context!(user_id = *inner, {
                    if n == 0 {
                        continue;
                    }
                    run(ops, Some(*inner), tally).await;
                    break;
                });
            }
        }
        Op::Return(inner, ops) => {
            let _: Result<(), ()> = leaves(*inner, ops, tally).await;
        }
        Op::Panic(inner, ops) => {
            let panics = async {
                track_context!(user_id = *inner, {
                    run(ops, Some(*inner), tally).await;
                    // Without the message of a panic.
                    std::panic::resume_unwind(Box::new(()));
                });
            };
            assert!(std::panic::AssertUnwindSafe(panics).catch_unwind().await.is_err());
        }
        Op::Sync(inner) => {
            let calls = track_context!(user_id = *inner, {
                [ask(Some(*inner), tally), ask(Some(*inner), tally)].map(InContext::in_current_context)
            });
            for call in calls {
                call.await;
            }
        }
        other => functions(other, user, tally).await,
    }
}

async fn leaves(inner: u32, ops: &Ops, tally: &Arc<Tally>) -> Result<(), ()> {
    track_context!(user_id = inner, {
        run(ops, Some(inner), tally).await;
        let left: Result<(), ()> = Err(());
        left?;
        unreachable!("it has returned")
    })
}

#[track(user_id = inner)]
async fn tracked(inner: u32, ops: &Ops, tally: &Arc<Tally>) {
    run(ops, Some(inner), tally).await;
    ask(Some(inner), tally).await;
}

#[track(user_id = inner)]
fn boxed<'a>(inner: u32, ops: &'a Ops, tally: &'a Arc<Tally>) -> BoxFuture<'a, ()> {
    let made = ask(Some(inner), tally);
    async move {
        made.await;
        run(ops, Some(inner), tally).await;
    }
    .boxed()
}

#[track(user_id = inner)]
fn streamed(inner: u32, n: u8, tally: &Arc<Tally>) -> impl Stream<Item = ()> + Send + use<> {
    let tally = Arc::clone(tally);
    stream::iter(0..n).then(move |_| ask(Some(inner), &tally))
}

async fn functions(op: &Op, user: User, tally: &Arc<Tally>) {
    match op {
        Op::Tracked(inner, ops) => tracked(*inner, ops, tally).await,
        Op::Boxed(inner, ops) => {
            let later = boxed(*inner, ops, tally);
            turns(1).await;
            later.await;
        }
        Op::Carried(inner, ops) => {
            let later = track_context!(user_id = *inner, async move {
                ask(Some(*inner), tally).await;
                run(ops, Some(*inner), tally).await;
            });
            turns(1).await;
            later.await;
        }
        Op::Spawned(ops) => payi::spawn(run(ops, user, tally)).await.unwrap(),
        Op::Foreign(ops) => tokio::spawn(run(ops, None, tally)).await.unwrap(),
        Op::Blocking => {
            let theirs = Arc::clone(tally);
            payi::spawn_blocking(move || {
                futures::executor::block_on(ask(user, &theirs));
            })
            .await
            .unwrap();
        }
        Op::Streamed(inner, n) => {
            let mut stream = std::pin::pin!(streamed(*inner, *n, tally));
            while stream.next().await.is_some() {
                ask(user, tally).await;
            }
        }
        other => together(other, tally).await,
    }
}

async fn together(op: &Op, tally: &Arc<Tally>) {
    match op {
        Op::Join(inner, a, b) => track_context!(user_id = *inner, {
            let scoped = tracked(*inner ^ 1, b, tally);
            let ((), (), (), ()) =
                tokio::join!(ask(Some(*inner), tally), run(a, Some(*inner), tally), scoped, async {
                    ask(Some(*inner), tally).await
                });
            ask(Some(*inner), tally).await;
        }),
        Op::Select(inner, ops, n) => track_context!(user_id = *inner, {
            tokio::select! {
                biased;
                () = turns(*n), if *n > 0 => {
                    tally.read(Some(*inner), "handler");
                    ask(Some(*inner), tally).await;
                }
                () = run(ops, Some(*inner), tally) => ask(Some(*inner), tally).await,
                () = ask(Some(*inner), tally), if *n == 0 => tally.read(Some(*inner), "handler"),
            }
            tally.read(Some(*inner), "after select");
        }),
        Op::SelectAll(inner, a, b) => track_context!(user_id = *inner, {
            let mut first = run(a, Some(*inner), tally).fuse();
            let mut second = tracked(*inner ^ 1, b, tally).boxed().fuse();
            loop {
                futures::select! {
                    () = first => ask(Some(*inner), tally).await,
                    () = second => tally.read(Some(*inner), "handler"),
                    complete => break,
                }
            }
        }),
        Op::Unordered(inner, all) => track_context!(user_id = *inner, {
            let mut together: FuturesUnordered<_> = all
                .iter()
                .map(|(own, ops)| {
                    track_context!(user_id = *own, async move { run(ops, Some(*own), tally).await })
                })
                .collect();
            while together.next().await.is_some() {
                ask(Some(*inner), tally).await;
            }
        }),
        _ => unreachable!("the others are run elsewhere"),
    }
}

/// The same program in several tasks, each for a user of its own, at once.
fn tasks(runtime: &Runtime, ops: &Ops, count: u32, tally: &Arc<Tally>) {
    runtime.block_on(async {
        let tasks: Vec<_> = (0..count)
            .map(|user| tokio::spawn(payi::context().user_id(user).scope(run(ops, Some(user), tally))))
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        tally.read(None, "at the end");
    });
}

static WORKERS: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap()
});

/// Runs programs until there were so many calls; what they saw.
fn programs(calls: u64) -> Tally {
    let tally = Arc::new(Tally::default());
    let alone = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    while tally.calls.load(Relaxed) < calls {
        // A failing program is shrunk to the smallest that fails.
        let mut runner =
            TestRunner::new(Config { cases: 16, failure_persistence: None, ..Config::default() });
        let result = runner.run(&ops(), |ops| {
            let before = tally.wrong.lock().unwrap().len();
            tasks(&WORKERS, &ops, 8, &tally);
            tasks(&alone, &ops, 4, &tally);
            let wrong = tally.wrong.lock().unwrap();
            prop_assert!(wrong.len() == before, "{:?}", &wrong[before..]);
            Ok(())
        });
        if let Err(error) = result {
            panic!("{error}");
        }
    }
    Arc::into_inner(tally).unwrap()
}

#[test]
fn the_innermost_scope_is_seen_by_every_call() {
    programs(10_000);
}

#[test]
#[ignore = "evidence"]
fn the_innermost_scope_is_seen_by_a_million_calls() {
    let tally = programs(1_000_000);
    let (calls, reads) = (tally.calls.into_inner(), tally.reads.into_inner());
    let wrong = tally.wrong.into_inner().unwrap().len();
    println!("evidence interleavings: {calls} calls, {reads} reads of the context, {wrong} wrong");
    assert!(calls >= 1_000_000 && wrong == 0);
}
