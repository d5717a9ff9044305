//! The threads behind an instrumentation: the ledger's writer, and a courier for each place.

#[cfg(feature = "ledger")]
use std::sync::{Mutex, MutexGuard};
#[cfg(any(feature = "reqwest", feature = "ledger"))]
use std::sync::{PoisonError, atomic::Ordering::Relaxed};
use std::{sync::Arc, time::Instant};

#[cfg(feature = "reqwest")]
use crate::sink::pay_i::PayI;
use crate::{
    Result,
    events::Sink,
    limits::{Gate, OnLimit},
    runtime::{metrics::Metrics, options::Options},
};
#[cfg(feature = "ledger")]
use crate::{
    ledger::{Durability, Ledger, LedgerStore},
    sink::{
        Shared, Writer, WriterOptions,
        deliver::OfLedger,
        files::{Files, Form},
    },
};
#[cfg(any(feature = "reqwest", feature = "ledger"))]
use crate::{
    runtime::metrics::DeliveryMetrics,
    sink::deliver::{Courier, Stats},
};
#[cfg(feature = "otel")]
use crate::{runtime::name, sink::otel};

/// What is running behind the callers' backs.
#[cfg_attr(not(feature = "ledger"), derive(Default))]
pub(super) struct Engines {
    #[cfg(feature = "ledger")]
    writer: Mutex<Option<Writer>>,
    /// What the writer counts, also after its end.
    #[cfg(feature = "ledger")]
    counts: Arc<Shared>,
    #[cfg(any(feature = "reqwest", feature = "ledger"))]
    couriers: Vec<Courier>,
    sinks: Vec<Arc<dyn Sink>>,
    gate: Option<Arc<Gate>>,
    /// What waits to be delivered, where there is no ledger to keep it.
    #[cfg(all(feature = "reqwest", not(feature = "ledger")))]
    memory: crate::sink::deliver::Memory,
}

#[cfg_attr(
    not(any(feature = "reqwest", feature = "ledger")),
    allow(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "a build without ledger and reqwest runs no threads"
    )
)]
impl Engines {
    #[cfg(feature = "ledger")]
    pub(super) fn start(options: &Options, on_limit: Option<Arc<OnLimit>>) -> Result<Self> {
        let writer = Writer::start(&WriterOptions { on_limit, ..writer_options(options) })?;
        let gate = Arc::new(Gate::start(Arc::new(store(writer.ledger())?), writer.process().into())?);
        #[cfg_attr(not(feature = "otel"), allow(unused_mut, reason = "only OpenTelemetry adds to them"))]
        let mut sinks = vec![writer.sink()];
        let source = |name| OfLedger::new(writer.ledger().another()?, name);
        let mut couriers = Vec::new();
        #[cfg(feature = "reqwest")]
        if let Some(pay_i) = pay_i(options)? {
            couriers.push(Courier::start(source(crate::sink::pay_i::NAME)?, pay_i)?);
        }
        for (form, path) in [(Form::Lines, &options.json_lines), (Form::Offline, &options.offline)] {
            if let Some(path) = path {
                let file = Files::new(form, path.clone());
                couriers.push(Courier::start(source(Files::cursor(form))?, file)?);
            }
        }
        #[cfg(feature = "otel")]
        if let Some(base_url) = &options.otlp {
            let parents = otel::Parents::default();
            let otlp = otel::Otlp::new(base_url, name::of_executable(), options.semconv, parents.clone())?;
            couriers.push(Courier::start(source(otel::NAME)?, otlp)?);
            sinks.push(Arc::new(parents));
        }
        #[cfg(not(feature = "otel"))]
        if options.otlp.is_some() {
            crate::error::say!(warn, target: "payi", "PAYI_OTLP is set, but payi was built without the feature `otel`");
        }
        let counts = writer.counts();
        Ok(Self { writer: Mutex::new(Some(writer)), counts, couriers, sinks, gate: Some(gate) })
    }

    #[cfg(all(feature = "reqwest", not(feature = "ledger")))]
    pub(super) fn start(options: &Options, _on_limit: Option<Arc<OnLimit>>) -> Result<Self> {
        let (gate, charges) = in_memory()?;
        let memory = crate::sink::deliver::Memory::default();
        let mut sinks: Vec<Arc<dyn Sink>> = vec![charges];
        let mut couriers = Vec::new();
        if let Some(pay_i) = pay_i(options)? {
            couriers.push(Courier::start(memory.clone(), pay_i)?);
            sinks.push(Arc::new(memory.clone()));
        }
        Ok(Self { couriers, sinks, gate: Some(gate), memory })
    }

    #[cfg(not(any(feature = "reqwest", feature = "ledger")))]
    pub(super) fn start(_options: &Options, _on_limit: Option<Arc<OnLimit>>) -> Result<Self> {
        Ok(Self::default())
    }

    /// The gate before calls.
    pub(super) fn gate(&self) -> Option<&Arc<Gate>> {
        self.gate.as_ref()
    }

    /// Where calls hand their events over.
    pub(super) fn sinks(&self) -> impl Iterator<Item = Arc<dyn Sink>> {
        self.sinks.clone().into_iter()
    }

    /// Waits until everything handed over so far is written and delivered, or cannot be now, or
    /// `deadline`; whether it is.
    pub(super) fn flush(&self, deadline: Instant) -> bool {
        #[cfg(feature = "ledger")]
        let written = self
            .writer()
            .as_ref()
            .is_none_or(|writer| writer.flush(deadline.saturating_duration_since(Instant::now())).is_ok());
        #[cfg(not(feature = "ledger"))]
        let written = true;
        #[cfg(any(feature = "reqwest", feature = "ledger"))]
        let delivered = {
            // Asked all at once, so that they work side by side.
            let asked: Vec<u64> = self.couriers.iter().map(Courier::ask).collect();
            let waited = self.couriers.iter().zip(asked);
            waited.filter(|(courier, asked)| !courier.wait(*asked, deadline)).count() == 0
        };
        #[cfg(not(any(feature = "reqwest", feature = "ledger")))]
        let delivered = true;
        let _ = deadline;
        written && delivered
    }

    /// What has become of events so far.
    pub(super) fn metrics(&self) -> Metrics {
        #[allow(unused_mut, reason = "a build without ledger and reqwest has nothing to tell")]
        let mut metrics = Metrics::default();
        #[cfg(feature = "ledger")]
        {
            let written = self.counts.metrics();
            metrics.recorded = written.recorded;
            metrics.written = written.written;
            metrics.duplicates = written.duplicates;
            metrics.losses = written.losses;
        }
        #[cfg(all(feature = "reqwest", not(feature = "ledger")))]
        if self.memory.lost() > 0 {
            metrics.losses.push((crate::sink::LossReason::MemoryFull.name(), self.memory.lost()));
        }
        #[cfg(any(feature = "reqwest", feature = "ledger"))]
        metrics.deliveries.extend(self.couriers.iter().map(delivery));
        metrics
    }

    /// The ledger that is written.
    #[cfg(feature = "ledger")]
    pub(super) fn ledger(&self) -> Option<Ledger> {
        self.writer().as_ref().map(|writer| writer.ledger().clone())
    }

    /// Ends the threads, or leaves them behind at `deadline`.
    pub(super) fn stop(&self, deadline: Instant) {
        if let Some(gate) = &self.gate {
            gate.stop(deadline);
        }
        #[cfg(any(feature = "reqwest", feature = "ledger"))]
        for courier in &self.couriers {
            courier.stop(deadline);
        }
        #[cfg(feature = "ledger")]
        if let Some(writer) = self.writer().take() {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Err(error) = writer.shutdown(left) {
                crate::error::say!(warn, target: "payi", %error, "payi ended before everything was written");
            }
        }
        let _ = deadline;
    }

    #[cfg(feature = "ledger")]
    fn writer(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ledger as the store of limits, over a connection of its own. What it grants need not survive a power
/// cut, which no holder survives.
#[cfg(feature = "ledger")]
fn store(ledger: &Ledger) -> Result<LedgerStore> {
    let own = match ledger.path() {
        Some(path) => Ledger::open_with(path, Durability::Buffered)?,
        None => ledger.clone(),
    };
    Ok(LedgerStore::new(own))
}

/// Limits without a ledger: those that the program itself makes, for as long as it runs.
#[cfg(all(feature = "reqwest", not(feature = "ledger")))]
fn in_memory() -> Result<(Arc<Gate>, Arc<dyn Sink>)> {
    use crate::limits::{MemorySink, MemoryStore, Store};
    const PROCESS: &str = "process";
    let store = Arc::new(MemoryStore::new());
    let gate = Gate::start(Arc::clone(&store) as Arc<dyn Store>, PROCESS.into())?;
    Ok((Arc::new(gate), Arc::new(MemorySink::new(store, PROCESS))))
}

#[cfg(feature = "ledger")]
fn writer_options(options: &Options) -> WriterOptions {
    let usual = WriterOptions::default();
    WriterOptions {
        path: options.ledger_file(),
        durability: options.durability.unwrap_or_default(),
        keep_exchanges: options.delivers(),
        keep_prompts: options.keep_prompts.unwrap_or(usual.keep_prompts),
        ..usual
    }
}

/// Pay-i as a place, if there is a key.
#[cfg(feature = "reqwest")]
fn pay_i(options: &Options) -> Result<Option<PayI>> {
    let access = options.pay_i();
    let Some(key) = &access.key else { return Ok(None) };
    PayI::new(&access.base_url, key.expose(), options.bulk.unwrap_or(true)).map(Some)
}

#[cfg(any(feature = "reqwest", feature = "ledger"))]
fn delivery(courier: &Courier) -> DeliveryMetrics {
    let Stats { placed, refused, failures, lag, trouble } = courier.stats();
    DeliveryMetrics {
        place: courier.place(),
        placed: placed.load(Relaxed),
        refused: refused.load(Relaxed),
        failures: failures.load(Relaxed),
        lag: lag.load(Relaxed),
        trouble: *trouble.lock().unwrap_or_else(PoisonError::into_inner),
    }
}
