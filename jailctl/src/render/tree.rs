//! `jailctl tree`.

use std::collections::BTreeSet;

use jailsupd::control::wire::{JailProcesses, Process};

use super::jail::program;
use super::{Paint, Style, WIDTH, cut, one_line, paint_of};

/// Deeper ones are shown at this depth: a jail decides how deep its tree is.
const DEPTH_MAX: usize = 16;

/// Each jail with its processes, parents above their children.
pub(crate) fn tree(jails: &[JailProcesses], style: Style) -> String {
    if jails.is_empty() {
        return "no jails: put a unit file into /etc/jails.d (`jailctl edit NAME` makes one)\n"
            .to_owned();
    }
    let shown: Vec<String> = jails.iter().map(|jail| one(jail, style)).collect();
    shown.join("\n")
}

fn one(jail: &JailProcesses, style: Style) -> String {
    let name = style.paint(Paint::Bold, &one_line(&jail.name));
    let state = style.paint(paint_of(jail.state), jail.state.word());
    let mut out = format!("{name}  {state}\n");
    if jail.processes.is_empty() {
        return out;
    }
    let head = format!("  {:>7}  {:>7}  {:>5}  COMMAND", "PID", "IN JAIL", "USER");
    out.push_str(&(style.paint(Paint::Dim, &head) + "\n"));
    let all: BTreeSet<u32> = jail.processes.iter().map(|process| process.pid).collect();
    // The tops are those whose parent is not in the jail. What jailsupd saw while processes came and went
    // may hold circles: nothing is shown twice.
    let mut left: Vec<&Process> = jail.processes.iter().collect();
    let tops = |process: &Process| process.ppid == process.pid || !all.contains(&process.ppid);
    let mut stack: Vec<(usize, &Process)> = take(&mut left, tops, 0);
    while let Some((depth, process)) = stack.pop().or_else(|| left.pop().map(|other| (0, other))) {
        out.push_str(&line(process, depth));
        stack.extend(take(&mut left, |other| other.ppid == process.pid, depth + 1));
    }
    out
}

/// Takes out those that fit; the last one first, as a stack needs it.
fn take<'a>(
    left: &mut Vec<&'a Process>,
    fits: impl Fn(&Process) -> bool,
    depth: usize,
) -> Vec<(usize, &'a Process)> {
    let (taken, kept): (Vec<_>, Vec<_>) = left.iter().partition(|process| fits(process));
    *left = kept;
    taken.into_iter().rev().map(|process| (depth, process)).collect()
}

fn line(process: &Process, depth: usize) -> String {
    let indent = "  ".repeat(depth.min(DEPTH_MAX));
    // A program that has renamed itself has one word with blanks.
    let command = match process.command.as_slice() {
        [only] => one_line(only),
        words => one_line(&program(words)),
    };
    let (pid, inside, user) = (process.pid, process.jail_pid, process.user);
    cut(&format!("  {pid:>7}  {inside:>7}  {user:>5}  {indent}{command}"), WIDTH) + "\n"
}
