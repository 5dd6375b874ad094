use super::*;
use crate::unit::section::{Jitter, StartLimit};
use crate::unit::{ExitStatus, RestartPolicy};
use proptest::prelude::*;

/// The default one, without dice.
fn restart() -> Restart {
    Restart { jitter: Jitter::clamped(0), ..Restart::default() }
}

fn policy() -> Policy {
    Policy { restart: restart(), ..Policy::default() }
}

fn with_policy(policy: RestartPolicy) -> Policy {
    Policy { restart: Restart { policy, ..restart() }, ..Policy::default() }
}

fn up_since(since: Moment) -> State {
    State::Up { since, well_since: Some(since), watchdog_at: None, runtime_until: None }
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
    assert_eq!(machine.state, up_since(SECOND * 2));
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
    let up = Machine { state: up_since(SECOND), want: Want::Up, failures: 9, ..Machine::NEW };
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

#[test]
fn a_wait_is_scattered_within_its_bounds() {
    let restart = Restart { jitter: Jitter::clamped(50), ..restart() };
    let policy = Policy { restart, ..policy() };
    let mut waits = Vec::new();
    for dice in 0..200 {
        let machine = Machine { state: up_since(SECOND), want: Want::Up, dice, ..Machine::NEW };
        let (machine, _) = next(machine, Event::Ended(End::Failure), SECOND, &policy);
        let (machine, _) = next(machine, Event::Cleaned, SECOND, &policy);
        waits.push(machine.deadline().unwrap() - SECOND);
    }
    let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
    assert!(*least >= Duration::from_millis(50) && *least < Duration::from_millis(60), "{least:?}");
    assert!(*most <= Duration::from_millis(150) && *most > Duration::from_millis(140), "{most:?}");
}

/// Fails at once, again and again, until it is not started again: how often it was.
fn restarts_of(mut machine: Machine, policy: &Policy, mut now: Moment) -> (Machine, u32, Moment) {
    let mut restarts = 0;
    loop {
        for event in [Event::Spawned, Event::Executed, Event::Ended(End::Failure), Event::Cleaned] {
            machine = next(machine, event, now, policy).0;
        }
        let Some(until) = machine.deadline().filter(|_| restarts < 50) else {
            return (machine, restarts, now);
        };
        now = until;
        machine = next(machine, Event::Tick, now, policy).0;
        restarts += 1;
    }
}

#[test]
fn a_start_limit_ends_the_restarts_and_a_manual_start_begins_anew() {
    let limited = |interval| Policy {
        restart: Restart {
            start_limit_burst: StartLimit::new(3),
            start_limit_interval: interval,
            delay_max: SECOND,
            ..restart()
        },
        ..policy()
    };
    let policy = limited(SECOND * 60);
    let (machine, _) = next(Machine::NEW, Event::Start, Duration::ZERO, &policy);
    let (machine, restarts, now) = restarts_of(machine, &policy, Duration::ZERO);
    assert_eq!((machine.state, machine.limit.reached, restarts), (State::Failed, true, 3));
    let (machine, actions) = next(machine, Event::Start, now, &policy);
    assert_eq!((machine.state, actions), (State::Preparing, vec![Action::Prepare]));
    assert_eq!(restarts_of(machine, &policy, now).1, 3);
    // Restarts that are further apart than the interval is long are no burst.
    let policy = limited(Duration::from_millis(350));
    assert_eq!(restarts_of(machine, &policy, now).1, 50);
}

#[test]
fn exit_statuses_are_judged_by_the_unit() {
    let restart = Restart {
        success_exit_status: vec![ExitStatus::Code(143), ExitStatus::Signal(Signal::TERM)],
        prevent_exit_status: vec![ExitStatus::Code(2), ExitStatus::Code(143)],
        ..restart()
    };
    let judged = |status| end_of(status, &restart);
    assert_eq!(judged(ExitStatus::SUCCESS), End::Success);
    assert_eq!(judged(ExitStatus::Signal(Signal::TERM)), End::Success);
    assert_eq!(judged(ExitStatus::Code(1)), End::Failure);
    assert_eq!(judged(ExitStatus::Code(15)), End::Failure);
    assert_eq!(judged(ExitStatus::Code(2)), End::Final { success: false });
    assert_eq!(judged(ExitStatus::Code(143)), End::Final { success: true });
    let always = with_policy(RestartPolicy::Always);
    for (success, state) in [(false, State::Failed), (true, State::Down)] {
        let ended = [Event::Ended(End::Final { success }), Event::Cleaned];
        assert_eq!(after_up(&always, &ended).0.state, state);
    }
}

/// One that must say that it is ready.
fn notifying() -> Policy {
    Policy { ready_within: Some(SECOND * 10), ..policy() }
}

#[test]
fn a_program_that_is_not_executed_in_time_is_asked_to_end() {
    let policy = Policy { executed_within: SECOND * 10, ..policy() };
    let (machine, _) = drive(&policy, &UP[..UP.len() - 1]);
    assert_eq!(machine.deadline(), Some(SECOND * 11));
    assert_eq!(next(machine, Event::Tick, SECOND * 10, &policy), (machine, Vec::new()));
    let (machine, actions) = next(machine, Event::Tick, SECOND * 11, &policy);
    assert_eq!(machine.cause(), Some(Cause::StartTimeout));
    assert_eq!(actions, [Action::Signal(policy.stop.signal)]);
    let (machine, _) = next(machine, Event::Ended(End::Failure), SECOND * 12, &policy);
    let (machine, _) = next(machine, Event::Cleaned, SECOND * 12, &policy);
    assert!(matches!(machine.state, State::Backoff { .. }), "{machine:?}");
}

#[test]
fn a_program_that_must_say_so_is_up_when_it_has() {
    let (machine, _) = drive(&notifying(), &UP);
    assert_eq!(machine.state, State::Activating { ready_by: SECOND * 12 });
    let (machine, _) = after_up(&notifying(), &[Event::News(News::Ready)]);
    assert_eq!(machine.state, up_since(SECOND * 3));
}

#[test]
fn one_that_is_never_ready_is_ended_and_started_again() {
    let (machine, _) = drive(&notifying(), &UP);
    let at = machine.deadline().unwrap();
    let (stopping, actions) = next(machine, Event::Tick, at, &notifying());
    assert_eq!(stopping.cause(), Some(Cause::StartTimeout));
    assert_eq!(actions, [Action::Signal(Signal::TERM)]);
    // It has failed, though it ended with success when it was asked to.
    let (machine, _) = next(stopping, Event::Ended(End::Success), at, &notifying());
    let (machine, _) = next(machine, Event::Cleaned, at, &notifying());
    assert!(matches!(machine.state, State::Backoff { .. }));
}

#[test]
fn more_time_can_be_asked_for_and_never_less() {
    let (machine, _) = drive(&notifying(), &UP);
    let now = SECOND * 3;
    let (same, _) = next(machine, Event::News(News::Extend(SECOND)), now, &notifying());
    assert_eq!(same, machine);
    let (longer, _) = next(machine, Event::News(News::Extend(SECOND * 30)), now, &notifying());
    assert_eq!(longer.deadline(), Some(SECOND * 33));
}

#[test]
fn a_program_without_signs_of_life_is_aborted() {
    let policy = Policy { watchdog: Some(SECOND * 5), ..policy() };
    let (machine, _) = drive(&policy, &UP);
    assert_eq!(machine.deadline(), Some(SECOND * 7));
    let (machine, _) = next(machine, Event::News(News::Alive), SECOND * 6, &policy);
    assert_eq!(machine.deadline(), Some(SECOND * 11));
    let (frozen, _) = next(machine, Event::News(News::Frozen(true)), SECOND * 7, &policy);
    assert_eq!(frozen.deadline(), None);
    let (thawed, _) = next(frozen, Event::News(News::Frozen(false)), SECOND * 90, &policy);
    assert_eq!(thawed.deadline(), Some(SECOND * 95));
    let (aborted, actions) = next(thawed, Event::Tick, SECOND * 95, &policy);
    assert_eq!(aborted.cause(), Some(Cause::Watchdog));
    assert_eq!(actions, [Action::Signal(Signal::from_number(libc::SIGABRT))]);
    assert_eq!(
        next(thawed, Event::News(News::Stuck), SECOND * 91, &policy).0.cause(),
        Some(Cause::Watchdog)
    );
}

#[test]
fn a_program_that_begins_to_end_by_itself_has_its_time_for_it() {
    let (machine, actions) = after_up(&policy(), &[Event::News(News::Stopping)]);
    assert_eq!((machine.cause(), actions.len()), (Some(Cause::Own), 1));
    let at = machine.deadline().unwrap();
    assert_eq!(next(machine, Event::Tick, at, &policy()).1, [Action::Kill]);
    let events = [Event::News(News::Stopping), Event::Ended(End::Success), Event::Cleaned];
    let always = with_policy(RestartPolicy::Always);
    assert!(matches!(after_up(&always, &events).0.state, State::Backoff { .. }));
    assert_eq!(after_up(&policy(), &events).0.state, State::Down);
}

#[test]
fn a_program_that_has_run_long_enough_is_asked_to_end() {
    let policy = Policy { runtime_max: Some(SECOND * 60), ..policy() };
    let (machine, _) = drive(&policy, &UP);
    let (machine, actions) = next(machine, Event::Tick, SECOND * 62, &policy);
    assert_eq!(machine.cause(), Some(Cause::RuntimeMax));
    assert_eq!(actions, [Action::Signal(Signal::TERM)]);
}

#[test]
fn a_program_that_asks_for_more_time_to_run_has_it_and_keeps_it() {
    let policy = Policy { runtime_max: Some(SECOND * 60), ..policy() };
    let (machine, _) = drive(&policy, &UP);
    let (longer, _) = next(machine, Event::News(News::Extend(SECOND * 100)), SECOND * 10, &policy);
    assert_eq!(longer.deadline(), Some(SECOND * 110));
    let (read, _) = next(longer, Event::News(News::UnitRead), SECOND * 20, &policy);
    assert_eq!(read.deadline(), Some(SECOND * 110));
}

#[test]
fn what_an_edit_says_of_times_holds_for_a_jail_that_runs() {
    let (up, _) = drive(&policy(), &UP);
    let longer = Policy { runtime_max: Some(SECOND * 60), ..policy() };
    let (limited, _) = next(up, Event::News(News::UnitRead), SECOND * 30, &longer);
    assert_eq!(limited.deadline(), Some(SECOND * 62));
    assert_eq!(next(limited, Event::News(News::UnitRead), SECOND * 31, &policy()).0, up);
    let watched = Policy { watchdog: Some(SECOND * 5), ..policy() };
    let (watched, _) = next(up, Event::News(News::UnitRead), SECOND * 30, &watched);
    assert_eq!(watched.deadline(), Some(SECOND * 35));
}

/// How a jail goes on that the news `about` makes react, and what is done about it until then.
fn after_news(about: News, policy: &Policy) -> (State, Vec<Action>) {
    let events = [Event::News(about), Event::Ended(End::Success), Event::Cleaned];
    let (machine, actions) = after_up(policy, &events);
    (machine.state, actions.into_iter().skip(1).collect())
}

#[test]
fn what_is_wrong_leads_to_what_the_unit_says() {
    let (term, kill, clean) = (Action::Signal(Signal::TERM), Action::Kill, Action::Clean);
    for news in [News::Unhealthy, News::OutOfMemory, News::Pressure] {
        let after = |reaction, restart| {
            let policy = with_policy(restart);
            let policy = match news {
                News::Unhealthy => Policy { on_unhealthy: reaction, ..policy },
                News::OutOfMemory => Policy { on_oom: reaction, ..policy },
                _ => Policy { on_pressure: reaction, ..policy },
            };
            after_news(news, &policy)
        };
        let (state, actions) = after(Reaction::Restart, RestartPolicy::No);
        assert!(matches!(state, State::Backoff { .. }), "{news:?}: {state:?}");
        assert_eq!(actions, [term, clean]);
        let stopped = after(Reaction::Stop, RestartPolicy::Always);
        assert_eq!(stopped, (State::Failed, vec![term, clean]), "{news:?}");
        let killed = after(Reaction::Kill, RestartPolicy::No);
        assert_eq!(killed, (State::Failed, vec![kill, clean]), "{news:?}");
        let State::Up { since, well_since, .. } = after_up(&policy(), &[Event::News(news)]).0.state
        else {
            panic!("{news:?}: it is up no more");
        };
        let is_well = well_since == Some(since);
        assert_eq!(is_well, news != News::Unhealthy, "{news:?}");
    }
}

#[test]
fn a_jail_that_the_kernel_has_killed_whole_goes_on_as_its_unit_says_of_memory() {
    let after = |on_oom, restart| {
        let policy = Policy { on_oom, ..with_policy(restart) };
        after_up(&policy, &[Event::Ended(End::OutOfMemory), Event::Cleaned]).0.state
    };
    assert_eq!(after(Reaction::None, RestartPolicy::No), State::Failed);
    let again = |state| matches!(state, State::Backoff { .. });
    assert!(again(after(Reaction::None, RestartPolicy::OnFailure)));
    assert!(again(after(Reaction::Restart, RestartPolicy::No)));
    assert_eq!(after(Reaction::Stop, RestartPolicy::Always), State::Failed);
}

#[test]
fn a_jail_waits_for_what_it_needs_and_comes_back_with_it() {
    let policy = Policy { waits: true, ..policy() };
    let (machine, actions) = drive(&policy, &[Event::Start, Event::Tick]);
    assert_eq!((machine.state, actions.len()), (State::Waiting, 0));
    assert_eq!(drive(&policy, &[Event::Start, Event::Stop]).0.state, State::Down);
    let up = [Event::Start, Event::Admitted, Event::Spawned, Event::Executed];
    let (machine, _) = drive(&policy, &up);
    assert_eq!(machine.state, up_since(SECOND * 3));
    let gone = [Event::News(News::DependencyGone), Event::Ended(End::Success), Event::Cleaned];
    let (machine, _) = drive(&policy, &[&up[..], &gone].concat());
    assert_eq!((machine.state, machine.want), (State::Waiting, Want::Up));
}

#[test]
fn a_stop_by_hand_wins_over_any_other_cause() {
    for event in
        [Event::News(News::Unhealthy), Event::News(News::DependencyGone), Event::News(News::Stuck)]
    {
        let events = [event, Event::Stop, Event::Ended(End::Failure), Event::Cleaned];
        assert_eq!(after_up(&policy(), &events).0.state, State::Down);
    }
}

fn any_end() -> impl Strategy<Value = End> {
    prop_oneof![
        Just(End::Success),
        Just(End::Failure),
        any::<bool>().prop_map(|success| End::Final { success }),
        Just(End::NotStarted),
        Just(End::NeverStarts),
        Just(End::OutOfMemory)
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        1 => Just(Event::Start),
        1 => Just(Event::Stop),
        1 => Just(Event::Restart),
        3 => Just(Event::Admitted),
        3 => Just(Event::Spawned),
        1 => any_end().prop_map(Event::PrepareFailed),
        3 => Just(Event::Executed),
        3 => Just(Event::News(News::Ready)),
        1 => Just(Event::News(News::Alive)),
        1 => (0u64..60_000).prop_map(|time| Event::News(News::Extend(Duration::from_millis(time)))),
        1 => any::<bool>().prop_map(|frozen| Event::News(News::Frozen(frozen))),
        1 => Just(Event::News(News::UnitRead)),
        1 => Just(Event::News(News::Stuck)),
        1 => Just(Event::News(News::Stopping)),
        2 => Just(Event::News(News::Healthy)),
        1 => Just(Event::News(News::Unhealthy)),
        1 => Just(Event::News(News::OutOfMemory)),
        1 => Just(Event::News(News::Pressure)),
        1 => Just(Event::News(News::DependencyGone)),
        1 => any_end().prop_map(Event::Ended),
        2 => Just(Event::Cleaned),
        3 => Just(Event::Tick),
    ]
}

fn any_time(most_ms: u64) -> impl Strategy<Value = Option<Duration>> {
    proptest::option::of((1..most_ms).prop_map(Duration::from_millis))
}

fn any_restart() -> impl Strategy<Value = Restart> {
    let policies = prop_oneof![
        Just(RestartPolicy::No),
        Just(RestartPolicy::OnSuccess),
        Just(RestartPolicy::OnFailure),
        Just(RestartPolicy::Always)
    ];
    let limits = proptest::option::of(1u64..5);
    let times = (1u64..60_000, 1u64..60_000);
    (policies, 0u64..=100, limits, times).prop_map(|(policy, jitter, burst, (interval, reset))| {
        Restart {
            policy,
            jitter: Jitter::clamped(jitter),
            start_limit_burst: burst.and_then(StartLimit::new),
            start_limit_interval: Duration::from_millis(interval),
            reset_after: Duration::from_millis(reset),
            ..Restart::default()
        }
    })
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let reaction = || {
        prop_oneof![
            Just(Reaction::None),
            Just(Reaction::Kill),
            Just(Reaction::Restart),
            Just(Reaction::Stop)
        ]
    };
    let times = (any_time(60_000), any_time(20_000), any_time(20_000), any_time(90_000));
    let reactions = (reaction(), reaction(), reaction());
    (any_restart(), any::<(bool, bool)>(), times, reactions).prop_map(
        |(restart, (waits, is_unproven), times, reactions)| {
            let (executed_within, ready_within, watchdog, runtime_max) = times;
            let (on_unhealthy, on_oom, on_pressure) = reactions;
            Policy {
                restart,
                stop: Stop::default(),
                waits,
                executed_within: executed_within.unwrap_or_default(),
                ready_within,
                watchdog,
                runtime_max,
                is_unproven,
                on_unhealthy,
                on_oom,
                on_pressure,
            }
        },
    )
}

/// The world that the actions act on, kept apart from the machine: it answers them in its own time
/// and knows how many processes exist.
#[derive(Debug, Default)]
struct World {
    preparing: bool,
    alive: bool,
    executed: bool,
    ready: bool,
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
            Event::Start
            | Event::Stop
            | Event::Restart
            | Event::Tick
            | Event::Admitted
            | Event::News(News::DependencyGone) => true,
            Event::News(News::Ready) if self.executed => {
                self.ready = true;
                true
            }
            Event::News(News::Alive)
            | Event::News(News::Extend(_))
            | Event::News(News::UnitRead)
            | Event::News(News::Frozen(_))
            | Event::News(News::Stuck)
            | Event::News(News::Stopping)
            | Event::News(News::Healthy | News::Unhealthy | News::OutOfMemory | News::Pressure) => {
                self.alive
            }
            Event::Spawned if self.preparing => {
                *self = Self { alive: true, ..Self::default() };
                true
            }
            Event::PrepareFailed(_) => std::mem::take(&mut self.preparing),
            Event::Executed if self.alive && !self.executed => {
                self.executed = true;
                true
            }
            Event::Ended(_) => {
                (self.executed, self.ready) = (false, false);
                std::mem::take(&mut self.alive)
            }
            Event::Cleaned => std::mem::take(&mut self.cleaning),
            Event::Spawned | Event::Executed | Event::News(News::Ready) => false,
        }
    }
}

/// How long a life was up and well, by what was said of it.
#[derive(Debug, Default)]
struct Seen {
    well_since: Option<Moment>,
    uptime: Duration,
}

impl Seen {
    fn see(&mut self, before: State, event: Event, after: State, now: Moment, policy: &Policy) {
        let proven = (!policy.is_unproven).then_some(now);
        let (was_up, is_up) =
            (matches!(before, State::Up { .. }), matches!(after, State::Up { .. }));
        match event {
            _ if is_up && !was_up => self.well_since = proven,
            Event::News(News::Healthy) if is_up => self.well_since = self.well_since.or(Some(now)),
            Event::News(News::Unhealthy) if is_up => self.well_since = None,
            Event::News(News::UnitRead) if is_up => {
                self.well_since = proven.and(self.well_since.or(proven));
            }
            Event::Spawned => self.well_since = None,
            Event::Ended(_) => {
                let since = self.well_since.take();
                self.uptime = since.map_or(Duration::ZERO, |since| now.saturating_sub(since));
            }
            Event::PrepareFailed(_) => self.uptime = Duration::ZERO,
            _ => {}
        }
    }
}

/// What a start by hand leads to.
fn begun(policy: &Policy) -> (State, Vec<Action>) {
    match policy.waits {
        true => (State::Waiting, Vec::new()),
        false => (State::Preparing, vec![Action::Prepare]),
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
        let mut health = Seen::default();
        for (event, gap) in events {
            now += Duration::from_millis(gap);
            if !world.allows(event) {
                continue;
            }
            let before = machine;
            machine = step(machine, event, now, &policy, &mut world);
            if event == Event::Start && matches!(before.state, State::Down | State::Failed | State::Backoff { .. }) {
                prop_assert_eq!(machine.state, begun(&policy).0);
            }
            health.see(before.state, event, machine.state, now, &policy);
            if matches!((before.state, machine.state), (State::Cleaning { .. }, State::Backoff { .. })) {
                let earlier = if health.uptime >= policy.restart.reset_after { 0 } else { before.failures };
                prop_assert_eq!(machine.failures, earlier.saturating_add(1));
            }
            let alive = matches!(
                machine.state,
                State::Starting { .. }
                    | State::Activating { .. }
                    | State::Up { .. }
                    | State::Stopping { .. }
            );
            prop_assert_eq!(alive, world.alive);
            if policy.waits && before.state != State::Preparing && machine.state == State::Preparing {
                prop_assert_eq!((before.state, event), (State::Waiting, Event::Admitted));
            }
            if matches!(machine.state, State::Up { .. }) {
                prop_assert!(world.ready || policy.ready_within.is_none());
            }
            if let State::Backoff { until } = machine.state {
                prop_assert!(until <= now + policy.restart.delay_max);
            }
            // A machine that waits for time says for which.
            if let (State::Stopping { kill_at: None, .. }, Event::Tick) = (machine.state, event) {
                prop_assert_eq!(machine.deadline(), None);
            }
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
        prop_assert_eq!((machine.state, actions), begun(&policy));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn events_that_cannot_happen_do_no_harm(
        policy in any_policy(),
        events in proptest::collection::vec(any_event(), 0..40),
    ) {
        let mut machine = Machine::NEW;
        for (index, event) in events.into_iter().enumerate() {
            let now = SECOND * u32::try_from(index).unwrap();
            machine = next(machine, event, now, &policy).0;
            prop_assert!(machine.deadline().is_none_or(|at| at <= now + Duration::from_secs(90)));
        }
    }
}
