//! What can go wrong between a test and its guest.

use std::{fmt, io, path::PathBuf, time::Duration};

/// The harness's result.
pub type Result<T> = std::result::Result<T, Error>;

/// One failed operation, with the object it was about.
#[derive(thiserror::Error)]
pub enum Error {
    /// A file of the build is not there.
    #[error("{path} is missing: build the image first (make image)")]
    NotBuilt {
        /// The file.
        path: PathBuf,
    },
    /// A system call on the build machine.
    #[error("cannot {doing}")]
    Io {
        /// Operation and object.
        doing: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A host tool (`mkfs.erofs`, `btrfs`, ...) ended badly.
    #[error("{command} failed with {status}: {output}")]
    Tool {
        /// The command line.
        command: String,
        /// Its exit status.
        status: String,
        /// Both of its outputs.
        output: String,
    },
    /// A state did not come in time.
    #[error("{what} did not come within {limit:?}")]
    Timeout {
        /// The state waited for.
        what: String,
        /// How long, the machine's factor included.
        limit: Duration,
    },
    /// QEMU went away while something was expected of the guest.
    #[error("the guest ended before {what}")]
    Ended {
        /// The state waited for.
        what: String,
    },
    /// QEMU or the guest's agent answered something else than the protocol allows.
    #[error("{peer} answered {answer}")]
    Answer {
        /// Who.
        peer: &'static str,
        /// What.
        answer: String,
    },
    /// Something that only one can have is somebody else's.
    #[error("{what} is in use: {remedy}")]
    InUse {
        /// The thing.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A setting of the caller's environment has no meaning.
    #[error("{name}={value} is not valid: {remedy}")]
    Setting {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What would be valid.
        remedy: &'static str,
    },
}

impl Error {
    /// For `map_err`: an I/O error with what was being done.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}

/// Tests unwrap, so the debug form is what a person reads: the message and its causes.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
