//! The command line's shape. Help texts, and nothing else, are written here: the man pages and the shells'
//! completions are made from it (`examples/pages.rs`).

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use jailsupd::control::wire::{JailState, SOCKET, Stream};
use regex::Regex;

use crate::keys::Keys;
use crate::moment::{Span, When};

/// Overrides the default of `--socket`.
const SOCKET_VARIABLE: &str = "WARDER_SOCKET";

const AFTER_HELP: &str = "\
Environment:
  WARDER_SOCKET   the socket, when --socket is not given
  VISUAL, EDITOR  the editor of `jailctl edit`
  NO_COLOR        no colours, when set and not empty

Exit codes:
  0  done
  1  failed, or jailsupd refused
  2  wrong usage of jailctl
  3  there is no such jail, image, volume or root
  4  jailsupd cannot be reached
  5  a jail did not come to the state that was asked for, or not in time
  6  a unit has problems
  7  `net doctor` found a reason why a jail may not be reached

exec and run have the exit code of their program: 128 and the signal's number
when a signal has ended it, 127 when there is no such program, 126 when it
cannot be executed, and 125 for whatever else is in the way.";

/// Show and control the jails of this Warder host.
#[derive(Debug, Parser)]
#[command(name = "jailctl", version, after_help = AFTER_HELP, max_term_width = 80)]
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
    #[command(visible_alias = "list")]
    Ls,
    /// Show everything about one jail
    Inspect(Name),
    /// Show the processes of all jails, or of one
    #[command(visible_alias = "ps")]
    Tree(OptionalName),
    /// Show what the jails that run use, again and again; in JSON once, as counters
    Top(Top),
    /// Show what jails have written to their output, and what happened meanwhile
    Logs(Logs),
    /// Show what happened to all jails, or to one
    Events(Events),
    /// Tell why a jail is in its state
    #[command(visible_alias = "status")]
    Why(Name),

    /// Start jails; done when they are up
    Start(Order),
    /// Stop jails; done when they are down
    Stop(Order),
    /// Stop jails, then start them; done when they are up again
    Restart(Order),
    /// Kill all processes of jails, or send a signal to their programs
    Kill(Kill),
    /// Hold all processes of jails where they are
    Freeze(Order),
    /// Let the processes of frozen jails go on
    Thaw(Order),
    /// Wait until jails are in a state
    Wait(Wait),

    /// Execute one more program in a running jail; its exit code is jailctl's
    Exec(Exec),
    /// Run one program in a jail of its own, which is gone afterwards; its exit code is jailctl's
    Run(Run),
    /// Attach to the terminal of a jail's program, if its unit gives it one
    Console(Console),
    /// Copy files and directories between the host and a running jail
    Cp(Copy),

    /// Find all problems of unit files: of these, else of all on this host
    Check(Files),
    /// Show what would follow from the unit files as they are now, these among them
    Plan(Files),
    /// Look at the unit files now; done when what follows from them is done
    Apply {
        /// Do not wait for the jails
        #[arg(long)]
        no_wait: bool,
    },
    /// Show the files that a jail's unit is made from
    Cat(Name),
    /// Write a jail's unit file: in an editor, or from a file
    Edit(Edit),
    /// Delete jails' unit files from /etc/jails.d; the jails stop
    #[command(visible_alias = "rm")]
    Delete(Names),
    /// Tell what unit files may say
    Explain(Explain),
    /// Let jails be started at boot and when their units change; starts them
    Enable(Names),
    /// Keep jails from being started but by hand or for a jail that needs them; stops them
    Disable(Names),
    /// Keep jails from being started at all; stops them
    Mask(Names),
    /// Undo `mask`
    Unmask(Names),

    /// The images that units name
    #[command(subcommand)]
    Image(ImageCommand),
    /// What jails keep on this host
    #[command(subcommand)]
    Volume(VolumeCommand),
    /// The roots of persistent jails
    #[command(subcommand)]
    Root(RootCommand),

    /// Show links, addresses and routes of the host and its jails, and who has set them
    Net(Net),

    /// The host itself
    #[command(subcommand)]
    Host(Host),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Bring in a file (erofs, squashfs or a tar archive) or a directory of this host
    Import(Import),
    /// List all images
    Ls,
    /// Show everything about one image
    Inspect {
        /// The image's name or digest
        image: String,
    },
    /// Give an image a further name; one that is another image's moves
    Tag {
        /// The image's name or digest
        image: String,
        /// The further name, NAME or NAME:TAG
        name: String,
    },
    /// Remove names of images, and with its last name an image
    Rm {
        /// The images' names or digests
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<String>,
    },
    /// Remove all images that have no name and are no jail's
    Gc,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The file or directory
    pub(crate) path: PathBuf,

    /// The name that it gets, NAME or NAME:TAG; without one, `image gc` removes it when no jail uses it
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RootCommand {
    /// List the roots, and what they were made from
    Ls,
    /// Remove roots with all that is in them; the jails' next starts make others
    Rm(Names),
}

#[derive(Debug, Args)]
pub(crate) struct Net {
    #[command(subcommand)]
    pub(crate) command: Option<NetCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NetCommand {
    /// Tell why a jail is not reached, and what has shown it
    Doctor(Name),
}

#[derive(Debug, Subcommand)]
pub(crate) enum VolumeCommand {
    /// List all volumes
    Ls,
    /// Show everything about one volume
    Inspect {
        /// The volume's name
        name: String,
    },
    /// Remove volumes with all that is in them
    Rm {
        /// The volumes' names
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Name {
    /// The jail's name
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct OptionalName {
    /// The jail's name [default: all jails]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Names {
    /// The jails' names
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Top {
    /// The jail's name, to see its processes, too [default: all jails]
    #[command(flatten)]
    pub(crate) of: OptionalName,

    /// Show the processes of each jail
    #[arg(short, long)]
    pub(crate) processes: bool,

    /// The time between two looks, such as 500ms or 5s
    #[arg(short = 'd', long, value_name = "DURATION", default_value = "2s")]
    pub(crate) interval: Span,

    /// End after N tables [default: on a terminal never, else 1]
    #[arg(short = 'n', long, value_name = "N", value_parser = count)]
    pub(crate) count: Option<u32>,
}

/// What brings jails to a state.
#[derive(Debug, Args)]
pub(crate) struct Order {
    #[command(flatten)]
    pub(crate) of: Names,

    /// Only ask for it; do not wait until it is so
    #[arg(long)]
    pub(crate) no_wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Kill {
    #[command(flatten)]
    pub(crate) order: Order,

    /// A name of signal(7). SIGKILL goes to all processes, others to the jail's program
    #[arg(short, long, value_name = "SIGNAL", default_value = "SIGKILL")]
    pub(crate) signal: String,
}

#[derive(Debug, Args)]
pub(crate) struct Wait {
    #[command(flatten)]
    pub(crate) of: Names,

    /// The state
    #[arg(long, value_name = "STATE", default_value = "up", value_parser = state())]
    pub(crate) state: JailState,

    /// Give up after that long, such as 500ms, 30s or 5m [default: never]
    #[arg(long, value_name = "DURATION")]
    pub(crate) timeout: Option<Span>,
}

fn state() -> impl TypedValueParser<Value = JailState> {
    let words = JailState::ALL.iter().map(|state| state.word());
    PossibleValuesParser::new(words).map(|word| {
        let found = JailState::ALL.iter().find(|state| state.word() == word);
        found.copied().unwrap_or(JailState::Up)
    })
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// The jails' names [default: all jails, and the kernel's log]
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,

    /// The kernel's log: alone, or beside those of the jails named
    #[arg(short, long)]
    pub(crate) kernel: bool,

    /// Only the last N lines of what is there
    #[arg(short = 'n', long, value_name = "N", value_parser = count)]
    pub(crate) lines: Option<u32>,

    /// Go on with new lines until interrupted
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// Only lines since then: a duration back from now, such as 10m or 1h30m, or a time of
    /// RFC 3339, such as 2026-11-22T10:30:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<When>,

    /// Only lines until then, as for --since
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<When>,

    /// Only lines that match a regular expression (of the Rust crate regex; `(?i)` at its start ignores case)
    #[arg(short, long, value_name = "REGEX")]
    pub(crate) grep: Option<Regex>,

    /// Only lines of this stream; may be given several times
    #[arg(long, value_name = "STREAM", value_parser = log_stream())]
    pub(crate) stream: Vec<Stream>,
}

fn log_stream() -> impl TypedValueParser<Value = Stream> {
    let words = Stream::ALL.iter().map(|stream| stream.word());
    PossibleValuesParser::new(words).map(|word| {
        let found = Stream::ALL.iter().find(|stream| stream.word() == word);
        found.copied().unwrap_or(Stream::Stdout)
    })
}

#[derive(Debug, Args)]
pub(crate) struct Events {
    #[command(flatten)]
    pub(crate) of: OptionalName,

    /// Only the last N events of what is there
    #[arg(short = 'n', long, value_name = "N", value_parser = count)]
    pub(crate) lines: Option<u32>,

    /// Go on with new events until interrupted
    #[arg(short, long)]
    pub(crate) follow: bool,
}

fn count(text: &str) -> Result<u32, &'static str> {
    text.parse().map_err(|_| "give a whole number")
}

/// How a program's streams are joined to ours.
#[derive(Debug, Args)]
pub(crate) struct Attach {
    /// Give the program a terminal of the jail's own; with -i ours is raw meanwhile
    #[arg(short = 't', long = "tty")]
    pub(crate) terminal: bool,

    /// Pass standard input on; without it the program's is empty
    #[arg(short, long)]
    pub(crate) interactive: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Exec {
    #[command(flatten)]
    pub(crate) attach: Attach,

    /// Whom it runs as: USER or USER:GROUP, names or numbers of the jail [default: as the jail's program]
    #[arg(short, long, value_name = "USER")]
    pub(crate) user: Option<String>,

    /// A further environment variable; may be given several times
    #[arg(short = 'e', long = "env", value_name = "NAME=VALUE")]
    pub(crate) environment: Vec<String>,

    /// Where it starts [default: where the jail's program did]
    #[arg(short, long = "workdir", value_name = "DIR")]
    pub(crate) working_dir: Option<String>,

    /// The jail's name
    pub(crate) name: String,

    /// The program and its arguments; a name without a slash is looked for in the jail's PATH
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) attach: Attach,

    /// Put a directory of the host, or the named volume SOURCE, there in the jail; may be given several times
    #[arg(short, long = "volume", value_name = "SOURCE:DIR[:ro]")]
    pub(crate) volumes: Vec<String>,

    /// As the unit's key network.mode: see `jailctl explain network.mode`
    #[arg(long, value_name = "MODE", default_value = "none")]
    pub(crate) network: String,

    /// An environment variable; may be given several times
    #[arg(short = 'e', long = "env", value_name = "NAME=VALUE")]
    pub(crate) environment: Vec<String>,

    /// Whom it runs as: USER or USER:GROUP, names or numbers of the image [default: root]
    #[arg(short, long, value_name = "USER")]
    pub(crate) user: Option<String>,

    /// Where it starts [default: /]
    #[arg(short, long = "workdir", value_name = "DIR")]
    pub(crate) working_dir: Option<String>,

    /// The most memory that it may use, such as 256M [default: no limit]
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,

    /// The jail's name [default: one that no jail has]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// The jail is always gone afterwards: this is for fingers that are used to it
    #[arg(long)]
    pub(crate) rm: bool,

    /// The name of a jail that has the image, the name of an imported image, or what the unit's key
    /// image.source takes
    pub(crate) image: String,

    /// The program, by its absolute path in the image, and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Console {
    /// The jail's name
    pub(crate) name: String,

    /// The keys that detach, separated by commas: characters, or ctrl- and one
    #[arg(long, value_name = "KEYS", default_value = "ctrl-],ctrl-],ctrl-]")]
    pub(crate) detach_keys: Keys,
}

#[derive(Debug, Args)]
pub(crate) struct Copy {
    /// What to copy: NAME:PATH in a jail, or a path of the host
    #[arg(value_name = "SOURCE")]
    pub(crate) from: String,

    /// Where to: in it when it is a directory, else in its place
    #[arg(value_name = "DESTINATION")]
    pub(crate) to: String,

    /// Who reads or writes in the jail: USER or USER:GROUP [default: the user of the jail's program]
    #[arg(short, long, value_name = "USER")]
    pub(crate) user: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Files {
    /// Unit files, anywhere; each file's name must be NAME.toml of its jail
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Edit {
    /// The jail's name
    pub(crate) name: String,

    /// Do not edit: put this file in the place of the unit file; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// The editor, with its arguments [default: $VISUAL, else $EDITOR, else vi]
    #[arg(long, value_name = "COMMAND", conflicts_with = "file")]
    pub(crate) editor: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// A key, such as resources.memory_max, or a table, such as resources [default: all keys]
    pub(crate) key: Option<String>,

    /// Print the JSON Schema of unit files instead
    #[arg(long, conflicts_with = "key")]
    pub(crate) schema: bool,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Host {
    /// Show what the host is and how it booted
    Info,
    /// Stop all jails, then turn the host off
    Poweroff,
    /// Stop all jails, then boot the host anew
    Reboot,
    /// Have PID 1 execute its program anew; jails run on, and nothing of them is lost
    ///
    /// The program is tried first, with a copy of all that PID 1 holds. One that fails is not executed.
    Reexec,
}

impl Command {
    /// Whether its exit code is that of a program in a jail.
    pub(crate) fn runs_a_program(&self) -> bool {
        matches!(self, Self::Exec(_) | Self::Run(_))
    }
}

impl Arguments {
    /// `--socket`, else the variable, else the default.
    pub(crate) fn socket(&self) -> PathBuf {
        let variable = || std::env::var_os(SOCKET_VARIABLE).filter(|v| !v.is_empty());
        let named = self.socket.clone().or_else(|| variable().map(PathBuf::from));
        named.unwrap_or_else(|| PathBuf::from(SOCKET))
    }
}
