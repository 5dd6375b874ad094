//! What a jail can do without, and what it must not do.

use super::{Group, When};

pub(super) const PIPES: Group = Group {
    name: "pages moved through pipes",
    when: When::NotStrict,
    calls: &[libc::SYS_splice, libc::SYS_tee],
    why: "Moves pages, not bytes: the kind of call that Dirty Pipe was about. `vmsplice`, which podman denies, is not there.",
    peers: ["yes", "yes", "yes"],
};

pub(super) const MEMORY_FILES: Group = Group {
    name: "files in memory",
    when: When::NotStrict,
    calls: &[libc::SYS_memfd_create],
    why: "Programs can be executed from them, however read-only the root is.",
    peers: ["yes", "yes", "yes"],
};

pub(super) const IPC: Group = Group {
    name: "System V and POSIX IPC",
    when: When::NotStrict,
    calls: &[
        libc::SYS_mq_getsetattr,
        libc::SYS_mq_notify,
        libc::SYS_mq_open,
        libc::SYS_mq_timedreceive,
        libc::SYS_mq_timedsend,
        libc::SYS_mq_unlink,
        libc::SYS_msgctl,
        libc::SYS_msgget,
        libc::SYS_msgrcv,
        libc::SYS_msgsnd,
        libc::SYS_semctl,
        libc::SYS_semget,
        libc::SYS_semop,
        libc::SYS_semtimedop,
        libc::SYS_shmat,
        libc::SYS_shmctl,
        libc::SYS_shmdt,
        libc::SYS_shmget,
    ],
    why: "In the jail's own namespace. PostgreSQL needs it.",
    peers: ["yes", "yes", "yes"],
};

pub(super) const AIO: Group = Group {
    name: "kernel aio",
    when: When::NotStrict,
    calls: &[
        libc::SYS_io_cancel,
        libc::SYS_io_destroy,
        libc::SYS_io_getevents,
        libc::SYS_io_setup,
        libc::SYS_io_submit,
    ],
    why: "The old interface of databases. `io_uring` is denied.",
    peers: ["yes", "yes", "yes"],
};

pub(super) const LOCKS: Group = Group {
    name: "locked memory",
    when: When::With(14),
    calls: &[
        libc::SYS_mlock,
        libc::SYS_mlock2,
        libc::SYS_mlockall,
        libc::SYS_munlock,
        libc::SYS_munlockall,
    ],
    why: "Memory that cannot be reclaimed. nspawn asks for IPC_LOCK, too.",
    peers: ["yes", "yes", "no"],
};

pub(super) const CHROOT: Group = Group {
    name: "chroot",
    when: When::With(18),
    calls: &[libc::SYS_chroot],
    why: "Harmless by itself, but of use to a service only with the capability.",
    peers: ["yes", "yes", "yes"],
};

pub(super) const OTHERS: Group = Group {
    name: "other processes' memory",
    when: When::With(19),
    calls: &[
        libc::SYS_kcmp,
        libc::SYS_pidfd_getfd,
        libc::SYS_process_madvise,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_ptrace,
    ],
    why: "Debugging is done from outside. These calls are also a way around the filters of other processes of the jail.",
    peers: ["`ptrace`, `process_vm_*`", "and `pidfd_getfd`", "all but `pidfd_getfd`"],
};

pub(super) const NUMA: Group = Group {
    name: "memory policy",
    when: When::With(23),
    calls: &[
        libc::SYS_get_mempolicy,
        libc::SYS_mbind,
        libc::SYS_migrate_pages,
        libc::SYS_move_pages,
        libc::SYS_set_mempolicy,
        libc::SYS_set_mempolicy_home_node,
    ],
    why: "Where memory lies is the business of the host.",
    peers: ["no", "`mbind`, `*_mempolicy`", "yes"],
};

pub(super) const NAMES: Group = Group {
    name: "names of the jail",
    when: When::Never,
    calls: &[libc::SYS_setdomainname, libc::SYS_sethostname],
    why: "The host name is the unit's.",
    peers: ["no", "no", "yes"],
};

pub(super) const LEGACY: Group = Group {
    name: "odd corners",
    when: When::Never,
    calls: &[
        libc::SYS__sysctl,
        libc::SYS_fanotify_mark,
        libc::SYS_lookup_dcookie,
        libc::SYS_modify_ldt,
        libc::SYS_name_to_handle_at,
        libc::SYS_nfsservctl,
        libc::SYS_sysfs,
        libc::SYS_uselib,
        libc::SYS_ustat,
        libc::SYS_vhangup,
    ],
    why: "Nothing that a service needs; each has had its share of bugs in the kernel.",
    peers: [
        "`fanotify_mark`, `modify_ldt`, `name_to_handle_at`",
        "the same",
        "`name_to_handle_at`, `vhangup`",
    ],
};

pub(super) const MOUNTS: Group = Group {
    name: "mounts",
    when: When::Wall,
    calls: &[
        libc::SYS_fsconfig,
        libc::SYS_fsmount,
        libc::SYS_fsopen,
        libc::SYS_fspick,
        libc::SYS_mount,
        libc::SYS_mount_setattr,
        libc::SYS_move_mount,
        libc::SYS_open_tree,
        libc::SYS_pivot_root,
        libc::SYS_umount2,
    ],
    why: "The jail's mounts are finished when its program starts.",
    peers: ["no", "yes", "yes"],
};

pub(super) const NAMESPACES: Group = Group {
    name: "namespaces",
    when: When::Wall,
    calls: &[libc::SYS_setns, libc::SYS_unshare],
    why: "In a new user namespace a process has all capabilities, and with them the reach of most of the kernel.",
    peers: ["no", "yes", "yes"],
};

pub(super) const KERNEL: Group = Group {
    name: "the kernel's code",
    when: When::Wall,
    calls: &[
        libc::SYS_bpf,
        libc::SYS_delete_module,
        libc::SYS_finit_module,
        libc::SYS_init_module,
        libc::SYS_kexec_file_load,
        libc::SYS_kexec_load,
        libc::SYS_perf_event_open,
    ],
    why: "Code and probes inside the kernel.",
    peers: ["no", "no", "no"],
};

pub(super) const URING: Group = Group {
    name: "io_uring",
    when: When::Wall,
    calls: &[libc::SYS_io_uring_enter, libc::SYS_io_uring_register, libc::SYS_io_uring_setup],
    why: "Makes calls that no filter sees, and was the source of many exploits.",
    peers: ["no", "no", "yes"],
};

pub(super) const KEYS: Group = Group {
    name: "keys",
    when: When::Wall,
    calls: &[libc::SYS_add_key, libc::SYS_keyctl, libc::SYS_request_key],
    why: "Keyrings are not namespaced.",
    peers: ["no", "`keyctl`", "no"],
};

pub(super) const FAULTS: Group = Group {
    name: "page faults in user space",
    when: When::Wall,
    calls: &[libc::SYS_userfaultfd],
    why: "Holds the kernel still in the middle of a call: the usual help of an exploit.",
    peers: ["no", "no", "yes"],
};

pub(super) const HANDLES: Group = Group {
    name: "files past their paths",
    when: When::Wall,
    calls: &[libc::SYS_fanotify_init, libc::SYS_open_by_handle_at],
    why: "Opens files by number, past their directories (the \"shocker\" escape), or watches whole mounts.",
    peers: ["no", "`fanotify_init`", "no"],
};

pub(super) const CLOCK: Group = Group {
    name: "the host's clock",
    when: When::Wall,
    calls: &[
        libc::SYS_adjtimex,
        libc::SYS_clock_adjtime,
        libc::SYS_clock_settime,
        libc::SYS_settimeofday,
    ],
    why: "There is one clock for all.",
    peers: ["`adjtimex`, `clock_adjtime`", "the same", "no"],
};

pub(super) const HOST: Group = Group {
    name: "the host itself",
    when: When::Wall,
    calls: &[
        libc::SYS_acct,
        libc::SYS_ioperm,
        libc::SYS_iopl,
        libc::SYS_quotactl,
        libc::SYS_quotactl_fd,
        libc::SYS_reboot,
        libc::SYS_swapoff,
        libc::SYS_swapon,
        libc::SYS_syslog,
    ],
    why: "Power, swap, quotas, ports, accounting and the log of the host.",
    peers: ["no", "`reboot`, `syslog`", "`reboot`"],
};
