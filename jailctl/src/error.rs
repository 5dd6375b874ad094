//! What can go wrong, what to do about it, and the exit code that says so to scripts.

use std::io;
use std::path::PathBuf;

use jailsupd::control::wire::{FrameError, JailState, StartError, WireError};

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
    /// A jail is in another state than was asked for.
    #[error("`{name}` is not {wanted} but {state}{}", because(problem.as_deref()))]
    NotReached { name: String, wanted: &'static str, state: JailState, problem: Option<String> },
    /// jailsupd has told of jails that are not as their units want them; they are shown already.
    #[error("{0}")]
    NotApplied(String),
    /// Problems of units, which are shown already.
    #[error("{0}")]
    Problems(String),
    /// What was found is shown already.
    #[error("`{name}` may not be reached: {}", reasons(*count))]
    NotReachable { name: String, count: usize },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is not a unit file: {reason}", path.display())]
    NoUnit { path: PathBuf, reason: &'static str },
    #[error("the files are too long for one message to jailsupd")]
    TooLong,
    #[error("cannot make a file to edit, {}", path.display())]
    Draft { path: PathBuf, source: io::Error },
    #[error("there is no editor `{editor}` on this host")]
    NoEditor { name: String, editor: String },
    #[error("cannot run the editor `{editor}`")]
    Editor { name: String, editor: String, source: io::Error },
    #[error("the editor `{editor}` failed; nothing was changed")]
    EditorFailed { editor: String },
    /// The edited text is not in force; it is not thrown away.
    #[error("the unit was not written")]
    Kept { name: String, draft: PathBuf, source: Box<Error> },
    #[error("jailsupd's answer came without its descriptors")]
    NoDescriptors,
    #[error("the session with the jail broke")]
    Session(#[source] io::Error),
    #[error("cannot execute `{program}` in the jail")]
    NotExecuted { program: String, source: io::Error },
    #[error("cannot {stage}")]
    NotStarted { stage: &'static str, source: io::Error },
    #[error("`{program}` was killed from outside: the jail ended, or ran out of memory")]
    Lost { program: String },
    #[error(
        "one of the two places must be in a jail, NAME:PATH, the other on the host, and both must have a name"
    )]
    NoCopy,
    /// What was wrong is told already.
    #[error("not all was copied")]
    NotCopied,
    #[error("the copy was broken off")]
    Copy(#[source] io::Error),
    #[error("the program was not run: {problem}")]
    NotRun { problem: String },
    #[error("`{value}` is nothing that {option} takes")]
    Option { option: &'static str, value: String },
    /// Of `run`.
    #[error("there is neither a jail nor an image `{name}`")]
    NoSuchImage { name: String, nearest: Option<String> },
    /// Of which jail a refusal is that does not say so.
    #[error("`{name}`")]
    Of { name: String, source: Box<Error> },
    /// Of several jails some made trouble.
    #[error("several errors")]
    Several(Vec<Error>),
}

fn reasons(count: usize) -> String {
    if count == 1 {
        "one reason was found".to_owned()
    } else {
        format!("{count} reasons were found")
    }
}

fn because(problem: Option<&str>) -> String {
    problem.map_or_else(String::new, |problem| format!(": {problem}"))
}

impl Error {
    /// A program of a session that did not come to its start.
    pub(crate) fn not_started(error: StartError) -> Self {
        let source = io::Error::from_raw_os_error(error.errno);
        Self::NotStarted { stage: error.stage.text(), source }
    }

    /// Says of which jail it is, where it does not say so itself.
    pub(crate) fn of(self, name: &str) -> Self {
        match self {
            Self::Refused(
                WireError::NoSuchJail { .. }
                | WireError::NoSuchVolume { .. }
                | WireError::NoSuchRoot { .. }
                | WireError::NoSuchImage { .. }
                | WireError::NotPossible { .. },
            ) => self,
            other => Self::Of { name: name.to_owned(), source: Box::new(other) },
        }
    }

    /// As `--help` and docs/control.md tell it.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Refused(
                WireError::NoSuchJail { .. }
                | WireError::NoSuchVolume { .. }
                | WireError::NoSuchRoot { .. }
                | WireError::NoSuchImage { .. },
            ) => 3,
            Self::Connect { .. } | Self::Connection(_) | Self::HungUp => 4,
            Self::NotReached { .. }
            | Self::NotApplied(_)
            | Self::Refused(WireError::Timeout { .. }) => 5,
            Self::Problems(_) | Self::Refused(WireError::InvalidUnit { .. }) => 6,
            Self::NoUnit { .. }
            | Self::NoCopy
            | Self::Option { .. }
            | Self::Refused(WireError::InvalidValue { .. }) => 2,
            Self::NotReachable { .. } => 7,
            Self::NoSuchImage { .. } => 3,
            Self::Kept { source, .. } | Self::Of { source, .. } => source.code(),
            Self::Several(all) => all.first().map_or(1, Self::code),
            Self::Frame(_)
            | Self::Refused(_)
            | Self::Output(_)
            | Self::Read { .. }
            | Self::TooLong
            | Self::NoDescriptors
            | Self::Session(_)
            | Self::NotExecuted { .. }
            | Self::NotStarted { .. }
            | Self::Lost { .. }
            | Self::NotCopied
            | Self::NotRun { .. }
            | Self::Copy(_)
            | Self::Draft { .. }
            | Self::NoEditor { .. }
            | Self::Editor { .. }
            | Self::EditorFailed { .. } => 1,
        }
    }

    /// Of a command that has a program's exit code: the codes that shells have for what is not the
    /// program's own.
    pub(crate) fn code_of_program(&self) -> u8 {
        match self {
            Self::NotExecuted { source, .. } if source.kind() == io::ErrorKind::NotFound => 127,
            Self::NotExecuted { .. } => 126,
            Self::Option { .. } | Self::Refused(WireError::InvalidValue { .. }) => 2,
            // As of what SIGKILL has ended.
            Self::Lost { .. } => 137,
            _ => 125,
        }
    }

    /// The reader has seen enough (`jailctl logs web | head`): no failure.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(source) if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// What the user can do.
    pub(crate) fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Of { source, .. } => source.remedy()?,
            Self::NotReached { name, .. } => format!("`jailctl why {name}` tells more"),
            Self::Editor { name, .. } | Self::NoEditor { name, .. } => format!(
                "name another with --editor or $EDITOR; without one, write the file elsewhere, then \
                 `jailctl edit {name} --file FILE`, or `jailctl edit {name} --file - < FILE`"
            ),
            Self::Kept { name, draft, source } => {
                let draft = draft.display();
                let next = match **source {
                    Self::Refused(WireError::Conflict { .. }) => {
                        format!("`jailctl edit {name}` starts from the other change")
                    }
                    _ => format!("correct it, then `jailctl edit {name} --file {draft}`"),
                };
                format!("your text is in {draft}: {next}")
            }
            Self::NoSuchImage { nearest, .. } => {
                did_you_mean(nearest.as_deref())
                    + "give a jail's name, that of an imported image (`jailctl image ls`), or KIND:PATH such \
                   as erofs:/srv/web.erofs"
            }
            Self::Refused(refusal) => remedy_of(refusal)?,
            other => other.fixed_remedy()?.to_owned(),
        })
    }

    fn fixed_remedy(&self) -> Option<&'static str> {
        use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied, TimedOut, WouldBlock};
        Some(match self {
            Self::Connect { source, .. } => match source.kind() {
                NotFound => {
                    "is this a Warder host, and jailsupd running? Another socket: --socket PATH"
                }
                PermissionDenied => "run jailctl as root; to look only, be in the group `jails`",
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
            Self::Frame(_) => "jailctl and jailsupd should be of one version",
            Self::NotApplied(_) => "`jailctl why NAME` tells more of one",
            Self::NoDescriptors => {
                "descriptors come over a unix socket only: use jailctl on the host itself"
            }
            Self::NotExecuted { .. } => {
                "the program must be in the jail's image, executable for the user, with the loader that it names"
            }
            Self::Lost { .. } => "`jailctl why NAME` tells what became of the jail",
            Self::NoUnit { .. } => "a unit file is named NAME.toml, where NAME is the jail's name",
            Self::TooLong => "a call is at most 1 MiB long: name fewer files at once",
            Self::Draft { .. } => "$TMPDIR names another directory for it",
            Self::Option { option: "-v", .. } => {
                "give SOURCE:DIR or SOURCE:DIR:ro: a directory of the host, or a volume's name, then a \
                 directory of the jail"
            }
            Self::Option { option: "-e", .. } => "give NAME=VALUE",
            Self::NoCopy => {
                "jailctl cp web:/etc/passwd . copies out of a jail, jailctl cp FILE web:/tmp into it"
            }
            _ => return None,
        })
    }
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!("did you mean `{nearest}`? "))
}

fn remedy_of(refusal: &WireError) -> Option<String> {
    let or_list = |nearest: &Option<String>, list| did_you_mean(nearest.as_deref()) + list;
    Some(match refusal {
        WireError::NoSuchJail { nearest, .. } => or_list(nearest, "`jailctl ls` lists the jails"),
        WireError::NoSuchImage { nearest, .. } => {
            or_list(nearest, "`jailctl image ls` lists the images")
        }
        WireError::NoSuchRoot { nearest, .. } => {
            or_list(nearest, "`jailctl root ls` lists the roots")
        }
        WireError::NoSuchVolume { nearest, .. } => {
            or_list(nearest, "`jailctl volume ls` lists the volumes")
        }
        WireError::NoSuchKey { nearest, related, .. } if related.is_empty() => {
            or_list(nearest, "`jailctl explain` lists all keys")
        }
        WireError::NoSuchKey { nearest, related, .. } => {
            let keys: Vec<String> = related.iter().map(|key| format!("`{key}`")).collect();
            format!("{}see {}", did_you_mean(nearest.as_deref()), keys.join(", "))
        }
        WireError::InvalidValue { help, .. } => help.clone()?,
        other => fixed_remedy_of(other)?.to_owned(),
    })
}

fn fixed_remedy_of(refusal: &WireError) -> Option<&'static str> {
    Some(match refusal {
        WireError::PermissionDenied => {
            "run jailctl as root: the group `jails` may look, and not change anything"
        }
        WireError::InvalidParameter { .. } => "jailctl and jailsupd should be of one version",
        WireError::Conflict { .. } => "`jailctl edit` again, on top of the other change",
        WireError::NotUnderstood { .. } => "jailctl and jailsupd should be of one version",
        WireError::MethodNotFound { .. } | WireError::InterfaceNotFound { .. } => {
            "this jailsupd is older than jailctl"
        }
        _ => return None,
    })
}
