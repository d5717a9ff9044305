//! The threads behind an instrumentation: the ledger's writer, and a courier for each place.

#[cfg(feature = "ledger")]
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{sync::Arc, time::Instant};

#[cfg(all(feature = "reqwest", feature = "ledger"))]
use crate::sink::{deliver::OfLedger, pay_i::NAME};
#[cfg(feature = "reqwest")]
use crate::sink::{
    deliver::{Courier, Source},
    pay_i::PayI,
};
use crate::{Result, events::Sink, runtime::options::Options};
#[cfg(feature = "ledger")]
use crate::{
    ledger::Ledger,
    runtime::options::{LEDGER, Place},
    sink::{Writer, WriterOptions},
};

/// What is running behind the callers' backs.
#[derive(Default)]
pub(super) struct Engines {
    #[cfg(feature = "ledger")]
    writer: Mutex<Option<Writer>>,
    #[cfg(feature = "reqwest")]
    couriers: Vec<Courier>,
    sinks: Vec<Arc<dyn Sink>>,
}

impl Engines {
    #[cfg(feature = "ledger")]
    pub(super) fn start(options: &Options) -> Result<Self> {
        let writer = Writer::start(&writer_options(options))?;
        let sinks = vec![writer.sink()];
        #[cfg(feature = "reqwest")]
        let couriers = {
            let source = || OfLedger::new(writer.ledger().another()?, NAME);
            couriers(options, source)?
        };
        Ok(Self {
            writer: Mutex::new(Some(writer)),
            #[cfg(feature = "reqwest")]
            couriers,
            sinks,
        })
    }

    #[cfg(all(feature = "reqwest", not(feature = "ledger")))]
    pub(super) fn start(options: &Options) -> Result<Self> {
        let memory = crate::sink::deliver::Memory::default();
        let couriers = couriers(options, || Ok(memory.clone()))?;
        let sinks: Vec<Arc<dyn Sink>> = if couriers.is_empty() { Vec::new() } else { vec![Arc::new(memory)] };
        Ok(Self { couriers, sinks })
    }

    #[cfg(not(any(feature = "reqwest", feature = "ledger")))]
    pub(super) fn start(_options: &Options) -> Result<Self> {
        Ok(Self::default())
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
        #[cfg(feature = "reqwest")]
        let delivered = {
            // Asked all at once, so that they work side by side.
            let asked: Vec<u64> = self.couriers.iter().map(Courier::ask).collect();
            let mut waited = self.couriers.iter().zip(asked);
            waited.all(|(courier, asked)| courier.wait(asked, deadline))
        };
        #[cfg(not(feature = "reqwest"))]
        let delivered = true;
        let _ = deadline;
        written && delivered
    }

    /// The ledger that is written.
    #[cfg(feature = "ledger")]
    pub(super) fn ledger(&self) -> Option<Ledger> {
        self.writer().as_ref().map(|writer| writer.ledger().clone())
    }

    /// Ends the threads, or leaves them behind at `deadline`.
    pub(super) fn stop(&self, deadline: Instant) {
        #[cfg(feature = "reqwest")]
        for courier in &self.couriers {
            courier.stop(deadline);
        }
        #[cfg(feature = "ledger")]
        if let Some(writer) = self.writer().take() {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Err(error) = writer.shutdown(left) {
                tracing::warn!(target: "payi", %error, "payi ended before everything was written");
            }
        }
        let _ = deadline;
    }

    #[cfg(feature = "ledger")]
    fn writer(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(feature = "ledger")]
fn writer_options(options: &Options) -> WriterOptions {
    let path = match &options.ledger {
        Some(Place::Memory) => None,
        Some(Place::File(path)) => Some(path.clone()),
        None => Some(LEDGER.into()),
    };
    let mut writer = WriterOptions::default();
    writer.path = path;
    writer.keep_exchanges = options.api_key.is_some();
    writer
}

/// A courier to Pay-i, if there is a key.
#[cfg(feature = "reqwest")]
fn couriers<S: Source + 'static>(
    options: &Options,
    source: impl FnOnce() -> Result<S>,
) -> Result<Vec<Courier>> {
    let Some(key) = &options.api_key else { return Ok(Vec::new()) };
    let base_url = options.base_url.as_deref().unwrap_or(super::options::PAY_I);
    let pay_i = PayI::new(base_url, key.expose(), options.bulk.unwrap_or(true))?;
    Ok(vec![Courier::start(source()?, pay_i)?])
}
