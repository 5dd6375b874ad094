//! `jailctl inspect` and `jailctl logs`.

use jailsupd::control::wire::{
    Checks, Exit, ExitReason, Jail, JailSummary, LogEntry, Privileges, Seccomp, Stream, Usage,
};

use super::time::{ago, span, stamp, wait};
use super::{Paint, Style, bytes, one_line, paint_of_jail, pairs, problems, state_of};

/// Everything about one jail.
pub(crate) fn jail(jail: &Jail, now: u64, style: Style) -> String {
    let summary = &jail.summary;
    let some = |text: &str| Some(text.to_owned());
    let rows = [
        ("Description", jail.description.clone()),
        ("Critical", jail.critical.then(|| "yes".to_owned())),
        ("Unit", some(&summary.unit)),
        ("Runs with", summary.stale.then(|| "an older version of its unit".to_owned())),
        ("Image", some(&jail.image)),
        ("Program", Some(program(&jail.exec))),
        ("User", some(&jail.user)),
        (
            "Host ids",
            jail.uid_base.map(|base| format!("{base} to {}", base.saturating_add(65_535))),
        ),
        ("Address", Some(summary.address.join(" "))),
        ("Link", jail.link.clone()),
        ("Ports", (!jail.publish.is_empty()).then(|| jail.publish.join(" "))),
        ("Lets in", jail.ingress.as_deref().map(access)),
        ("Lets out", jail.egress.as_deref().map(access)),
        ("Cgroup", jail.cgroup.clone()),
        ("Process", summary.pid.map(|pid| format!("{pid} on the host"))),
        (
            "Capabilities",
            jail.capabilities.as_ref().map(|list| held(list, jail.bounding.as_deref())),
        ),
        (
            "New privileges",
            jail.no_new_privs.map(|off| if off { "never" } else { "possible" }.to_owned()),
        ),
        ("System calls", jail.seccomp.map(filter)),
        ("Landlock", jail.landlock.map(landlock)),
        ("Its init", jail.init.as_ref().map(init)),
        ("Ready", jail.ready_at.map(|at| format!("{} ago", ago(at, now)))),
        ("Says", says(jail)),
        ("Health", jail.checks.as_ref().map(|checks| health(checks, now))),
        ("Watchdog", jail.watchdog_us.map(|us| wait(us / 1000))),
        ("Memory", jail.memory_current.map(bytes)),
        ("Processes", jail.pids_current.map(|count| count.to_string())),
        ("Restarts", Some(summary.restarts.to_string())),
        ("Last end", jail.last_exit.as_ref().map(|exit| last_exit(exit, now))),
        ("Known of it", jail.last_exit.as_ref().and_then(|exit| exit.detail.clone())),
        ("It had used", jail.last_exit.as_ref().and_then(|exit| exit.usage).map(used)),
    ];
    // What `ls` shows in one line is told in full; a problem that has no file has that line only.
    let told = match (&summary.problem, jail.problems.is_empty()) {
        (Some(problem), true) => std::slice::from_ref(problem),
        _ => &jail.problems,
    };
    heading(summary, now, style) + &pairs(&rows, style) + &problems(told, style)
}

/// "web  up for 3m12s".
pub(super) fn heading(summary: &JailSummary, now: u64, style: Style) -> String {
    let state = style.paint(paint_of_jail(summary), &state_of(summary));
    let name = style.paint(Paint::Bold, &one_line(&summary.name));
    format!("{name}  {state} for {}\n", ago(summary.since, now))
}

/// As one would type it: words with blanks or quotes in quotes.
pub(super) fn program(words: &[String]) -> String {
    let plain = |c: char| !c.is_whitespace() && !"'\"\\$`;&|<>()*?#".contains(c);
    let shown = words.iter().map(|word| {
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    });
    shown.collect::<Vec<_>>().join(" ")
}

fn names(list: &[String]) -> String {
    if list.is_empty() { "none".to_owned() } else { list.join(" ") }
}

fn access(list: &[String]) -> String {
    if list.is_empty() { "nothing".to_owned() } else { list.join("; ") }
}

/// What it has, and what it could have when that is something else.
fn held(list: &[String], bounding: Option<&[String]>) -> String {
    match bounding.filter(|bounding| *bounding != list) {
        Some(bounding) => format!("{}, at most {}", names(list), names(bounding)),
        None => names(list),
    }
}

fn init(init: &Privileges) -> String {
    let filter = init.seccomp.map_or("filter not known".to_owned(), filter);
    let more = if init.no_new_privs { "no new privileges" } else { "new privileges possible" };
    let capabilities = held(&init.capabilities, Some(&init.bounding));
    format!("capabilities {capabilities}; {filter}; {more}")
}

fn landlock(restricts: bool) -> String {
    if restricts { "no mounts, no device nodes" } else { "this kernel has none" }.to_owned()
}

fn filter(mode: Seccomp) -> String {
    match mode {
        Seccomp::Disabled => "not filtered",
        Seccomp::Strict => "strict mode",
        Seccomp::Filter => "filtered",
    }
    .to_owned()
}

/// "exit code 7, 2m ago".
pub(super) fn last_exit(exit: &Exit, now: u64) -> String {
    let signal = exit.signal.as_deref().unwrap_or("a signal");
    let how = match exit.reason {
        ExitReason::Exited => {
            exit.code.map_or("exited".to_owned(), |code| format!("exit code {code}"))
        }
        ExitReason::Signaled => format!("killed by {signal}"),
        ExitReason::Oom if exit.signal.as_deref() != Some("SIGKILL") => {
            "out of memory: a process was killed".to_owned()
        }
        ExitReason::Oom => "killed by the kernel: out of memory".to_owned(),
        ExitReason::Killed => "killed: it did not stop in time".to_owned(),
        ExitReason::StartTimeout => "it was not ready in time".to_owned(),
        ExitReason::Watchdog => "it gave no sign of life in time".to_owned(),
        ExitReason::RuntimeMax => "it had run as long as it may".to_owned(),
        ExitReason::Unhealthy => "it was not healthy".to_owned(),
        ExitReason::Pressure => "it was under pressure".to_owned(),
        ExitReason::Dependency => "it lost a jail that it needs".to_owned(),
        ExitReason::StartFailed => {
            let stage = exit.stage.as_deref().unwrap_or("the start failed");
            exit.errno.as_ref().map_or(stage.to_owned(), |errno| format!("{stage}: {errno}"))
        }
        ExitReason::Unknown => "not known: nobody saw it".to_owned(),
    };
    let core = if exit.core { ", core dumped" } else { "" };
    format!("{how}{core}, {} ago", ago(exit.at, now))
}

/// What its service says of itself.
fn says(jail: &Jail) -> Option<String> {
    let status = jail.summary.status.clone();
    match (status, jail.reloading) {
        (Some(status), true) => Some(format!("{status} (reloading)")),
        (None, true) => Some("reloading".to_owned()),
        (status, false) => status,
    }
}

/// "http://127.0.0.1/ every 30s, 2s ago, 3 failures in a row: connection refused".
fn health(checks: &Checks, now: u64) -> String {
    let probe = if checks.probing { "startup probe " } else { "" };
    let every = wait(checks.interval_ms);
    let last =
        checks.last_at.map_or(", not yet".to_owned(), |at| format!(", {} ago", ago(at, now)));
    let failures = match checks.failures {
        0 if checks.succeeded == Some(false) => ", failed".to_owned(),
        0 => String::new(),
        1 => ", 1 failure".to_owned(),
        count => format!(", {count} failures in a row"),
    };
    let output = checks.output.as_ref().filter(|output| !output.is_empty());
    let output = output.map_or(String::new(), |output| format!(": {output}"));
    format!("{probe}{} every {every}{last}{failures}{output}", checks.what)
}

fn used(usage: Usage) -> String {
    let (user, system) = (span(usage.user_us), span(usage.system_us));
    format!("{user} in user mode, {system} in the kernel, {} of memory", bytes(usage.max_rss))
}

/// One line of a log: time, the jail where there are several, stream, text.
pub(crate) fn log_entry(entry: &LogEntry, names: Option<usize>, style: Style) -> String {
    let paint = match entry.stream {
        Stream::Stdout => Paint::Dim,
        Stream::Stderr => Paint::Passing,
        Stream::Warder | Stream::Kernel => Paint::Bold,
    };
    let time = style.paint(Paint::Dim, &stamp(entry.time));
    let stream = style.paint(paint, &format!("{:6}", entry.stream));
    let name = entry.jail.as_deref().map_or_else(|| "-".to_owned(), one_line);
    let name = names.map_or_else(String::new, |width| format!("{name:width$} "));
    format!("{time} {name}{stream} {}\n", one_line(&entry.text))
}
