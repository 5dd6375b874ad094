//! What the in-jail init and jailsupd tell each other: fixed-size records over two pipes, so that
//! neither end allocates, and nobody has to parse. And what it and a client of `exec` or `run` tell each
//! other, without jailsupd ([`session`]), what comes before the service ([`hook`]), and what a check of a jail's health
//! found ([`check`]).

pub mod archive;
pub mod check;
pub mod hook;
pub mod session;

/// Where the init finds the write end of the start-error pipe.
pub const START_ERROR_FD: i32 = 3;
/// Where the init finds the write end of the exit-report pipe.
pub const EXIT_REPORT_FD: i32 = 4;

/// Defines [`Stage`] with the text that a user sees after "cannot".
macro_rules! stages {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $text:literal;)+) => {
        /// Where a start failed: the steps of a jail's start that run in the jail's own processes, in
        /// their order.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Stage { $($(#[$doc])* $variant = $number),+ }

        impl Stage {
            /// All of them, in the order of their table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// What was being done, to be read after "cannot".
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            fn from_number(number: u32) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

stages! {
    /// Giving up the host's protection from the out-of-memory killer.
    OomScore = 1, "reset its oom_score_adj";
    /// Entering the jail's user and network namespace.
    JoinNamespaces = 2, "join its user and network namespaces";
    /// Becoming root of the jail's user namespace.
    BecomeRoot = 3, "become root of its user namespace";
    /// Making the jail's PID 1.
    Clone = 4, "make its first process";
    /// Handing the pidfd over.
    HandOver = 5, "hand its process over";
    /// Closing what it must not inherit.
    CloseFiles = 6, "close inherited files";
    /// jailsupd ended before it said go.
    Go = 7, "go on: jailsupd ended while it was starting";
    /// Private mount propagation.
    Propagation = 8, "make its mounts private";
    /// Mounting proc, sysfs or cgroup2 before the pivot.
    KernelMounts = 9, "mount proc, sysfs and cgroup2";
    /// Changing to the new root.
    Pivot = 10, "change to its root";
    /// Attaching proc, sysfs or cgroup2.
    AttachKernelMounts = 11, "attach /proc and /sys";
    /// Mounting the files that the host gives the jail.
    Given = 53, "mount the files of /etc that the host gives it";
    /// Leaving of sysfs only what is needed.
    NarrowSys = 51, "narrow /sys";
    /// No user namespaces inside the jail's.
    UserNamespaces = 27, "forbid user namespaces";
    /// Kernel settings of its own namespaces.
    Sysctl = 40, "set a kernel setting of `sysctl`";
    /// Mounting a tmpfs.
    Tmpfs = 12, "mount a tmpfs";
    /// Filling /dev.
    Devices = 13, "set up /dev";
    /// Mounting a volume.
    Volume = 50, "mount its volumes";
    /// Hiding a path.
    Mask = 14, "mask a kernel file";
    /// Making a path read-only.
    ReadOnly = 15, "make a kernel path read-only";
    /// Binding the socket of sd_notify.
    Notify = 52, "bind /dev/notify";
    /// Setting the host name.
    HostName = 16, "set its host name";
    /// Resource limits.
    Limits = 17, "set its resource limits";
    /// Session keyring.
    Keyring = 18, "make a session keyring";
    /// Capability bounding set.
    BoundingSet = 19, "drop capabilities from its bounding set";
    /// User and groups.
    User = 20, "change to its user";
    /// Final capability sets and no_new_privs.
    Capabilities = 21, "set its capabilities";
    /// Standard input, output and the report pipes.
    Files = 22, "place its standard files";
    /// Landlock.
    Landlock = 41, "restrict itself with Landlock";
    /// Working directory.
    WorkingDir = 23, "change to its working directory";
    /// Seccomp.
    Filter = 24, "install its system call filter";
    /// Executing the in-jail init.
    Init = 25, "execute the in-jail init";
    /// Running the hook that comes before the service; the errno is a [`hook::Failure`].
    StartContainer = 54, "run its `start_container` hook";
    /// Executing the service.
    Exec = 26, "execute its program";
    /// Entering a running jail.
    JoinJail = 60, "join the jail's namespaces";
    /// Making a terminal in the jail.
    Terminal = 61, "open a terminal in the jail";
}

/// A failed start: where, and the errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartError {
    /// Where it failed.
    pub stage: Stage,
    /// errno(3).
    pub errno: i32,
}

impl StartError {
    /// Bytes of a record.
    pub const LEN: usize = 8;

    /// The record's bytes.
    #[must_use]
    pub fn encode(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&(self.stage as u32).to_ne_bytes());
        bytes[4..].copy_from_slice(&self.errno.to_ne_bytes());
        bytes
    }

    /// The record in `bytes`; `None` when it is not one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (stage, errno) = bytes.split_at_checked(4)?;
        Some(Self {
            stage: Stage::from_number(u32::from_ne_bytes(stage.try_into().ok()?))?,
            errno: i32::from_ne_bytes(errno.try_into().ok()?),
        })
    }
}

/// How the main process ended. A namespace's init cannot die by its own signal, so this is the only
/// place where the truth about a signal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitReport {
    /// `CLD_EXITED`, `CLD_KILLED` or `CLD_DUMPED` (sigaction(2)).
    pub code: i32,
    /// Exit status or signal number.
    pub status: i32,
    /// User time, microseconds.
    pub user_us: u64,
    /// System time, microseconds.
    pub system_us: u64,
    /// Largest resident set, KiB.
    pub max_rss_kib: u64,
}

impl ExitReport {
    /// Bytes of a record.
    pub const LEN: usize = 32;

    /// The record's bytes.
    #[must_use]
    pub fn encode(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&self.code.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.status.to_ne_bytes());
        bytes[8..16].copy_from_slice(&self.user_us.to_ne_bytes());
        bytes[16..24].copy_from_slice(&self.system_us.to_ne_bytes());
        bytes[24..].copy_from_slice(&self.max_rss_kib.to_ne_bytes());
        bytes
    }

    /// The record in `bytes`; `None` when it has another length.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LEN] = bytes.try_into().ok()?;
        let (head, words) = bytes.split_at(8);
        let (code, status) = head.split_at(4);
        let mut words = words.chunks_exact(8).map(|word| word.try_into().map(u64::from_ne_bytes));
        Some(Self {
            code: i32::from_ne_bytes(code.try_into().ok()?),
            status: i32::from_ne_bytes(status.try_into().ok()?),
            user_us: words.next()?.ok()?,
            system_us: words.next()?.ok()?,
            max_rss_kib: words.next()?.ok()?,
        })
    }
}

/// What still ran in the jail when its main process had ended; it follows the [`ExitReport`] in the pipe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Processes.
    pub count: u64,
    /// The name of one of them (`comm`), as the jail has it: at most 15 bytes.
    pub name: String,
}

impl Left {
    /// Bytes of a record.
    pub const LEN: usize = 24;

    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.count.to_ne_bytes());
        // The kernel's names are no longer than this (TASK_COMM_LEN); a zero ends them.
        let name = self.name.as_bytes();
        let length = name.len().min(15);
        bytes[8..8 + length].copy_from_slice(&name[..length]);
        bytes
    }

    /// The record in `bytes`; `None` when it has another length.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LEN] = bytes.try_into().ok()?;
        let (count, name) = bytes.split_at(8);
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let count = u64::from_ne_bytes(count.try_into().ok()?);
        Some(Self { count, name: String::from_utf8_lossy(name).into_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_their_pipes() {
        let error = StartError { stage: Stage::Exec, errno: 2 };
        assert_eq!(StartError::decode(&error.encode()), Some(error));
        let report =
            ExitReport { code: 2, status: 11, user_us: 1, system_us: u64::MAX, max_rss_kib: 3 };
        assert_eq!(ExitReport::decode(&report.encode()), Some(report));
        let left = Left { count: 3, name: "nginx".into() };
        assert_eq!(Left::decode(&left.encode()), Some(left));
        let long = Left { count: 1, name: "x".repeat(40) };
        assert_eq!(Left::decode(&long.encode()).unwrap().name, "x".repeat(15));
    }

    #[test]
    fn truncated_records_are_none() {
        let error = StartError { stage: Stage::Go, errno: 0 }.encode();
        assert_eq!(StartError::decode(&error[..7]), None);
        assert_eq!(StartError::decode(&[]), None);
        assert_eq!(ExitReport::decode(&[0; 31]), None);
    }
}
