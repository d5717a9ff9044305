//! What may be said before the start.

use std::{path::PathBuf, sync::Arc};

use crate::{
    Result,
    context::Frame,
    events::{Clock, Pipeline, Settings, Sink, StreamUsage, SystemClock},
    pricing::PriceBook,
    runtime::{
        guard::{self, Guard, Running},
        options::{self, Options},
    },
    sink::Fan,
};

/// The settings of [`instrument`](crate::runtime::instrument); ends with [`start`](Self::start).
#[must_use = "nothing happens before `.start()`"]
pub struct Builder {
    options: Options,
    wrong: Option<crate::Error>,
    settings: Settings,
    sinks: Vec<Arc<dyn Sink>>,
    clock: Arc<dyn Clock>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            options: Options::default(),
            wrong: None,
            settings: Settings::default(),
            sinks: Vec::new(),
            clock: Arc::new(SystemClock),
        }
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("options", &self.options)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// Records calls in this file; it is made if it is missing.
    ///
    /// If it cannot be opened, calls are recorded in memory and one warning says why.
    pub fn ledger(mut self, path: impl Into<PathBuf>) -> Self {
        self.options.ledger = Some(options::Place::File(path.into()));
        self
    }

    /// Records calls in memory: they are gone when the process ends.
    pub fn in_memory(mut self) -> Self {
        self.options.ledger = Some(options::Place::Memory);
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

    /// Whether streams are made to carry their usage; see [`StreamUsage`].
    pub fn stream_usage(mut self, stream_usage: StreamUsage) -> Self {
        self.settings.stream_usage = stream_usage;
        self
    }

    /// Whether prompts and answers are kept, and sent to Pay-i. Off unless asked for; a scope's own
    /// `log_prompt_and_response` wins.
    pub fn log_prompt_and_response(mut self, keep: bool) -> Self {
        self.settings.log_prompt_and_response = keep;
        self
    }

    /// Also hands every event to `sink`.
    pub fn sink(mut self, sink: impl Sink + 'static) -> Self {
        self.sinks.push(Arc::new(sink));
        self
    }

    /// Takes times and ids from `clock`; for tests.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
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
    /// ours. Nothing has been started then.
    pub fn start(self) -> Result<Guard> {
        guard::start_once(|| self.build())
    }

    fn refuse(&mut self, error: crate::Error) {
        // The first mistake is reported; later ones may follow from it.
        self.wrong.get_or_insert(error);
    }

    fn build(self) -> Result<Running> {
        if let Some(error) = self.wrong {
            return Err(error);
        }
        let variables =
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        let options = self.options.or(Options::from_environment(variables)?);
        #[cfg(feature = "rustls")]
        crate::sink::tls::ensure_provider();
        let sinks = self.sinks;
        drop(options);
        let pipeline = Pipeline {
            sink: Arc::new(Fan::new(sinks)),
            book: PriceBook::embedded(),
            clock: self.clock,
            settings: self.settings,
        };
        let pipeline = Arc::new(pipeline);
        let root = Frame::root(Some(Arc::<Pipeline>::clone(&pipeline)), Vec::new());
        Ok(Running::new(pipeline, root))
    }
}
