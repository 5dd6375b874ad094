//! What all jails together may have of the host: what is kept for the host itself, whether one more jail fits,
//! and limits of the kernel that all jails share.

use crate::unit::host::Reserve;
use crate::unit::{Bytes, Resources};

/// What the jails may have together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Memory, in bytes.
    pub memory: u64,
    /// Processes and threads.
    pub pids: u64,
}

/// The host's memory (bytes) and threads (`kernel.threads-max`) without what is kept for the host: at most a quarter of each, so
/// that a small host has jails, too.
#[must_use]
pub fn room(memory: u64, threads: u64, reserve: &Reserve) -> Room {
    let kept = |all: u64, wanted: u64| all - wanted.min(all / 4);
    Room { memory: kept(memory, reserve.memory.get()), pids: kept(threads, reserve.pids.get()) }
}

/// What speaks against one more jail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overcommit {
    /// The unit's key that asks for too much.
    pub key: &'static str,
    /// What it asks for.
    pub wanted: u64,
    /// What the jails that run were promised already.
    pub others: u64,
    /// What all of them together may be promised.
    pub most: u64,
}

impl Overcommit {
    /// As a person reads it.
    #[must_use]
    pub fn text(&self) -> String {
        let (wanted, others, most) = (self.wanted, self.others, self.most);
        let [wanted, others, most] =
            [wanted, others, most].map(|bytes| Bytes::new(bytes >> 20 << 20));
        format!(
            "it asks for {wanted}, the jails that run have {others}, and {most} is the most for all"
        )
    }
}

/// Whether a jail with these limits can be started beside those that run. What is guaranteed (`memory_min`) is never promised
/// twice; limits (`memory_max`) as far as the host's `reserve.memory_overcommit` says.
///
/// # Errors
/// The numbers that speak against it.
pub fn admit(
    unit: &Resources,
    others: &[&Resources],
    room: Room,
    reserve: &Reserve,
) -> Result<(), Overcommit> {
    let sum = |of: fn(&Resources) -> Option<Bytes>| {
        others.iter().filter_map(|other| of(other)).map(Bytes::get).fold(0, u64::saturating_add)
    };
    let check = |key, of: fn(&Resources) -> Option<Bytes>, most: u64| {
        let Some(wanted) = of(unit).map(Bytes::get) else { return Ok(()) };
        let others = sum(of);
        if others.saturating_add(wanted) > most {
            return Err(Overcommit { key, wanted, others, most });
        }
        Ok(())
    };
    check("resources.memory_min", |resources| resources.memory_min, room.memory)?;
    match reserve.memory_overcommit {
        Some(percent) => {
            let most = u128::from(room.memory) * u128::from(percent.get()) / 100;
            let most = u64::try_from(most).unwrap_or(u64::MAX);
            check("resources.memory_max", |resources| resources.memory_max, most)
        }
        None => Ok(()),
    }
}

/// Instances of inotify that one jail may have, and watches; the host has as much for each.
pub const INOTIFY: [(&str, u64); 2] =
    [("user.max_inotify_instances", 1024), ("user.max_inotify_watches", 524_288)];

/// Kernel settings that all jails share, each with what so many jails need of it (Documentation/admin-guide/sysctl). What is
/// larger already stays. Keys are limited by user, of which each jail has its own.
#[must_use]
pub fn kernel_limits(jails: usize) -> Vec<(&'static str, u64)> {
    // In steps, so that not each unit writes all of them.
    let jails = u64::try_from(jails).unwrap_or(u64::MAX).clamp(64, 1 << 16).next_power_of_two();
    let of_each = |count: u64| jails.saturating_mul(count).min(i32::MAX.unsigned_abs().into());
    let neighbours = of_each(128);
    let namespaces = ["user", "pid", "net", "mnt", "ipc", "uts", "cgroup"].map(|kind| match kind {
        "user" => "user.max_user_namespaces",
        "pid" => "user.max_pid_namespaces",
        "net" => "user.max_net_namespaces",
        "mnt" => "user.max_mnt_namespaces",
        "ipc" => "user.max_ipc_namespaces",
        "uts" => "user.max_uts_namespaces",
        _ => "user.max_cgroup_namespaces",
    });
    let mut all = vec![
        // All open files of all jails; what they take of memory counts for the jail.
        ("fs.file-max", of_each(1 << 16)),
        ("fs.inotify.max_user_instances", of_each(INOTIFY[0].1)),
        ("fs.inotify.max_user_watches", of_each(INOTIFY[1].1)),
        ("fs.aio-max-nr", of_each(16_384)),
        ("kernel.pid_max", 4_194_304),
        ("kernel.pty.max", of_each(64)),
    ];
    // Larger thresholds first: the kernel wants none of them above the next.
    for family in [NEIGHBOURS_4, NEIGHBOURS_6] {
        let [third, second, first] = family;
        all.extend([(third, neighbours), (second, neighbours / 2), (first, neighbours / 8)]);
    }
    all.extend(namespaces.map(|name| (name, of_each(8))));
    all
}

/// Tables of neighbours are one for all network namespaces.
const NEIGHBOURS_4: [&str; 3] = [
    "net.ipv4.neigh.default.gc_thresh3",
    "net.ipv4.neigh.default.gc_thresh2",
    "net.ipv4.neigh.default.gc_thresh1",
];
const NEIGHBOURS_6: [&str; 3] = [
    "net.ipv6.neigh.default.gc_thresh3",
    "net.ipv6.neigh.default.gc_thresh2",
    "net.ipv6.neigh.default.gc_thresh1",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::host::Overcommitted;

    const MIB: u64 = 1 << 20;

    fn with(min: Option<u64>, max: Option<u64>) -> Resources {
        let bytes = |mib: Option<u64>| mib.map(|mib| Bytes::new(mib * MIB));
        Resources { memory_min: bytes(min), memory_max: bytes(max), ..Resources::default() }
    }

    #[test]
    fn the_host_keeps_its_part_and_never_more_than_a_quarter() {
        let reserve = Reserve::default();
        let kept = reserve.memory.get();
        let large = room(8192 * MIB, 60_000, &reserve);
        assert_eq!(large, Room { memory: 8192 * MIB - kept, pids: 60_000 - reserve.pids.get() });
        assert_eq!(room(128 * MIB, 800, &reserve), Room { memory: 96 * MIB, pids: 600 });
    }

    #[test]
    fn what_is_guaranteed_is_not_promised_twice() {
        let (room, reserve) = (Room { memory: 900 * MIB, pids: 1 }, Reserve::default());
        let (some, none) = (with(Some(500), Some(800)), with(None, None));
        let others = [&some, &none];
        assert_eq!(admit(&with(Some(400), None), &others, room, &reserve), Ok(()));
        let refused = admit(&with(Some(401), None), &others, room, &reserve).unwrap_err();
        assert_eq!(refused.key, "resources.memory_min");
        assert_eq!(
            refused.text(),
            "it asks for 401M, the jails that run have 500M, and 900M is the most for all"
        );
        // Limits are promises only where the host says so.
        assert_eq!(admit(&with(None, Some(800)), &others, room, &reserve), Ok(()));
    }

    #[test]
    fn limits_are_added_up_as_far_as_the_host_says() {
        let room = Room { memory: 900 * MIB, pids: 1 };
        let reserve = Reserve { memory_overcommit: Overcommitted::new(150), ..Reserve::default() };
        let limited = with(None, Some(800));
        let others = [&limited];
        assert_eq!(admit(&with(None, Some(550)), &others, room, &reserve), Ok(()));
        let refused = admit(&with(None, Some(551)), &others, room, &reserve).unwrap_err();
        assert_eq!((refused.key, refused.most), ("resources.memory_max", 1350 * MIB));
        // One without a limit asks for nothing.
        assert_eq!(admit(&with(None, None), &others, room, &reserve), Ok(()));
    }

    #[test]
    fn kernel_limits_grow_with_the_jails_and_stay_in_range() {
        let of = |jails, name| {
            kernel_limits(jails).into_iter().find(|(other, _)| *other == name).unwrap().1
        };
        assert_eq!(of(1, "fs.inotify.max_user_instances"), 64 * 1024);
        assert_eq!(of(1000, "fs.inotify.max_user_instances"), 1024 * 1024);
        assert_eq!(of(1000, "net.ipv4.neigh.default.gc_thresh3"), 1024 * 128);
        for jails in [0, 1, 65, 10_000, usize::MAX] {
            assert!(kernel_limits(jails).iter().all(|(_, value)| *value <= i32::MAX as u64));
        }
    }
}
