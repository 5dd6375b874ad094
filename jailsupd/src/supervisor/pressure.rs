//! Jails that come to their limits: what the kernel tells of it becomes events, and news for their machines.

use super::poller::{JailId, Poller, Source};
use super::{Supervisor, clock};
use crate::exec::cgroup::Cgroup;
use crate::exec::pressure::{self, Counters, Signal};
use crate::machine::{Event, Moment, News};
use crate::unit::amount::show_duration;
use crate::unit::{Bytes, Unit};
use rustix::fd::OwnedFd;
use std::time::Duration;

/// A jail at its limit stays there, and the kernel tells each time: so often is it recorded.
const PAUSE: Duration = Duration::from_secs(10);

/// What is watched of one life of a jail.
#[derive(Debug, Default)]
pub(super) struct Watched {
    watches: Vec<Watch>,
    /// When it was last seen that the kernel had killed a process for want of memory.
    killed_at: Option<Moment>,
}

/// How long before a jail's end the kernel may have told of what that end came from: both are told at once, and
/// heard one after the other.
const NEAR: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Watch {
    signal: Signal,
    file: OwnedFd,
    threshold: Option<Duration>,
    /// As they were when they were last recorded.
    counters: Counters,
    /// How often the threshold was passed since then.
    times: u64,
    recorded: Option<Moment>,
}

impl Watched {
    /// Stops watching, all of it.
    pub(super) fn forget(&mut self, poller: &Poller) {
        for watch in self.watches.drain(..) {
            poller.forget(&watch.file);
        }
    }

    /// Whether the kernel's last kill for want of memory, of `kills` so far, may be what a jail has ended by.
    pub(super) fn is_near(&self, kills: u64, ended: Moment) -> bool {
        let seen = self.watches.iter().find(|watch| watch.signal == Signal::Memory);
        let is_new = seen.is_none_or(|watch| kills > watch.counters.get("oom_kill"));
        let is_near = |at: Moment| at.saturating_add(NEAR) >= ended;
        kills > 0 && (is_new || self.killed_at.is_some_and(is_near))
    }
}

fn threshold(unit: &Unit, signal: Signal) -> Option<Duration> {
    match signal {
        Signal::Memory | Signal::Pids => None,
        Signal::MemoryPressure => unit.resources.memory_pressure_threshold,
        Signal::CpuPressure => unit.resources.cpu_pressure_threshold,
        Signal::IoPressure => unit.resources.io_pressure_threshold,
    }
}

impl Supervisor {
    /// Has the kernel tell of what the unit asks for; what is told of already goes on.
    pub(super) fn watch_limits(&mut self, id: JailId) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        let (Some(life), cgroup) = (jail.life.as_mut(), &jail.cgroup) else { return };
        let Watched { watches: watched, killed_at } = &mut life.limits;
        for signal in Signal::ALL {
            let wanted = jail.loaded.as_ref().and_then(|loaded| threshold(&loaded.unit, signal));
            let always = matches!(signal, Signal::Memory | Signal::Pids);
            let index = watched.iter().position(|watch| watch.signal == signal);
            match index {
                Some(index) if watched[index].threshold == wanted => continue,
                Some(index) => self.poller.forget(&watched.swap_remove(index).file),
                None => {}
            }
            if !always && wanted.is_none() {
                continue;
            }
            let opened = pressure::open(cgroup, signal, wanted).and_then(|file| {
                self.poller.watch_changes(&file, Source::Limit(id, signal))?;
                Ok(file)
            });
            match opened {
                Ok(file) => {
                    let counters = if always { pressure::read(&file) } else { Counters::default() };
                    // Some of them nobody may have seen, since there was no jailsupd.
                    if counters.get("oom_kill") > life.stored.oom_kills {
                        *killed_at = killed_at.or_else(|| Some(clock::now()));
                    }
                    watched.push(Watch {
                        signal,
                        counters,
                        file,
                        threshold: wanted,
                        times: 0,
                        recorded: None,
                    });
                }
                Err(error) => log::warn!("jail={} {}: {error}", jail.name, signal.file()),
            }
        }
    }

    /// The kernel tells of a jail at its limit.
    pub(super) fn on_limit(&mut self, id: JailId, signal: Signal) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        let Some(life) = jail.life.as_mut() else { return };
        let Watched { watches, killed_at } = &mut life.limits;
        let Some(watch) = watches.iter_mut().find(|watch| watch.signal == signal) else {
            return;
        };
        let now = clock::now();
        watch.times += 1;
        let counters = match watch.threshold {
            None => pressure::read(&watch.file),
            Some(_) => Counters::default(),
        };
        let pause = watch.recorded.is_some_and(|recorded| now < recorded + PAUSE);
        let kills = counters.more(&watch.counters, "oom_kill") > 0;
        if kills {
            *killed_at = Some(now);
            life.stored.oom_kills = counters.get("oom_kill");
        }
        let Some(text) = describe(watch, &counters) else { return };
        let news = match watch.threshold {
            Some(_) => Some(News::Pressure),
            None => kills.then_some(News::OutOfMemory),
        };
        // What kills is never held back.
        if kills || !pause {
            (watch.counters, watch.times, watch.recorded) = (counters, 0, Some(now));
            self.tell_of(id, &text);
            self.store_life(id);
        }
        if let Some(news) = news {
            self.apply(id, Event::News(news), &text);
        }
    }
}

fn describe(watch: &Watch, counters: &Counters) -> Option<String> {
    let more = |key: &str| counters.more(&watch.counters, key);
    if let Some(threshold) = watch.threshold {
        let what = match watch.signal {
            Signal::CpuPressure => "a processor",
            Signal::IoPressure => "a disk",
            _ => "memory",
        };
        let (threshold, window) = (show_duration(threshold), show_duration(pressure::WINDOW));
        let times =
            if watch.times > 1 { format!(", {} times", watch.times) } else { String::new() };
        return Some(format!(
            "pressure: its processes waited for {what} for {threshold} or more of {window}{times}"
        ));
    }
    let said = match watch.signal {
        Signal::Pids => vec![(more("max"), "fork(s) refused at pids_max")],
        _ => vec![
            (more("oom_kill"), "process(es) killed for want of memory"),
            (more("max"), "time(s) at memory_max"),
            (more("high"), "time(s) slowed down at memory_high"),
        ],
    };
    let said: Vec<String> = said
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    (!said.is_empty()).then(|| format!("limit: {}", said.join(", ")))
}

/// Why a jail that the kernel has killed for want of memory is dead, from what its cgroup has counted. Its
/// own limit, or that of a cgroup above, or the host's memory.
pub(super) fn evidence(cgroup: &Cgroup, unit: Option<&Unit>) -> String {
    let events = pressure::read_named(cgroup, "memory.events");
    let peak = std::fs::read_to_string(cgroup.path().join("memory.peak")).unwrap_or_default();
    let peak = peak.trim().parse().map_or_else(|_| "?".to_owned(), mebibytes);
    let max = unit.and_then(|unit| unit.resources.memory_max);
    let limit = max.map_or_else(|| "no memory_max".to_owned(), |max| format!("memory_max {max}"));
    let whose = match events.get("oom") {
        0 => {
            "the host, or all jails together, ran out of memory; the jail had not reached its limit"
        }
        _ => "it reached its memory limit",
    };
    format!(
        "{whose}: at most {peak} in use, {limit}; memory.events: max {}, oom {}, oom_kill {}",
        events.get("max"),
        events.get("oom"),
        events.get("oom_kill"),
    )
}

fn mebibytes(bytes: u64) -> String {
    Bytes::new(bytes >> 20 << 20).to_string()
}
