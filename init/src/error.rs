//! The one error of PID 1: what was tried, on what, and why it failed.

use std::fmt;
use std::io;

/// An operation with its object, and the cause.
#[derive(Debug)]
pub(crate) struct Error {
    action: String,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Io(io::Error),
    Refused(String),
}

impl Error {
    /// An error that is not the kernel's: something read was not as it must be.
    pub(crate) fn refused(action: impl Into<String>, why: impl fmt::Display) -> Self {
        Self { action: action.into(), cause: Cause::Refused(why.to_string()) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Io(e) => write!(f, "{}: {e}", self.action),
            Cause::Refused(why) => write!(f, "{}: {why}", self.action),
        }
    }
}

/// Adds to a system error what was being done.
pub(crate) trait Context<T> {
    /// Names the operation and its object, as in "mount /proc".
    fn doing(self, action: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn doing(self, action: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|e| Error { action: action(), cause: Cause::Io(e.into()) })
    }
}
