//! One link's client: RFC 2131, section 4.4, with the address asked for on the link before it is used (RFC 5227).
//!
//! Pure: what has come and what time it is go in, what is to be sent and told comes out.

use crate::Moment;
use crate::lease::{Earlier, Lease};
use crate::packet::{self, Answer, AnswerKind, Claim, Frame, Packet, Question};
use crate::wire::{Identity, Said, Trouble};
use std::net::Ipv4Addr;
use std::time::Duration;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this.
    Send(Frame),
    /// Say this to jailsupd.
    Say(Said),
}

/// For how long an answer is waited for at first; each further time twice as long, up to the most (RFC 2131, section 4.1,
/// begins with four seconds: too long for a service that is to start).
const PATIENCE: Duration = Duration::from_secs(1);
const PATIENCE_MAX: Duration = Duration::from_secs(64);
/// How often a server is asked for what it has offered, and whether an earlier lease holds.
const REQUESTS_MAX: u32 = 4;
const CONFIRMATIONS_MAX: u32 = 3;
/// After a refusal, before it asks anew (RFC 2131, section 3.1, has ten seconds after a decline).
const AFTER_REFUSAL: Duration = Duration::from_secs(1);
const AFTER_DECLINE: Duration = Duration::from_secs(10);
/// Refusals in a row, after which it waits as after a decline.
const REFUSALS_MAX: u32 = 3;
/// How often, and how long after each other, it asks who has the address. RFC 5227 has seconds, for links of long ago.
const PROBES: u32 = 3;
const PROBE_PAUSE: Duration = Duration::from_millis(150);
/// Between two requests for a renewal, at the least. RFC 2131 (section 4.4.5) has a minute, in which a lease of a minute
/// would end after one lost packet.
const RENEWAL_PAUSE: Duration = Duration::from_secs(5);

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// It asks anew at this time.
    Init {
        at: Moment,
    },
    /// It has asked who has an address.
    Selecting {
        asked: u32,
        again_at: Moment,
    },
    /// It has asked for what was offered.
    Requesting {
        offer: Lease,
        asked: u32,
        again_at: Moment,
    },
    /// It has asked whether an earlier lease still holds.
    Rebooting {
        asked: u32,
        again_at: Moment,
    },
    /// It asks whether somebody else has the address.
    Probing {
        lease: Lease,
        since: Moment,
        asked: u32,
        again_at: Moment,
    },
    /// All is well.
    Bound,
    /// It has asked for a renewal: of its server or, when that does not answer, of any.
    Renewing {
        again_at: Moment,
    },
    Rebinding {
        again_at: Moment,
    },
}

/// A lease, and since when it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    lease: Lease,
    since: Moment,
}

impl Held {
    fn after(&self, seconds: u32) -> Moment {
        match seconds {
            Lease::FOR_EVER => Moment::MAX,
            seconds => self.since.saturating_add(Duration::from_secs(seconds.into())),
        }
    }

    fn ends_at(&self) -> Moment {
        self.after(self.lease.seconds)
    }
}

/// The client of one link.
#[derive(Clone, Debug)]
pub struct Client {
    identity: Identity,
    state: State,
    /// What it has, or had and asks to have again.
    held: Option<Held>,
    /// jailsupd has been told of `held`, or it is in use from before.
    is_told: bool,
    xid: u32,
    /// When it has asked for what the next grant is: a lease counts from then (RFC 2131, section 4.4.1).
    requested_at: Moment,
    dice: u32,
    /// Since when it asks.
    asks_since: Moment,
    /// How often in a row nobody has answered, and somebody has refused.
    unanswered: u32,
    refusals: u32,
    /// Who has offered something, and has not granted it: others go first the next time.
    shunned: Option<Ipv4Addr>,
}

impl Client {
    /// One that begins now. `dice` is any number, another one for each.
    #[must_use]
    pub fn new(identity: Identity, earlier: Option<Box<Earlier>>, dice: u32, now: Moment) -> Self {
        let is = |what: fn(&Earlier) -> bool| earlier.as_deref().is_some_and(what);
        let (in_use, is_sure) = (is(|earlier| earlier.is_in_use), is(|earlier| earlier.is_sure));
        let held = earlier.map(|earlier| Held { lease: earlier.lease, since: now });
        let held = held.filter(|held| now < held.ends_at());
        let state = match (&held, in_use && is_sure) {
            (Some(_), true) => State::Bound,
            (Some(_), false) => State::Rebooting { asked: 0, again_at: now },
            (None, _) => State::Init { at: now },
        };
        let mut client = Self {
            identity,
            state,
            is_told: in_use && held.is_some(),
            held,
            xid: 0,
            requested_at: now,
            dice: dice | 1,
            asks_since: now,
            unanswered: 0,
            refusals: 0,
            shunned: None,
        };
        client.xid = client.roll();
        client
    }

    /// Whether it has something to send or to wait for: only then it needs sockets.
    #[must_use]
    pub const fn needs_wire(&self) -> bool {
        !matches!(self.state, State::Bound)
    }

    /// The Ethernet address of its link.
    #[must_use]
    pub const fn mac(&self) -> [u8; 6] {
        self.identity.mac
    }

    /// When there is something to do although nothing comes.
    #[must_use]
    pub fn deadline(&self) -> Moment {
        let held = |pick: fn(&Held) -> Moment| self.held.as_ref().map_or(Moment::MAX, pick);
        let ends_at = held(Held::ends_at);
        match &self.state {
            State::Init { at } => *at,
            State::Selecting { again_at, .. }
            | State::Requesting { again_at, .. }
            | State::Rebooting { again_at, .. }
            | State::Probing { again_at, .. } => *again_at,
            State::Bound => held(|held| held.after(held.lease.t1)),
            State::Renewing { again_at } => held(|held| held.after(held.lease.t2)).min(*again_at),
            State::Rebinding { again_at } => ends_at.min(*again_at),
        }
    }

    /// It is this time.
    pub fn tick(&mut self, now: Moment) -> Vec<Action> {
        if now < self.deadline() {
            return Vec::new();
        }
        match self.state.clone() {
            State::Init { .. } => {
                self.asks_since = now;
                self.unanswered = 0;
                self.discover(0, now)
            }
            State::Selecting { asked, .. } => self.discover(asked, now),
            State::Requesting { offer, asked, .. } if asked >= REQUESTS_MAX => {
                self.shunned = Some(offer.server);
                self.unanswered += 1;
                let times = self.unanswered;
                let mut actions = vec![Action::Say(Said::Trouble(Trouble::NoAnswer { times }))];
                actions.extend(self.discover(0, now));
                actions
            }
            State::Requesting { offer, asked, .. } => self.request(offer, asked, now),
            State::Rebooting { asked, .. } => self.confirm(asked, now),
            State::Probing { lease, since, asked, .. } => self.probe(lease, since, asked, now),
            State::Bound => self.renew(now),
            State::Renewing { .. } => match self.held.clone() {
                Some(held) if now < held.after(held.lease.t2) => self.renew(now),
                _ => self.rebind(now),
            },
            State::Rebinding { .. } => match self.held.clone() {
                Some(held) if now < held.ends_at() => self.rebind(now),
                _ => self.lose(&Trouble::Ended, now, now),
            },
        }
    }

    /// Something has come.
    pub fn receive(&mut self, packet: Packet, now: Moment) -> Vec<Action> {
        match packet {
            Packet::Answer(answer) => self.answered(answer, now),
            Packet::Claim(claim) => self.claimed(claim, now),
        }
    }

    fn answered(&mut self, answer: Answer, now: Moment) -> Vec<Action> {
        if answer.xid != self.xid {
            return Vec::new();
        }
        match (self.state.clone(), answer.kind) {
            (State::Selecting { asked, .. }, AnswerKind::Offer(offer)) => {
                if self.shunned == Some(offer.server) && asked <= 1 {
                    return Vec::new();
                }
                self.request(offer, 0, now)
            }
            (State::Requesting { offer, .. }, AnswerKind::Ack(lease))
                if offer.server == lease.server =>
            {
                self.probe(lease, self.requested_at, 0, now)
            }
            (State::Rebooting { .. }, AnswerKind::Ack(lease)) => {
                self.probe(lease, self.requested_at, 0, now)
            }
            (State::Renewing { .. } | State::Rebinding { .. }, AnswerKind::Ack(lease)) => {
                let had = self.held.as_ref().map(|held| held.lease.address);
                match had == Some(lease.address) {
                    true => self.hold(lease, self.requested_at, now),
                    // A server that gives another one to who asks to keep what it has.
                    false => self.lose(&Trouble::Refused { server: Some(lease.server) }, now, now),
                }
            }
            (
                State::Requesting { .. }
                | State::Rebooting { .. }
                | State::Renewing { .. }
                | State::Rebinding { .. },
                AnswerKind::Nak(server),
            ) => {
                self.refusals += 1;
                let pause =
                    if self.refusals > REFUSALS_MAX { AFTER_DECLINE } else { AFTER_REFUSAL };
                self.lose(&Trouble::Refused { server }, now.saturating_add(pause), now)
            }
            _ => Vec::new(),
        }
    }

    /// Somebody has the address that was just granted, or is about to take it.
    fn claimed(&mut self, claim: Claim, now: Moment) -> Vec<Action> {
        let State::Probing { lease, .. } = &self.state else { return Vec::new() };
        let address = lease.address;
        let is_taken = match claim.has {
            Some(has) => has == address,
            None => claim.wants == address,
        };
        if !is_taken || claim.by == self.identity.mac {
            return Vec::new();
        }
        let server = lease.server;
        let mut actions = self.send(Question::Decline(address, server), now);
        let trouble = Trouble::Taken { address, by: claim.by };
        actions.extend(self.lose(&trouble, now.saturating_add(AFTER_DECLINE), now));
        actions
    }

    fn discover(&mut self, asked: u32, now: Moment) -> Vec<Action> {
        let mut actions = Vec::new();
        if asked == 0 {
            self.xid = self.roll();
        } else {
            self.unanswered += 1;
            let times = self.unanswered;
            actions.push(Action::Say(Said::Trouble(Trouble::NoAnswer { times })));
        }
        let wanted = self.held.as_ref().map(|held| held.lease.address);
        actions.extend(self.send(Question::Discover(wanted), now));
        let again_at = self.patience(asked, now);
        self.state = State::Selecting { asked: asked.saturating_add(1), again_at };
        actions
    }

    fn request(&mut self, offer: Lease, asked: u32, now: Moment) -> Vec<Action> {
        if asked == 0 {
            self.requested_at = now;
        }
        let actions = self.send(Question::Take(offer.address, offer.server), now);
        let again_at = self.patience(asked, now);
        self.state = State::Requesting { offer, asked: asked + 1, again_at };
        actions
    }

    fn confirm(&mut self, asked: u32, now: Moment) -> Vec<Action> {
        let Some(held) = self.held.clone().filter(|held| now < held.ends_at()) else {
            return self.lose(&Trouble::Ended, now, now);
        };
        if asked >= CONFIRMATIONS_MAX {
            // No server is there: RFC 2131 (section 3.2) lets it go on with what it has until that ends.
            return self.probe(held.lease, held.since, 0, now);
        }
        if asked == 0 {
            self.requested_at = now;
        }
        let actions = self.send(Question::Confirm(held.lease.address), now);
        let again_at = self.patience(asked, now);
        self.state = State::Rebooting { asked: asked + 1, again_at };
        actions
    }

    /// jailsupd cannot use the address that it was told of: the server is to know, and another one is asked for. Nothing where it
    /// has none any more.
    pub fn decline(&mut self, now: Moment) -> Vec<Action> {
        if !std::mem::take(&mut self.is_told) {
            return Vec::new();
        }
        let Some(Held { lease, .. }) = self.held.take() else { return Vec::new() };
        self.state = State::Init { at: now.saturating_add(AFTER_DECLINE) };
        self.send(Question::Decline(lease.address, lease.server), now)
    }

    /// Asks who has the address; when nobody answered for long enough, it is this link's, and all neighbours are told so.
    fn probe(&mut self, lease: Lease, since: Moment, asked: u32, now: Moment) -> Vec<Action> {
        if asked >= PROBES {
            let frame = packet::announce(self.identity.mac, lease.address);
            let mut actions = vec![Action::Send(frame)];
            actions.extend(self.hold(lease, since, now));
            return actions;
        }
        let frame = packet::probe(self.identity.mac, lease.address);
        let again_at = now.saturating_add(PROBE_PAUSE);
        self.state = State::Probing { lease, since, asked: asked + 1, again_at };
        vec![Action::Send(frame)]
    }

    fn hold(&mut self, lease: Lease, since: Moment, now: Moment) -> Vec<Action> {
        self.held = Some(Held { lease: lease.clone(), since });
        self.state = State::Bound;
        (self.is_told, self.unanswered, self.refusals) = (true, 0, 0);
        self.shunned = None;
        // Rather too much than too little of it is over.
        let age = now.saturating_sub(since).as_millis().div_ceil(1000);
        let age = u64::try_from(age).unwrap_or(u64::MAX);
        vec![Action::Say(Said::Granted { lease, age })]
    }

    fn renew(&mut self, now: Moment) -> Vec<Action> {
        let Some(held) = self.held.clone() else { return self.lose(&Trouble::Ended, now, now) };
        if self.state == State::Bound {
            self.asks_since = now;
        }
        self.ask_anew(now);
        let lease = &held.lease;
        let server = Some((lease.server, lease.server_mac));
        let actions = self.send(Question::Extend(lease.address, server), now);
        self.state = State::Renewing { again_at: pause(now, held.after(lease.t2)) };
        actions
    }

    fn rebind(&mut self, now: Moment) -> Vec<Action> {
        let Some(held) = self.held.clone().filter(|held| now < held.ends_at()) else {
            return self.lose(&Trouble::Ended, now, now);
        };
        self.ask_anew(now);
        let actions = self.send(Question::Extend(held.lease.address, None), now);
        self.state = State::Rebinding { again_at: pause(now, held.ends_at()) };
        actions
    }

    /// There is no lease, or not any more: it asks anew at that time.
    fn lose(&mut self, trouble: &Trouble, at: Moment, now: Moment) -> Vec<Action> {
        let said = match std::mem::take(&mut self.is_told) {
            true => Said::Lost(trouble.clone()),
            false => Said::Trouble(trouble.clone()),
        };
        // What has only ended is asked for again.
        if *trouble != Trouble::Ended {
            self.held = None;
        }
        self.asks_since = now;
        self.state = State::Init { at };
        vec![Action::Say(said)]
    }

    /// Answers to earlier questions are none to the next one.
    fn ask_anew(&mut self, now: Moment) {
        self.xid = self.roll();
        self.requested_at = now;
    }

    fn send(&mut self, question: Question, now: Moment) -> Vec<Action> {
        let seconds = now.saturating_sub(self.asks_since).as_secs();
        let seconds = u16::try_from(seconds).unwrap_or(u16::MAX);
        let frame = packet::ask(&self.identity, question, self.xid, seconds);
        frame.map(Action::Send).into_iter().collect()
    }

    /// When the next try is due: a thousand jails that lost their server at once must not all ask at once.
    fn patience(&mut self, asked: u32, now: Moment) -> Moment {
        let wait = PATIENCE.saturating_mul(1 << asked.min(6)).min(PATIENCE_MAX);
        let spread = Duration::from_millis(u64::from(self.roll() % 500));
        now.saturating_add(wait).saturating_add(spread)
    }

    /// A number that two links hardly share (xorshift32). Who hears the link can work out the next ones, and could answer anyway.
    fn roll(&mut self) -> u32 {
        let mut dice = self.dice;
        dice ^= dice << 13;
        dice ^= dice >> 17;
        dice ^= dice << 5;
        self.dice = dice;
        dice
    }

    /// The address that it has.
    #[must_use]
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.held.as_ref().filter(|_| self.is_told).map(|held| held.lease.address)
    }
}

/// Half of what is left until then, but not too often.
fn pause(now: Moment, until: Moment) -> Moment {
    let half = until.saturating_sub(now) / 2;
    now.saturating_add(half.max(RENEWAL_PAUSE))
}

#[cfg(test)]
mod tests;
