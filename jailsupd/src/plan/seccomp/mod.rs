//! System call filters, compiled when the unit is loaded.
//!
//! Two programs: the first allows what is allowed and answers `ENOSYS` to the rest, known and unknown
//! alike; the second answers `EPERM` to calls that are known and denied, by number or by argument. The
//! kernel takes the stricter of two answers, and of two refusals the errno of the filter installed
//! last. Both kill a process that uses another architecture's calls. See seccomp(2) and
//! Documentation/userspace-api/seccomp_filter.rst.

mod tables;

use crate::unit::Seccomp;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op,
    SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use std::collections::BTreeMap;
use sys::lockdown::Instruction;

/// The compiler refused our own tables.
#[derive(Debug, thiserror::Error)]
#[error("cannot compile the seccomp profile")]
pub struct Error(#[from] BackendError);

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// The programs of a profile, in the order of their installation.
///
/// # Errors
/// Only when the tables are wrong.
pub fn compile(profile: Seccomp) -> Result<Vec<Vec<Instruction>>, Error> {
    match profile {
        Seccomp::Default => Ok(vec![allow_list()?, refusals()?]),
    }
}

fn allow_list() -> Result<Vec<Instruction>, BackendError> {
    let mut rules: Rules = tables::allowed().map(|call| (call, Vec::new())).collect();
    // Looked at more closely by the second program.
    rules.insert(libc::SYS_socket, Vec::new());
    rules.insert(libc::SYS_personality, Vec::new());
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    build(rules, missing, SeccompAction::Allow)
}

fn refusals() -> Result<Vec<Instruction>, BackendError> {
    let mut rules: Rules = tables::denied().map(|call| (call, Vec::new())).collect();
    let other_family = tables::SOCKET_FAMILIES
        .iter()
        .map(|family| {
            SeccompCondition::new(0, Len::Dword, Op::Ne, u64::from(family.unsigned_abs()))
        })
        .collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_socket, vec![SeccompRule::new(other_family)?]);
    let mut namespaces = Vec::new();
    for flag in tables::NAMESPACE_FLAGS {
        // CLONE_NEWNS.. fit in 32 bits; the register is 64 bits wide.
        let bit = u64::from(flag.unsigned_abs());
        let condition = SeccompCondition::new(0, Len::Qword, Op::MaskedEq(bit), bit)?;
        namespaces.push(SeccompRule::new(vec![condition])?);
    }
    rules.insert(libc::SYS_clone, namespaces);
    let mut input = Vec::new();
    for request in tables::TERMINAL_INPUT {
        let condition = SeccompCondition::new(1, Len::Dword, Op::Eq, u64::from(request))?;
        input.push(SeccompRule::new(vec![condition])?);
    }
    rules.insert(libc::SYS_ioctl, input);
    let other_personality = tables::PERSONALITIES
        .iter()
        .map(|value| SeccompCondition::new(0, Len::Dword, Op::Ne, u64::from(*value)))
        .collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_personality, vec![SeccompRule::new(other_personality)?]);
    build(rules, SeccompAction::Allow, SeccompAction::Errno(libc::EPERM.unsigned_abs()))
}

fn build(
    rules: Rules,
    mismatch: SeccompAction,
    matched: SeccompAction,
) -> Result<Vec<Instruction>, BackendError> {
    let filter = SeccompFilter::new(rules, mismatch, matched, TargetArch::x86_64)?;
    let program: BpfProgram = filter.try_into()?;
    let instruction =
        |i: seccompiler::sock_filter| Instruction { code: i.code, jt: i.jt, jf: i.jf, k: i.k };
    Ok(program.into_iter().map(instruction).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_profile_compiles_within_the_kernels_limit() {
        let programs = compile(Seccomp::Default).unwrap();
        assert_eq!(programs.len(), 2);
        // BPF_MAXINSNS, linux/bpf_common.h.
        assert!(programs.iter().all(|program| !program.is_empty() && program.len() < 4096));
    }

    #[test]
    fn no_call_is_both_allowed_and_denied() {
        let denied: Vec<i64> = tables::denied().collect();
        let both: Vec<i64> = tables::allowed().filter(|call| denied.contains(call)).collect();
        assert!(both.is_empty(), "{both:?}");
    }

    #[test]
    fn calls_that_reach_the_host_are_not_allowed() {
        let allowed: Vec<i64> = tables::allowed().collect();
        for call in [
            libc::SYS_mount,
            libc::SYS_bpf,
            libc::SYS_keyctl,
            libc::SYS_io_uring_setup,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_clone3,
            libc::SYS_kexec_load,
            libc::SYS_init_module,
            libc::SYS_perf_event_open,
            libc::SYS_userfaultfd,
            libc::SYS_ptrace,
        ] {
            assert!(!allowed.contains(&call), "{call}");
        }
    }
}
