//! What payi is doing, in numbers: for a service's own metrics, and for its operator.

/// What has become of events since the start of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Events taken from callers.
    pub recorded: u64,
    /// Events in the ledger.
    pub written: u64,
    /// Events that were in the ledger already.
    pub duplicates: u64,
    /// Events lost, by reason; reasons without a loss are left out. Empty is how it should be.
    pub losses: Vec<(&'static str, u64)>,
    /// One for each place that events are delivered to.
    pub deliveries: Vec<DeliveryMetrics>,
}

/// How delivery to one place goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliveryMetrics {
    /// The place: `pay-i`, `json-lines`, `offline`.
    pub place: &'static str,
    /// Events placed by this process.
    pub placed: u64,
    /// Events that the place refused, set aside.
    pub refused: u64,
    /// Attempts that failed; they were repeated, or will be.
    pub failures: u64,
    /// Events that wait for it.
    pub lag: u64,
    /// What is wrong now, by a short code (`unavailable`, `invalid_api_key`); `None` if nothing is.
    pub trouble: Option<&'static str>,
}
