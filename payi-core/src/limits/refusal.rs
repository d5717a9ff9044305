//! What a refused call is told.

use std::{error::Error as StdError, fmt, time::SystemTime};

use crate::{
    error::{Error, Kind},
    limits::{LimitState, Measure, Unbounded},
};

/// Why a call was refused: which limit, how it stands, and when something of it comes back.
///
/// From an error of any client: `payi::Error::find(&error).and_then(payi::Error::refusal)`.
/// Amounts are US dollars where [`measure`](Self::measure) is [`Measure::Cost`], else counts
/// ([`show`](Self::show) writes either).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The limit that refused.
    pub limit_id: Box<str>,
    /// Its name for people.
    pub limit_name: Box<str>,
    /// [`LimitState::Blocked`]; or overrun, where more than the maximum is spent already.
    pub state: LimitState,
    /// What the limit counts.
    pub measure: Measure,
    /// Spent so far; where there is a [`reason`](Self::reason), as far as this process knows.
    pub spent: i128,
    /// Reserved for calls under way; where there is a reason, for those of this process.
    pub reserved: i128,
    /// What this call would have needed; `None` if nobody can say.
    pub needed: Option<i128>,
    /// The most there is.
    pub max: i128,
    /// When something, or everything, comes back, at the latest; `None` if not by itself.
    pub frees_at: Option<SystemTime>,
    /// Why it was refused where that is not for lack of room: `unbounded`, `unpriced`, `store`.
    pub reason: Option<&'static str>,
    /// Why nobody can say what the call would have come to, where that is the reason.
    pub unbounded: Option<Unbounded>,
}

impl Refusal {
    /// An amount for people: dollars, or a count.
    pub fn show(&self, amount: i128) -> String {
        self.measure.show(amount)
    }

    /// The short code that the call is recorded with.
    #[cfg(feature = "_http")]
    pub(crate) fn code(&self) -> &'static str {
        match self.reason {
            Some("unbounded") => "limit_unbounded",
            Some("unpriced") => "limit_unpriced",
            Some("store") => "limit_store",
            _ => "limit_reached",
        }
    }

    /// Whether something is left, which a call that may write less might do with.
    fn may_fit(&self) -> bool {
        let by_length = matches!(self.measure, Measure::Cost | Measure::Tokens);
        by_length && self.needed.is_some() && self.spent + self.reserved < self.max
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the limit {} refused the call before it was sent: ", self.limit_id)?;
        match self.reason {
            Some("unbounded") => {
                let why = self.unbounded.unwrap_or(Unbounded::NoMaximum);
                let then = match why {
                    Unbounded::NoMaximum => "set max_tokens on the request",
                    _ => "leave that out, or give the limit `Policy::Estimate`",
                };
                write!(f, "nothing bounds what it may cost, because {why}; {then}")?;
            }
            Some("unpriced") => f.write_str(
                "its model has no price, or it names none; give it one with `.prices(..)` or `price_as_resource`, \
                 or the limit another rule for such models",
            )?,
            Some("store") => f.write_str(
                "what is left of it cannot be asked now; try again in a moment, unless payi was shut down",
            )?,
            _ => {
                let (spent, reserved) = (self.show(self.spent), self.show(self.reserved));
                write!(f, "{spent} spent and {reserved} reserved of {}", self.show(self.max))?;
                if let Some(needed) = self.needed {
                    write!(f, ", {} needed", self.show(needed))?;
                }
                if self.may_fit() {
                    f.write_str("; a call that may write less (max_tokens) needs less")?;
                }
            }
        }
        match self.frees_at.and_then(|at| jiff::Timestamp::try_from(at).ok()) {
            Some(at) => write!(f, "; it frees at {at:.0}"),
            None => Ok(()),
        }
    }
}

impl StdError for Refusal {}

/// The refusal as payi's error.
pub(crate) fn refused(refusal: Refusal) -> Error {
    Error::with_source(Kind::Limit, refusal.to_string(), refusal)
}

impl Error {
    /// What a limit said when it refused the call; `None` for every other error.
    pub fn refusal(&self) -> Option<&Refusal> {
        StdError::source(self).and_then(|source| source.downcast_ref())
    }
}
