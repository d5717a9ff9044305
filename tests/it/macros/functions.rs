//! `#[track]` on every kind of function.

use payi::track;

use super::{call, turn, who};

fn use_case() -> (String, Option<u32>) {
    let context = payi::current();
    (context.use_case_name().map_or_else(|| "-".into(), String::from), context.use_case_version())
}

#[track(use_case_name = "sum", use_case_version = 2, user_id = format!("u{n}"))]
fn sync(n: u8) -> Result<String, std::num::ParseIntError> {
    let parsed: u8 = if n == 1 { "x".parse()? } else { n };
    if parsed == 2 {
        return Ok(who());
    }
    assert_eq!(use_case(), ("sum".into(), Some(2)));
    Ok(format!("{}!", who()))
}

#[test]
fn sync_functions() {
    assert!(sync(1).is_err());
    assert_eq!(sync(2), Ok("u2".into()));
    assert_eq!(sync(3), Ok("u3!".into()));
    assert_eq!(who(), "-");
}

#[track]
async fn bare() -> (String, Option<u32>) {
    turn().await;
    use_case()
}

trait Shape {
    fn sides(&self) -> u8;
}

struct Square;
struct Triangle;

impl Shape for Square {
    fn sides(&self) -> u8 {
        4
    }
}

impl Shape for Triangle {
    fn sides(&self) -> u8 {
        3
    }
}

#[track(user_id = user)]
async fn early(user: &str, square: bool) -> Result<Box<dyn Shape>, String> {
    turn().await;
    if square {
        return Ok(Box::new(Square));
    }
    assert_eq!(call().await, user);
    Ok(Box::new(Triangle))
}

#[track(user_id = user)]
async fn hidden(user: String) -> impl Iterator<Item = char> + use<> {
    let seen = call().await;
    assert_eq!(seen, user);
    seen.chars().collect::<Vec<_>>().into_iter()
}

#[tokio::test]
async fn async_functions() {
    assert_eq!(bare().await, ("bare".into(), None));
    assert_eq!(early("ann", true).await.map(|shape| shape.sides()), Ok(4));
    assert_eq!(early("ann", false).await.map(|shape| shape.sides()), Ok(3));
    assert_eq!(hidden("bob".into()).await.collect::<String>(), "bob");
    let (a, b) = tokio::join!(early("ann", false), tokio::spawn(hidden("bob".into())));
    assert!(a.is_ok() && b.is_ok());
    assert_eq!(who(), "-");
}

struct Service {
    tenant: String,
}

impl Service {
    /// Documented.
    #[track(account_name = self.tenant, user_id = user.as_ref())]
    #[must_use]
    pub(crate) async fn ask<'a, T>(&'a self, user: &'a T, suffix: impl Into<String>) -> (&'a str, String)
    where
        T: AsRef<str> + Sync + ?Sized,
    {
        let seen = call().await + &suffix.into();
        assert_eq!(payi::current().account_name().as_deref(), Some(&*self.tenant));
        (user.as_ref(), seen)
    }
}

#[tokio::test]
async fn methods_with_generics_and_lifetimes() {
    let service = Service { tenant: "acme".into() };
    assert_eq!(service.ask("ann", "!").await, ("ann", "ann!".to_owned()));
}

#[track(user_id = depth)]
async fn recursive(depth: u8) -> Vec<String> {
    let mut seen = if depth == 0 { Vec::new() } else { Box::pin(recursive(depth - 1)).await };
    seen.push(call().await);
    seen
}

#[tokio::test]
async fn recursive_functions() {
    assert_eq!(recursive(2).await, ["0", "1", "2"]);
}
