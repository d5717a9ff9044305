//! `#[track]` on a function.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Block, ImplItemFn, ReturnType, Stmt, Type, spanned::Spanned, visit_mut::VisitMut};

use super::{
    boxed, complete,
    field::{entries, typed},
    site,
};
use crate::{
    returns::{Returns, Sum, Wrap},
    rewrite::hidden,
    track::Track,
};

impl ToTokens for Track {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let site = site::register(self);
        let warning = self.fixed_user.map(warning);
        let body = self.body();
        self.with_body(&quote!(#site #warning #body), tokens);
    }
}

impl Track {
    /// The function as it was, with the mistakes; the values that make sense are still checked for their
    /// types, so that those mistakes show as well.
    pub(crate) fn as_written(&self, mistakes: &TokenStream) -> TokenStream {
        let mut tokens = TokenStream::new();
        let stmts = &self.function.block.stmts;
        if self.is_plain() {
            let entries = typed(&self.fields, &entries(&self.payi, &self.fields));
            let complete = complete::keys(&self.payi, self.keys.iter());
            self.with_body(&quote!(#complete #entries #(#stmts)*), &mut tokens);
        } else {
            self.with_body(&quote!(#(#stmts)*), &mut tokens);
        }
        quote!(#tokens #mistakes)
    }

    fn with_body(&self, body: &TokenStream, tokens: &mut TokenStream) {
        let ImplItemFn { attrs, vis, defaultness, sig, block } = &self.function;
        let mut braced = TokenStream::new();
        // The function's own braces, so that tools find its body where it is.
        block.brace_token.surround(&mut braced, |inner| inner.extend(body.clone()));
        tokens.extend(quote!(#(#attrs)* #vis #defaultness #sig #braced));
    }

    fn body(&self) -> TokenStream {
        let payi = &self.payi;
        let entries = entries(payi, &self.fields);
        let Block { stmts, .. } = &self.function.block;
        let is_async = self.function.sig.asyncness.is_some();
        if let (Returns::Later(Wrap::Pinned), false, Some(boxed)) =
            (self.returns, is_async, boxed::only_boxed(stmts))
        {
            return boxed::expand(payi, &entries, &self.fields, boxed);
        }
        match self.returns {
            Returns::Value if is_async => {
                let hint = return_hint(&self.function.sig.output);
                quote_spanned! {Span::mixed_site()=>
                    #payi::__private::scoped(#entries, async move { #hint #(#stmts)* }).await
                }
            }
            Returns::Value => {
                let guard = Ident::new("__payi_guard", Span::mixed_site());
                quote!(let #guard = #payi::__private::enter_sync(#entries); #(#stmts)*)
            }
            _ => self.later(&entries, stmts, is_async),
        }
    }

    /// The body runs in the scope, and so does, whenever it runs, what it returns.
    fn later(&self, entries: &TokenStream, stmts: &[Stmt], is_async: bool) -> TokenStream {
        let payi = &self.payi;
        let scope = Ident::new("__payi_scope", Span::mixed_site());
        let made = Ident::new("__payi_made", Span::mixed_site());
        let output = &self.function.sig.output;
        let body = if is_async {
            let hint = return_hint(output);
            quote_spanned! {Span::mixed_site()=>
                #payi::__private::Scope::future(&#scope, async move { #hint #(#stmts)* }).await
            }
        } else {
            let ReturnType::Type(arrow, ty) = output else { return TokenStream::new() };
            let ty = unnamed(ty);
            quote_spanned! {Span::mixed_site()=>
                #payi::__private::Scope::run(&#scope, move || #arrow #ty { #(#stmts)* })
            }
        };
        let wrapped = self.wrapped(&scope, &made);
        quote_spanned! {Span::mixed_site()=>
            let #scope = #payi::__private::Scope::new(#entries);
            let #made = #body;
            #wrapped
        }
    }

    fn wrapped(&self, scope: &Ident, made: &Ident) -> TokenStream {
        let payi = &self.payi;
        let (sum, wrap) = match self.returns {
            Returns::Inside(sum, wrap) => (Some(sum), wrap),
            Returns::Later(wrap) => (None, wrap),
            Returns::Value => (None, Wrap::Bare),
        };
        let span = Span::mixed_site();
        let wrapped = quote_spanned!(span=> #payi::__private::Scope::wrap(#scope, #made));
        let wrapped = match wrap {
            Wrap::Bare => wrapped,
            Wrap::Boxed => quote_spanned!(span=> ::std::boxed::Box::new(#wrapped)),
            Wrap::Pinned => quote_spanned!(span=> ::std::boxed::Box::pin(#wrapped)),
        };
        // `match` rather than `map`, because a box is only coerced to its trait where a value is given.
        match sum {
            None => wrapped,
            Some(Sum::Result) => quote_spanned! {span=> match #made {
                ::core::result::Result::Ok(#made) => ::core::result::Result::Ok(#wrapped),
                ::core::result::Result::Err(#made) => ::core::result::Result::Err(#made),
            }},
            Some(Sum::Option) => quote_spanned! {span=> match #made {
                ::core::option::Option::Some(#made) => ::core::option::Option::Some(#wrapped),
                ::core::option::Option::None => ::core::option::Option::None,
            }},
        }
    }
}

/// Tells inference the declared type before it sees any `return`.
///
/// Without it `return Ok(Box::new(x))` would fix the type of the async block to `Result<Box<X>, _>`.
fn return_hint(output: &ReturnType) -> Option<TokenStream> {
    let ReturnType::Type(_, ty) = output else { return None };
    if matches!(**ty, Type::Never(_)) {
        return None;
    }
    let ty = unnamed(ty);
    let name = Ident::new("__payi_returns", Span::mixed_site());
    Some(quote_spanned! {hidden(ty.span())=>
        #[allow(
            unreachable_code,
            clippy::diverging_sub_expression,
            clippy::empty_loop,
            clippy::let_unit_value,
            clippy::let_with_type_underscore,
            clippy::needless_return,
            clippy::unreachable
        )]
        if false {
            let #name: #ty = loop {};
            return #name;
        }
    })
}

/// The type with `_` for each `impl Trait`, which may not be written inside a function.
fn unnamed(ty: &Type) -> Type {
    struct Unnamed;
    impl VisitMut for Unnamed {
        fn visit_type_mut(&mut self, ty: &mut Type) {
            if let Type::ImplTrait(_) = ty {
                *ty = Type::Infer(syn::TypeInfer { underscore_token: syn::token::Underscore::default() });
            } else {
                syn::visit_mut::visit_type_mut(self, ty);
            }
        }
    }
    let mut ty = ty.clone();
    Unnamed.visit_type_mut(&mut ty);
    ty
}

/// A warning at the literal, by the one way there is to give one.
fn warning(literal: Span) -> TokenStream {
    let note = "a user changes with each request: give `user_id` an expression, or use `track_context!`";
    quote_spanned! {literal=>
        #[warn(deprecated)]
        {
            #[deprecated(note = #note)]
            const FIXED_USER_ID: () = ();
            let _ = FIXED_USER_ID;
        }
    }
}
