//! The process that asks, and what is said between it and jailsupd.

use super::super::poller::{JailId, Source};
use super::super::{Supervisor, clock};
use super::Leases;
use crate::exec::dhcp::{Heard, Start, Worker};
use crate::exec::net::Wire;
use dhcp_worker::wire::{Order, Report, Said};
use std::ffi::CString;
use std::io;
use std::time::Duration;

/// Whose ids the worker has; no jail can have this name.
pub(in super::super) const WORKER: &str = ".dhcp";

/// After which time a worker that has ended is started anew; each time in a row twice as long.
pub(super) const RESTART_DELAY: Duration = Duration::from_secs(1);
const RESTART_DELAY_MAX: Duration = Duration::from_secs(60);
/// For how long one must live to count as well.
const IS_WELL: Duration = Duration::from_secs(60);
/// What could not be done is tried again then.
pub(super) const TRY_AGAIN: Duration = Duration::from_secs(5);
/// Reports that are read in one turn.
const REPORTS_MAX: usize = 64;
/// And in a minute, besides as many for each link: an honest one has a handful to say of each.
const REPORTS_OF_ALL: usize = 64;
const REPORTS_OF_EACH: usize = 32;
const MINUTE: Duration = Duration::from_secs(60);

impl Leases {
    /// Counts a report, and says whether there are more than an honest worker makes. Of each search one is heard.
    fn hears_too_much(&mut self, number: u64) -> bool {
        if self.searches.knows(number) {
            return false;
        }
        let now = clock::now();
        let (count, since) = &mut self.reports;
        if now.saturating_sub(*since) > MINUTE {
            (*count, *since) = (0, now);
        }
        *count += 1;
        *count > REPORTS_OF_ALL + REPORTS_OF_EACH * self.clients.len()
    }
}

impl Supervisor {
    pub(super) fn start_worker(&mut self) {
        let is_early = self.leases.worker_at.is_some_and(|at| clock::now() < at);
        if self.leases.worker.is_some() || is_early {
            return;
        }
        let started = self.worker_ids().and_then(|user| {
            let root_point = self.layout.root_point();
            let root_point = CString::new(root_point.as_os_str().as_encoded_bytes())?;
            let worker = Worker::start(Start { user, root_point: &root_point })?;
            self.poller.watch(&worker.socket, Source::Dhcp)?;
            Ok(worker)
        });
        match started {
            Ok(worker) => {
                (self.leases.worker, self.leases.started) = (Some(worker), clock::now());
                self.ties.moved = true;
            }
            Err(error) => {
                log::error!("no process can ask DHCP servers for addresses: {error}");
                self.put_worker_off();
            }
        }
    }

    fn worker_ids(&mut self) -> io::Result<u32> {
        let ranges = self.ids.ranges(WORKER, 1);
        let ranges = ranges.map_err(|error| io::Error::other(error.chain()))?;
        ranges.first().map(|range| range.base()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn put_worker_off(&mut self) {
        let now = clock::now();
        if now.saturating_sub(self.leases.started) > IS_WELL {
            self.leases.delay = RESTART_DELAY;
        }
        self.leases.worker_at = Some(now.saturating_add(self.leases.delay));
        self.leases.delay = (self.leases.delay * 2).min(RESTART_DELAY_MAX);
    }

    pub(super) fn tell_worker(&mut self, order: &Order, wire: Option<&Wire>) {
        let Some(worker) = &self.leases.worker else { return };
        if let Err(error) = worker.tell(order, wire) {
            log::warn!("the process that asks DHCP servers does not listen: {error}");
            self.lose_worker();
        }
    }

    /// It is gone, or is not itself any more. All leases hold on as they are.
    fn lose_worker(&mut self) {
        let Some(worker) = self.leases.worker.take() else { return };
        self.poller.forget(&worker.socket);
        log::warn!("the process that asks DHCP servers {}: another one is started", worker.end());
        self.put_worker_off();
        self.ties.moved = true;
    }

    /// The worker has said something, or is gone.
    pub(in super::super) fn on_dhcp(&mut self) {
        for _ in 0..REPORTS_MAX {
            let Some(worker) = &self.leases.worker else { return };
            match worker.listen() {
                Heard::Report(report) if self.leases.hears_too_much(report.id) => {
                    return self.lose_worker();
                }
                Heard::Report(report) => self.take_report(report),
                Heard::Nothing => return,
                Heard::Nonsense | Heard::Gone => return self.lose_worker(),
            }
        }
    }

    fn take_report(&mut self, Report { id: number, said }: Report) {
        if let Some(id) = self.leases.searches.take_number(number) {
            return self.detected(id, &said);
        }
        // Of a link that there is no more it may still speak.
        let Some(id) = self.leases.numbers.get(&number).copied() else { return };
        let Some(client) = self.leases.clients.get_mut(&id) else { return };
        match said {
            Said::WantsWire => {
                client.wants_wire = true;
                self.give_wire(id);
            }
            Said::Granted { lease, age } => self.granted(id, lease, age),
            Said::Lost(trouble) => self.lost_lease(id, trouble),
            Said::Trouble(trouble) => self.note_trouble(id, trouble),
            // A client looks for nobody.
            Said::Free => {}
        }
    }

    /// Gives the worker the sockets of a jail's link. One that is not there is begun with anew when it is.
    pub(super) fn give_wire(&mut self, id: JailId) {
        let opened = self.with_link(id).map(|kept| self.network.open_wire(&kept.namespaces.net));
        let Some(client) = self.leases.clients.get_mut(&id) else { return };
        match opened {
            Some(Ok(wire)) => {
                client.wants_wire = false;
                let order = Order::Wire { id: client.number, index: wire.index };
                self.tell_worker(&order, Some(&wire));
            }
            Some(Err(_)) => {
                let at = clock::now().saturating_add(TRY_AGAIN);
                self.leases.again_at.get_or_insert(at);
            }
            None => {}
        }
    }
}
