//! The refusals that stay whatever profile a jail has: only the profile `none`, which the host's policy must allow, is
//! without them.
//!
//! Profiles of files are written for container engines. podman's, for one, allows `mount`, `unshare` and `keyctl` to
//! everybody, since there the kernel's own checks are held to be enough. Here these calls are walls of their own: a
//! jail that could make a namespace would have all capabilities in it, and with them the reach of far more of the kernel.
//! So a file can open what Warder's default closes for the sake of the jail itself (`ptrace`, `chroot`, memory
//! policy ...), and not what is closed for the sake of the host.

use super::answers::{Answers, Test};
use super::groups::{GROUPS, When};
use super::own::{NOT_THERE, REFUSED, errno};
use crate::unit::Capabilities;
use crate::unit::seccomp::{Action, Compare, Condition};

/// Socket families that a jail may open: local, IPv4, IPv6, netlink.
const SOCKET_FAMILIES: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
/// With it, packet sockets as well.
const CAP_NET_RAW: u64 = 1 << 13;
/// linux/netlink.h.
const NETLINK_AUDIT: u32 = 9;

/// clone(2) flags that make a namespace.
const NAMESPACE_FLAGS: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// ioctl(2) requests that put input into a terminal which the jail may share with people.
const TERMINAL_INPUT: [u32; 2] = [0x5412 /* TIOCSTI */, 0x541c /* TIOCLINUX */];

/// ioctl(2) requests that make btrfs subvolumes: one that a jail makes on a volume of its own would hold
/// what it likes beside the volume's limit.
const SUBVOLUMES: [u32; 4] = [
    0x5000_940e, // BTRFS_IOC_SUBVOL_CREATE
    0x5000_9401, // BTRFS_IOC_SNAP_CREATE
    0x5000_9418, // BTRFS_IOC_SUBVOL_CREATE_V2
    0x5000_9417, // BTRFS_IOC_SNAP_CREATE_V2
];

/// The first number of the x32 calls (`__X32_SYSCALL_BIT`): they have this architecture's number and other call
/// numbers, which no rule knows.
const X32: u32 = 0x4000_0000;

/// Puts the walls in front of what the profile says.
pub(super) fn add(answers: &mut Answers, capabilities: Capabilities) {
    let mut walls = Answers::new(Action::Allow);
    for group in GROUPS.iter().filter(|group| group.when == When::Wall) {
        walls.set(group.calls, REFUSED);
    }
    let mut families: Vec<u32> = SOCKET_FAMILIES.iter().map(|f| f.unsigned_abs()).collect();
    if capabilities.bits() & CAP_NET_RAW != 0 {
        families.push(libc::AF_PACKET.unsigned_abs());
    }
    walls.case(libc::SYS_socket, vec![Test::Other(0, families)], REFUSED);
    // The kernel's audit is the host's. This errno is what programs (PAM, shadow) take for a kernel without it.
    let netlink = Test::One(0, vec![libc::AF_NETLINK.unsigned_abs()]);
    let audit = Test::One(2, vec![NETLINK_AUDIT]);
    walls.case(libc::SYS_socket, vec![netlink, audit], errno(libc::EAFNOSUPPORT));
    for flag in NAMESPACE_FLAGS {
        let bit = u64::from(flag.unsigned_abs());
        let set = Condition { index: 0, compare: Compare::Masked(bit), value: bit };
        walls.case(libc::SYS_clone, vec![Test::Is(set)], REFUSED);
    }
    walls.case(
        libc::SYS_ioctl,
        vec![Test::One(1, [&TERMINAL_INPUT[..], &SUBVOLUMES].concat())],
        REFUSED,
    );
    // A filter cannot see its flags: it does not exist, and C libraries fall back to `clone`.
    walls.set(&[libc::SYS_clone3], NOT_THERE);
    walls.beyond = Some((X32, NOT_THERE));
    answers.behind(walls);
}
