//! What the keys of readiness, health and watchdog must be to each other.

use std::time::Duration;

use super::is_void;
use crate::unit::amount::show_duration;
use crate::unit::document::Walk;
use crate::unit::keys::Draft;
use crate::unit::section::Notify;

/// A shorter time is a slip of the unit, and would keep the host busy with nothing else.
const SHORTEST: Duration = Duration::from_millis(100);

/// The keys that say what a check is; two of them are one too many.
const KINDS: [&str; 3] = ["health.exec", "health.http", "health.tcp"];
/// Those that mean something only when there is one.
const OF_CHECKS: [&str; 6] = [
    "health.interval",
    "health.timeout",
    "health.retries",
    "health.start_period",
    "health.on_failure",
    "health.startup_interval",
];
/// Those of the startup probe.
const OF_STARTUP: [&str; 4] = [
    "health.startup_exec",
    "health.startup_timeout",
    "health.startup_retries",
    "health.startup_success",
];
/// What the program is told by jailsupd.
const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"];

/// What is said must go together.
pub(super) fn unit(walk: &mut Walk<'_>, draft: &mut Draft) {
    one_kind(walk, draft);
    let health = &draft.health;
    let times = [
        ("process.watchdog", draft.process.watchdog),
        ("process.runtime_max", draft.process.runtime_max),
        ("hooks.start_container_timeout", Some(draft.hooks.start_container.timeout)),
        ("hooks.poststart_timeout", Some(draft.hooks.poststart.timeout)),
        ("hooks.prestop_timeout", Some(draft.hooks.prestop.timeout)),
        ("hooks.poststop_timeout", Some(draft.hooks.poststop.timeout)),
        ("health.interval", Some(health.interval)),
        ("health.timeout", Some(health.timeout)),
        ("health.startup_interval", health.startup_interval),
        ("health.startup_timeout", Some(health.startup_timeout)),
        ("start.timeout", Some(draft.start.timeout)),
        ("image.timeout", Some(draft.image_timeout)),
    ];
    for (key, time) in times {
        if walk.has(key) && walk.sound(key) && time.is_some_and(|time| time < SHORTEST) {
            walk.refuse(key, "is too short", format!("at least \"{}\"", show_duration(SHORTEST)));
        }
    }
}

/// Of several kinds of check, that of the latest file is meant.
fn one_kind(walk: &mut Walk<'_>, draft: &mut Draft) {
    for key in KINDS {
        for by in KINDS.into_iter().filter(|by| *by != key) {
            let both = walk.has(key) && walk.has(by) && walk.sound(key) && walk.sound(by);
            if both && !is_void(walk, key, by) {
                let health = &mut draft.health;
                match key {
                    "health.exec" => health.exec = None,
                    "health.http" => health.http = None,
                    _ => health.tcp = None,
                }
            }
        }
    }
    let mut said = KINDS.into_iter().filter(|key| walk.has(key) && walk.sound(key));
    if let (Some(first), Some(second)) = (said.next(), said.next()) {
        walk.refuse(second, format!("is a second kind of check beside `{first}`"), "keep one");
    }
}

/// Keys that mean something only beside another one of their table.
const COMPANIONS: [(&str, &str); 6] = [
    ("hooks.start_container_timeout", "start_container"),
    ("hooks.poststart_timeout", "poststart"),
    ("hooks.prestop_timeout", "prestop"),
    ("hooks.poststop_timeout", "poststop"),
    ("logs.rate_limit_burst", "rate_limit_interval"),
    ("restart.start_limit_interval", "start_limit_burst"),
];

fn companions(walk: &mut Walk<'_>) {
    for (key, companion) in COMPANIONS {
        let table = key.split('.').next().unwrap_or_default();
        if walk.has(key) && walk.sound(key) && !walk.has(&format!("{table}.{companion}")) {
            walk.refuse(
                key,
                format!("has no effect without `{companion}`"),
                format!("add `{companion}` in `[{table}]`, or take it out"),
            );
        }
    }
}

/// A hook that takes all of the time to end leaves none for the signal.
fn prestop(walk: &mut Walk<'_>, draft: &Draft) {
    let (hook, stop) = (draft.hooks.prestop.timeout, draft.stop.timeout);
    let is_said = walk.sound("hooks.prestop_timeout") && walk.sound("stop.timeout");
    if walk.has("hooks.prestop") && is_said && hook >= stop {
        let key = if walk.has("hooks.prestop_timeout") {
            "hooks.prestop_timeout"
        } else {
            "stop.timeout"
        };
        walk.refuse(
            key,
            format!(
                "the hook may take {}, and all of the stop only {}: nothing is left for `stop.signal`",
                show_duration(hook),
                show_duration(stop)
            ),
            "make `stop.timeout` longer than `hooks.prestop_timeout`",
        );
    }
}

/// What means nothing without something else.
pub(super) fn complete(walk: &mut Walk<'_>, draft: &Draft) {
    companions(walk);
    prestop(walk, draft);
    let has_check = KINDS.iter().any(|key| walk.has(key));
    if !has_check {
        let one =
            "say how the health is checked, such as `http = \"http://127.0.0.1/\"` in `[health]`";
        for key in OF_CHECKS.into_iter().chain(OF_STARTUP) {
            if walk.has(key) && walk.sound(key) {
                walk.refuse(key, "has no effect without `exec`, `http` or `tcp`", one);
            }
        }
        if draft.process.notify == Notify::Healthy {
            walk.refuse("process.notify", "nothing says what healthy is", one);
        }
    } else if draft.health.startup_interval.is_none() && walk.sound("health.startup_interval") {
        for key in OF_STARTUP {
            if walk.has(key) && walk.sound(key) {
                walk.refuse(
                    key,
                    "has no effect without `startup_interval`",
                    "add `startup_interval = \"1s\"`, or take it out",
                );
            }
        }
    }
    let says_nothing = draft.process.notify == Notify::None && walk.sound("process.notify");
    if says_nothing && walk.has("start.timeout") && walk.sound("start.timeout") {
        walk.refuse(
            "start.timeout",
            "has no effect without `process.notify`",
            "the jail is up as soon as its program is executed: take it out, or add `notify = \"ready\"` in `[process]`",
        );
    }
    if draft.process.notifies() {
        if let Some(name) =
            VARIABLES.into_iter().find(|name| draft.process.environment.contains_key(*name))
        {
            walk.refuse(
                "process.environment",
                format!("{name} is set by `notify` and `watchdog`"),
                "take it out",
            );
        }
    }
}
