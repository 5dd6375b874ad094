use super::*;
use crate::packet::PACKET_MAX;
use crate::wire::example::{MAC, identity};
use proptest::prelude::*;

const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 2];
const START: Moment = Duration::from_secs(1000);

fn lease(last: u8) -> Lease {
    Lease {
        address: Ipv4Addr::new(192, 0, 2, last),
        length: 24,
        router: None,
        routes: Vec::new(),
        dns: Vec::new(),
        search: Vec::new(),
        mtu: None,
        server: Ipv4Addr::new(192, 0, 2, 53),
        server_mac: OTHER,
        seconds: 800,
        t1: 400,
        t2: 700,
    }
}

fn granted(last: u8, age: u64) -> Said {
    Said::Granted { lease: lease(last), age }
}

/// A client, the time, and all that it has said.
struct Play {
    client: Client,
    now: Moment,
    said: Vec<Said>,
    sent: usize,
}

impl Play {
    fn new(earlier: Option<Earlier>) -> Self {
        let client = Client::new(identity(), earlier.map(Box::new), 7, START);
        Self { client, now: START, said: Vec::new(), sent: 0 }
    }

    fn take(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(_) => self.sent += 1,
                Action::Say(said) => self.said.push(said),
            }
        }
    }

    /// Goes on to when it has something to do by itself.
    fn tick(&mut self) {
        self.now = self.now.max(self.client.deadline());
        let actions = self.client.tick(self.now);
        self.take(actions);
    }

    fn answer(&mut self, kind: AnswerKind) {
        let answer = Answer { xid: self.client.xid, kind };
        let actions = self.client.receive(Packet::Answer(answer), self.now);
        self.take(actions);
    }

    fn claim(&mut self, claim: Claim) {
        let actions = self.client.receive(Packet::Claim(claim), self.now);
        self.take(actions);
    }

    /// Until it is told that it has the address.
    fn bind(&mut self, last: u8) {
        self.tick();
        self.answer(AnswerKind::Offer(lease(last)));
        self.answer(AnswerKind::Ack(lease(last)));
        for _ in 0..PROBES {
            self.tick();
        }
        assert_eq!(self.said.last(), Some(&granted(last, 1)));
        assert!(!self.client.needs_wire());
    }
}

#[test]
fn an_address_is_used_when_nobody_on_the_link_has_it() {
    let mut play = Play::new(None);
    play.tick();
    play.answer(AnswerKind::Offer(lease(7)));
    play.answer(AnswerKind::Ack(lease(7)));
    // Somebody who has another one, and one's own probe.
    play.claim(Claim {
        by: OTHER,
        has: Some(Ipv4Addr::new(192, 0, 2, 8)),
        wants: lease(7).address,
    });
    play.claim(Claim { by: MAC, has: None, wants: lease(7).address });
    assert_eq!(play.said, []);
    (0..PROBES).for_each(|_| play.tick());
    assert_eq!(play.said, [granted(7, 1)]);
    assert_eq!(play.client.address(), Some(lease(7).address));
}

#[test]
fn an_address_that_somebody_has_is_declined_and_another_one_asked_for() {
    for claim in [
        Claim { by: OTHER, has: Some(lease(7).address), wants: lease(9).address },
        Claim { by: OTHER, has: None, wants: lease(7).address },
    ] {
        let mut play = Play::new(None);
        play.tick();
        play.answer(AnswerKind::Offer(lease(7)));
        play.answer(AnswerKind::Ack(lease(7)));
        let sent = play.sent;
        play.claim(claim);
        assert_eq!(play.sent, sent + 1);
        let taken = Trouble::Taken { address: lease(7).address, by: OTHER };
        assert_eq!(play.said, [Said::Trouble(taken)]);
        assert!(play.client.deadline() >= play.now + AFTER_DECLINE);
        play.tick();
        play.bind(8);
    }
}

#[test]
fn a_lease_is_renewed_and_ends_when_nobody_renews_it() {
    let mut play = Play::new(None);
    play.bind(7);
    let begun = play.now - PROBE_PAUSE * PROBES;
    play.tick();
    assert_eq!(play.now, begun + Duration::from_secs(400));
    assert!(play.client.needs_wire());
    play.answer(AnswerKind::Ack(lease(7)));
    assert_eq!(play.said.len(), 2);

    let begun = play.now;
    while play.client.address().is_some() {
        play.tick();
    }
    assert_eq!(play.now, begun + Duration::from_secs(800));
    assert_eq!(play.said.last(), Some(&Said::Lost(Trouble::Ended)));
    // It is asked for again, at once.
    assert!(play.client.needs_wire() && play.client.deadline() == play.now);
}

#[test]
fn a_refusal_ends_a_lease_at_once() {
    let mut play = Play::new(None);
    play.bind(7);
    play.tick();
    let server = Some(lease(7).server);
    play.answer(AnswerKind::Nak(server));
    assert_eq!(play.said.last(), Some(&Said::Lost(Trouble::Refused { server })));
    assert_eq!(play.client.address(), None);
    play.bind(8);
}

#[test]
fn an_earlier_lease_is_confirmed_or_goes_on_where_no_server_is() {
    let earlier = Earlier { lease: lease(7).rest(100), is_in_use: false, is_sure: false };
    let mut play = Play::new(Some(earlier.clone()));
    play.tick();
    play.answer(AnswerKind::Ack(lease(7)));
    (0..PROBES).for_each(|_| play.tick());
    assert_eq!(play.said, [granted(7, 1)]);

    let mut alone = Play::new(Some(earlier.clone()));
    while alone.said.is_empty() {
        alone.tick();
    }
    let age = (alone.now - START).as_secs() + 1;
    assert_eq!(alone.said, [Said::Granted { lease: lease(7).rest(100), age }]);
    assert!(alone.now < START + Duration::from_secs(20));
    // For what is left of it.
    assert_eq!(alone.client.deadline(), START + Duration::from_secs(300));

    // One in use is lost when the server says so; it is not asked when nothing has happened.
    let mut moved = Play::new(Some(Earlier { is_in_use: true, ..earlier.clone() }));
    moved.tick();
    moved.answer(AnswerKind::Nak(None));
    assert_eq!(moved.said, [Said::Lost(Trouble::Refused { server: None })]);
    let sure = Play::new(Some(Earlier { is_in_use: true, is_sure: true, ..earlier.clone() }));
    assert!(!sure.client.needs_wire());
    // One that has ended is none.
    let over = Play::new(Some(Earlier { lease: lease(7).rest(800), ..earlier }));
    assert_eq!(over.client.deadline(), START);
}

#[test]
fn silence_is_told_and_asked_into_less_and_less_often() {
    let mut play = Play::new(None);
    (0..10).for_each(|_| play.tick());
    let times = |said: &Said| match said {
        Said::Trouble(Trouble::NoAnswer { times }) => *times,
        other => panic!("{other:?}"),
    };
    assert_eq!(play.said.iter().map(times).collect::<Vec<_>>(), (1..=9).collect::<Vec<_>>());
    let wait = play.client.deadline() - play.now;
    assert!(wait >= PATIENCE_MAX && wait < PATIENCE_MAX + Duration::from_secs(1));
}

#[test]
fn answers_to_another_question_are_not_taken() {
    let mut play = Play::new(None);
    play.tick();
    let answer = Answer { xid: play.client.xid ^ 1, kind: AnswerKind::Offer(lease(7)) };
    assert_eq!(play.client.receive(Packet::Answer(answer), play.now), []);
    // Nor another server's grant, nor one that nobody has asked for.
    play.answer(AnswerKind::Ack(lease(7)));
    play.answer(AnswerKind::Offer(lease(7)));
    let other = Lease { server: Ipv4Addr::new(192, 0, 2, 66), ..lease(7) };
    play.answer(AnswerKind::Ack(other));
    assert!(matches!(play.client.state, State::Requesting { .. }));
}

#[test]
fn a_server_that_offers_and_does_not_grant_is_told_of_and_comes_after_others() {
    let mut play = Play::new(None);
    play.tick();
    play.answer(AnswerKind::Offer(lease(7)));
    for _ in 0..REQUESTS_MAX {
        play.tick();
    }
    assert_eq!(play.said, [Said::Trouble(Trouble::NoAnswer { times: 1 })]);
    // It offers again, first of all.
    play.answer(AnswerKind::Offer(lease(7)));
    let other = Lease { server: Ipv4Addr::new(192, 0, 2, 66), ..lease(8) };
    play.answer(AnswerKind::Offer(other.clone()));
    play.answer(AnswerKind::Ack(other.clone()));
    (0..PROBES).for_each(|_| play.tick());
    assert_eq!(play.said.last(), Some(&Said::Granted { lease: other, age: 1 }));

    // Where there is no other one, it is asked again.
    let mut alone = Play::new(None);
    alone.tick();
    alone.answer(AnswerKind::Offer(lease(7)));
    for _ in 0..=REQUESTS_MAX {
        alone.tick();
    }
    alone.answer(AnswerKind::Offer(lease(7)));
    assert!(matches!(alone.client.state, State::Requesting { .. }));
}

#[test]
fn an_address_that_jailsupd_cannot_use_is_declined() {
    let mut play = Play::new(None);
    assert_eq!(play.client.decline(play.now), []);
    play.bind(7);
    let sent = play.sent;
    let actions = play.client.decline(play.now);
    play.take(actions);
    assert_eq!((play.sent, play.client.address()), (sent + 1, None));
    assert_eq!(play.client.deadline(), play.now + AFTER_DECLINE);
    play.tick();
    play.bind(8);
}

#[derive(Clone, Debug)]
enum Happening {
    Tick,
    Later(u32),
    Offer(u8),
    Ack(u8, u32),
    Nak,
    Claim(u8, bool),
    Decline,
    Stray(u32),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => Just(Happening::Tick),
        1 => (0u32..100_000).prop_map(Happening::Later),
        2 => (1u8..4).prop_map(Happening::Offer),
        3 => (1u8..4, prop_oneof![Just(u32::MAX), 10u32..5000]).prop_map(|(n, t)| Happening::Ack(n, t)),
        1 => Just(Happening::Nak),
        1 => (1u8..4, any::<bool>()).prop_map(|(n, has)| Happening::Claim(n, has)),
        1 => Just(Happening::Decline),
        1 => any::<u32>().prop_map(Happening::Stray),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// Whatever comes when: an address is told before it is lost, ends in time, and the client never comes to rest without
    /// either an address or something to do.
    #[test]
    fn an_address_is_told_once_ends_in_time_and_nothing_stands_still(
        happenings in prop::collection::vec(happening(), 1..60),
        dice in any::<u32>(),
    ) {
        let mut play = Play::new(None);
        play.client = Client::new(identity(), None, dice, START);
        let (mut has, mut ends_at): (Option<Ipv4Addr>, Moment) = (None, Moment::MAX);
        for one in happenings {
            let told = play.said.len();
            match one {
                Happening::Tick => play.tick(),
                Happening::Later(ms) => {
                    play.now += Duration::from_millis(ms.into());
                    let actions = play.client.tick(play.now);
                    play.take(actions);
                }
                Happening::Offer(last) => play.answer(AnswerKind::Offer(lease(last))),
                Happening::Ack(last, seconds) => {
                    let (t1, t2) = (seconds / 2, seconds - seconds / 8);
                    play.answer(AnswerKind::Ack(Lease { seconds, t1, t2, ..lease(last) }));
                }
                Happening::Nak => play.answer(AnswerKind::Nak(None)),
                Happening::Claim(last, has) => {
                    let address = lease(last).address;
                    play.claim(Claim { by: OTHER, has: has.then_some(address), wants: address });
                }
                Happening::Decline => {
                    let actions = play.client.decline(play.now);
                    play.take(actions);
                    has = None;
                }
                Happening::Stray(xid) => {
                    let answer = Answer { xid, kind: AnswerKind::Nak(None) };
                    let actions = play.client.receive(Packet::Answer(answer), play.now);
                    play.take(actions);
                }
            }
            for said in &play.said[told..] {
                match said {
                    Said::Granted { lease, age } => {
                        // Another one only after the one before was lost.
                        prop_assert!(has.is_none_or(|has| has == lease.address));
                        has = Some(lease.address);
                        ends_at = match lease.seconds {
                            u32::MAX => Moment::MAX,
                            // The age is rounded up.
                            seconds => {
                                let left = u64::from(seconds).saturating_sub(*age) + 1;
                                play.now + Duration::from_secs(left)
                            }
                        };
                    }
                    Said::Lost(_) => {
                        prop_assert!(has.is_some());
                        has = None;
                    }
                    Said::Trouble(_) => prop_assert!(has.is_none()),
                    Said::WantsWire => {}
                    Said::Free => prop_assert!(false, "a client looks for nobody"),
                }
            }
            prop_assert_eq!(play.client.address(), has);
            let deadline = play.client.deadline();
            prop_assert!(has.is_some() || deadline != Moment::MAX);
            prop_assert!(has.is_none() || deadline <= ends_at);
            prop_assert!(play.client.needs_wire() || has.is_some());
        }
    }

    #[test]
    fn every_question_fits_a_packet(seed in any::<u32>(), name in "[a-z]{1,63}") {
        let identity = Identity { hostname: name, ..identity() };
        let mut client = Client::new(identity, None, seed, START);
        for action in client.tick(START) {
            if let Action::Send(frame) = action {
                prop_assert!(frame.bytes.len() <= PACKET_MAX);
            }
        }
    }
}
