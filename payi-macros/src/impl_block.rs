//! `#[track(...)]` on an `impl` block: the same keys for each of its methods.
//!
//! The block hands its arguments down as attributes, and each method is then expanded by itself. Methods
//! without `self`, `const` and `extern` ones are left alone, as is what says `#[track(skip)]`. Where a
//! method has keys of its own, those count.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{
    Attribute, Expr, ImplItem, ImplItemFn, ItemImpl, Meta, Path, ext::IdentExt, spanned::Spanned,
    visit::Visit,
};

use crate::{
    args::{Arg, Args},
    diag::Errors,
    model,
};

/// Puts `args`, which were written as `written`, on every method of `block`.
pub(crate) fn distribute(args: Args, payi: &Path, block: &mut ItemImpl, errors: &mut Errors) {
    if let Some(returns) = &args.returns {
        errors.at(returns.span(), "`returns` is for one function: put `#[track(returns = ..)]` on it");
    }
    for arg in &args.list {
        only_self(arg, errors);
    }
    for item in &mut block.items {
        if let ImplItem::Fn(method) = item {
            hand_down(&args, payi, method);
        }
    }
    // For its complaints: the methods would repeat them.
    model::check(args, errors);
}

fn hand_down(args: &Args, payi: &Path, method: &mut ImplItemFn) {
    let own = method
        .attrs
        .iter()
        .position(|attr| attr.path().segments.last().is_some_and(|last| last.ident == "track"));
    let given = own.map(|own| given(&method.attrs[own]));
    if given.as_ref().is_some_and(|given| given.skip.is_some()) {
        method.attrs.retain(|attr| attr.path().segments.last().is_none_or(|last| last.ident != "track"));
        return;
    }
    let sig = &method.sig;
    if sig.receiver().is_none() || sig.constness.is_some() || sig.abi.is_some() {
        return;
    }
    let keys = args.list.iter().filter(|arg| given.as_ref().is_none_or(|given| !given.sets(&arg.key)));
    let mut all: Vec<TokenStream> = keys.map(|Arg { key, value }| quote!(#key = #value)).collect();
    if args.allow_pii {
        all.push(quote!(allow_pii));
    }
    let Some((attr, given)) = own.map(|own| &mut method.attrs[own]).zip(given) else {
        all.extend((!is_default(payi)).then(|| quote!(crate = #payi)));
        method.attrs.push(syn::parse_quote!(#[#payi::__private::track(#(#all),*)]));
        return;
    };
    if given.bare && !args.bare {
        // What a bare `#[track]` means would be lost among the others.
        let name = sig.ident.unraw().to_string();
        all.insert(0, quote!(use_case_name = #name));
    } else if !given.bare {
        all.insert(0, given.written);
    }
    replace(attr, &quote!(#(#all),*));
}

/// What a method's own attribute says.
struct Given {
    written: TokenStream,
    keys: Vec<Ident>,
    skip: Option<Span>,
    bare: bool,
}

impl Given {
    fn sets(&self, key: &Ident) -> bool {
        self.keys.contains(key) || (self.bare && key == "use_case_name")
    }
}

fn given(attr: &Attribute) -> Given {
    let written = match &attr.meta {
        Meta::List(list) => list.tokens.clone(),
        Meta::Path(_) | Meta::NameValue(_) => TokenStream::new(),
    };
    // The attribute will complain by itself.
    let mut unread = Errors::new();
    let args = Args::parse(written.clone(), &mut unread);
    drop(unread.finish());
    Given {
        bare: args.bare,
        skip: args.skip,
        keys: args.list.into_iter().map(|arg| arg.key).collect(),
        written: without_trailing_comma(written),
    }
}

fn without_trailing_comma(tokens: TokenStream) -> TokenStream {
    let mut tokens: Vec<_> = tokens.into_iter().collect();
    if matches!(tokens.last(), Some(proc_macro2::TokenTree::Punct(punct)) if punct.as_char() == ',') {
        tokens.pop();
    }
    tokens.into_iter().collect()
}

fn replace(attr: &mut Attribute, tokens: &TokenStream) {
    let path = attr.path().clone();
    attr.meta = syn::parse_quote!(#path(#tokens));
}

fn is_default(payi: &Path) -> bool {
    payi.to_token_stream().to_string().replace(' ', "") == "::payi"
}

/// The value is evaluated in every method: it may use what all of them have.
fn only_self(arg: &Arg, errors: &mut Errors) {
    struct Variables<'e>(&'e mut Errors);
    impl<'ast> Visit<'ast> for Variables<'_> {
        fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
            let Some(name) = path.path.get_ident() else { return };
            let is_variable = name.to_string().chars().next().is_some_and(|c| c.is_lowercase() || c == '_');
            if is_variable && name != "self" {
                self.0.at(
                    path.span(),
                    format!("`{name}` is not there in every method; on an `impl` block values use `self` and constants"),
                );
            }
        }

        fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
            if !matches!(*call.func, Expr::Path(_)) {
                self.visit_expr(&call.func);
            }
            call.args.iter().for_each(|argument| self.visit_expr(argument));
        }

        fn visit_expr_closure(&mut self, _: &'ast syn::ExprClosure) {}
    }
    Variables(errors).visit_expr(&arg.value);
}
