//! From a file's text to a [`Profile`].

use super::json::{Comparison, File, Filter, Syscalls, Verb};
use super::{Action, Compare, Condition, Profile, Rule, Scope};
use crate::unit::Problem;
use crate::unit::problem::{Place, Source};
use crate::unit::value::{plain, shown};

/// The largest profile that is read, in bytes; Docker's own has 20 KiB.
pub const MAX_FILE: usize = 1 << 20;
/// Rules and names of one file: far beyond any that a person writes, and what a program may hold.
const MOST_CALLS: usize = 16_384;

/// This machine's architecture as OCI and as Docker's `includes` name it.
const NATIVE: [&str; 3] = ["SCMP_ARCH_X86_64", "amd64", "x86_64"];
/// MAX_ERRNO of the kernel.
const MAX_ERRNO: u32 = 4095;

/// Reads the profile `text` of `file` (its path, for messages only).
///
/// # Errors
/// The first thing that is wrong with it, at its place.
pub fn read(file: &str, text: &str) -> Result<Profile, Problem> {
    let whole = |message: String| Problem::of_file(file, message);
    let parsed: File = serde_json::from_str(text).map_err(|error| syntax(file, text, &error))?;
    let named = parsed.architectures.iter().chain(parsed.arch_map.iter().map(|m| &m.architecture));
    let mut named = named.peekable();
    if named.peek().is_some() && !named.any(|name| NATIVE.contains(&name.as_str())) {
        return Err(whole("the profile is not for this machine".to_owned())
            .help("add SCMP_ARCH_X86_64 to `architectures`"));
    }
    if parsed.listener_path.is_some() || parsed.listener_metadata.is_some() {
        return Err(whole(NOTIFY.to_owned()).help(NOTIFY_HELP));
    }
    let default_errno = parsed.default_errno.map(|name| u32::from(name.0));
    let default = action(parsed.default_action.0, default_errno.or(parsed.default_errno_ret))
        .map_err(|(message, help)| whole(format!("defaultAction: {message}")).help(help))?;
    let mut profile =
        Profile { default, log: parsed.flags.iter().any(|flag| flag.0), rules: Vec::new() };
    for (at, entry) in parsed.syscalls.into_iter().enumerate() {
        let rule = rule(entry).map_err(|(message, help)| {
            whole(format!("entry {} of `syscalls`: {message}", at + 1)).help(help)
        })?;
        profile.rules.extend(rule);
    }
    let count: usize =
        profile.rules.iter().map(|r| r.calls.len() * r.alternatives.len().max(1)).sum();
    if count > MOST_CALLS {
        return Err(whole(format!("the profile has {count} rules"))
            .help(format!("at most {MOST_CALLS} are taken")));
    }
    Ok(profile)
}

const NOTIFY: &str = "SCMP_ACT_NOTIFY and its listener are not supported";
const NOTIFY_HELP: &str =
    "nobody would answer: write SCMP_ACT_ERRNO, or SCMP_ACT_LOG to see what is called";

/// What is wrong, and what to do.
type Refusal = (String, &'static str);

/// A rule that is about nothing here is none.
fn rule(entry: Syscalls) -> Result<Option<Rule>, Refusal> {
    if entry.name.is_none() && entry.names.is_empty() {
        return Err(("names no system call".to_owned(), "give `names`, or take the entry out"));
    }
    let errno = entry.errno.map(|name| u32::from(name.0)).or(entry.errno_ret);
    let action = action(entry.action.0, errno)?;
    let names = || entry.names.iter().chain(&entry.name);
    // A name of another kind of machine, or of a later kernel, need not be allowed here; but what is refused by a
    // wrong name is not refused.
    let wrong = names().find(|call| call.number.is_none() && !is_elsewhere(&call.name));
    if let Some(call) = wrong.filter(|_| !action.passes()) {
        let message = format!("refuses {}, which is no system call", shown(&call.name));
        return Err((message, "correct the name; what is refused by a wrong name is not refused"));
    }
    let mut calls: Vec<i64> = names().filter_map(|call| call.number).collect();
    calls.sort_unstable();
    calls.dedup();
    let conditions: Vec<Condition> = entry
        .args
        .iter()
        .map(|arg| {
            let (compare, value) = match arg.op.0 {
                Comparison::Plain(compare) => (compare, arg.value),
                Comparison::Masked => (Compare::Masked(arg.value), arg.value_two.unwrap_or(0)),
            };
            Condition { index: arg.index.0, compare, value }
        })
        .collect();
    let rule = Rule {
        calls,
        action,
        alternatives: alternatives(conditions),
        scope: scope(&entry.includes, &entry.excludes),
    };
    Ok((!rule.calls.is_empty() && !rule.scope.elsewhere).then_some(rule))
}

/// All conditions must hold; but where one argument is there twice, runc and crun take each condition as a
/// rule of its own, and profiles are written for that.
fn alternatives(conditions: Vec<Condition>) -> Vec<Vec<Condition>> {
    let twice = (0..6).any(|index| conditions.iter().filter(|c| c.index == index).count() > 1);
    match conditions.is_empty() {
        true => Vec::new(),
        false if twice => conditions.into_iter().map(|condition| vec![condition]).collect(),
        false => vec![conditions],
    }
}

fn scope(includes: &Filter, excludes: &Filter) -> Scope {
    let native = |arches: &[String]| arches.iter().any(|arch| NATIVE.contains(&arch.as_str()));
    let included = includes.arches.is_empty() || native(&includes.arches);
    Scope {
        with: includes.caps,
        without: excludes.caps,
        min_kernel: includes.min_kernel.as_ref().map(|kernel| kernel.0),
        elsewhere: !included || native(&excludes.arches),
    }
}

fn action(verb: Verb, errno: Option<u32>) -> Result<Action, Refusal> {
    let errno_of = || match errno {
        Some(errno) if errno > MAX_ERRNO => {
            Err((format!("{errno} is not an errno"), "give a number of errno(3), at most 4095"))
        }
        // EPERM, as libseccomp's users have it.
        errno => Ok(u16::try_from(errno.unwrap_or(1)).unwrap_or(1)),
    };
    match verb {
        Verb::Errno => Ok(Action::Errno(errno_of()?)),
        Verb::Trace => Ok(Action::Trace(errno_of()?)),
        Verb::Notify => Err((NOTIFY.to_owned(), NOTIFY_HELP)),
        Verb::Plain(_) if errno.is_some() => Err((
            "an errno with an action that returns none".to_owned(),
            "write SCMP_ACT_ERRNO, or take `errnoRet` and `errno` out",
        )),
        Verb::Plain(action) => Ok(action),
    }
}

/// The number of a system call of this machine.
pub(crate) fn number(name: &str) -> Option<i64> {
    name.parse::<syscalls::x86_64::Sysno>().ok().map(|call| i64::from(call.id()))
}

/// Whether another kind of machine has a system call of this name.
fn is_elsewhere(name: &str) -> bool {
    // Of ARM and of libseccomp, which the tables lack.
    const OTHERS: [&str; 9] = [
        "arm_sync_file_range",
        "breakpoint",
        "cacheflush",
        "get_tls",
        "set_tls",
        "syscall",
        "usr26",
        "usr32",
        "io_pgetevents_time64",
    ];
    OTHERS.contains(&name)
        || name.parse::<syscalls::x86::Sysno>().is_ok()
        || name.parse::<syscalls::arm::Sysno>().is_ok()
        || name.parse::<syscalls::aarch64::Sysno>().is_ok()
        || name.parse::<syscalls::s390x::Sysno>().is_ok()
        || name.parse::<syscalls::powerpc64::Sysno>().is_ok()
        || name.parse::<syscalls::mips64::Sysno>().is_ok()
        || name.parse::<syscalls::riscv64::Sysno>().is_ok()
        || name.parse::<syscalls::loongarch64::Sysno>().is_ok()
}

/// serde's message without its place, and the place.
fn syntax(file: &str, text: &str, error: &serde_json::Error) -> Problem {
    let said = error.to_string();
    let message = said.split(" at line ").next().unwrap_or(&said);
    let line = text.split_inclusive('\n').nth(error.line().saturating_sub(1));
    let start = match line {
        Some(line) => line.as_ptr().addr() - text.as_ptr().addr(),
        None => text.len(),
    };
    let place = match error.line() {
        0 => Place::whole(file),
        // serde_json has read up to here: the place is just behind what is wrong.
        _ => {
            let end = start + error.column();
            Source::new(file, text).place(&(end.saturating_sub(1)..end))
        }
    };
    let help = if error.is_syntax() || error.is_eof() {
        "the file must be JSON, without comments"
    } else {
        "the format is that of OCI's runtime specification, `linux.seccomp`; see docs/security.md"
    };
    Problem::new(place, "", plain_long(message)).help(help)
}

fn plain_long(message: &str) -> String {
    message
        .chars()
        .take(400)
        .flat_map(
            |c| if c.is_control() { plain(&c.to_string()).chars().collect() } else { vec![c] },
        )
        .collect()
}
