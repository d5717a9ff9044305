//! What the browser tests share: a service over a ledger, and a Chromium that looks at it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::zombie_processes,
    missing_docs,
    reason = "for tests, which may panic"
)]

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use fantoccini::{Client, ClientBuilder};
use payi_cli::server::{Options, serve};
use payi_core::ledger::Ledger;
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// A directory that is gone with the test.
#[derive(Debug)]
pub struct Place(PathBuf);

impl Place {
    pub fn new(name: &str) -> Self {
        static PLACES: AtomicU32 = AtomicU32::new(0);
        let n = PLACES.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("payi-browser-{}-{n}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `payi serve` over a ledger, on a port of its own, until it is dropped.
#[derive(Debug)]
pub struct Service {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
}

impl Service {
    pub async fn start(ledger: &Path) -> Self {
        let ledger = Ledger::open(ledger).unwrap();
        let (ready, address) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(async move {
            let mut options = Options::default();
            options.listen.set_port(0);
            let stopped = async { drop(stopped.await) };
            serve(
                &ledger,
                options,
                |address| {
                    let _ = ready.send(address);
                },
                stopped,
            )
            .await
            .unwrap();
        });
        Self { address: address.await.unwrap(), stop: Some(stop) }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.take().map(|stop| stop.send(()));
    }
}

/// A Chromium of its own, with a fresh profile, gone with the test.
#[derive(Debug)]
pub struct Browser {
    pub page: Client,
    driver: Child,
    _profile: Place,
}

impl Browser {
    /// A window of that size; `dark` is the colour scheme that pages are asked for.
    pub async fn open(width: u32, height: u32, dark: bool) -> Self {
        Self::with(width, height, dark, &json!({})).await
    }

    /// A window that runs no script of any page.
    pub async fn without_script() -> Self {
        let no = json!({ "profile.managed_default_content_settings.javascript": 2 });
        Self::with(1280, 900, false, &no).await
    }

    async fn with(width: u32, height: u32, dark: bool, preferences: &Value) -> Self {
        let profile = Place::new("profile");
        let port = free_port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Debian's chromium-driver");
        let scheme = if dark {
            "--blink-settings=preferredColorScheme=0"
        } else {
            "--blink-settings=preferredColorScheme=1"
        };
        let args = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            scheme,
            &format!("--window-size={width},{height}"),
            &format!("--user-data-dir={}", profile.0.display()),
        ];
        let wanted = json!({ "goog:chromeOptions": { "args": args, "prefs": preferences } });
        let wanted = wanted.as_object().unwrap().clone();
        for _ in 0..100 {
            let url = format!("http://127.0.0.1:{port}");
            let mut builder = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
            if let Ok(page) = builder.capabilities(wanted.clone()).connect(&url).await {
                page.set_window_size(width, height).await.unwrap();
                return Self { page, driver, _profile: profile };
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no session with chromedriver");
    }

    pub async fn go(&self, url: &str) {
        self.page.goto(url).await.unwrap();
    }

    /// What an expression in the page gives.
    pub async fn eval(&self, expression: &str) -> Value {
        self.page.execute(&format!("return {expression}"), Vec::new()).await.unwrap()
    }

    /// The text of a table: its rows of cells, as people see them.
    pub async fn table(&self, selector: &str) -> Vec<Vec<String>> {
        let rows = format!(
            "[...document.querySelectorAll('{selector} tr')].map(r => [...r.children].map(c => c.innerText.trim()))"
        );
        serde_json::from_value(self.eval(&rows).await).unwrap()
    }

    /// What the policy of the page's answer has refused since it was loaded: by which directive, and what.
    pub async fn refused(&self) -> Value {
        let refused = "const seen = [];
            new ReportingObserver(reports => seen.push(...reports), {types: ['csp-violation'], buffered: true}).observe();
            setTimeout(() => arguments[0](seen.map(r => `${r.body.effectiveDirective} ${r.body.blockedURL}`)), 50)";
        self.page.execute_async(refused, Vec::new()).await.unwrap()
    }

    pub async fn close(mut self) {
        let _ = self.page.clone().close().await;
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What `payi` prints with these arguments.
pub fn payi(args: &[&str]) -> String {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = payi_cli::execute(["payi"].iter().chain(args), None, &mut out, &mut err);
    assert_eq!(code, 0, "{}", String::from_utf8_lossy(&err));
    String::from_utf8(out).unwrap()
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// axe-core's text, fetched from npm once.
pub async fn axe() -> String {
    let dir = root().join("target/axe");
    let file = dir.join("node_modules/axe-core/axe.min.js");
    if !file.exists() {
        std::fs::create_dir_all(&dir).unwrap();
        let done = tokio::process::Command::new("npm")
            .args(["install", "--no-save", "--silent", "--prefix", ".", "axe-core@4"])
            .current_dir(&dir)
            .output()
            .await
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    std::fs::read_to_string(file).unwrap()
}

/// The cells of a CSV file, without those of its head.
pub fn cells(csv: &str) -> Vec<String> {
    let body = csv.split_once('\n').map_or("", |(_, body)| body);
    let (mut cells, mut quoted) = (vec![String::new()], false);
    for c in body.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' | '\n' if !quoted => cells.push(String::new()),
            c => cells.last_mut().unwrap().push(c),
        }
    }
    cells
}

/// Puts limits and KPIs there by the API, so that their pages have something to show.
pub async fn define(browser: &Browser, service: &Service) -> u32 {
    browser.go(&service.url("/")).await;
    let puts = [
        ("POST", "/limits", r#"{"limit_id": "all", "limit_name": "All", "max": 50, "scope": "everyone"}"#),
        (
            "POST",
            "/use_cases/definitions",
            r#"{"name": "summarize", "description": "d", "limit_config": {"max": 1}}"#,
        ),
        ("POST", "/use_cases/instances/summarize", "{}"),
        (
            "POST",
            "/use_cases/definitions/summarize/kpis",
            r#"{"name": "stars", "description": "as they say", "kpi_type": "likert5", "goal": 4}"#,
        ),
        ("PUT", "/use_cases/instances/summarize/run-1/kpis/stars", r#"{"score": 5}"#),
    ];
    for (method, path, body) in puts {
        let options = format!("{{method: '{method}', headers: {{'xProxy-api-key': 'any'}}, body: '{body}'}}");
        let asked = format!("fetch('/api/v1{path}', {options}).then(r => arguments[0](r.ok))");
        assert_eq!(browser.page.execute_async(&asked, Vec::new()).await.unwrap(), true, "{path}");
    }
    browser.go(&service.url("/cost-drivers/use-cases/detail?use_case_name=summarize")).await;
    let kpis = browser.eval("document.querySelector('#kpis').closest('section').innerText").await;
    assert!(kpis.as_str().unwrap().contains("5 of 5"), "{kpis}");
    browser.go(&service.url("/limits")).await;
    let limits = browser.eval("document.querySelectorAll('main section').length").await;
    assert_eq!(limits, 2, "that for all, and that of the instance");
    2
}

/// A Python with the official SDK, made once.
pub async fn sdk() -> PathBuf {
    let venv = root().join("target/payi-sdk");
    let python = venv.join("bin/python");
    if !venv.join("ready").exists() {
        let run = async |program: &Path, args: &[&str]| {
            let done = tokio::process::Command::new(program).args(args).output().await.unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        };
        run(Path::new("python3"), &["-m", "venv", venv.to_str().unwrap()]).await;
        run(&python, &["-m", "pip", "install", "-q", "payi", "openai", "anthropic"]).await;
        std::fs::write(venv.join("ready"), "").unwrap();
    }
    python
}
