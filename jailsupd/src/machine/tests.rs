use super::*;
use proptest::prelude::*;

fn policy() -> Policy {
    Policy { restart: Restart::default(), stop: Stop::default() }
}

fn with_policy(policy: RestartPolicy) -> Policy {
    Policy { restart: Restart { policy, ..Restart::default() }, stop: Stop::default() }
}

const SECOND: Duration = Duration::from_secs(1);

/// Runs events one second apart; the last state and all actions.
fn drive(policy: &Policy, events: &[Event]) -> (Machine, Vec<Action>) {
    let (mut machine, mut all) = (Machine::NEW, Vec::new());
    for (index, event) in events.iter().enumerate() {
        let now = SECOND * u32::try_from(index).unwrap();
        let (next, actions) = next(machine, *event, now, policy);
        machine = next;
        all.extend(actions);
    }
    (machine, all)
}

const UP: [Event; 3] = [Event::Start, Event::Spawned, Event::Executed];

fn after_up(policy: &Policy, events: &[Event]) -> (Machine, Vec<Action>) {
    drive(policy, &[&UP, events].concat())
}

#[test]
fn a_start_prepares_spawns_and_is_up() {
    let (machine, actions) = drive(&policy(), &UP);
    assert_eq!(machine.state, State::Up { since: SECOND * 2 });
    assert_eq!(actions, [Action::Prepare]);
}

#[test]
fn a_failure_waits_twice_as_long_each_time() {
    let policy = policy();
    let mut machine = Machine::NEW;
    let mut delays = Vec::new();
    let mut now = Duration::ZERO;
    machine = next(machine, Event::Start, now, &policy).0;
    for _ in 0..12 {
        for event in [Event::Spawned, Event::Executed, Event::Ended(End::Failure), Event::Cleaned] {
            machine = next(machine, event, now, &policy).0;
        }
        let until = machine.deadline().unwrap();
        delays.push((until - now).as_millis());
        now = until;
        machine = next(machine, Event::Tick, now, &policy).0;
    }
    assert_eq!(delays[..4], [100, 200, 400, 800]);
    assert_eq!(delays[11], 60_000);
}

#[test]
fn a_long_healthy_life_forgets_earlier_failures() {
    let policy = policy();
    let up = Machine { state: State::Up { since: SECOND }, want: Want::Up, failures: 9 };
    let now = SECOND + policy.restart.reset_after;
    let (machine, _) = next(up, Event::Ended(End::Failure), now, &policy);
    let (machine, _) = next(machine, Event::Cleaned, now, &policy);
    assert_eq!(machine.state, State::Backoff { until: now + policy.restart.delay });
    assert_eq!(machine.failures, 1);
}

#[test]
fn success_ends_the_jail_unless_the_policy_says_otherwise() {
    let ended = [Event::Ended(End::Success), Event::Cleaned];
    assert_eq!(after_up(&policy(), &ended).0.state, State::Down);
    let always = with_policy(RestartPolicy::Always);
    assert!(matches!(after_up(&always, &ended).0.state, State::Backoff { .. }));
    let on_success = with_policy(RestartPolicy::OnSuccess);
    assert!(matches!(after_up(&on_success, &ended).0.state, State::Backoff { .. }));
}

#[test]
fn failure_without_restart_is_failed_until_someone_acts() {
    let no = with_policy(RestartPolicy::No);
    let ended = [Event::Ended(End::Failure), Event::Cleaned, Event::Tick];
    assert_eq!(after_up(&no, &ended).0.state, State::Failed);
    let again = [&ended[..], &[Event::Start]].concat();
    assert_eq!(after_up(&no, &again).0.state, State::Preparing);
}

#[test]
fn what_can_never_start_is_not_tried_again() {
    let events = [Event::Start, Event::PrepareFailed(End::NeverStarts), Event::Cleaned];
    let always = with_policy(RestartPolicy::Always);
    assert_eq!(drive(&always, &events).0.state, State::Failed);
}

#[test]
fn what_may_start_later_is_tried_again() {
    let events = [Event::Start, Event::PrepareFailed(End::NotStarted), Event::Cleaned];
    assert!(matches!(drive(&policy(), &events).0.state, State::Backoff { .. }));
}

#[test]
fn a_stop_signals_then_kills_after_its_time() {
    let (machine, actions) = after_up(&policy(), &[Event::Stop]);
    assert_eq!(actions, [Action::Prepare, Action::Signal(Signal::TERM)]);
    let at = machine.deadline().unwrap();
    let (early, none) = next(machine, Event::Tick, at - Duration::from_millis(1), &policy());
    assert_eq!((early, none.len()), (machine, 0));
    let (killed, actions) = next(machine, Event::Tick, at, &policy());
    assert_eq!(actions, [Action::Kill]);
    assert_eq!(killed.deadline(), None);
}

#[test]
fn a_stopped_jail_stays_down_however_it_ended() {
    let always = with_policy(RestartPolicy::Always);
    let events = [Event::Stop, Event::Ended(End::Failure), Event::Cleaned, Event::Tick];
    let (machine, _) = after_up(&always, &events);
    assert_eq!((machine.state, machine.want), (State::Down, Want::Down));
}

#[test]
fn a_restart_comes_back_at_once() {
    let events = [Event::Restart, Event::Ended(End::Success), Event::Cleaned];
    let (machine, actions) = after_up(&policy(), &events);
    assert_eq!(machine.state, State::Preparing);
    assert_eq!(actions.last(), Some(&Action::Prepare));
}

#[test]
fn a_start_during_the_stop_starts_it_again() {
    let events = [Event::Stop, Event::Start, Event::Ended(End::Success), Event::Cleaned];
    assert_eq!(after_up(&policy(), &events).0.state, State::Preparing);
}

#[test]
fn a_stop_while_preparing_takes_effect_when_the_process_exists() {
    let (machine, actions) = drive(&policy(), &[Event::Start, Event::Stop, Event::Spawned]);
    assert!(matches!(machine.state, State::Stopping { .. }));
    assert_eq!(actions, [Action::Prepare, Action::Signal(Signal::TERM)]);
}

fn any_event() -> impl Strategy<Value = Event> {
    let end = prop_oneof![
        Just(End::Success),
        Just(End::Failure),
        Just(End::NotStarted),
        Just(End::NeverStarts)
    ];
    prop_oneof![
        Just(Event::Start),
        Just(Event::Stop),
        Just(Event::Restart),
        Just(Event::Spawned),
        end.clone().prop_map(Event::PrepareFailed),
        Just(Event::Executed),
        end.prop_map(Event::Ended),
        Just(Event::Cleaned),
        Just(Event::Tick),
    ]
}

fn any_policy() -> impl Strategy<Value = Policy> {
    prop_oneof![
        Just(RestartPolicy::No),
        Just(RestartPolicy::OnSuccess),
        Just(RestartPolicy::OnFailure),
        Just(RestartPolicy::Always)
    ]
    .prop_map(with_policy)
}

/// The world that the actions act on, kept apart from the machine: it answers them in its own time
/// and knows how many processes exist.
#[derive(Debug, Default)]
struct World {
    preparing: bool,
    alive: bool,
    executed: bool,
    cleaning: bool,
}

impl World {
    fn act(&mut self, action: Action) {
        match action {
            Action::Prepare => {
                assert!(!self.preparing && !self.alive, "a second process for one jail");
                assert!(!self.cleaning, "prepared before the last life was cleared away");
                self.preparing = true;
            }
            Action::Signal(_) | Action::Kill => assert!(self.alive, "nobody to signal"),
            Action::Clean => {
                assert!(!self.alive, "cleared away under a living process");
                self.cleaning = true;
            }
        }
    }

    /// Whether the event can happen in this world; then it has.
    fn allows(&mut self, event: Event) -> bool {
        match event {
            Event::Start | Event::Stop | Event::Restart | Event::Tick => true,
            Event::Spawned if self.preparing => {
                *self = Self { alive: true, ..Self::default() };
                true
            }
            Event::PrepareFailed(_) => std::mem::take(&mut self.preparing),
            Event::Executed if self.alive && !self.executed => {
                self.executed = true;
                true
            }
            Event::Ended(_) => std::mem::take(&mut self.alive),
            Event::Cleaned => std::mem::take(&mut self.cleaning),
            Event::Spawned | Event::Executed => false,
        }
    }
}

/// One event, its actions done in the world.
fn step(
    machine: Machine,
    event: Event,
    now: Moment,
    policy: &Policy,
    world: &mut World,
) -> Machine {
    let (machine, actions) = next(machine, event, now, policy);
    actions.into_iter().for_each(|action| world.act(action));
    machine
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_makes_two_processes_or_loses_one(
        policy in any_policy(),
        events in proptest::collection::vec((any_event(), 0u64..20_000), 0..60),
    ) {
        let (mut machine, mut world, mut now) = (Machine::NEW, World::default(), Duration::ZERO);
        for (event, gap) in events {
            now += Duration::from_millis(gap);
            if !world.allows(event) {
                continue;
            }
            machine = step(machine, event, now, &policy, &mut world);
            let alive = matches!(
                machine.state,
                State::Starting | State::Up { .. } | State::Stopping { .. }
            );
            prop_assert_eq!(alive, world.alive);
        }
        // Want Down always settles in Down, whatever came before.
        let mut settle = vec![Event::Stop];
        for _ in 0..3 {
            settle.extend([Event::Spawned, Event::Tick, Event::Ended(End::Failure), Event::Cleaned]);
        }
        for event in settle {
            now += Duration::from_secs(3600);
            if !world.allows(event) {
                continue;
            }
            machine = step(machine, event, now, &policy, &mut world);
        }
        prop_assert_eq!(machine.state, State::Down);
        prop_assert!(!world.alive);
        // And a manual start is never blocked.
        let (machine, actions) = next(machine, Event::Start, now, &policy);
        prop_assert_eq!((machine.state, actions), (State::Preparing, vec![Action::Prepare]));
    }

    #[test]
    fn events_that_cannot_happen_do_no_harm(
        policy in any_policy(),
        events in proptest::collection::vec(any_event(), 0..40),
    ) {
        let mut machine = Machine::NEW;
        for (index, event) in events.into_iter().enumerate() {
            let now = SECOND * u32::try_from(index).unwrap();
            machine = next(machine, event, now, &policy).0;
            prop_assert!(machine.deadline().is_none_or(|at| at <= now + Duration::from_secs(60)));
        }
    }
}
