//! Limits of each process (setrlimit(2)), written as podman's `Ulimit`: `NAME=SOFT:HARD`.

use std::fmt;

use super::amount::Bytes;
use super::value::{Fault, FromText, Kind, choices, plain, shown};

/// One limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ulimit {
    /// Of what.
    pub name: UlimitName,
    /// What the kernel keeps to; none is no limit.
    pub soft: Option<u64>,
    /// Up to what the process may raise it; none is no limit.
    pub hard: Option<u64>,
}

macro_rules! names {
    ($($(#[$doc:meta])* $variant:ident = $word:literal $unit:ident),+ $(,)?) => {
        /// What a process is limited in: the resources of setrlimit(2).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum UlimitName { $($(#[$doc])* $variant),+ }

        impl UlimitName {
            const WORDS: &[&'static str] = &[$($word),+];

            fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }

            /// The word in a unit file.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            const fn unit(self) -> Unit {
                match self { $(Self::$variant => Unit::$unit),+ }
            }
        }
    };
}

#[derive(PartialEq, Eq)]
enum Unit {
    Bytes,
    Number,
}

names! {
    /// Address space.
    As = "as" Bytes,
    /// Core dump. Not for unit files: see `[process] core_dump`.
    Core = "core" Bytes,
    /// Processor time, seconds.
    Cpu = "cpu" Number,
    /// Data segment.
    Data = "data" Bytes,
    /// Size of a file.
    Fsize = "fsize" Bytes,
    /// File locks.
    Locks = "locks" Number,
    /// Locked memory.
    Memlock = "memlock" Bytes,
    /// POSIX message queues of the user.
    Msgqueue = "msgqueue" Bytes,
    /// 20 minus the best nice value.
    Nice = "nice" Number,
    /// Open files.
    Nofile = "nofile" Number,
    /// Processes and threads of the user.
    Nproc = "nproc" Number,
    /// Resident set; the kernel does not keep to it.
    Rss = "rss" Bytes,
    /// Real-time priority.
    Rtprio = "rtprio" Number,
    /// Microseconds of real-time scheduling without a blocking call.
    Rttime = "rttime" Number,
    /// Queued signals of the user.
    Sigpending = "sigpending" Number,
    /// Stack.
    Stack = "stack" Bytes,
}

impl fmt::Display for Ulimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: Option<u64>| match value {
            None => "unlimited".to_owned(),
            Some(value) if self.name.unit() == Unit::Bytes => Bytes::new(value).to_string(),
            Some(value) => value.to_string(),
        };
        write!(f, "{}={}", self.name.word(), show(self.soft))?;
        if self.hard == self.soft { Ok(()) } else { write!(f, ":{}", show(self.hard)) }
    }
}

/// With fewer open files than this, no program can be started.
const FEWEST_FILES: u64 = 32;

impl FromText for Ulimit {
    const KIND: Kind = Kind::text("limit of a process", "^[a-z]+=[^:]+(:[^:]+)?$");

    fn from_text(text: &str) -> Result<Self, Fault> {
        let Some((word, values)) = text.split_once('=') else {
            return Err(Fault::new(format!("{} is not a limit of a process", shown(text))).help(
                "write it as \"nofile=1024\" or, with the hard limit, \"nofile=1024:4096\"",
            ));
        };
        let Some(name) = UlimitName::from_word(word).filter(|name| *name != UlimitName::Core)
        else {
            let fault =
                Fault::new(format!("`{}` is not what a process is limited in", plain(word)));
            return Err(match word {
                "core" => fault.help("write `core_dump` in `[process]` for core dumps"),
                _ => {
                    let words: Vec<&str> =
                        Self::words().filter(|word| *word != UlimitName::Core.word()).collect();
                    fault.help(format!("write {}", choices(&words)))
                }
            });
        };
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        let (soft, hard) = (value(name, soft)?, value(name, hard)?);
        let above = match (soft, hard) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(soft), Some(hard)) => soft > hard,
        };
        if above {
            return Err(Fault::new(format!(
                "the soft limit of {} is above the hard one",
                shown(text)
            ))
            .help("write the smaller one first"));
        }
        if name == UlimitName::Nofile && soft.is_some_and(|files| files < FEWEST_FILES) {
            return Err(Fault::new(format!("{} is less than any program needs", shown(text)))
                .help(format!("at least \"nofile={FEWEST_FILES}\"")));
        }
        Ok(Self { name, soft, hard })
    }
}

impl Ulimit {
    fn words() -> impl Iterator<Item = &'static str> {
        UlimitName::WORDS.iter().copied()
    }
}

fn value(name: UlimitName, text: &str) -> Result<Option<u64>, Fault> {
    if matches!(text, "unlimited" | "infinity" | "-1") {
        return Ok(None);
    }
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match name.unit() {
        Unit::Bytes => Bytes::parse(text).map(|bytes| Some(bytes.get())),
        Unit::Number => match text.parse::<u64>().ok().filter(|_| digits) {
            Some(number) if i64::try_from(number).is_ok() => Ok(Some(number)),
            _ => Err(Fault::new(format!("{} is not a limit", shown(text)))
                .help("write a whole number, or `unlimited`")),
        },
    }
}
