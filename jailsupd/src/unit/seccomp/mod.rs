//! System call filters as units name them, and profiles from files in OCI's format.
//!
//! What a filter's program is made of is `plan::seccomp`'s business.

mod json;
mod read;

use std::fmt;

use super::path::HostPath;
use super::value::{Fault, FromText, Kind, shown};
use super::{Capabilities, nearest::nearest};
pub use read::{MAX_FILE, read};

/// The filter that a unit asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Seccomp {
    /// Warder's own profile, and no more than a service with a fixed user needs.
    Strict,
    /// Warder's own profile.
    #[default]
    Default,
    /// No filter at all; only where the host's policy allows it.
    None,
    /// A profile of the host, in OCI's format.
    File(HostPath),
}

const WORDS: [&str; 3] = ["strict", "default", "none"];

impl fmt::Display for Seccomp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Strict => f.write_str("strict"),
            Self::Default => f.write_str("default"),
            Self::None => f.write_str("none"),
            Self::File(path) => path.fmt(f),
        }
    }
}

impl FromText for Seccomp {
    const KIND: Kind = Kind::text(
        "seccomp profile: strict, default, none or a file's path",
        "^(strict|default|none|/.*)$",
    );

    fn from_text(text: &str) -> Result<Self, Fault> {
        match text {
            "strict" => Ok(Self::Strict),
            "default" => Ok(Self::Default),
            "none" => Ok(Self::None),
            // As podman and Docker say it.
            "unconfined" => Err(Fault::new("\"unconfined\" is not a seccomp profile")
                .help("write \"none\"; the host's policy must allow it")),
            path if path.starts_with('/') => HostPath::new(path).map(Self::File),
            other => {
                let help = match nearest(other, WORDS) {
                    Some(word) => format!("did you mean \"{word}\"?"),
                    None => "write \"strict\", \"default\", \"none\", or the absolute path of a profile in OCI's format".to_owned(),
                };
                Err(Fault::new(format!("{} is not a seccomp profile", shown(other))).help(help))
            }
        }
    }
}

/// A profile of a file, for this machine: names of calls that it does not have are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// For calls that no rule is about.
    pub default: Action,
    /// Whether the kernel is to log what is not allowed (`SECCOMP_FILTER_FLAG_LOG`).
    pub log: bool,
    /// In the order of the file, which has no meaning: of two rules for one call the stricter one counts.
    pub rules: Vec<Rule>,
}

/// What to do about some calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Numbers of calls.
    pub calls: Vec<i64>,
    /// What to do.
    pub action: Action,
    /// Any of these must hold; none means that the rule holds whatever the arguments are.
    pub alternatives: Vec<Vec<Condition>>,
    /// When the rule counts.
    pub scope: Scope,
}

/// When a rule counts (`includes` and `excludes`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The jail must have all of these capabilities.
    pub with: Capabilities,
    /// It must have none of these.
    pub without: Capabilities,
    /// The kernel must have at least this version.
    pub min_kernel: Option<(u32, u32)>,
    /// The rule is about other machines only.
    pub elsewhere: bool,
}

impl Scope {
    /// Whether the rule counts for a jail with these capabilities on this kernel.
    pub fn holds(&self, capabilities: Capabilities, kernel: (u32, u32)) -> bool {
        let (has, with, without) = (capabilities.bits(), self.with.bits(), self.without.bits());
        !self.elsewhere
            && has & with == with
            && has & without == 0
            && self.min_kernel.is_none_or(|least| kernel >= least)
    }
}

/// What the kernel does about a call (seccomp(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The call is made.
    Allow,
    /// The call is made, and logged.
    Log,
    /// The call fails with this errno, at most 4095; 0 looks like success.
    Errno(u16),
    /// A tracer decides; without one the call fails with `ENOSYS`.
    Trace(u16),
    /// `SIGSYS`.
    Trap,
    /// The thread dies.
    KillThread,
    /// The process dies.
    KillProcess,
}

impl Action {
    /// Whether the call is made.
    pub const fn passes(self) -> bool {
        matches!(self, Self::Allow | Self::Log)
    }

    /// Of two actions the kernel takes the one with the higher rank.
    pub const fn rank(self) -> u8 {
        match self {
            Self::Allow => 0,
            Self::Log => 1,
            Self::Trace(_) => 2,
            Self::Errno(_) => 3,
            Self::Trap => 4,
            Self::KillThread => 5,
            Self::KillProcess => 6,
        }
    }
}

/// One argument compared with a number; both count as 64 bits without sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which argument, from 0 to 5.
    pub index: u8,
    /// How.
    pub compare: Compare,
    /// With what.
    pub value: u64,
}

/// How an argument is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// Other than the value.
    NotEqual,
    /// Below the value.
    Less,
    /// Not above the value.
    LessOrEqual,
    /// The value.
    Equal,
    /// Not below the value.
    GreaterOrEqual,
    /// Above the value.
    Greater,
    /// The value, in the bits of this mask.
    Masked(u64),
}

impl Condition {
    /// Whether it holds for a call with these arguments.
    pub fn holds(&self, arguments: &[u64; 6]) -> bool {
        let Some(argument) = arguments.get(usize::from(self.index)).copied() else { return false };
        match self.compare {
            Compare::NotEqual => argument != self.value,
            Compare::Less => argument < self.value,
            Compare::LessOrEqual => argument <= self.value,
            Compare::Equal => argument == self.value,
            Compare::GreaterOrEqual => argument >= self.value,
            Compare::Greater => argument > self.value,
            Compare::Masked(mask) => argument & mask == self.value,
        }
    }
}

impl Profile {
    /// What the profile says of one call: the strictest action of all rules that hold.
    pub fn decide(
        &self,
        capabilities: Capabilities,
        kernel: (u32, u32),
        call: i64,
        arguments: &[u64; 6],
    ) -> Action {
        let holds = |rule: &&Rule| {
            rule.calls.contains(&call)
                && rule.scope.holds(capabilities, kernel)
                && (rule.alternatives.is_empty()
                    || rule.alternatives.iter().any(|all| all.iter().all(|c| c.holds(arguments))))
        };
        let actions = self.rules.iter().filter(holds).map(|rule| rule.action);
        actions.max_by_key(|action| action.rank()).unwrap_or(self.default)
    }
}
