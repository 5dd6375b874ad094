//! A jail has ended and nobody has said what is to follow: what its policy says.

use super::next::{Next, begin, go};
use super::{Cause, End, Limit, Machine, Moment, Policy, State};
use crate::unit::{ExitStatus, Reaction, Restart, RestartPolicy};
use std::time::Duration;

/// What the end of a main process is to its policy.
#[must_use]
pub fn end_of(status: ExitStatus, restart: &Restart) -> End {
    let success = status == ExitStatus::SUCCESS || restart.success_exit_status.contains(&status);
    if restart.prevent_exit_status.contains(&status) {
        return End::Final { success };
    }
    if success { End::Success } else { End::Failure }
}

pub(super) fn after_end(
    machine: Machine,
    (end, cause): (End, Cause),
    uptime: Duration,
    now: Moment,
    policy: &Policy,
) -> Next {
    let end = match cause {
        Cause::Own | Cause::Asked => end,
        // However it went: it is for what it had done before that it had to end.
        Cause::StartTimeout
        | Cause::Watchdog
        | Cause::RuntimeMax
        | Cause::Unhealthy
        | Cause::OutOfMemory
        | Cause::Pressure => End::Failure,
        Cause::Dependency => return begin(machine, policy),
    };
    let reaction = reaction(cause, policy);
    let (failed, again) = match end {
        End::Success => (false, is_repeated(policy.restart.policy, false)),
        End::Failure if reaction == Some(Reaction::Restart) => (true, true),
        End::Failure if reaction == Some(Reaction::Stop) => (true, false),
        End::Failure | End::OutOfMemory | End::NotStarted => {
            (true, is_repeated(policy.restart.policy, true))
        }
        End::Final { success } => (!success, false),
        End::NeverStarts => (true, false),
    };
    if !again {
        let state = if failed { State::Failed } else { State::Down };
        return go(machine, state, Vec::new());
    }
    again_later(machine, uptime, now, &policy.restart)
}

/// What the unit says of this cause, if it is one that it can say something of.
pub(super) const fn reaction(cause: Cause, policy: &Policy) -> Option<Reaction> {
    match cause {
        Cause::Unhealthy => Some(policy.on_unhealthy),
        Cause::OutOfMemory => Some(policy.on_oom),
        Cause::Pressure => Some(policy.on_pressure),
        Cause::Own
        | Cause::Asked
        | Cause::StartTimeout
        | Cause::Watchdog
        | Cause::RuntimeMax
        | Cause::Dependency => None,
    }
}

const fn is_repeated(policy: RestartPolicy, failed: bool) -> bool {
    match policy {
        RestartPolicy::No => false,
        RestartPolicy::OnSuccess => !failed,
        RestartPolicy::OnFailure => failed,
        RestartPolicy::Always => true,
    }
}

fn again_later(machine: Machine, uptime: Duration, now: Moment, restart: &Restart) -> Next {
    let limit = count(machine.limit, now, restart);
    if limit.reached {
        return go(Machine { limit, ..machine }, State::Failed, Vec::new());
    }
    let earlier = if uptime >= restart.reset_after { 0 } else { machine.failures };
    let dice = roll(machine.dice);
    let until = now.saturating_add(scatter(delay(restart, earlier), dice, restart));
    let failures = earlier.saturating_add(1);
    go(Machine { failures, limit, dice, ..machine }, State::Backoff { until }, Vec::new())
}

/// Counts one more restart. An interval begins with the first restart after the end of the last one.
fn count(limit: Limit, now: Moment, restart: &Restart) -> Limit {
    let Some(burst) = restart.start_limit_burst else { return Limit::default() };
    let is_over = now.saturating_sub(limit.since) >= restart.start_limit_interval;
    let limit = if is_over || limit.restarts == 0 {
        Limit { since: now, restarts: 0, reached: false }
    } else {
        limit
    };
    let restarts = limit.restarts.saturating_add(1);
    Limit { restarts, reached: u64::from(restarts) > burst.get(), ..limit }
}

/// `delay * 2^failures`, at most `delay_max`.
fn delay(restart: &Restart, failures: u32) -> Duration {
    let factor = 2u32.checked_pow(failures).unwrap_or(u32::MAX);
    restart.delay.saturating_mul(factor).min(restart.delay_max)
}

/// A wait that is up to `jitter` percent shorter or longer, and at most `delay_max`: jails that failed together
/// do not all come back together.
fn scatter(delay: Duration, dice: u64, restart: &Restart) -> Duration {
    let reach = u128::from(restart.jitter.get()) * delay.as_nanos() / 100;
    let offset = u128::from(dice) % (2 * reach + 1);
    let nanoseconds = delay.as_nanos() - reach + offset;
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX)).min(restart.delay_max)
}

/// The next state of the dice (SplitMix64): no secret, only scattered.
const fn roll(dice: u64) -> u64 {
    let dice = dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (dice ^ (dice >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
