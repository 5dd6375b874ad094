//! What can go wrong, what to do about it, and the exit code that says so to scripts.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use jailsupd::control::wire::{FrameError, WireError};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot reach jailsupd at {}", socket.display())]
    Connect { socket: PathBuf, source: io::Error },
    #[error("the connection to jailsupd broke")]
    Connection(#[source] io::Error),
    #[error("jailsupd ended the connection before its answer was complete")]
    HungUp,
    #[error("cannot understand jailsupd")]
    Frame(#[source] FrameError),
    #[error(transparent)]
    Refused(WireError),
    #[error("cannot write the output")]
    Output(#[source] io::Error),
}

impl Error {
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    /// As `--help` and docs/control.md tell it.
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Refused(WireError::NoSuchJail { .. }) => 3,
            Self::Connect { .. } | Self::Connection(_) | Self::HungUp => 4,
            Self::Frame(_) | Self::Refused(_) | Self::Output(_) => 1,
        }
    }

    /// The reader has seen enough (`jailctl logs web | head`): no failure.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(source) if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// What the user can do.
    pub(crate) fn remedy(&self) -> Option<&'static str> {
        use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied, TimedOut, WouldBlock};
        Some(match self {
            Self::Connect { source, .. } => match source.kind() {
                NotFound => {
                    "is this a Warder host, and jailsupd running? Another socket: --socket PATH"
                }
                PermissionDenied => "run jailctl as root",
                ConnectionRefused => {
                    "jailsupd is not running; PID 1 starts it again, so try in a moment"
                }
                _ => "check the path of --socket",
            },
            Self::Connection(source) if matches!(source.kind(), TimedOut | WouldBlock) => {
                "jailsupd did not answer in time; its messages are on the console"
            }
            Self::Connection(_) | Self::HungUp => {
                "jailsupd may just have been restarted; jails are not touched by that. Try again"
            }
            Self::Frame(_) | Self::Refused(WireError::NotUnderstood { .. }) => {
                "jailctl and jailsupd should be of one version"
            }
            Self::Refused(WireError::NoSuchJail { .. }) => "`jailctl ls` lists the jails",
            Self::Refused(WireError::PermissionDenied) => "run jailctl as root",
            Self::Refused(
                WireError::MethodNotFound { .. } | WireError::InterfaceNotFound { .. },
            ) => "this jailsupd is older than jailctl",
            Self::Refused(_) | Self::Output(_) => return None,
        })
    }
}
