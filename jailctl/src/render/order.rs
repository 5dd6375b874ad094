//! What the commands that change jails say when they are done.

use jailsupd::control::wire::{Changed, JailState, JailSummary};

use super::{one_line, state_of};

/// The jail is as it was asked for.
pub(crate) fn reached(name: &str, word: &str, jail: &JailSummary) -> String {
    let name = one_line(name);
    match jail.state.word() {
        state if state == word => format!("{name} is {word}\n"),
        state => format!("{name} is {word} ({state})\n"),
    }
}

/// Nobody waited for it.
pub(crate) fn asked(name: &str, word: &str, jail: &JailSummary) -> String {
    format!("{} was asked to be {word}; it is {} now\n", one_line(name), state_of(jail))
}

/// A signal was sent.
pub(crate) fn killed(name: &str, signal: &str, jail: &JailSummary) -> String {
    let text =
        format!("{} got {}; it is {} now\n", one_line(name), one_line(signal), state_of(jail));
    match jail.state {
        JailState::Backoff
        | JailState::Waiting
        | JailState::Preparing
        | JailState::Starting
        | JailState::Activating => {
            text + "    its restart policy starts it again; `jailctl stop` keeps it down\n"
        }
        _ => text,
    }
}

/// Files were changed, or were as they should be.
pub(crate) fn changed(name: &str, done: &str, changed: &Changed) -> String {
    let already = if changed.paths.is_empty() { " already" } else { "" };
    let now = changed.jail.as_ref().map(|jail| format!("; it is {} now", state_of(jail)));
    let mut text = format!("{}: {done}{already}{}\n", one_line(name), now.unwrap_or_default());
    for path in &changed.paths {
        text.push_str(&format!("    {}\n", one_line(path)));
    }
    text
}
