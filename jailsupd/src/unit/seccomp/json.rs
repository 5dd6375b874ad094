//! The shape of a profile's JSON: OCI's runtime specification (config-linux.md, "Seccomp"), and what Docker's
//! and podman's own files have beside it. Types of the file only; `read` makes a profile of them.

use serde::{Deserialize, Deserializer, de::Error};

use super::{Action, Compare};
use crate::unit::capability::{Capabilities, Capability};
use crate::unit::nearest::nearest;
use crate::unit::value::{FromText as _, quoted, shown};

/// The whole file.
#[derive(Deserialize)]
#[serde(
    rename_all = "camelCase",
    deny_unknown_fields,
    expecting = "an object with `defaultAction`"
)]
pub(super) struct File {
    pub(super) default_action: ActionName,
    pub(super) default_errno_ret: Option<u32>,
    pub(super) default_errno: Option<ErrnoName>,
    #[serde(default, deserialize_with = "list")]
    pub(super) architectures: Vec<String>,
    #[serde(default, deserialize_with = "list")]
    pub(super) arch_map: Vec<ArchMap>,
    #[serde(default, deserialize_with = "list")]
    pub(super) flags: Vec<Flag>,
    pub(super) listener_path: Option<String>,
    pub(super) listener_metadata: Option<String>,
    #[serde(default, deserialize_with = "list")]
    pub(super) syscalls: Vec<Syscalls>,
}

/// Docker's: an architecture with those that come with it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ArchMap {
    pub(super) architecture: String,
    #[serde(default, deserialize_with = "list")]
    #[allow(dead_code, reason = "read to be checked: other architectures never run")]
    pub(super) sub_architectures: Vec<String>,
}

/// One rule.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Syscalls {
    /// Docker's first format.
    pub(super) name: Option<Call>,
    #[serde(default, deserialize_with = "list")]
    pub(super) names: Vec<Call>,
    pub(super) action: ActionName,
    pub(super) errno_ret: Option<u32>,
    pub(super) errno: Option<ErrnoName>,
    #[serde(default, deserialize_with = "list")]
    pub(super) args: Vec<Arg>,
    #[allow(dead_code, reason = "for people")]
    pub(super) comment: Option<String>,
    #[serde(default, deserialize_with = "object")]
    pub(super) includes: Filter,
    #[serde(default, deserialize_with = "object")]
    pub(super) excludes: Filter,
}

/// When a rule counts.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Filter {
    #[serde(default, deserialize_with = "capabilities")]
    pub(super) caps: Capabilities,
    #[serde(default, deserialize_with = "list")]
    pub(super) arches: Vec<String>,
    pub(super) min_kernel: Option<Kernel>,
}

/// One argument.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arg {
    pub(super) index: Index,
    pub(super) value: u64,
    #[serde(default)]
    pub(super) value_two: Option<u64>,
    pub(super) op: Operator,
}

/// Go writes an empty list as `null`.
fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Option::<Vec<T>>::deserialize(from).map(Option::unwrap_or_default)
}

fn object<'de, D: Deserializer<'de>>(from: D) -> Result<Filter, D::Error> {
    Option::<Filter>::deserialize(from).map(Option::unwrap_or_default)
}

fn capabilities<'de, D: Deserializer<'de>>(from: D) -> Result<Capabilities, D::Error> {
    let names: Vec<CapabilityName> = list(from)?;
    Ok(Capabilities::from_bits(names.iter().fold(0, |bits, name| bits | 1 << name.0.number())))
}

/// Makes a type of the file's that is one of some words.
macro_rules! word {
    ($name:ident($inner:ty), $what:literal, [$($word:literal => $value:expr),+ $(,)?]) => {
        pub(super) struct $name(pub(super) $inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                match text.as_str() {
                    $($word => Ok(Self($value)),)+
                    other => Err(unknown(other, $what, &[$($word),+])),
                }
            }
        }
    };
}

fn unknown<E: Error>(text: &str, what: &str, known: &[&str]) -> E {
    let hint = match nearest(text, known.iter().copied()) {
        Some(word) => format!("did you mean {}?", quoted(word)),
        None => format!("known are {}", known.join(", ")),
    };
    E::custom(format!("{} is not {what}: {hint}", shown(text)))
}

/// What an action's name says; the errno comes from elsewhere.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Plain(Action),
    Errno,
    Trace,
    Notify,
}

word!(ActionName(Verb), "an action", [
    "SCMP_ACT_ALLOW" => Verb::Plain(Action::Allow),
    "SCMP_ACT_ERRNO" => Verb::Errno,
    "SCMP_ACT_LOG" => Verb::Plain(Action::Log),
    "SCMP_ACT_KILL" => Verb::Plain(Action::KillThread),
    "SCMP_ACT_KILL_THREAD" => Verb::Plain(Action::KillThread),
    "SCMP_ACT_KILL_PROCESS" => Verb::Plain(Action::KillProcess),
    "SCMP_ACT_TRAP" => Verb::Plain(Action::Trap),
    "SCMP_ACT_TRACE" => Verb::Trace,
    "SCMP_ACT_NOTIFY" => Verb::Notify,
]);

word!(Flag(bool), "a flag of filters", [
    "SECCOMP_FILTER_FLAG_LOG" => true,
    "SECCOMP_FILTER_FLAG_TSYNC" => false,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => false,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => false,
]);

/// A comparison whose mask is in the argument's `value`.
#[derive(Clone, Copy)]
pub(super) enum Comparison {
    Plain(Compare),
    Masked,
}

word!(Operator(Comparison), "a comparison", [
    "SCMP_CMP_NE" => Comparison::Plain(Compare::NotEqual),
    "SCMP_CMP_LT" => Comparison::Plain(Compare::Less),
    "SCMP_CMP_LE" => Comparison::Plain(Compare::LessOrEqual),
    "SCMP_CMP_EQ" => Comparison::Plain(Compare::Equal),
    "SCMP_CMP_GE" => Comparison::Plain(Compare::GreaterOrEqual),
    "SCMP_CMP_GT" => Comparison::Plain(Compare::Greater),
    "SCMP_CMP_MASKED_EQ" => Comparison::Masked,
]);

/// The name of an errno.
pub(super) struct ErrnoName(pub(super) u16);

impl<'de> Deserialize<'de> for ErrnoName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let found = (1..=LAST_ERRNO)
            .find(|number| syscalls::Errno::new(i32::from(*number)).name() == Some(text.as_str()));
        found.map(Self).ok_or_else(|| {
            D::Error::custom(format!("{} is not the name of an error: see errno(3)", shown(&text)))
        })
    }
}

/// EHWPOISON, the last of asm-generic/errno.h.
const LAST_ERRNO: u16 = 133;

struct CapabilityName(Capability);

impl<'de> Deserialize<'de> for CapabilityName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Capability::from_text(&text).map(Self).map_err(|fault| {
            D::Error::custom(format!("{}: {}", fault.message, fault.help.unwrap_or_default()))
        })
    }
}

/// A kernel's version: its first two numbers.
pub(super) struct Kernel(pub(super) (u32, u32));

impl<'de> Deserialize<'de> for Kernel {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let parts =
            text.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        parts.map(Self).ok_or_else(|| {
            let shown = shown(&text);
            D::Error::custom(format!("{shown} is not a kernel's version: write it as \"4.8\""))
        })
    }
}

/// The number of an argument.
pub(super) struct Index(pub(super) u8);

impl<'de> Deserialize<'de> for Index {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match u8::deserialize(from)? {
            index @ 0..=5 => Ok(Self(index)),
            index => {
                let text = format!("there is no argument {index}: they are numbered from 0 to 5");
                Err(D::Error::custom(text))
            }
        }
    }
}

/// A system call by name.
pub(super) struct Call {
    pub(super) name: String,
    /// None when this machine has none of that name.
    pub(super) number: Option<i64>,
}

impl<'de> Deserialize<'de> for Call {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if text.is_empty() || !text.chars().all(word) {
            return Err(D::Error::custom(format!("{} is not a system call's name", shown(&text))));
        }
        Ok(Self { number: super::read::number(&text), name: text })
    }
}
