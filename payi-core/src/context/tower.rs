//! A scope for each incoming request, whatever tower runs: axum, hyper, tonic, Lambda.

use std::task;

use tower_layer::Layer;
use tower_service::Service;

use crate::context::{Context, Scoped};

/// Opens a scope for each request, with the keys that `extract` finds in it.
///
/// Put it inside the layer that authenticates (in axum: add it *before* that one), so that there is
/// somebody to find. The scope ends with the handler: a body that is still streaming then is not in it, so
/// a handler that calls a provider from its stream makes that stream `.in_current_context()`.
///
/// ```
/// use payi_core::context::{self, ContextLayer};
///
/// #[derive(Clone)]
/// struct Account { user: u64, tenant: String }
///
/// let layer = ContextLayer::new(|request: &http::Request<String>| {
///     let account = request.extensions().get::<Account>();
///     context::builder().user_id(account.map(|it| it.user)).account_name(account.map(|it| &it.tenant))
/// });
/// # let _ = layer;
/// ```
///
/// `extract` may also give a [`Context`], such as the one that a trusted caller hands over:
///
/// ```
/// use payi_core::context::{Context, ContextLayer, Handover};
///
/// let handover = Handover::to_nobody();
/// let layer = ContextLayer::new(move |request: &http::Request<String>| {
///     let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
///     Context::from_headers(headers, &handover)
/// });
/// # let _ = layer;
/// ```
#[derive(Clone, Debug)]
pub struct ContextLayer<F> {
    extract: F,
}

impl<F> ContextLayer<F> {
    /// Asks `extract` for each request.
    pub const fn new<R, C>(extract: F) -> Self
    where
        F: Fn(&R) -> C,
        C: Into<Context>,
    {
        Self { extract }
    }
}

impl<S, F: Clone> Layer<S> for ContextLayer<F> {
    type Service = ContextService<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        ContextService { inner, extract: self.extract.clone() }
    }
}

/// A service whose requests each run in a scope: what [`ContextLayer`] makes.
#[derive(Clone, Debug)]
pub struct ContextService<S, F> {
    inner: S,
    extract: F,
}

impl<S, F, R, C> Service<R> for ContextService<S, F>
where
    S: Service<R>,
    F: Fn(&R) -> C,
    C: Into<Context>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Scoped<S::Future>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> task::Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let context: Context = (self.extract)(&request).into();
        // Many services work before their future is polled; that belongs to the request too.
        let future = context.run(|| self.inner.call(request));
        context.scope(future)
    }
}
