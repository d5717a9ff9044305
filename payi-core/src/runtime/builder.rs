//! What may be said before the start.

use std::{any::Any, path::PathBuf, sync::Arc, time::Duration};

use serde::Serialize;

use crate::{
    Result,
    context::{
        ContextFlag, ContextList, ContextValue, ContextVersion, Entry, Frame, Key, conflicting_versions,
        entry::expression, field::fields,
    },
    events::{Clock, ModelMapping, Pipeline, Settings, Sink, StreamUsage, SystemClock},
    limits::{Crossing, Gate, Limit, Limits, OnLimit},
    pricing::PriceBook,
    runtime::{
        engines::Engines,
        guard::{self, Guard, Running},
        name,
        options::{self, Options},
    },
    sink::{Fan, OnSpans},
};

/// Some of what is in force, whoever said it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InForce {
    /// The file of settings, if one is named.
    pub config: Option<PathBuf>,
    /// The ledger's file; `None` if it is in memory.
    pub ledger: Option<PathBuf>,
    /// Where Pay-i is.
    pub base_url: String,
    /// Whether there is a key, so that events are sent to Pay-i.
    pub sends_to_pay_i: bool,
}

/// The settings of [`instrument`](crate::runtime::instrument); ends with [`start`](Self::start).
#[must_use = "nothing happens before `.start()`"]
pub struct Builder {
    options: Options,
    wrong: Option<crate::Error>,
    sinks: Vec<Arc<dyn Sink>>,
    clock: Arc<dyn Clock>,
    book: Option<&'static PriceBook>,
    on_limit: Option<Arc<OnLimit>>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            options: Options::default(),
            wrong: None,
            sinks: Vec::new(),
            clock: Arc::new(SystemClock),
            book: None,
            on_limit: None,
        }
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Builder {
    /// Records calls in this file; it is made if it is missing.
    ///
    /// If it cannot be written, calls are recorded in memory and one warning says so. Without the
    /// feature `ledger` this changes nothing: events go to Pay-i and to other sinks only.
    pub fn ledger(mut self, path: impl Into<PathBuf>) -> Self {
        self.options.ledger = Some(options::Place::File(path.into()));
        self
    }

    /// Records calls in memory: they are gone when the process ends.
    pub fn in_memory(mut self) -> Self {
        self.options.ledger = Some(options::Place::Memory);
        self
    }

    /// What a commit survives; unless told otherwise, a power cut ([`Durability::Synced`]).
    ///
    /// [`Durability::Synced`]: crate::ledger::Durability::Synced
    #[cfg(feature = "ledger")]
    pub fn durability(mut self, durability: crate::ledger::Durability) -> Self {
        self.options.durability = Some(durability);
        self
    }

    /// How long prompts and answers are kept, where they are kept at all; 30 days unless told otherwise.
    pub fn keep_prompts(mut self, keep: Duration) -> Self {
        self.options.keep_prompts = Some(keep);
        self
    }

    /// Reads what is set neither here nor in the environment from a file, in TOML. `PAYI_CONFIG` names it too.
    ///
    /// ```toml
    /// ledger = "/var/lib/summarizer/payi.db"
    /// base_url = "https://pay-i.internal"
    /// require = ["user_id"]
    ///
    /// [context]
    /// account_name = "acme"
    ///
    /// [[price]] # a contract
    /// provider = "openai"
    /// model = "gpt-4o"
    /// input = 2.25
    /// output = 9
    /// ```
    #[cfg(feature = "config")]
    pub fn config(mut self, path: impl Into<PathBuf>) -> Self {
        self.options.config = Some(path.into());
        self
    }

    /// Sends events to Pay-i, to the application that this key belongs to.
    pub fn api_key(mut self, key: impl AsRef<str>) -> Self {
        match options::api_key(key.as_ref(), "api_key") {
            Ok(key) => self.options.api_key = Some(key),
            Err(error) => self.refuse(error),
        }
        self
    }

    /// Where Pay-i is: `http://127.0.0.1:8080` for a `payi serve` of your own.
    pub fn base_url(mut self, url: impl AsRef<str>) -> Self {
        match options::base_url(url.as_ref(), "base_url") {
            Ok(url) => self.options.base_url = Some(url),
            Err(error) => self.refuse(error),
        }
        self
    }

    /// Whether several events may go to Pay-i in one request. They do unless told otherwise; a server
    /// that refuses it gets them one by one anyway.
    pub fn bulk(mut self, bulk: bool) -> Self {
        self.options.bulk = Some(bulk);
        self
    }

    /// Also appends every event to this file, one JSON object per line. Needs the feature `ledger`.
    pub fn json_lines(mut self, path: impl Into<PathBuf>) -> Self {
        self.options.json_lines = Some(path.into());
        self
    }

    /// Also writes every event to this file, in the official SDK's offline format: one JSON array.
    /// Needs the feature `ledger`.
    pub fn offline(mut self, path: impl Into<PathBuf>) -> Self {
        self.options.offline = Some(path.into());
        self
    }

    /// Every call must have a value for these keys.
    ///
    /// A call without is made all the same; it is counted, with the line of your code that made it, and
    /// `payi users` lists those lines below the unattributed calls. In a test, inside the scope of a
    /// `payi::testing::Recorder`, such a call fails and is not sent.
    ///
    /// ```
    /// use payi_core::context::Key;
    /// # let payi_instrument = payi_core::runtime::instrument;
    /// let builder = payi_instrument().require([Key::UserId, Key::UseCaseName]);
    /// # drop(builder);
    /// ```
    pub fn require(mut self, keys: impl IntoIterator<Item = Key>) -> Self {
        self.options.require = Some(keys.into_iter().collect());
        self
    }

    /// Also sends a `gen_ai` span per attempt, and metrics, to an OpenTelemetry collector by OTLP over
    /// HTTP: `http://localhost:4318`. `OTEL_SERVICE_NAME` and the like are heeded.
    #[cfg(feature = "otel")]
    pub fn otlp(mut self, base_url: impl AsRef<str>) -> Self {
        match options::base_url(base_url.as_ref(), "otlp") {
            Ok(url) => self.options.otlp = Some(url),
            Err(error) => self.refuse(error),
        }
        self
    }

    /// Which version of OpenTelemetry's semantic conventions for GenAI is spoken.
    #[cfg(feature = "otel")]
    pub fn semconv(mut self, semconv: crate::sink::otel::Semconv) -> Self {
        self.options.semconv = semconv;
        self
    }

    /// Also records `user.id`, `payi.account.name` and `payi.use_case.name` on the application's own
    /// `tracing` span around each call, where that span has declared them (as `tracing::field::Empty`).
    pub fn record_on_spans(mut self) -> Self {
        self.options.record_on_spans = Some(true);
        self
    }

    /// Whether streams are made to carry their usage; see [`StreamUsage`].
    pub fn stream_usage(mut self, stream_usage: StreamUsage) -> Self {
        self.options.stream_usage = Some(stream_usage);
        self
    }

    /// A host, beside those known, whose streams may be asked for their usage: a gateway of your own.
    ///
    /// Without a port: `"127.0.0.1"`, `"llm.internal"`.
    pub fn stream_usage_host(mut self, host: impl Into<Box<str>>) -> Self {
        self.options.stream_usage_hosts.push(host.into());
        self
    }

    /// Whether pictures, sound and files that are part of a prompt or an answer, as base64, are kept where those are.
    ///
    /// Unless told otherwise, `<not_instrumented>` stands in their place.
    pub fn instrument_inline_data(mut self, keep: bool) -> Self {
        self.options.instrument_inline_data = Some(keep);
        self
    }

    /// Calls to this host are of this category: a gateway of your own that speaks for a provider.
    ///
    /// ```
    /// let builder = payi_core::runtime::instrument().host_mapping("llm.internal", "system.azureopenai");
    /// # drop(builder);
    /// ```
    ///
    /// A `price_as_category` of a scope, or of the call, has the last word.
    pub fn host_mapping(mut self, host: impl AsRef<str>, category: impl AsRef<str>) -> Self {
        self.options.mappings.map_host(host, category);
        self
    }

    /// Calls that ask for a model by a name that no price list knows are priced as another.
    ///
    /// ```
    /// use payi_core::events::ModelMapping;
    ///
    /// let deployment = ModelMapping::new("our-chat").price_as_resource("gpt-4o-2024-11-20");
    /// let builder = payi_core::runtime::instrument().model_mapping(deployment);
    /// # drop(builder);
    /// ```
    ///
    /// Of several, the first that fits counts; none does where a scope, or the call, says
    /// `price_as_category` or `price_as_resource`.
    pub fn model_mapping(mut self, mapping: ModelMapping) -> Self {
        self.options.mappings.map_model(mapping);
        self
    }

    /// Also hands every event to `sink`.
    pub fn sink(mut self, sink: impl Sink + 'static) -> Self {
        self.sinks.push(Arc::new(sink));
        self
    }

    /// Prices calls by `book` instead of the embedded one: newer prices, or those of a contract.
    ///
    /// ```
    /// # fn main() -> Result<(), payi_core::Error> {
    /// use payi_core::pricing::PriceBook;
    ///
    /// let ours = "payi prices 1\nprovider openai\nmodel gpt-4o\nprice input=2 output=8\n";
    /// let builder = payi_core::runtime::instrument().prices(PriceBook::embedded().with_book(ours)?);
    /// # drop(builder); Ok(())
    /// # }
    /// ```
    ///
    /// The book stays in memory until the process ends.
    pub fn prices(mut self, book: PriceBook) -> Self {
        self.book = Some(Box::leak(Box::new(book)));
        self
    }

    /// Takes times and ids from `clock`; for tests.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// A limit that is to be in force: it is made, or changed where the ledger has another one of its id.
    ///
    /// It is said anew at each start, and what it says holds then, whatever was changed meanwhile. What was spent stays,
    /// unless the limit now counts something else, by other subjects or over another window; and so do its name,
    /// overrides and properties where this limit has none, as with `payi limits override`.
    ///
    /// The file of settings has limits too (`[[limit]]`); of two of one id this one counts.
    ///
    /// ```
    /// # fn main() -> Result<(), payi_core::Error> {
    /// use payi_core::limits::{Limit, Window};
    ///
    /// let monthly = Limit::block("per-user", "10".parse()?).each_user().window(Window::month("UTC")?);
    /// let builder = payi_core::runtime::instrument().limit(monthly);
    /// # drop(builder); Ok(())
    /// # }
    /// ```
    pub fn limit(mut self, limit: Limit) -> Self {
        if let Err(error) = limit.check() {
            self.refuse(error);
        }
        self.options.limits.push(limit);
        self
    }

    /// Calls `tell` when a counter of a limit reaches its threshold or goes over its maximum: once each time,
    /// in the one process that recorded the call which did it. A log line (`tracing`, target `payi`) says the
    /// same. It runs on a thread of payi's and must return at once. Needs the feature `ledger`.
    pub fn on_limit(mut self, tell: impl Fn(&Crossing) + Send + Sync + 'static) -> Self {
        self.on_limit = Some(Arc::new(tell));
        self
    }

    /// Starts, or joins what is running.
    ///
    /// If payi is already running in this process, its handle is returned, these settings are
    /// ignored and a warning says so.
    ///
    /// # Errors
    ///
    /// [`Error::is_config`](crate::Error::is_config) if a setting is not usable: a key with a line
    /// break, an address without a host, an environment variable that looks like a misspelt one of
    /// ours. [`Error::is_ledger`](crate::Error::is_ledger) if the ledger's file is something else, or
    /// was written by a newer payi. Nothing has been started then.
    pub fn start(self) -> Result<Guard> {
        guard::start_once(|| self.build())
    }

    /// What would be in force if this were started now: for tools that look after a service. Starts nothing, and
    /// reads the environment and the file of settings as [`start`](Self::start) does.
    ///
    /// # Errors
    ///
    /// [`Error::is_config`](crate::Error::is_config), as at the start.
    ///
    /// ```
    /// # fn main() -> Result<(), payi_core::Error> {
    /// let settings = payi_core::runtime::instrument().ledger("a.db").in_force()?;
    /// assert_eq!(settings.ledger.as_deref(), Some("a.db".as_ref()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn in_force(&self) -> Result<InForce> {
        if let Some(error) = &self.wrong {
            return Err(crate::Error::new(crate::error::Kind::Config, error.to_string()));
        }
        let options = Options::gathered(self.options.clone())?;
        options.book()?;
        let access = options.pay_i();
        Ok(InForce {
            config: options.config.clone(),
            ledger: options.ledger_file(),
            base_url: access.base_url,
            sends_to_pay_i: access.key.is_some(),
        })
    }

    fn refuse(&mut self, error: crate::Error) {
        // The first mistake is reported; later ones may follow from it.
        self.wrong.get_or_insert(error);
    }

    fn build(self) -> Result<Running> {
        if let Some(error) = self.wrong {
            return Err(error);
        }
        let options = Options::gathered(self.options)?;
        #[cfg(feature = "rustls")]
        crate::sink::tls::ensure_provider();
        let mut entries = options.context.clone();
        if !entries.iter().any(|entry| entry.key == Key::UseCaseName) {
            entries.extend(name::of_executable().map(|name| expression::use_case_name(&name)));
        }
        let settings = settings(&options);
        let book = self.book.map_or_else(|| options.book(), Ok)?;
        #[cfg(feature = "tokenizer")]
        load_tokenizer();
        for conflict in conflicting_versions() {
            crate::error::say!(warn, target: "payi", "{conflict}");
        }
        let engines = Engines::start(&options, self.on_limit)?;
        if let Some(gate) = engines.gate() {
            let limits = Limits::of_gate(gate);
            options.limits.iter().try_for_each(|limit| limits.declare(limit).map(drop))?;
        }
        let on_spans =
            options.record_on_spans.unwrap_or(false).then(|| -> Arc<dyn Sink> { Arc::new(OnSpans) });
        let sinks: Vec<Arc<dyn Sink>> = engines.sinks().chain(on_spans).chain(self.sinks).collect();
        let gate = engines.gate().map(|gate| Arc::<Gate>::clone(gate) as Arc<dyn Any + Send + Sync>);
        let sink = match &*sinks {
            // The ledger's queue comes first. It calls nobody's code, and counts what cannot be read.
            [queue] if cfg!(feature = "ledger") => Arc::clone(queue),
            _ => Arc::new(Fan::new(sinks)),
        };
        let background = Arc::default();
        let pipeline = Pipeline { sink, book, clock: self.clock, settings, gate, background };
        let pipeline = Arc::new(pipeline);
        let root = Frame::root(Some(Arc::<Pipeline>::clone(&pipeline)), entries);
        Ok(Running::new(pipeline, root, engines))
    }
}

/// Reads the vocabulary while nobody waits for it. Without that thread, estimates go by the length of a text.
#[cfg(feature = "tokenizer")]
fn load_tokenizer() {
    let thread = std::thread::Builder::new().name("payi-tokenizer".to_owned());
    if let Err(error) = thread.spawn(crate::usage::load_tokenizer) {
        tracing::warn!(target: "payi", %error, "no thread to read the tokenizer's vocabulary");
    }
}

/// How calls are treated.
fn settings(options: &Options) -> Settings {
    let mut settings = Settings::default();
    let asked = options.context.iter().rev().find(|entry| entry.key == Key::LogPromptAndResponse);
    if let Some(keep) = asked.and_then(Entry::flag) {
        settings.log_prompt_and_response = keep;
        settings.never_log = !keep;
    }
    settings.exchange |= options.delivers();
    settings.pay_i = Arc::new(options.pay_i());
    settings.require = options.require.unwrap_or_default();
    settings.stream_usage = options.stream_usage.unwrap_or_default();
    settings.instrument_inline_data = options.instrument_inline_data.unwrap_or(false);
    settings.stream_usage_hosts.clone_from(&options.stream_usage_hosts);
    settings.mappings = options.mappings.clone();
    settings
}

macro_rules! setter {
    ($name:ident, text, $doc:literal) => {
        setter!($name, ContextValue, $doc);
    };
    ($name:ident, version, $doc:literal) => {
        setter!($name, ContextVersion, $doc);
    };
    ($name:ident, flag, $doc:literal) => {
        setter!($name, ContextFlag, $doc);
    };
    ($name:ident, list, $doc:literal) => {
        setter!($name, ContextList, $doc);
    };
    ($name:ident, map, $doc:literal) => {
        setter!($name, Serialize, $doc);
    };
    ($name:ident, $bound:ident, $doc:literal) => {
        #[doc = $doc]
        pub fn $name(mut self, value: impl $bound) -> Self {
            self.options.context.push(expression::$name(&value));
            self
        }
    };
}

macro_rules! setters {
    ($(($name:ident, $key:ident, $kind:ident, $doc:literal, $header:expr, $wire:expr, $column:expr),)*) => {
        /// The keys of the process-wide context: what a call says that no scope around it says otherwise.
        impl Builder {
            $(setter!($name, $kind, $doc);)*
        }
    };
}
fields!(setters);
