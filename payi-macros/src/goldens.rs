//! What the macros write, as a reader of `cargo expand` would see it. Review changes with `cargo insta`.

use proc_macro2::TokenStream;
use quote::quote;

/// The expansion of `#[track(args)] item`, formatted.
#[expect(clippy::needless_pass_by_value, reason = "given by quote!")]
fn track(args: TokenStream, item: TokenStream) -> String {
    formatted(crate::track::expand(args, &item))
}

/// The expansion of `#[track(args)]` on a method.
#[expect(clippy::needless_pass_by_value, reason = "given by quote!")]
fn method(args: TokenStream, item: TokenStream) -> String {
    let expanded = crate::track::expand(args, &item);
    formatted(quote!(impl Service { #expanded }))
}

/// The expansion of `track_context!(tokens)` in an async fn.
fn scope(tokens: TokenStream) -> String {
    let expanded = crate::expand::track_context(tokens);
    formatted(quote!(async fn caller() { let value = #expanded; }))
}

fn formatted(tokens: TokenStream) -> String {
    let text = tokens.to_string();
    prettyplease::unparse(&syn::parse2(tokens).unwrap_or_else(|error| panic!("{error} in {text}")))
}

macro_rules! golden {
    ($name:ident, $expanded:expr) => {
        #[test]
        fn $name() {
            insta::assert_snapshot!($expanded);
        }
    };
}

golden!(
    sync_fn,
    track(
        quote!(
            use_case_name = "sum",
            use_case_version = 2,
            user_id = user.id,
            limit_ids = ["free", user.plan]
        ),
        quote!(
            /// Documented.
            #[must_use]
            pub fn sum(user: &User) -> u8 {
                ask(user)
            }
        )
    )
);

golden!(
    async_fn,
    track(
        quote!(user_id = &user.id),
        quote!(
            pub(crate) async fn answer<'a>(user: &'a User) -> Result<&'a str, Error> {
                ask(user).await
            }
        )
    )
);

golden!(
    bare,
    track(
        quote!(),
        quote!(
            async fn r#match() {
                ask().await;
            }
        )
    )
);

golden!(
    impl_trait_is_hinted_without_its_name,
    track(
        quote!(user_id = 1),
        quote!(
            async fn f() -> Result<impl Display, Error> {
                Ok(1)
            }
        )
    )
);

golden!(
    async_trait_method,
    method(
        quote!(user_id = user),
        quote!(
            fn ask<'life0, 'async_trait>(
                &'life0 self,
                user: String,
            ) -> ::core::pin::Pin<
                Box<dyn ::core::future::Future<Output = u8> + ::core::marker::Send + 'async_trait>,
            >
            where
                'life0: 'async_trait,
            {
                Box::pin(async move {
                    let __self = self;
                    let user = user;
                    let __ret: u8 = { __self.call().await };
                    __ret
                })
            }
        )
    )
);

golden!(
    stream_in_a_result,
    method(
        quote!(user_id = user),
        quote!(
            fn open(&self, user: &str) -> Result<BoxStream<'static, u8>, Error> {
                self.connect()?.stream()
            }
        )
    )
);

golden!(
    impl_block,
    track(
        quote!(crate = ::metered, account_name = self.tenant),
        quote!(
            impl Service {
                fn new() -> Self {
                    Self
                }
                fn plain(&self) {}
                #[track(user_id = user)]
                fn own(&self, user: u8) {}
                #[track]
                fn bare(&self) {}
                #[track(skip)]
                fn skipped(&self) {}
            }
        )
    )
);

golden!(
    sync_block,
    scope(quote!(user_id, request_properties = [("plan", user.plan), ("seats", "3")], { total() }))
);

golden!(
    async_block,
    scope(quote!(@crate ::metered; user_id = user.id, {
        let first = ask(prepare().await).await?;
        println!("{}", first.show().await);
        let later = async { ask(2).await };
        later.await
    }))
);

golden!(carried_future, scope(quote!(user_id = 1, async move { ask().await })));

golden!(
    nested_blocks,
    scope(quote!(user_id = 1, { payi::track_context!(account_name = name().await, { ask().await }) }))
);

golden!(join, scope(quote!(user_id = 1, { tokio::try_join!(biased; ask(1), ask(2))?.0 })));

golden!(
    select,
    scope(quote!(user_id = 1, {
        tokio::select! {
            Some(n) = receiver.recv(), if open => return n,
            () = &mut timer => { ask().await }
            else => 0,
        }
    }))
);

golden!(
    select_of_futures,
    scope(quote!(user_id = 1, {
        futures::select! {
            n = named => n,
            m = ask() => m,
            complete => 0,
        }
    }))
);

golden!(
    mistakes_leave_the_item_as_it_was,
    track(
        quote!(user_id = id, usr_id = 1, account_name),
        quote!(
            fn f(id: u8) {
                g()
            }
        )
    )
);
