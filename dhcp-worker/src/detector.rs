//! Asks others on a link whether somebody has an address that is to be used (RFC 5227, section 2.1).
//!
//! Pure: what has come and what time it is go in, what is to be sent and told comes out.

use crate::Moment;
use crate::client::Action;
use crate::packet::{self, Claim, Frame};
use crate::wire::{Said, Trouble};
use std::net::Ipv4Addr;
use std::time::Duration;

/// How often, and how long after each other, it asks. RFC 5227 has one to two seconds, for links of long ago: a start does
/// not take that long otherwise.
const PROBES: u32 = 3;
const PROBE_PAUSE: Duration = Duration::from_millis(70);

/// The search on one link.
#[derive(Clone, Debug)]
pub struct Detector {
    mac: [u8; 6],
    addresses: Vec<Ipv4Addr>,
    /// How often it has asked.
    asked: u32,
    /// When it goes on; none when all is said.
    again_at: Option<Moment>,
}

impl Detector {
    /// One that begins now.
    #[must_use]
    pub const fn new(mac: [u8; 6], addresses: Vec<Ipv4Addr>, now: Moment) -> Self {
        Self { mac, addresses, asked: 0, again_at: Some(now) }
    }

    /// The Ethernet address of its link.
    #[must_use]
    pub const fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// Whether it has said all that it has to say.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.again_at.is_none()
    }

    /// When there is something to do although nothing comes.
    #[must_use]
    pub fn deadline(&self) -> Moment {
        self.again_at.unwrap_or(Moment::MAX)
    }

    /// It is this time.
    pub fn tick(&mut self, now: Moment) -> Vec<Action> {
        if self.is_over() || now < self.deadline() {
            return Vec::new();
        }
        if self.asked >= PROBES {
            self.again_at = None;
            let mut actions = self.send(packet::announce);
            actions.push(Action::Say(Said::Free));
            return actions;
        }
        self.asked += 1;
        self.again_at = Some(now.saturating_add(PROBE_PAUSE));
        self.send(packet::probe)
    }

    /// Somebody has said something.
    pub fn receive(&mut self, claim: Claim) -> Vec<Action> {
        // Who has no address yet asks for the one that it is about to take.
        let address = claim.has.unwrap_or(claim.wants);
        let is_anothers = claim.by != self.mac && self.addresses.contains(&address);
        if self.is_over() || !is_anothers {
            return Vec::new();
        }
        self.again_at = None;
        vec![Action::Say(Said::Trouble(Trouble::Taken { address, by: claim.by }))]
    }

    fn send(&self, frame: fn([u8; 6], Ipv4Addr) -> Frame) -> Vec<Action> {
        self.addresses.iter().map(|address| Action::Send(frame(self.mac, *address))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Packet, understand};
    use crate::wire::example::MAC;
    use proptest::prelude::*;

    const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 2];
    const START: Moment = Duration::from_secs(1000);

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, last)
    }

    fn begun(addresses: &[u8]) -> Detector {
        Detector::new(MAC, addresses.iter().copied().map(address).collect(), START)
    }

    /// What it does until nothing more is to come, and when that is.
    fn play(mut detector: Detector) -> (Vec<Action>, Moment) {
        let (mut actions, mut now) = (Vec::new(), START);
        while !detector.is_over() {
            now = now.max(detector.deadline());
            actions.extend(detector.tick(now));
        }
        (actions, now)
    }

    /// What somebody else understands of a frame.
    fn heard(frame: &Frame) -> Claim {
        match understand(frame.protocol, MAC, &frame.bytes, OTHER) {
            Some(Packet::Claim(claim)) => claim,
            other => panic!("{other:?}"),
        }
    }

    fn taken(last: u8) -> Vec<Action> {
        vec![Action::Say(Said::Trouble(Trouble::Taken { address: address(last), by: OTHER }))]
    }

    #[test]
    fn an_address_is_free_when_nobody_answered_three_questions() {
        let (actions, end) = play(begun(&[7]));
        let (said, sent) = actions.split_last().unwrap();
        assert_eq!(said, &Action::Say(Said::Free));
        let sent: Vec<Claim> = sent
            .iter()
            .map(|action| match action {
                Action::Send(frame) => heard(frame),
                Action::Say(said) => panic!("{said:?}"),
            })
            .collect();
        // Who asks does not say that it has the address; when it is certain, it does.
        let asks = Claim { by: MAC, has: None, wants: address(7) };
        let tells = Claim { has: Some(address(7)), ..asks };
        assert_eq!(sent, [asks, asks, asks, tells]);
        assert_eq!(end - START, 3 * PROBE_PAUSE);
    }

    #[test]
    fn all_addresses_are_asked_for_at_once() {
        let (actions, end) = play(begun(&[7, 8]));
        assert_eq!(actions.len(), 2 * 4 + 1);
        assert_eq!(end - START, 3 * PROBE_PAUSE);
    }

    #[test]
    fn somebody_who_has_the_address_or_is_about_to_take_it_is_told_of_once() {
        for claim in [
            Claim { by: OTHER, has: Some(address(8)), wants: address(9) },
            Claim { by: OTHER, has: None, wants: address(8) },
        ] {
            let mut detector = begun(&[7, 8]);
            detector.tick(START);
            assert_eq!(detector.receive(claim), taken(8));
            assert!(detector.is_over());
            assert_eq!(detector.receive(claim), []);
            assert_eq!(detector.tick(Moment::MAX), []);
        }
    }

    #[test]
    fn what_others_say_of_other_addresses_and_its_own_words_mean_nothing() {
        let mut detector = begun(&[7]);
        detector.tick(START);
        for claim in [
            // Somebody who looks for it has it not.
            Claim { by: OTHER, has: Some(address(9)), wants: address(7) },
            Claim { by: OTHER, has: None, wants: address(9) },
            Claim { by: MAC, has: Some(address(7)), wants: address(7) },
        ] {
            assert_eq!(detector.receive(claim), []);
        }
        assert!(!detector.is_over());
    }

    proptest! {
        #[test]
        fn it_says_exactly_one_thing_whatever_it_hears(
            heard in proptest::collection::vec((0u64..100, 0u8..4, any::<bool>(), any::<bool>()), 0..20)
        ) {
            let (mut detector, mut now) = (begun(&[1, 2]), START);
            let mut said = 0;
            let mut count = |actions: Vec<Action>| {
                said += actions.iter().filter(|action| matches!(action, Action::Say(_))).count();
            };
            for (pause, last, has, is_own) in heard {
                now += Duration::from_millis(pause);
                count(detector.tick(now));
                let has = has.then(|| address(last));
                let by = if is_own { MAC } else { OTHER };
                count(detector.receive(Claim { by, has, wants: address(last) }));
            }
            while !detector.is_over() {
                count(detector.tick(detector.deadline()));
            }
            prop_assert_eq!(said, 1);
        }
    }
}
