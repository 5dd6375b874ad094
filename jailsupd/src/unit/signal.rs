//! Signals by name: signal(7), with the numbers of x86-64 and arm64.

use std::fmt;

use super::nearest::nearest;
use super::value::{Fault, FromText, Kind, shown};

/// Number 1 first, without the `SIG`.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// The first real-time signal that glibc leaves to programs, and how many there are.
const RTMIN: i32 = 34;
const RT_COUNT: i32 = 30;

/// A signal number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal(i32);

impl Signal {
    /// SIGTERM, what a service is asked to stop with by default.
    pub const TERM: Self = Self(15);

    /// The kernel's number.
    pub const fn number(self) -> i32 {
        self.0
    }

    /// A signal from the kernel's number, for showing an exit; any number is taken.
    pub const fn from_number(number: i32) -> Self {
        Self(number)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = usize::try_from(self.0).unwrap_or(0).wrapping_sub(1);
        match NAMES.get(index) {
            Some(name) => write!(f, "SIG{name}"),
            None if self.0 == RTMIN => f.write_str("SIGRTMIN"),
            None if self.0 > RTMIN && self.0 <= RTMIN + RT_COUNT => {
                write!(f, "SIGRTMIN+{}", self.0 - RTMIN)
            }
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl FromText for Signal {
    const KIND: Kind = Kind::text("signal", "^[A-Za-z0-9]+(\\+[0-9]+)?$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some((number, _)) = (1..).zip(NAMES).find(|(_, known)| *known == name) {
            return Ok(Self(number));
        }
        if let Some(number) = real_time(name) {
            return Ok(Self(number));
        }
        let number =
            name.parse().ok().map(Self).filter(|signal| signal.to_string().starts_with("SIG"));
        let help = match nearest(name, NAMES) {
            _ if number.is_some() => format!("did you mean \"{}\"?", number.unwrap_or(Self::TERM)),
            Some(known) => format!("did you mean \"SIG{known}\"?"),
            None => "give a name of signal(7), such as \"SIGTERM\", \"SIGQUIT\" or \"SIGRTMIN+3\""
                .to_owned(),
        };
        Err(Fault::new(format!("{} is not a signal", shown(text))).help(help))
    }
}

fn real_time(name: &str) -> Option<i32> {
    let tail = name.strip_prefix("RTMIN")?;
    if tail.is_empty() {
        return Some(RTMIN);
    }
    let offset: i32 = tail.strip_prefix('+')?.parse().ok()?;
    (0..=RT_COUNT).contains(&offset).then_some(RTMIN + offset)
}
