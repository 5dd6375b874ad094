//! What the program `attacker` says to the test that put it into a jail.

use serde::{Deserialize, Serialize};

/// One attack that was tried: a line of the jail's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Which.
    pub attack: String,
    /// Whether its oracle was seen.
    pub succeeded: bool,
    /// The oracle, or what stood in the way.
    pub seen: String,
}
