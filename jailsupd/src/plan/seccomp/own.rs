//! Warder's own profiles.

use super::answers::{Answers, Test};
use super::groups::{GROUPS, Group, When};
use crate::unit::Capabilities;
use crate::unit::seccomp::Action;

pub(super) const NOT_THERE: Action = errno(libc::ENOSYS);
pub(super) const REFUSED: Action = errno(libc::EPERM);

/// personality(2) values that ask, or set what runs anyway: Linux, UNAME26 and the query.
const PERSONALITIES: [u32; 4] = [0x0, 0x8, 0x2_0000, 0xffff_ffff];

/// What is in an allowed group passes; what is in another one is refused; nothing else is there.
pub(super) fn answers(capabilities: Capabilities, strict: bool) -> Answers {
    let mut answers = Answers::new(NOT_THERE);
    for group in GROUPS {
        let allowed = allows(group, capabilities, strict);
        answers.set(group.calls, if allowed { Action::Allow } else { REFUSED });
    }
    let other = Test::Other(0, PERSONALITIES.to_vec());
    answers.case(libc::SYS_personality, vec![other], REFUSED);
    answers.set(&[libc::SYS_personality], Action::Allow);
    if strict {
        let netlink = Test::One(0, vec![libc::AF_NETLINK.unsigned_abs()]);
        answers.case(libc::SYS_socket, vec![netlink], REFUSED);
    }
    // More of their arguments is a wall's business.
    answers.set(&[libc::SYS_socket, libc::SYS_clone, libc::SYS_ioctl], Action::Allow);
    answers
}

pub(super) fn allows(group: &Group, capabilities: Capabilities, strict: bool) -> bool {
    match group.when {
        When::Always => true,
        When::NotStrict => !strict,
        When::With(capability) => capabilities.bits() & (1 << capability) != 0,
        When::Never | When::Wall => false,
    }
}

pub(super) const fn errno(number: i32) -> Action {
    // The errnos of this module are small and known.
    Action::Errno((number.unsigned_abs() & 0xfff) as u16)
}
