//! `track_context!` and `opaque!`: declared here rather than in `payi-macros`, because only here can they
//! say `$crate`, and so work under whatever name the user gave this crate.

/// Runs a block in a scope: the calls in it are attributed to what is given for the keys.
///
/// ```
/// # struct User { id: String, tenant: String, plan: String }
/// # struct Answer { text: Option<String> }
/// # async fn ask(_: &str) -> Result<Answer, String> { Ok(Answer { text: Some("fine".into()) }) }
/// async fn summarize(user: &User, text: &str) -> Result<String, String> {
///     payi::track_context!(user_id = user.id, account_name = user.tenant, request_properties = [("plan", user.plan)], {
///         let answer = ask(text).await?;
///         let Some(text) = answer.text else { return Err("no answer".into()) };
///         Ok(text)
///     })
/// }
/// ```
///
/// `key = expr` for as many keys as wanted, then the body. The values are borrowed, evaluated from left to
/// right, before the scope is entered; `key` alone means `key = key`. The body is
///
/// * a block, in which everything means what it means outside: `?`, `return`, `break`, `.await`; its value
///   is the macro's value. It works in sync and in async code;
/// * or an `async { }` or `async move { }` block, which gives a future that carries the scope with it, to be
///   spawned, joined or put into a collection.
///
/// # Keys
///
/// | key | value |
/// |---|---|
/// | `user_id`, `account_name` | text, integers, `uuid::Uuid`, an [`Option`] of these, your own [`ContextValue`](crate::ContextValue) |
/// | `use_case_name`, `use_case_id`, `use_case_step` | the same |
/// | `use_case_version` | `u32` |
/// | `limit_ids`, `request_tags` | lists of the same; an inner scope adds to the outer one's |
/// | `request_properties`, `use_case_properties` | pairs, a map, a flat struct with `Serialize` |
/// | `price_as_category`, `price_as_resource`, `resource_scope` | text |
/// | `proxy`, `log_prompt_and_response` | `bool` |
///
/// `None` inherits from the scope around, [`Clear`](crate::Clear) clears. `allow_pii` among the arguments
/// permits literals that look like e-mail addresses.
///
/// # Awaiting
///
/// The scope belongs to the block, not to the thread: wherever the block waits, it is put away, and other
/// tasks, and other branches of the same task, run in theirs. The macro sees the block's own `.await`s, and
/// those in the macros of std, tokio, futures, tracing and log. A macro it does not know is refused in a
/// block that awaits, unless it is marked with [`opaque!`](crate::opaque).
#[macro_export]
macro_rules! track_context {
    ($($arguments:tt)*) => { $crate::__private::track_context!(@crate $crate; $($arguments)*) };
}

/// Marks a macro that does not await, for use in a [`track_context!`](crate::track_context) block that does.
///
/// ```
/// # macro_rules! request { ($text:expr) => { $text.to_owned() } }
/// # async fn ask(text: String) -> String { text }
/// # async fn example(user: &str) -> String {
/// payi::track_context!(user_id = user, { ask(payi::opaque!(request!("hello"))).await })
/// # }
/// ```
#[macro_export]
macro_rules! opaque {
    ($($tokens:tt)*) => { $($tokens)* };
}
