//! The dashboard and the collector over a large ledger: `payi serve` as its users start it, measured over HTTP.
//!
//! `cargo bench -p payi-cli --bench scale` makes a ledger of a million events; `PAYI_SCALE_EVENTS=10000000` is what is
//! claimed. Exits 1 if a bound is missed. Times are to the first byte of the answer; beside each stands the processor
//! time that the service took, which other work on the machine disturbs less.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss, missing_docs, reason = "a benchmark may panic")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant, SystemTime},
};

use payi_core::{
    ledger::{Durability, Filter, Ledger},
    testing::{Load, Loaded, load_ledger},
};

fn main() {
    // `cargo test --benches` only wants to know that it builds.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse().ok());
    let events = number("PAYI_SCALE_EVENTS").unwrap_or(1_000_000);
    let mut misses = Vec::new();
    usual(events, &mut misses);
    extreme(events / 5, &mut misses);
    for miss in &misses {
        eprintln!("missed: {miss}");
    }
    std::process::exit(i32::from(!misses.is_empty()));
}

/// 100,000 users of 50 accounts, over 90 days.
fn usual(events: u64, misses: &mut Vec<String>) {
    let place = Place::new("scale");
    let mut load = Load::default();
    (load.events, load.users, load.accounts, load.durability) = (events, 100_000, 50, Durability::Buffered);
    let loaded = load_ledger(place.ledger(), &load).unwrap();
    let size = place.bytes();
    let service = Service::start(&place.ledger());
    let measured: Vec<Measured> = pages().iter().map(|page| service.measure(page)).collect();
    check(&measured, misses);
    let worked = service.worked();
    let (rate, posted) = bulk(&service, events.clamp(50_000, 500_000), misses);
    let cpu = service.worked().saturating_sub(worked).as_secs_f64() * 1e6 / posted.max(1) as f64;
    let rss = service.peak();
    service.stop();
    agree(&place.ledger(), &loaded, posted, misses);
    if rate < 50_000.0 {
        misses.push(format!("bulk ingest at {rate:.0} events/s, not 50,000"));
    }
    let users = &measured[0];
    let slowest = measured[1..].iter().max_by_key(|m| m.p95).unwrap();
    println!(
        "evidence scale: {events} events, 100,000 users, {:.1} B/event: Users page first byte p50 {} p95 {} ms (CPU \
         {}), slowest of {} other pages \"{}\" p95 {} ms (CPU {}), bulk ingest {:.0} k events/s with the dashboard \
         open (CPU {cpu:.1} µs/event, pages included), peak memory of the service {} MB",
        size as f64 / loaded.facts as f64,
        ms(users.p50),
        ms(users.p95),
        ms(users.cpu),
        measured.len() - 1,
        slowest.name,
        ms(slowest.p95),
        ms(slowest.cpu),
        rate / 1e3,
        rss / 1024,
    );
}

/// Fault 43: a million users, ten thousand models, one user who makes half of all calls.
fn extreme(events: u64, misses: &mut Vec<String>) {
    let place = Place::new("extreme");
    let mut load = Load::default();
    (load.events, load.users, load.models, load.durability) =
        (events, 1_000_000, 10_000, Durability::Buffered);
    (load.accounts, load.hot, load.days) = (50, true, 30);
    let loaded = load_ledger(place.ledger(), &load).unwrap();
    let service = Service::start(&place.ledger());
    let pages = [
        Page::new("users", "/cost-drivers/users", 1_500),
        Page::new("users, page 200 by name", "/cost-drivers/users?page=200&sort=name", 3_000),
        Page::new("users, found by name", "/cost-drivers/users?q=user-12345&sort=name", 3_000),
        Page::new("hot user", "/cost-drivers/users/detail?user_id=user-00000", 1_500),
        Page::new("models", "/cost-drivers/models", 1_500),
        Page::new("overview", "/", 1_500),
        Page::new("metrics", "/metrics", 1_500),
    ];
    let measured: Vec<Measured> = pages.iter().map(|page| service.measure(page)).collect();
    check(&measured, misses);
    let largest = pages.iter().map(|page| service.get(&page.path).len()).max().unwrap_or(0);
    if largest > 1 << 20 {
        misses.push(format!("a page of {largest} bytes"));
    }
    let labels = service.get("/metrics").matches("payi_model_cost_usd{").count();
    if !(2..=51).contains(&labels) {
        misses.push(format!("{labels} models in /metrics"));
    }
    let rss = service.peak();
    if rss > 600 * 1024 {
        misses.push(format!("the service took {} MB", rss / 1024));
    }
    service.stop();
    agree(&place.ledger(), &loaded, 0, misses);
    let times: Vec<String> = measured.iter().map(|m| format!("{} {} ms", m.name, ms(m.p50))).collect();
    println!(
        "evidence scale-extreme: {events} events, up to 1,000,000 users and 10,000 models, half of all calls one \
         user's: {}; pages of at most {} kB, {labels} models in /metrics; peak memory of the service {} MB",
        times.join(", "),
        largest >> 10,
        rss / 1024
    );
}

/// A page, and how soon its first byte must come.
struct Page {
    name: &'static str,
    path: String,
    bound: Duration,
}

impl Page {
    fn new(name: &'static str, path: &str, bound_ms: u64) -> Self {
        Self { name, path: path.into(), bound: Duration::from_millis(bound_ms) }
    }
}

fn pages() -> Vec<Page> {
    let day = |back: u64| {
        let at = SystemTime::now() - Duration::from_secs(back * 86_400);
        jiff::Timestamp::try_from(at).unwrap().strftime("%Y-%m-%d").to_string()
    };
    let some_days = format!("/cost-drivers/users?from={}&to={}", day(59), day(30));
    let others = [
        ("users by name", "/cost-drivers/users?sort=name"),
        ("users, all time", "/cost-drivers/users?range=all"),
        ("users in Kolkata", "/cost-drivers/users?tz=Asia%2FKolkata"),
        ("users of an account", "/cost-drivers/users?account_name=acme"),
        ("users of a model", "/cost-drivers/users?model=gpt-4o-2024-08-06"),
        ("users of a use case", "/cost-drivers/users?use_case_name=summarize"),
        ("users who failed", "/cost-drivers/users?outcome=failed"),
        ("users of a provider", "/cost-drivers/users?provider=anthropic"),
        ("users found", "/cost-drivers/users?q=user-0012"),
        ("accounts", "/cost-drivers/accounts"),
        ("use cases", "/cost-drivers/use-cases"),
        ("steps", "/cost-drivers/use-cases?by=step"),
        ("models", "/cost-drivers/models"),
        ("models of an account", "/cost-drivers/models?account_name=globex"),
        ("overview", "/"),
        ("overview in Berlin", "/?tz=Europe%2FBerlin"),
        ("overview by model", "/?by=model"),
        ("a heavy user", "/cost-drivers/users/detail?user_id=user-00000"),
        ("a light user", "/cost-drivers/users/detail?user_id=user-54321"),
        ("a user in Kolkata", "/cost-drivers/users/detail?user_id=user-00100&tz=Asia%2FKolkata"),
        ("a model", "/cost-drivers/models/detail?model=gpt-4o-2024-08-06"),
        ("requests", "/requests"),
        ("requests of a user", "/requests?user_id=user-12345"),
        ("requests by cost", "/requests?sort=cost"),
        ("requests by latency", "/requests?sort=latency"),
        ("requests of a heavy user by tokens", "/requests?sort=tokens&user_id=user-00000"),
    ];
    let mut pages = vec![
        Page::new("users", "/cost-drivers/users", 150),
        Page::new("users, 30 days in the middle", &some_days, 150),
        Page::new("users, page 40", "/cost-drivers/users?page=40", 150),
    ];
    pages.extend(others.map(|(name, path)| Page::new(name, path, 500)));
    pages
}

/// How a page did.
struct Measured {
    name: &'static str,
    bound: Duration,
    p50: Duration,
    p95: Duration,
    /// Processor time of the service, for one request.
    cpu: Duration,
}

fn ms(time: Duration) -> String {
    format!("{:.0}", time.as_secs_f64() * 1e3)
}

fn check(measured: &[Measured], misses: &mut Vec<String>) {
    for Measured { name, bound, p50, p95, cpu } in measured {
        let (p50, p95, cpu, most) = (ms(*p50), ms(*p95), ms(*cpu), (ms(*bound), p95 > bound));
        eprintln!("{name}: p50 {p50} p95 {p95} ms, CPU {cpu} ms (at most {} ms)", most.0);
        if most.1 {
            misses.push(format!("{name}: p95 {p95} ms, not {}", most.0));
        }
    }
}

/// The ledger holds what was made and what was posted, to the last digit.
fn agree(ledger: &Path, loaded: &Loaded, posted: u64, misses: &mut Vec<String>) {
    let total = Ledger::open_read_only(ledger).unwrap().users(&Filter::new().limit(1)).unwrap().total;
    if total.attempts != loaded.facts + posted {
        misses.push(format!("{} attempts, not {} and {posted}", total.attempts, loaded.facts));
    }
    if posted == 0 && total.cost != loaded.cost {
        misses.push(format!("{} USD, not {}", total.cost, loaded.cost));
    }
}

/// Posts events in bulk over two connections, while pages are read and one stays open; events per second, and how many.
fn bulk(service: &Service, events: u64, misses: &mut Vec<String>) -> (f64, u64) {
    const ITEMS: u64 = 2_000;
    let bodies: Vec<String> = (0..events / ITEMS).map(|n| body(n * ITEMS, ITEMS)).collect();
    let (next, accepted, done) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let mut open = service.ask("GET", "/live", "");
    let (took, pages) = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut read = 0;
            while !done.load(Relaxed) {
                service.get(["/", "/cost-drivers/users", "/cost-drivers/models"][read % 3]);
                read += 1;
                thread::sleep(Duration::from_millis(500));
            }
            read
        });
        let begun = Instant::now();
        let posting = [(); 2].map(|()| {
            scope.spawn(|| {
                while let Some(body) = bodies.get(next.fetch_add(1, Relaxed)) {
                    accepted.fetch_add(taken(&service.post("/api/v1/ingest/bulk", body)), Relaxed);
                }
            })
        });
        for thread in posting {
            thread.join().unwrap();
        }
        let took = begun.elapsed();
        done.store(true, Relaxed);
        (took, reader.join().unwrap())
    });
    let (posted, sent) = (accepted.into_inner(), ITEMS * bodies.len() as u64);
    if posted != sent {
        misses.push(format!("{posted} of {sent} events were taken"));
    }
    open.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    if open.read(&mut [0; 256]).unwrap_or(0) == 0 {
        misses.push("the open page heard nothing".into());
    }
    eprintln!("{posted} events in {:.1} s, {pages} pages read meanwhile", took.as_secs_f64());
    (posted as f64 / took.as_secs_f64(), posted)
}

/// How many events an answer to a bulk request says were taken.
fn taken(answer: &str) -> u64 {
    let count = answer.split("\"ingest_count\":").nth(1).unwrap_or_default();
    count.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn body(from: u64, items: u64) -> String {
    let item = |n: u64| {
        let at = jiff::Timestamp::now();
        let (user, model) =
            (n * 2_654_435_761 % 100_000, if n.is_multiple_of(4) { "gpt-4o" } else { "gpt-4o-mini" });
        let (input, output, ms) = (100 + n % 900, 10 + n % 90, 200 + n % 3000);
        format!(
            r#"{{"category":"system.openai","resource":"{model}","units":{{"text":{{"input":{input},"output":{output}}}}},"event_timestamp":"{at}","provider_response_id":"bulk-{n}","end_to_end_latency_ms":{ms},"http_status_code":200,"user_id":"user-{user:05}","account_name":"acme","use_case_name":"summarize","use_case_version":2}}"#
        )
    };
    format!("[{}]", (from..from + items).map(item).collect::<Vec<_>>().join(","))
}

/// A directory that is gone afterwards.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let place = std::env::temp_dir().join(format!("payi-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(&place).unwrap();
        Self(place)
    }

    fn ledger(&self) -> PathBuf {
        self.0.join("payi.db")
    }

    fn bytes(&self) -> u64 {
        fs::read_dir(&self.0).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running `payi serve`.
struct Service {
    child: Child,
    address: String,
}

impl Service {
    fn start(ledger: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_payi"))
            .args(["serve", "--listen", "127.0.0.1:0", "--ledger"])
            .arg(ledger)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address =
            line.split("http://").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().to_owned();
        Self { child, address }
    }

    /// Sends a request; its answer has not been read.
    fn ask(&self, method: &str, path: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nxProxy-api-key: any\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        stream
    }

    /// When the answer began, and what it says.
    fn answer(mut stream: TcpStream) -> (Instant, String) {
        let mut first = [0; 1];
        stream.read_exact(&mut first).unwrap();
        let at = Instant::now();
        let mut rest = Vec::from(first);
        stream.read_to_end(&mut rest).unwrap();
        let text = String::from_utf8_lossy(&rest).into_owned();
        assert!(text.starts_with("HTTP/1.1 200"), "{}", text.lines().next().unwrap_or_default());
        (at, text)
    }

    fn get(&self, path: &str) -> String {
        Self::answer(self.ask("GET", path, "")).1
    }

    fn post(&self, path: &str, body: &str) -> String {
        Self::answer(self.ask("POST", path, body)).1
    }

    fn measure(&self, page: &Page) -> Measured {
        const ROUNDS: u32 = 20;
        self.get(&page.path);
        let worked = self.worked();
        let mut times: Vec<Duration> = (0..ROUNDS)
            .map(|_| {
                let begun = Instant::now();
                Self::answer(self.ask("GET", &page.path, "")).0.duration_since(begun)
            })
            .collect();
        times.sort();
        let cpu = self.worked().saturating_sub(worked) / ROUNDS;
        let (p50, p95) = (times[times.len() / 2], times[(times.len() * 95).div_ceil(100) - 1]);
        Measured { name: page.name, bound: page.bound, p50, p95, cpu }
    }

    /// Processor time so far; zero where the system does not say.
    fn worked(&self) -> Duration {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let after_name = text.rsplit(") ").next().unwrap_or_default();
        let ticks = |n: usize| after_name.split(' ').nth(n).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        Duration::from_millis((ticks(11) + ticks(12)) * 10)
    }

    /// The most memory it ever had, in kilobytes; zero where the system does not say.
    fn peak(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }

    fn stop(mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}
