//! Commands that change jails, several at once: all are asked before the first answer is waited for.

use std::io::Write;

use jailsupd::control::wire::{Changed, JailState, JailSummary, Reached, Request, WireError};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Show, results, typed};
use crate::cli::{Kill, Names, Order, Wait};
use crate::error::Error;
use crate::output::Output;
use crate::render;
use crate::varlink::Client;

/// Fewer than the connections that jailsupd takes at once.
const AT_ONCE: usize = 64;

/// What is to be true of a jail in the end.
struct Goal {
    word: &'static str,
    holds: fn(&JailSummary) -> bool,
}

const UP: Goal = Goal { word: "up", holds: |jail| jail.state == JailState::Up };
/// Nothing of a jail that has failed, or never had a good unit, runs either.
const DOWN: Goal = Goal {
    word: "down",
    holds: |jail| matches!(jail.state, JailState::Down | JailState::Failed | JailState::Invalid),
};
const FROZEN: Goal = Goal { word: "frozen", holds: |jail| jail.frozen };
const THAWED: Goal = Goal { word: "thawed", holds: |jail| !jail.frozen };

type Done = Result<(), Error>;

pub(super) fn start(show: &Show<'_>, order: &Order, out: &mut Output<impl Write>) -> Done {
    let wait = !order.no_wait;
    reach(show, order, &UP, |name| Request::Start { name, wait }, out)
}

pub(super) fn stop(show: &Show<'_>, order: &Order, out: &mut Output<impl Write>) -> Done {
    let wait = !order.no_wait;
    reach(show, order, &DOWN, |name| Request::Stop { name, wait }, out)
}

pub(super) fn restart(show: &Show<'_>, order: &Order, out: &mut Output<impl Write>) -> Done {
    let wait = !order.no_wait;
    reach(show, order, &UP, |name| Request::Restart { name, wait }, out)
}

pub(super) fn freeze(show: &Show<'_>, order: &Order, out: &mut Output<impl Write>) -> Done {
    let wait = !order.no_wait;
    reach(show, order, &FROZEN, |name| Request::Freeze { name, wait }, out)
}

pub(super) fn thaw(show: &Show<'_>, order: &Order, out: &mut Output<impl Write>) -> Done {
    let wait = !order.no_wait;
    reach(show, order, &THAWED, |name| Request::Thaw { name, wait }, out)
}

pub(super) fn kill(show: &Show<'_>, kill: &Kill, out: &mut Output<impl Write>) -> Done {
    let wait = !kill.order.no_wait;
    let signal = || kill.signal.clone();
    let ask = |name| Request::Kill { name, signal: signal(), wait };
    each(show, &kill.order.of.names, ask, out, |name, reached: &Reached| {
        Ok(render::killed(name, &kill.signal, &reached.jail))
    })
}

pub(super) fn wait(show: &Show<'_>, wait: &Wait, out: &mut Output<impl Write>) -> Done {
    let timeout_ms = wait.timeout.map(|span| span.0);
    let ask = |name| Request::Wait { name, state: wait.state, timeout_ms };
    let done = each(show, &wait.of.names, ask, out, |name, reached: &Reached| {
        Ok(render::reached(name, wait.state.word(), &reached.jail))
    });
    done.map_err(|error| timed_out(error, wait.state.word()))
}

/// The refusal does not say which state was waited for.
fn timed_out(error: Error, wanted: &'static str) -> Error {
    match error {
        Error::Of { name, source } => match *source {
            Error::Refused(WireError::Timeout { state }) => {
                let problem = Some("the time is up".to_owned());
                Error::NotReached { name, wanted, state, problem }
            }
            source => Error::Of { name, source: Box::new(source) },
        },
        Error::Several(all) => {
            Error::Several(all.into_iter().map(|error| timed_out(error, wanted)).collect())
        }
        other => other,
    }
}

pub(super) fn delete(show: &Show<'_>, of: &Names, out: &mut Output<impl Write>) -> Done {
    change(show, of, "deleted", |stem| Request::Delete { stem }, out)
}

pub(super) fn enable(show: &Show<'_>, of: &Names, out: &mut Output<impl Write>) -> Done {
    change(show, of, "enabled", |name| Request::Enable { name }, out)
}

pub(super) fn disable(show: &Show<'_>, of: &Names, out: &mut Output<impl Write>) -> Done {
    change(show, of, "disabled", |name| Request::Disable { name }, out)
}

pub(super) fn mask(show: &Show<'_>, of: &Names, out: &mut Output<impl Write>) -> Done {
    change(show, of, "masked", |name| Request::Mask { name }, out)
}

pub(super) fn unmask(show: &Show<'_>, of: &Names, out: &mut Output<impl Write>) -> Done {
    change(show, of, "unmasked", |name| Request::Unmask { name }, out)
}

fn reach(
    show: &Show<'_>,
    order: &Order,
    goal: &Goal,
    ask: impl Fn(String) -> Request,
    out: &mut Output<impl Write>,
) -> Done {
    each(show, &order.of.names, ask, out, |name, reached: &Reached| {
        let jail = &reached.jail;
        if order.no_wait {
            return Ok(render::asked(name, goal.word, jail));
        }
        if (goal.holds)(jail) {
            return Ok(render::reached(name, goal.word, jail));
        }
        let (name, problem) = (name.to_owned(), jail.problem.clone());
        Err(Error::NotReached { name, wanted: goal.word, state: jail.state, problem })
    })
}

fn change(
    show: &Show<'_>,
    of: &Names,
    done: &str,
    ask: impl Fn(String) -> Request,
    out: &mut Output<impl Write>,
) -> Done {
    each(show, &of.names, ask, out, |name, changed: &Changed| {
        Ok(render::changed(name, done, changed))
    })
}

/// Asks for each name, shows each answer (with `--json` on a line of its own), and goes on after a refusal.
pub(super) fn each<T: DeserializeOwned>(
    show: &Show<'_>,
    names: &[String],
    ask: impl Fn(String) -> Request,
    out: &mut Output<impl Write>,
    text: impl Fn(&str, &T) -> Result<String, Error>,
) -> Done {
    let mut errors = Vec::new();
    for some in names.chunks(AT_ONCE) {
        let mut clients = Vec::new();
        for name in some {
            clients.push((name, Client::send(show.socket, &ask(name.clone()))?));
        }
        for (name, mut client) in clients {
            let reply = client.receive()?;
            let answer = results::<Value>(reply).and_then(|value| {
                let answer = typed(value.clone())?;
                Ok((value, answer))
            });
            match answer {
                Ok((value, answer)) => {
                    let shown = text(name, &answer);
                    if show.json {
                        out.write(&format!("{value}\n"))?;
                    }
                    match shown {
                        Ok(shown) if !show.json => out.write(&shown)?,
                        Ok(_) => {}
                        Err(error) => errors.push(error),
                    }
                }
                Err(source) => errors.push(source.of(name)),
            }
        }
    }
    match errors.pop() {
        None => Ok(()),
        Some(only) if errors.is_empty() => Err(only),
        Some(last) => {
            errors.push(last);
            Err(Error::Several(errors))
        }
    }
}
