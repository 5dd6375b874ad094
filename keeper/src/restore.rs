//! The keeper executes its program anew: the side that takes over (see `reexec`).
//!
//! Two ways of being called: `--self-test`, a child that reads a copy of the state and says what it
//! read; and `--restore`, in the place of the keeper that was. One that cannot take over, or panics while
//! it tries, executes the program before it again with the same state: its descriptors are all still
//! open. So nothing is lost but the attempt.

use crate::flaw;
use crate::handover::{Handover, Seen};
use crate::reexec::Report;
use crate::wire::VERSION;
use rustix::fd::OwnedFd;
use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::{Mutex, PoisonError};
use sys::exec::Vector;

/// First argument of a self-test; the state is standard input.
pub(crate) const SELF_TEST: &str = "--self-test";
/// First argument of a program that takes over. Then come the numbers of the state and of the program
/// before it, and why that one was executed again, where it was.
pub(crate) const RESTORE: &str = "--restore";
/// Words after [`RESTORE`].
const WORDS: usize = 3;

/// Says on standard output what it reads on standard input, when that is what the program was called for:
/// the exit status then.
#[must_use]
pub fn self_test() -> Option<u8> {
    if std::env::args_os().nth(1)? != SELF_TEST {
        return None;
    }
    flaw::linger();
    let (word, status) = match read_copy() {
        Ok(seen) => (seen.to_string(), 0),
        Err(why) => (why, 1),
    };
    let said = writeln!(io::stdout(), "{word}");
    Some(if said.is_ok() { status } else { 1 })
}

fn read_copy() -> Result<Seen, String> {
    if flaw::is(flaw::FAILS) {
        return Err("failing as I was told to".to_owned());
    }
    let state = rustix::io::dup(rustix::stdio::stdin()).map_err(|errno| errno.to_string())?;
    let (handover, seen) = read(&state.into())?;
    if handover.wire != VERSION {
        let theirs = handover.wire;
        return Err(format!(
            "jailsupd speaks version {theirs} of the wire, and this program {VERSION}"
        ));
    }
    let off = u64::from(flaw::is(flaw::MISREADS));
    Ok(Seen { sum: seen.sum.wrapping_add(off), ..seen })
}

fn read(state: &std::fs::File) -> Result<(Handover, Seen), String> {
    let failed = |error: io::Error| format!("the state cannot be read: {error}");
    let length = state.metadata().map_err(failed)?.len();
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    state.read_exact_at(&mut bytes, 0).map_err(failed)?;
    Handover::decode(&bytes).map_err(|error| error.to_string())
}

/// All that the keeper before this one held.
#[derive(Debug)]
pub struct Handed {
    pub(crate) handover: Handover,
    fds: BTreeMap<i32, OwnedFd>,
    /// Why the keeper was executed again that had made place for another.
    pub(crate) taken_back: Option<String>,
    /// Closed when nobody can need them any more.
    _until_done: Vec<OwnedFd>,
}

impl Handed {
    /// What was handed over to this program, when it was called for that; its words for it are taken off
    /// `arguments`, which begin with the program's name.
    ///
    /// # Errors
    /// Why it cannot be taken over. The program before this one has been tried then, and could not be
    /// executed either.
    pub fn take(arguments: &mut Vec<OsString>) -> Result<Option<Self>, String> {
        if arguments.get(1).is_none_or(|word| word != RESTORE) || arguments.len() < 2 + WORDS {
            return Ok(None);
        }
        let words: Vec<OsString> = arguments.drain(1..2 + WORDS).skip(1).collect();
        let number = |at: usize| words[at].to_str().and_then(|word| word.parse::<i32>().ok());
        let rest = arguments.iter().map(|word| CString::new(word.clone().into_vec()));
        let way_back = WayBack {
            state: number(0).ok_or("its state has no number")?,
            program: number(1),
            fds: Vec::new(),
            argv: rest.collect::<Result<_, _>>().map_err(|error| error.to_string())?,
        };
        let taken_back = words[2].clone().into_string().ok().filter(|why| !why.is_empty());
        way_back.keep();
        load(taken_back).map(Some).map_err(|why| {
            let error = go_back(&why);
            format!("{why}; nor can the program before it be executed again: {error}")
        })
    }

    /// Its sources of a shutdown request.
    #[must_use]
    pub fn triggers(&mut self) -> Vec<OwnedFd> {
        let numbers = std::mem::take(&mut self.handover.triggers);
        numbers.into_iter().filter_map(|fd| self.take_fd(fd)).collect()
    }

    pub(crate) fn take_fd(&mut self, number: i32) -> Option<OwnedFd> {
        self.fds.remove(&number)
    }

    /// From here on there is no way back, and nothing that would need one.
    pub(crate) fn done(self, report: Report) {
        crate::kmsg::log_panics();
        drop(locked().take());
        match &self.taken_back {
            None => report.done(),
            Some(why) => report.kept(&format!("the new program could not take over: {why}")),
        }
    }
}

/// Reads the state and takes every descriptor. Until the last step nothing is changed.
fn load(taken_back: Option<String>) -> Result<Handed, String> {
    let (state, program) = match &*locked() {
        Some(way_back) => (way_back.state, way_back.program),
        None => return Err("nobody knows the state's number".to_owned()),
    };
    let failed = |what: &str, error: &io::Error| format!("{what}: {error}");
    // Opened anew, so that a failure closes nothing that the way back needs.
    let copy = std::fs::File::open(format!("/proc/self/fd/{state}"));
    let (handover, _) = read(&copy.map_err(|error| failed("open the state", &error))?)?;
    if flaw::is(flaw::CANNOT_RESTORE) {
        return Err("failing as I was told to".to_owned());
    }
    check(&handover)?;
    if let Some(way_back) = &mut *locked() {
        way_back.fds = handover.fds().collect();
    }
    flaw::die();
    // Each is open, as `check` has seen.
    let take = |number| sys::fd::inherit(number).ok();
    let fds = handover.fds().filter_map(|number| Some((number, take(number)?))).collect();
    let _until_done = program.into_iter().chain([state]).filter_map(take).collect();
    Ok(Handed { handover, fds, taken_back, _until_done })
}

/// Every number is a descriptor's, and no two places have the same one; a jail's process is the one that
/// it was.
fn check(handover: &Handover) -> Result<(), String> {
    let mut seen = std::collections::BTreeSet::new();
    for number in handover.fds() {
        if number < 3 || !seen.insert(number) {
            return Err(format!("descriptor {number} stands where another should"));
        }
        sys::fd::set_close_on_exec(number, false)
            .map_err(|error| format!("descriptor {number}: {error}"))?;
    }
    for place in handover.places.iter().flatten() {
        let (Some(tracked), Some(process)) = (place.tracked, place.fds[0]) else { continue };
        let inode = std::fs::metadata(format!("/proc/self/fd/{process}")).map(|meta| meta.ino());
        if inode.ok() != Some(tracked.inode) {
            let jail = place.jail.as_str();
            return Err(format!("descriptor {process} is not the process of {jail}"));
        }
    }
    Ok(())
}

/// How to execute the program before this one.
#[derive(Debug)]
struct WayBack {
    state: i32,
    /// None when this program is the one that was executed again.
    program: Option<i32>,
    /// All that it needs besides the state.
    fds: Vec<i32>,
    /// Its name, and its own arguments.
    argv: Vec<CString>,
}

/// For the panic hook, too.
static WAY_BACK: Mutex<Option<WayBack>> = Mutex::new(None);

fn locked() -> std::sync::MutexGuard<'static, Option<WayBack>> {
    WAY_BACK.lock().unwrap_or_else(PoisonError::into_inner)
}

impl WayBack {
    /// Makes it the one that is gone when this program fails, by an error or a panic.
    fn keep(self) {
        *locked() = Some(self);
        std::panic::set_hook(Box::new(|info| {
            let error = go_back(&info.to_string());
            log::error!("{info}; and the program before cannot be executed again: {error}");
        }));
    }

    fn go(&self, why: &str) -> io::Error {
        let Some(program) = self.program else { return io::ErrorKind::NotFound.into() };
        let words = [RESTORE.to_owned(), self.state.to_string(), "-".to_owned()];
        let why = why.replace(['\0', '\n'], " ");
        let words = words.into_iter().chain([why]).filter_map(|word| CString::new(word).ok());
        let mut argv = self.argv.clone();
        let at = argv.len().min(1);
        argv.splice(at..at, words);
        for fd in self.fds.iter().chain([&self.state]) {
            // One that is not open is the other program's to find.
            let _ = sys::fd::set_close_on_exec(*fd, false);
        }
        let _ = sys::fd::set_close_on_exec(program, true);
        let path = CString::new(format!("/proc/self/fd/{program}")).unwrap_or_default();
        sys::exec::execute(&path, &Vector::new(argv), &Vector::new(Vec::new()))
    }
}

/// Executes the program before this one. Returns only on failure.
fn go_back(why: &str) -> io::Error {
    log::error!("cannot take over, going back to the program before: {why}");
    match &*locked() {
        Some(way_back) => way_back.go(why),
        None => io::ErrorKind::NotFound.into(),
    }
}
