//! The program that a helper runs: what its own command line and environment say, made ready before the
//! fork, so that the child allocates nothing.

use rustix::process::Signal;
use std::ffi::{CString, OsString};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use sys::exec::Vector;

/// An argument or variable with a zero byte, which execve cannot pass, or no program at all.
const EINVAL: i32 = 22;
const ENOENT: i32 = 2;
const EACCES: i32 = 13;
const ENOTDIR: i32 = 20;

/// Where a name without a slash is looked for when the environment does not say.
const PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(crate) struct Program {
    /// Tried in this order.
    paths: Vec<CString>,
    argv: Vector,
    envp: Vector,
}

/// Whose child the program is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parent {
    /// The jail's init: its end is the jail's.
    Init,
    /// Another helper: should it be killed, its program is to go with it.
    Helper,
}

impl Program {
    /// What this process was told to run after the first so many words, or an errno.
    pub(crate) fn told(before: usize) -> Result<Self, i32> {
        Self::of(std::env::args_os().skip(before), &[])
    }

    /// A program and its arguments, with this process's environment without these variables, or an errno.
    pub(crate) fn of(
        words: impl IntoIterator<Item = OsString>,
        without: &[&str],
    ) -> Result<Self, i32> {
        let text = |string: OsString| CString::new(string.into_vec()).map_err(|_| EINVAL);
        let argv: Vec<CString> = words.into_iter().map(text).collect::<Result<_, _>>()?;
        let mut envp = Vec::new();
        let vars =
            std::env::vars_os().filter(|(name, _)| without.iter().all(|other| name != other));
        for (name, value) in vars {
            let mut pair = name.into_vec();
            pair.push(b'=');
            pair.extend(value.into_vec());
            envp.push(CString::new(pair).map_err(|_| EINVAL)?);
        }
        let Some(name) = argv.first() else { return Err(EINVAL) };
        let paths = paths(name.as_bytes());
        Ok(Self { paths, argv: Vector::new(argv), envp: Vector::new(envp) })
    }

    /// Makes its process, in a session of its own and with the terminal, if standard input is one; its pid
    /// or an errno. `failed` is called in the child.
    pub(crate) fn start(&self, parent: Parent, failed: impl Fn(i32)) -> Result<i32, i32> {
        self.spawn(parent, (None, None), failed)
    }

    /// The same; standard input is `input`.
    pub(crate) fn start_from(
        &self,
        parent: Parent,
        input: Option<&OwnedFd>,
        failed: impl Fn(i32),
    ) -> Result<i32, i32> {
        self.spawn(parent, (input, None), failed)
    }

    /// The same; what it prints goes to `output`.
    pub(crate) fn start_to(
        &self,
        parent: Parent,
        output: &OwnedFd,
        failed: impl Fn(i32),
    ) -> Result<i32, i32> {
        self.spawn(parent, (None, Some(output)), failed)
    }

    fn spawn(
        &self,
        parent: Parent,
        (input, output): (Option<&OwnedFd>, Option<&OwnedFd>),
        failed: impl Fn(i32),
    ) -> Result<i32, i32> {
        let child = sys::clone::vfork(&mut || {
            if parent == Parent::Helper {
                let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            }
            let _ = rustix::process::setsid();
            let stdin = rustix::stdio::stdin();
            if rustix::termios::isatty(stdin.as_fd()) {
                let _ = rustix::process::ioctl_tiocsctty(stdin.as_fd());
            }
            if let Some(input) = input {
                let _ = sys::fd::place(input.as_fd(), 0);
            }
            if let Some(output) = output {
                for number in 1..=2 {
                    let _ = sys::fd::place(output.as_fd(), number);
                }
            }
            let _ = sys::signal::reset();
            failed(self.execute());
            127
        });
        child.map_err(|error| error.raw_os_error().unwrap_or(0))
    }

    /// Returns only on failure, with the errno that tells most.
    fn execute(&self) -> i32 {
        let mut told = ENOENT;
        for path in &self.paths {
            match sys::exec::execute(path, &self.argv, &self.envp).raw_os_error().unwrap_or(0) {
                ENOENT | ENOTDIR => {}
                EACCES => told = EACCES,
                errno => return errno,
            }
        }
        told
    }
}

/// A name with a slash is a path; another one is looked for as a shell does.
fn paths(name: &[u8]) -> Vec<CString> {
    let make = |path: Vec<u8>| CString::new(path).ok();
    if name.contains(&b'/') {
        return make(name.to_vec()).into_iter().collect();
    }
    let search = std::env::var_os("PATH");
    let search = search.as_ref().map_or(PATH, |search| search.as_bytes());
    let directories = search.split(|byte| *byte == b':').filter(|path| path.starts_with(b"/"));
    directories.filter_map(|directory| make([directory, b"/", name].concat())).collect()
}
