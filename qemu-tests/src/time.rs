//! Deadlines. They only bound a hang, so they are generous: a loaded build machine without KVM is
//! several times slower than an idle one.

use std::time::{Duration, Instant};

/// `TIMEOUT_FACTOR` when it is not set: at load 6 a boot of 6 s took up to 24 s.
const FACTOR: u32 = 4;

/// `limit` for an idle machine, stretched by `TIMEOUT_FACTOR`.
#[must_use]
pub fn stretched(limit: Duration) -> Duration {
    let set = std::env::var("TIMEOUT_FACTOR").ok().and_then(|value| value.parse().ok());
    limit * set.unwrap_or(FACTOR).max(1)
}

/// A point in time after which waiting is given up, and the limit it came from.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    /// The whole limit, for messages.
    pub limit: Duration,
    at: Instant,
}

impl Deadline {
    /// Starts now; `limit` is that of an idle machine.
    #[must_use]
    pub fn after(limit: Duration) -> Self {
        Self::exactly(stretched(limit))
    }

    /// Starts now, without the factor.
    pub(crate) fn exactly(limit: Duration) -> Self {
        Self { limit, at: Instant::now() + limit }
    }

    /// `None` once it has passed.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        self.at.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }
}
