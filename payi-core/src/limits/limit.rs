//! One limit: whom it is for, what it counts, how much, and what happens at the end of it.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Kind as ErrorKind, Result},
    limits::{Subject, Window},
    money::Money,
};

/// Whether calls are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Nothing is refused: what goes over is counted, shown and told.
    #[default]
    Allow,
    /// A call that does not fit any more is refused before it is sent.
    Block,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// US dollars, in pico-dollars.
    #[default]
    Cost,
    /// Attempts that were sent.
    Calls,
    /// Tokens in and out.
    Tokens,
    /// Calls under way at the same time.
    Concurrent,
}

impl Measure {
    /// An amount of it, for people: `0.25 USD`, `1 call`, `1000 tokens`.
    pub fn show(self, amount: i128) -> String {
        let what = match self {
            Self::Cost => return format!("{} USD", Money::from_pico(amount)),
            Self::Calls | Self::Concurrent => "call",
            Self::Tokens => "token",
        };
        format!("{amount} {what}{}", if amount == 1 { "" } else { "s" })
    }
}

/// Whose spend is counted together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// That of the calls that name it in `limit_ids`.
    #[default]
    Attached,
    /// Each user has a counter; the same user id under two accounts is two users. Calls without a user share one.
    EachUser,
    /// Each account has a counter.
    EachAccount,
    /// Each use case has a counter.
    EachUseCase,
    /// Everybody together.
    Everyone,
}

/// What a block limit does with a call whose cost has no upper bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// It is refused. Only so can the limit never be overspent.
    Strict,
    /// A usual call's cost is reserved. The limit may be overspent by what calls under way cost beyond that.
    #[default]
    Estimate,
    /// The request is given a `max_tokens` that what is left can pay for; where that cannot be done it is refused.
    InjectMaxTokens,
}

/// What a limit on cost makes of a model that has no price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unpriced {
    /// A block limit refuses the call; an allow limit counts nothing.
    #[default]
    Refuse,
    /// It costs this many pico-dollars a token, in or out (1,000,000 is one dollar per million tokens).
    Assume(u64),
    /// It costs nothing.
    Ignore,
}

/// What a limit does while its store cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnStoreFailure {
    /// It lets calls pass.
    Open,
    /// It refuses them.
    Closed,
}

/// A rule about what may be spent.
///
/// ```
/// use payi_core::limits::{Limit, Window};
///
/// let monthly = Limit::block("per-user", "10".parse()?)
///     .name("10 USD per user and month")
///     .each_user()
///     .window(Window::month("Europe/Berlin")?)
///     .override_for("ada", "acme", "25".parse()?);
/// assert_eq!(monthly.max_usd().map(|max| max.to_string()).as_deref(), Some("10"));
/// # Ok::<(), payi_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Limit {
    /// By which calls and people name it.
    pub id: Box<str>,
    /// For people.
    pub name: Box<str>,
    /// Whether it refuses calls.
    pub kind: Kind,
    /// What it counts.
    pub measure: Measure,
    /// How much of that: pico-dollars for [`Measure::Cost`], a plain count for all others.
    #[serde(with = "as_text")]
    pub max: i128,
    /// The share of `max`, in thousandths, from which it counts as exceeded.
    pub threshold: Option<u16>,
    /// Whose spend it counts together.
    pub scope: Scope,
    /// Over which time.
    pub window: Window,
    /// What is done with calls that have no bound.
    pub policy: Policy,
    /// What is done with models that have no price.
    pub unpriced: Unpriced,
    /// What is done while the store cannot be asked; `None` is closed for block limits and open for others.
    pub on_store_failure: Option<OnStoreFailure>,
    /// Another maximum for single subjects.
    #[serde(with = "pairs")]
    pub overrides: BTreeMap<Subject, i128>,
    /// Free keys and values.
    pub properties: BTreeMap<Box<str>, Option<Box<str>>>,
}

impl Limit {
    /// A limit in US dollars that refuses calls.
    pub fn block(id: impl Into<Box<str>>, max: Money) -> Self {
        Self::new(id.into(), Kind::Block, Measure::Cost, max.pico())
    }

    /// A limit in US dollars that refuses nothing: what goes over is counted and told.
    pub fn allow(id: impl Into<Box<str>>, max: Money) -> Self {
        Self::new(id.into(), Kind::Allow, Measure::Cost, max.pico())
    }

    /// At most `max` calls in the window; `.window(Window::rate(..))` makes it a rate.
    pub fn calls(id: impl Into<Box<str>>, max: u64) -> Self {
        Self::new(id.into(), Kind::Block, Measure::Calls, max.into())
    }

    /// At most `max` tokens, in and out, in the window.
    pub fn tokens(id: impl Into<Box<str>>, max: u64) -> Self {
        Self::new(id.into(), Kind::Block, Measure::Tokens, max.into())
    }

    /// At most `max` calls under way at the same time.
    pub fn concurrent(id: impl Into<Box<str>>, max: u64) -> Self {
        Self::new(id.into(), Kind::Block, Measure::Concurrent, max.into())
    }

    fn new(id: Box<str>, kind: Kind, measure: Measure, max: i128) -> Self {
        Self {
            name: id.clone(),
            id,
            kind,
            measure,
            max,
            threshold: None,
            scope: Scope::Attached,
            window: Window::Lifetime,
            policy: Policy::default(),
            unpriced: Unpriced::default(),
            on_store_failure: None,
            overrides: BTreeMap::new(),
            properties: BTreeMap::new(),
        }
    }

    /// A name for people.
    pub fn name(mut self, name: impl Into<Box<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Refuses calls, or does not.
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Counts as exceeded from this share of the maximum, in percent (75 to 99).
    pub fn threshold_percent(mut self, percent: u8) -> Self {
        self.threshold = Some(u16::from(percent) * 10);
        self
    }

    /// One counter for each user.
    pub fn each_user(self) -> Self {
        self.scope(Scope::EachUser)
    }

    /// One counter for each account.
    pub fn each_account(self) -> Self {
        self.scope(Scope::EachAccount)
    }

    /// One counter for each use case.
    pub fn each_use_case(self) -> Self {
        self.scope(Scope::EachUseCase)
    }

    /// One counter for everybody.
    pub fn everyone(self) -> Self {
        self.scope(Scope::Everyone)
    }

    /// Whose spend is counted together.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// Over which time it counts.
    pub fn window(mut self, window: Window) -> Self {
        self.window = window;
        self
    }

    /// What is done with calls whose cost has no bound.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Short for `.policy(Policy::Strict)`: it can never be overspent.
    pub fn strict(self) -> Self {
        self.policy(Policy::Strict)
    }

    /// What is done with models that have no price.
    pub fn unpriced(mut self, unpriced: Unpriced) -> Self {
        self.unpriced = unpriced;
        self
    }

    /// What is done while the store cannot be asked.
    pub fn on_store_failure(mut self, then: OnStoreFailure) -> Self {
        self.on_store_failure = Some(then);
        self
    }

    /// Another maximum in US dollars for one user (of an account, `""` for none), account or use case.
    pub fn override_for(self, name: &str, account: &str, max: Money) -> Self {
        self.override_units(name, account, max.pico())
    }

    /// The same as a count, for limits on calls and tokens.
    pub fn override_count(self, name: &str, account: &str, max: u64) -> Self {
        self.override_units(name, account, max.into())
    }

    fn override_units(mut self, name: &str, account: &str, max: i128) -> Self {
        self.overrides.insert(Subject::new(name, account), max);
        self
    }

    /// The maximum in US dollars, if it is one.
    pub fn max_usd(&self) -> Option<Money> {
        (self.measure == Measure::Cost).then(|| Money::from_pico(self.max))
    }

    /// An amount of this limit for people: dollars, or a count.
    pub fn show(&self, amount: i128) -> String {
        match self.measure {
            Measure::Cost => Money::from_pico(amount).to_string(),
            _ => amount.to_string(),
        }
    }

    /// The maximum of one counter.
    pub fn max_of(&self, subject: &Subject) -> i128 {
        self.overrides.get(subject).copied().unwrap_or(self.max)
    }

    /// Whether the limit may have a counter for this subject alone.
    pub fn counts_apart(&self, subject: &Subject) -> bool {
        match self.scope {
            Scope::Attached | Scope::Everyone => *subject == Subject::default(),
            Scope::EachUser => true,
            Scope::EachAccount | Scope::EachUseCase => subject.within.is_empty(),
        }
    }

    /// Whether calls pass while the store cannot be asked.
    pub(crate) fn fails_open(&self) -> bool {
        match self.on_store_failure {
            Some(then) => then == OnStoreFailure::Open,
            None => self.kind == Kind::Allow,
        }
    }

    /// Whether counters are charged by facts; others are only held, or decay.
    pub(crate) fn settles(&self) -> bool {
        self.measure != Measure::Concurrent && self.rate().is_none()
    }

    /// The time in which the whole maximum comes back, if it is a rate.
    pub(crate) fn rate(&self) -> Option<Duration> {
        match self.window {
            Window::Rate { seconds } => Some(Duration::from_secs(seconds.into())),
            _ => None,
        }
    }

    /// The same in microseconds.
    pub(crate) fn rate_us(&self) -> Option<i64> {
        self.rate().map(|per| i64::try_from(per.as_micros()).unwrap_or(i64::MAX))
    }

    /// This limit, with the name, overrides and properties of `old` where it has none. Overrides that were of
    /// something else, or for others, are not taken over.
    pub(crate) fn in_place_of(mut self, old: &Self) -> Self {
        if self.name == self.id {
            self.name.clone_from(&old.name);
        }
        if self.overrides.is_empty() && (old.measure, old.scope) == (self.measure, self.scope) {
            self.overrides.clone_from(&old.overrides);
        }
        if self.properties.is_empty() {
            self.properties.clone_from(&old.properties);
        }
        self
    }

    /// The limit under an id, if it can be kept.
    pub(crate) fn of_id(mut self, id: &str) -> Result<Self> {
        self.id = id.into();
        self.check()?;
        Ok(self)
    }

    /// Whether the limit can be kept.
    ///
    /// # Errors
    /// [`Error::is_config`] with what to change.
    pub fn check(&self) -> Result<()> {
        let refuse = |what: &str| Err(Error::new(ErrorKind::Config, what.to_owned()));
        if self.id.is_empty() || self.id.len() > 64 || self.id.contains(',') || self.id.trim() != &*self.id {
            return refuse("a limit's id has 1 to 64 bytes, without commas and without blanks at its ends");
        }
        if self.max <= 0 || self.overrides.values().any(|&max| max < 0) {
            return refuse("a limit's maximum is above 0");
        }
        if let Some(threshold) = self.threshold.filter(|threshold| !(750..=990).contains(threshold)) {
            return refuse(&format!(
                "the threshold of the limit {} is {} percent of its maximum; write 75 to 99 (for Pay-i's API, 0.75 to \
                 0.99)",
                self.id,
                f64::from(threshold) / 10.0
            ));
        }
        if matches!(self.window, Window::Rate { .. }) && self.measure != Measure::Calls {
            return refuse("a rate counts calls; give tokens and dollars a rolling window");
        }
        if self.measure == Measure::Concurrent && self.window != Window::Lifetime {
            return refuse("calls under way at the same time have no window");
        }
        Ok(())
    }
}

/// Whole numbers too large for JSON's readers, as text.
mod as_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(value: &i128, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i128, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// A map whose keys are no text, as a list of `[name, within, amount]`.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::limits::Subject;

    pub(super) fn serialize<S: Serializer>(map: &BTreeMap<Subject, i128>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(map.iter().map(|(s, max)| (s.name.as_str(), s.within.as_str(), max.to_string())))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<Subject, i128>, D::Error> {
        let all = Vec::<(String, String, String)>::deserialize(from)?;
        all.into_iter()
            .map(|(name, within, max)| {
                Ok((Subject::new(&name, &within), max.parse().map_err(D::Error::custom)?))
            })
            .collect()
    }
}
