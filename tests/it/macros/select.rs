//! `join!`, `try_join!` and `select!` inside a block: branches are made and polled in its scope.

use std::{future::pending, time::Duration};

use futures::{FutureExt as _, StreamExt as _, pin_mut};
use payi::track_context;

use super::{call, turn, who};

#[tokio::test]
async fn branches_of_join_are_made_and_polled_in_the_scope() {
    track_context!(user_id = "ann", {
        let (a, b) = tokio::join!(call(), async {
            turn().await;
            call().await
        });
        assert_eq!((a.as_str(), b.as_str()), ("ann", "ann"));
        let (c, d) = futures::join!(call(), call());
        assert_eq!((c.as_str(), d.as_str()), ("ann", "ann"));
        let both: Result<_, String> = tokio::try_join!(call().map(Ok), async { Err("no".to_owned()) });
        assert_eq!(both, Err::<(String, ()), _>("no".to_owned()));
        assert_eq!(tokio::join!(biased; call()).0, "ann");
        assert_eq!(who(), "ann");
    });
    assert_eq!(who(), "-");
}

async fn first() -> Result<String, String> {
    let mut rounds = 0;
    loop {
        track_context!(user_id = "ann", {
            tokio::select! {
                biased;
                () = pending(), if rounds > 5 => unreachable!(),
                answer = call() => {
                    assert_eq!(who(), "ann");
                    rounds += 1;
                    if rounds == 2 {
                        return Ok(answer);
                    }
                    turn().await;
                    continue;
                }
                () = tokio::time::sleep(Duration::from_secs(9)) => return Err(who()),
            }
        });
    }
}

#[tokio::test]
async fn handlers_of_select_return_and_continue() {
    assert_eq!(first().await, Ok("ann".into()));
    assert_eq!(who(), "-");
}

#[tokio::test]
async fn select_has_patterns_conditions_and_else() {
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<u8>(4);
    sender.send(1).await.unwrap();
    sender.send(2).await.unwrap();
    drop(sender);
    let mut open = true;
    let mut seen = Vec::new();
    for _ in 0..3 {
        track_context!(user_id = "ann", {
            let got = tokio::select! {
                Some(n) = receiver.recv(), if open => {
                    // The channel is free again: the losing branches are gone before the handler runs.
                    open = receiver.is_closed();
                    (n, call().await)
                },
                else => (0, call().await),
            };
            seen.push(got);
        });
    }
    assert_eq!(seen, [(1, "ann".into()), (2, "ann".into()), (0, "ann".into())]);
}

#[tokio::test]
async fn a_future_may_be_awaited_across_rounds() {
    let whole = async {
        turn().await;
        call().await
    };
    tokio::pin!(whole);
    let mut ticks = 0;
    let answer = loop {
        track_context!(user_id = "ann", {
            tokio::select! {
                answer = &mut whole => break answer,
                () = turn() => ticks += 1,
            }
        });
    };
    assert_eq!(answer, "ann");
    assert!(ticks < 9);
}

#[tokio::test]
async fn the_select_of_futures_borrows_what_is_named() {
    let mut stream = futures::stream::iter(1..4).fuse();
    let answer = async { call().await }.fuse();
    pin_mut!(answer);
    let mut sum = 0;
    let mut by = String::new();
    track_context!(user_id = "ann", {
        loop {
            futures::select! {
                n = stream.select_next_some() => {
                    turn().await;
                    sum += n;
                },
                who = answer => by = who,
                complete => break,
            }
        }
    });
    assert_eq!((sum, by.as_str()), (6, "ann"));
}

#[tokio::test]
async fn it_joins_under_a_join() {
    async fn branch(user: &str) -> bool {
        track_context!(user_id = user, {
            let (a, b) = tokio::join!(call(), async {
                track_context!(user_id = format!("{user}+"), {
                    turn().await;
                    call().await
                })
            });
            a == user && b == format!("{user}+") && who() == user
        })
    }
    let (a, b, c) = tokio::join!(branch("a"), branch("b"), branch("c"));
    assert!(a && b && c);
    assert_eq!(who(), "-");
}

#[tokio::test]
async fn a_scope_under_another_name_is_still_seen() {
    use payi::track_context as scope;
    track_context!(user_id = "ann", {
        let inner = scope!(account_name = "acme", {
            turn().await;
            call().await
        });
        assert_eq!(inner, "ann");
    });
    assert_eq!(who(), "-");
}

#[tokio::test]
async fn the_select_of_tokio_moves_what_is_named() {
    let never = pending::<String>();
    track_context!(user_id = "ann", {
        let made = call();
        let seen = tokio::select! {
            seen = made => seen,
            seen = never => seen,
        };
        assert_eq!((seen.as_str(), who().as_str()), ("ann", "ann"));
    });
}
