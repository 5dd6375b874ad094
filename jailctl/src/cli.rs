//! The command line's shape. Help texts, and nothing else, are written here.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use jailsupd::control::wire::SOCKET;

/// Overrides the default of `--socket`.
const SOCKET_VARIABLE: &str = "WARDER_SOCKET";

const AFTER_HELP: &str = "\
Environment:
  WARDER_SOCKET  the socket, when --socket is not given
  NO_COLOR       no colours, when set and not empty

Exit codes:
  0  done
  1  failed, or jailsupd refused
  2  wrong usage of jailctl
  3  there is no such jail
  4  jailsupd cannot be reached";

/// Show and control the jails of this Warder host.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    /// jailsupd's control socket [default: /run/jailsupd.sock]
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// Print JSON: the answer of jailsupd as it is (see docs/control.md)
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List all jails, with the foremost problem of each
    Ls,
    /// Show everything about one jail
    Inspect {
        /// The jail's name
        name: String,
    },
    /// Show what a jail has written to its output
    Logs(Logs),
    /// The host itself
    #[command(subcommand)]
    Host(Host),
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// The jail's name
    pub(crate) name: String,

    /// Only the last N lines of what is there
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) lines: Option<u32>,

    /// Go on with new lines until interrupted
    #[arg(short, long)]
    pub(crate) follow: bool,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Host {
    /// Show what the host is and how it booted
    Info,
    /// Stop all jails, then turn the host off
    Poweroff,
    /// Stop all jails, then boot the host anew
    Reboot,
}

impl Arguments {
    /// `--socket`, else the variable, else the default.
    pub(crate) fn socket(&self) -> PathBuf {
        let variable = || std::env::var_os(SOCKET_VARIABLE).filter(|v| !v.is_empty());
        let named = self.socket.clone().or_else(|| variable().map(PathBuf::from));
        named.unwrap_or_else(|| PathBuf::from(SOCKET))
    }
}
