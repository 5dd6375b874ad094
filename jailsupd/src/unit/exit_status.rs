//! How a program may end, as `success_exit_status` and `prevent_exit_status` list it.

use std::fmt;

use super::signal::Signal;
use super::value::{Fault, FromText as _, FromToml, Kind, Value, number, quoted};

/// The end of a main process: wait(2)'s code or signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited with this code.
    Code(u8),
    /// This signal killed it.
    Signal(Signal),
}

impl ExitStatus {
    /// Exit code 0.
    pub const SUCCESS: Self = Self::Code(0);
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => code.fmt(f),
            Self::Signal(signal) => signal.fmt(f),
        }
    }
}

impl FromToml for ExitStatus {
    const KIND: Kind = Kind::ExitStatus;

    fn from_toml(value: &Value<'_>) -> Result<Self, Vec<Fault>> {
        if let Some(integer) = value.get_ref().as_integer() {
            return number(integer).map(Self::Code).ok_or_else(|| {
                Fault::new(format!("{integer} is no exit code"))
                    .help("give a number from 0 to 255, or the name of a signal")
                    .alone()
            });
        }
        let text = value.get_ref().as_str().ok_or_else(|| Fault::wrong_type(value, &Self::KIND))?;
        if let Ok(code) = text.parse::<u8>() {
            return Err(Fault::new(format!("{} is a string", quoted(text)))
                .help(format!("write exit codes without quotes: {code}"))
                .alone());
        }
        Signal::from_text(text).map(Self::Signal).map_err(Fault::alone)
    }

    fn show(&self) -> Option<String> {
        Some(match self {
            Self::Code(code) => code.to_string(),
            Self::Signal(signal) => quoted(&signal.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use toml::de::DeTable;

    fn read(text: &str) -> Result<Vec<ExitStatus>, Vec<Fault>> {
        let table = DeTable::parse(text).unwrap();
        Vec::from_toml(table.get_ref().get("x").unwrap())
    }

    #[test]
    fn codes_and_signals_are_shown_as_they_are_written() {
        let read = read("x = [0, 143, \"TERM\", \"SIGRTMIN+3\"]").unwrap();
        assert_eq!(read.show().unwrap(), "[0, 143, \"SIGTERM\", \"SIGRTMIN+3\"]");
    }

    #[test]
    fn what_is_neither_is_told_with_what_would_be() {
        let message = |text: &str| read(text).unwrap_err().remove(0);
        assert_eq!(message("x = [256]").message, "256 is no exit code");
        assert_eq!(message("x = [-1]").message, "-1 is no exit code");
        assert_eq!(message("x = [\"143\"]").help.unwrap(), "write exit codes without quotes: 143");
        assert_eq!(message("x = [\"SIGTREM\"]").help.unwrap(), "did you mean \"SIGTERM\"?");
        assert!(message("x = [true]").message.contains("an exit code or the name of a signal"));
    }
}
