//! Functions that return something which runs later: the scope goes along.

use std::pin::Pin;

use futures::{
    executor::block_on,
    future::{BoxFuture, LocalBoxFuture},
    stream::{self, BoxStream},
    FutureExt, Stream, StreamExt as _,
};
use payi::track;

use super::{call, turn, who, Future};

#[track(user_id = user)]
fn future(user: &str) -> impl Future<Output = String> + Send + 'static {
    let made = call();
    async move {
        turn().await;
        made.await
    }
}

#[track(user_id = user)]
fn boxed_block<'a>(user: &'a str) -> Pin<Box<dyn Future<Output = (&'a str, String)> + Send + 'a>> {
    Box::pin(async move { (user, call().await) })
}

#[track(user_id = user)]
fn boxed(user: &str, early: bool) -> BoxFuture<'_, String> {
    if early {
        return async move { call().await }.boxed();
    }
    let made = call();
    Box::pin(made)
}

#[track(user_id = user)]
fn local(user: &str) -> LocalBoxFuture<'_, String> {
    let made = std::rc::Rc::new(who());
    async move { format!("{made}{}", call().await) }.boxed_local()
}

#[track(user_id = user)]
fn fallible(user: &str) -> Result<impl Future<Output = String>, std::num::ParseIntError> {
    let _number: u8 = user.parse()?;
    Ok(call())
}

#[test]
fn futures_run_in_the_scope_of_the_function_that_made_them() {
    let (later, block) = (future("ann"), boxed_block("bob"));
    assert_eq!(who(), "-");
    block_on(async {
        assert_eq!(futures::join!(later, block), ("ann".into(), ("bob", "bob".into())));
        assert_eq!(futures::join!(boxed("ann", true), boxed("bob", false)), ("ann".into(), "bob".into()));
        assert_eq!(local("ann").await, "annann");
        assert!(fallible("ann").is_err());
        let fine = fallible("7");
        assert_eq!(fine.map(FutureExt::now_or_never), Ok(None));
    });
}

#[track(user_id = user)]
fn answers(user: &str) -> impl Stream<Item = String> + use<> {
    stream::iter(0..2).then(|_| async { call().await })
}

#[track(user_id = user)]
async fn opened(user: &str) -> Result<impl Stream<Item = String> + Send, String> {
    let opened_by = call().await;
    if opened_by != user {
        return Err(opened_by);
    }
    Ok(stream::repeat_with(who).take(2))
}

#[track(user_id = user)]
async fn boxed_stream(user: &str) -> Option<BoxStream<'static, String>> {
    turn().await;
    Some(stream::repeat_with(who).take(1).boxed())
}

/// As clients name theirs.
type AnswerStream = Pin<Box<dyn Stream<Item = String> + Send>>;

#[track(user_id = user, returns = stream)]
async fn aliased(user: &str) -> Result<AnswerStream, String> {
    turn().await;
    Ok(Box::pin(stream::repeat_with(who).take(1)))
}

#[track(user_id = user)]
fn generated(user: String) -> impl Stream<Item = String> {
    async_stream::stream! {
        yield who();
        turn().await;
        yield call().await;
        drop(user);
    }
}

#[test]
fn streams_run_in_the_scope_of_the_function_that_made_them() {
    block_on(async {
        let made = answers("ann");
        assert_eq!(who(), "-");
        assert_eq!(made.collect::<Vec<_>>().await, ["ann", "ann"]);
        let Ok(stream) = opened("bob").await else { panic!("refused") };
        assert_eq!(stream.size_hint(), (2, Some(2)));
        assert_eq!(stream.collect::<Vec<_>>().await, ["bob", "bob"]);
        let found = stream::iter(boxed_stream("cid").await).flatten();
        assert_eq!(found.collect::<Vec<_>>().await, ["cid"]);
        let aliased = stream::iter(aliased("dan").await).flatten();
        assert_eq!(aliased.collect::<Vec<_>>().await, ["dan"]);
        assert_eq!(generated("eve".into()).collect::<Vec<_>>().await, ["eve", "eve"]);
        assert_eq!(who(), "-");
    });
}

#[track(user_id = user)]
fn lazily(user: &str, count: usize) -> impl DoubleEndedIterator<Item = String> + ExactSizeIterator + Clone {
    assert_eq!(who(), user);
    (0..count).map(|n| format!("{}{n}", who()))
}

#[track(user_id = list.len())]
fn of_a_list(list: &mut Vec<u8>) -> Box<dyn Iterator<Item = (u8, String)> + '_> {
    Box::new(list.drain(..).map(|n| (n, who())))
}

#[test]
fn iterators_run_in_the_scope_of_the_function_that_made_them() {
    let mut lazy = lazily("ann", 3);
    assert_eq!(lazy.len(), 3);
    assert_eq!(lazy.clone().rev().map(|made| (made, who())).next(), Some(("ann2".into(), "-".into())));
    assert_eq!(lazy.nth(1), Some("ann1".into()));
    assert_eq!(lazy.next_back(), Some("ann2".into()));
    assert_eq!((lazy.next(), who()), (None, "-".into()));
    let mut list = vec![4, 5];
    assert_eq!(of_a_list(&mut list).collect::<Vec<_>>(), [(4, "2".into()), (5, "2".into())]);
    assert!(list.is_empty());
}

struct Counter {
    id: u64,
    log: Vec<String>,
}

impl Counter {
    #[track(user_id = self.id)]
    fn count(&mut self, more: &[u8]) -> impl Iterator<Item = &String> + use<'_> {
        self.log.extend(more.iter().map(|n| format!("{}:{n}", who())));
        self.log.iter()
    }

    #[track(user_id = self.id, returns = value)]
    fn shown(&self) -> impl std::fmt::Display {
        format!("{}/{}", who(), self.log.len())
    }
}

#[test]
fn borrows_may_leave_with_what_is_returned() {
    let mut counter = Counter { id: 7, log: Vec::new() };
    assert_eq!(counter.count(&[1, 2]).count(), 2);
    assert_eq!(counter.log, ["7:1", "7:2"]);
    assert_eq!(counter.shown().to_string(), "7/2");
}
