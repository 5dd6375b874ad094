//! The program around [`dhcp_worker::client`] and [`dhcp_worker::detector`]: one loop over its socket to jailsupd and the packet sockets of the links that
//! ask for something at the moment. Started by jailsupd as nobody, with its root already empty.

#![forbid(unsafe_code)]

mod lockdown;
mod sockets;

use dhcp_worker::Moment;
use dhcp_worker::client::{Action, Client};
use dhcp_worker::detector::Detector;
use dhcp_worker::packet::{self, Frame, Packet};
use dhcp_worker::wire::{Order, Report, Said};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::rand::{GetRandomFlags, getrandom};
use rustix::time::{ClockId, clock_gettime};
use sockets::{Control, Heard, Wire};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

/// Packets of one link that are read in one turn: nobody on one network holds up the others.
const PACKETS_MAX: usize = 32;
/// Nothing is to do for so long before a socket that is not needed any more is closed, for which the kernel waits until no
/// processor uses it: a thousand links that are done at once must not hold up those that are not.
const LULL: Duration = Duration::from_millis(20);

fn main() -> ExitCode {
    let Ok(control) = Control::take() else {
        eprintln!("dhcp-worker: is started by jailsupd");
        return ExitCode::FAILURE;
    };
    // The first reading of the clock looks for the kernel's own code for it, by calls that are not possible later.
    let _ = now();
    if let Err(error) = lockdown::enter() {
        eprintln!("dhcp-worker: cannot give up what it does not need: {error}");
        return ExitCode::FAILURE;
    }
    let mut worker = Worker { control, links: BTreeMap::new(), unneeded: Vec::new() };
    while worker.turn().is_some() {}
    // jailsupd is gone; the next one starts another.
    ExitCode::SUCCESS
}

struct Worker {
    control: Control,
    links: BTreeMap<u64, Link>,
    /// Sockets of links that are not asked about any more.
    unneeded: Vec<Wire>,
}

/// Who asks something on a link.
enum Asker {
    /// For an address of its own.
    Client(Box<Client>),
    /// Who has addresses.
    Detector(Detector),
}

impl Asker {
    fn deadline(&self) -> Moment {
        match self {
            Self::Client(client) => client.deadline(),
            Self::Detector(detector) => detector.deadline(),
        }
    }

    const fn mac(&self) -> [u8; 6] {
        match self {
            Self::Client(client) => client.mac(),
            Self::Detector(detector) => detector.mac(),
        }
    }

    fn tick(&mut self, now: Moment) -> Vec<Action> {
        match self {
            Self::Client(client) => client.tick(now),
            Self::Detector(detector) => detector.tick(now),
        }
    }

    fn receive(&mut self, packet: Packet, now: Moment) -> Vec<Action> {
        match (self, packet) {
            (Self::Client(client), packet) => client.receive(packet, now),
            (Self::Detector(detector), Packet::Claim(claim)) => detector.receive(claim),
            (Self::Detector(_), Packet::Answer(_)) => Vec::new(),
        }
    }

    const fn needs_wire(&self) -> bool {
        match self {
            Self::Client(client) => client.needs_wire(),
            Self::Detector(_) => true,
        }
    }

    const fn is_over(&self) -> bool {
        match self {
            Self::Client(_) => false,
            Self::Detector(detector) => detector.is_over(),
        }
    }
}

struct Link {
    asker: Asker,
    wire: Option<Wire>,
    /// It has asked for one.
    wire_wanted: bool,
    /// What is to be sent as soon as there is one.
    unsent: Option<Frame>,
}

impl Worker {
    /// Waits for something to do, and does it. None when jailsupd is gone.
    fn turn(&mut self) -> Option<()> {
        let ready = self.wait();
        self.close_one(ready.is_empty());
        if ready.contains(&None) {
            while let Some(heard) = self.control.receive()? {
                self.follow(heard)?;
            }
        }
        for id in ready.into_iter().flatten() {
            self.listen(id)?;
        }
        let now = now();
        let ids: Vec<u64> = self.links.keys().copied().collect();
        for id in ids {
            let Some(link) = self.links.get_mut(&id) else { continue };
            let actions = link.asker.tick(now);
            self.perform(id, actions)?;
        }
        Some(())
    }

    /// Which of the links have something to read; None stands for jailsupd.
    fn wait(&self) -> Vec<Option<u64>> {
        let wires = self.links.iter().filter_map(|(id, link)| Some((*id, link.wire.as_ref()?)));
        let control = self.control.socket();
        let (mut whose, mut fds) = (vec![None], vec![PollFd::new(&control, PollFlags::IN)]);
        for (id, wire) in wires {
            whose.push(Some(id));
            fds.push(PollFd::new(&wire.packets, PollFlags::IN));
        }
        // Upwards, so that it is that time when it wakes.
        let left = self.left().map(|left| left.saturating_add(Duration::from_millis(1)));
        let left = left.into_iter().chain((!self.unneeded.is_empty()).then_some(LULL)).min();
        let timeout = left.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        if poll(&mut fds, timeout.as_ref()).is_err() {
            return Vec::new();
        }
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        whose.iter().zip(&fds).filter(|(_, fd)| is_ready(fd)).map(|(id, _)| *id).collect()
    }

    /// How long it is until there is something to do although nothing comes.
    fn left(&self) -> Option<Duration> {
        let next = self.links.values().map(|link| link.asker.deadline()).min();
        Some(next.filter(|at| *at != Moment::MAX)?.saturating_sub(now()))
    }

    /// Closes one of the sockets that are not needed any more, if nothing else is to do.
    fn close_one(&mut self, is_idle: bool) {
        if is_idle && self.left().is_none_or(|left| left > LULL) {
            self.unneeded.pop();
        }
    }

    fn follow(&mut self, Heard { order, descriptors }: Heard) -> Option<()> {
        match order {
            Order::Begin { id, identity, earlier } => {
                let client = Client::new(identity, earlier, random(), now());
                let asker = Asker::Client(Box::new(client));
                self.links.insert(id, Link { asker, wire: None, wire_wanted: false, unsent: None });
            }
            Order::Detect { id, mac, addresses, index } => {
                let wire = descriptors.into_iter().next();
                let wire = wire.map(|packets| Wire { packets, _shield: None, index });
                let asker = Asker::Detector(Detector::new(mac, addresses, now()));
                self.links.insert(id, Link { asker, wire, wire_wanted: true, unsent: None });
            }
            Order::Wire { id, index } => {
                let Some(link) = self.links.get_mut(&id) else { return Some(()) };
                link.wire_wanted = false;
                let mut descriptors = descriptors.into_iter();
                let packets: Option<OwnedFd> = descriptors.next();
                let shield = descriptors.next();
                link.wire = packets.map(|packets| Wire { packets, _shield: shield, index });
                if let (Some(wire), Some(frame)) = (&link.wire, link.unsent.take()) {
                    let _ = wire.send(&frame);
                }
            }
            Order::Decline { id } => {
                let Some(link) = self.links.get_mut(&id) else { return Some(()) };
                if let Asker::Client(client) = &mut link.asker {
                    let actions = client.decline(now());
                    self.perform(id, actions)?;
                }
            }
            Order::End { id } => {
                self.links.remove(&id);
            }
        }
        Some(())
    }

    fn listen(&mut self, id: u64) -> Option<()> {
        for _ in 0..PACKETS_MAX {
            let Some(link) = self.links.get_mut(&id) else { return Some(()) };
            let Some(wire) = &link.wire else { return Some(()) };
            let mut bytes = [0; packet::PACKET_MAX];
            let packet = match wire.receive(&mut bytes) {
                Ok((head, length)) => {
                    let mac = link.asker.mac();
                    packet::understand(head.protocol, head.peer, &bytes[..length], mac)
                }
                // Nothing more; or the link is down or gone, and jailsupd knows when there is another one.
                Err(_) => return Some(()),
            };
            if let Some(packet) = packet {
                let actions = link.asker.receive(packet, now());
                self.perform(id, actions)?;
            }
        }
        Some(())
    }

    fn perform(&mut self, id: u64, actions: Vec<Action>) -> Option<()> {
        let Some(link) = self.links.get_mut(&id) else { return Some(()) };
        for action in actions {
            match action {
                Action::Say(said) => self.control.send(&Report { id, said })?,
                // What cannot be sent is as what is lost on the way: it is sent again.
                Action::Send(frame) => match &link.wire {
                    Some(wire) => {
                        let _ = wire.send(&frame);
                    }
                    None => link.unsent = Some(frame),
                },
            }
        }
        if link.asker.is_over() {
            let link = self.links.remove(&id);
            self.unneeded.extend(link.and_then(|link| link.wire));
            return Some(());
        }
        match (link.asker.needs_wire(), &link.wire) {
            (true, None) if !link.wire_wanted => {
                link.wire_wanted = true;
                self.control.send(&Report { id, said: Said::WantsWire })?;
            }
            (false, Some(_)) => link.wire = None,
            _ => {}
        }
        Some(())
    }
}

fn now() -> Moment {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn random() -> u32 {
    let mut bytes = [0; 4];
    // Without, two links may have the same numbers: their Ethernet addresses tell them apart still.
    let _ = getrandom(&mut bytes, GetRandomFlags::empty());
    u32::from_ne_bytes(bytes)
}
