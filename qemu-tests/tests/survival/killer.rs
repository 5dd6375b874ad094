//! Kills jailsupd, from within the guest: the way to it from here takes longer than a start.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use qemu_tests::{Vm, random::Random, time::stretched};

/// The moments, in seconds since the kill before, one a line.
const MOMENTS: &str = "/run/moments";
const KILLED: &str = "/run/killed";
/// Without a program of its own between two kills, so that it is fast: jailsupd and nothing else of that name (its
/// helpers are in other cgroups, or its children).
const SCRIPT: &str = "while read -r moment; do
    sleep $moment
    killed=
    while [ -z \"$killed\" ]; do
        read -r children </proc/1/task/1/children
        for p in $children; do
            read -r name 2>/dev/null </proc/$p/comm && [ \"$name\" = jailsupd ] || continue
            read -r group 2>/dev/null </proc/$p/cgroup && [ \"$group\" = 0::/jailsupd ] || continue
            kill -KILL $p && killed=$p
        done
        [ -n \"$killed\" ] || sleep 0.01
    done
    echo $killed >>/run/killed
done </run/moments 2>/run/killer.log";
/// From one kill to the next, until jailsupd counts as gone (idle machine).
const NEXT_LIMIT: Duration = Duration::from_secs(30);

/// At work in the guest.
pub(crate) struct Killer {
    count: usize,
    killed: usize,
    deadline: Instant,
}

impl Killer {
    /// Half of its kills come early in a life, while it starts and adopts.
    pub(crate) fn start(vm: &mut Vm, random: &mut Random, count: usize) -> Self {
        let mut moments = String::new();
        for _ in 0..count {
            let milliseconds = match random.below(2) {
                0 => random.below(400),
                _ => 400 + random.below(1200),
            };
            writeln!(moments, "{}.{:03}", milliseconds / 1000, milliseconds % 1000).unwrap();
        }
        vm.agent().write(MOMENTS, &moments).unwrap();
        vm.agent().write("/run/killer.sh", SCRIPT).unwrap();
        vm.sh(&format!("rm -f {KILLED}; sh /run/killer.sh </dev/null >/dev/null 2>&1 &"));
        Self { count, killed: 0, deadline: Instant::now() + stretched(NEXT_LIMIT) }
    }

    /// Whether it has not killed as often as it is to.
    pub(crate) fn is_at_work(&mut self, vm: &mut Vm) -> bool {
        let killed = vm.sh(&format!("cat {KILLED} 2>/dev/null | wc -l"));
        let killed = killed.trim().parse().unwrap();
        if killed > self.killed {
            (self.killed, self.deadline) = (killed, Instant::now() + stretched(NEXT_LIMIT));
        }
        let is_late = Instant::now() > self.deadline;
        assert!(!is_late, "jailsupd was killed {killed} times and does not come back");
        killed < self.count
    }
}
