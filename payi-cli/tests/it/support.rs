//! What the tests share: a place that is gone with the test, and the service over a ledger in it.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use axum::{
    Router,
    body::Body,
    http::{Method, Request, Response, StatusCode, header},
};
use http_body_util::BodyExt as _;
use payi_cli::Terminal;
use payi_core::{ledger::Ledger, testing::sample_ledger};
use serde_json::Value;
use tower::ServiceExt as _;

/// A directory that is gone with the test.
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    pub(crate) fn new() -> Self {
        static PLACES: AtomicU32 = AtomicU32::new(0);
        let n = PLACES.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("payi-cli-{}-{n}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    /// A path in it.
    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// The small ledger whose content is known.
    pub(crate) fn sample(&self) -> String {
        let path = self.file("payi.db");
        sample_ledger(&path);
        path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What the command does: exit code, output, errors.
pub(crate) fn payi(args: &[&str], terminal: Option<Terminal>) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = payi_cli::execute(["payi"].iter().chain(args), terminal, &mut out, &mut err);
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

/// What it prints, all being well.
pub(crate) fn ok(args: &[&str]) -> String {
    let (code, out, err) = payi(args, None);
    assert_eq!((code, err.as_str()), (0, ""), "{args:?}: {out}");
    out
}

/// The service over a ledger of its own.
pub(crate) struct Service {
    pub(crate) ledger: Ledger,
    pub(crate) router: Router,
    _place: Place,
}

impl Service {
    /// Over an empty ledger.
    pub(crate) fn empty() -> Self {
        let place = Place::new();
        Self::over(&place.file("payi.db"), place)
    }

    /// Over the small ledger whose content is known.
    pub(crate) fn sample() -> Self {
        let place = Place::new();
        Self::over(&place.sample(), place)
    }

    fn over(path: &str, place: Place) -> Self {
        let ledger = Ledger::open(path).unwrap();
        let router = payi_cli::server::router(&ledger).unwrap();
        Self { ledger, router, _place: place }
    }

    /// The service as it is after a restart.
    pub(crate) fn restart(&mut self) {
        self.router = payi_cli::server::router(&self.ledger).unwrap();
    }

    pub(crate) async fn ask(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).header(header::HOST, "localhost:8377").body(Body::empty()).unwrap();
        let response = self.ask(request).await;
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// What is at an address, where something is.
    pub(crate) async fn page(&self, path: &str) -> String {
        let (status, body) = self.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    /// A request of the API, without a key.
    pub(crate) async fn plain(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "localhost:8377");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.ask(request.body(Body::from(body)).unwrap()).await;
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// A request of the API.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> (StatusCode, Value) {
        let keyed = [&[("xProxy-api-key", "any")], headers].concat();
        self.plain(method, path, &keyed, body.to_string()).await
    }
}
