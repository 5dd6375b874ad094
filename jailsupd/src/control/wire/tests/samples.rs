//! A value of each struct: `full` has every field, otherwise those are missing that may be.

use crate::control::wire::{
    Applied, Change, Checks, Consequence, Counters, Effect, Event, Evidence, Exit, ExitReason,
    Finding, HealthState, HostInfo, Image, Jail, JailNetwork, JailProcesses, JailState,
    JailSummary, JailUsage, KeyDoc, LinkState, LogEntry, NetAddress, NetLink, NetRoute, PlanStep,
    Privileges, Problem, Process, ProcessUsage, Root, Seccomp, SetBy, Stage, StageState, Stream,
    TerminalSize, UnitDraft, UnitRole, UnitText, Usage, Victim, Volume, Weight,
};

pub(super) fn volume(full: bool) -> Volume {
    Volume {
        name: "db".to_owned(),
        created: 1,
        used: full.then_some(1),
        size_max: full.then_some(2),
        jails: Vec::new(),
        path: "/data/volumes/db/data".to_owned(),
    }
}

pub(super) fn image() -> Image {
    Image {
        digest: "sha256:00".to_owned(),
        kind: "erofs".to_owned(),
        size: 1,
        created: 2,
        origin: "/srv/web".to_owned(),
        names: Vec::new(),
        jails: Vec::new(),
    }
}

pub(super) fn root(full: bool) -> Root {
    Root {
        jail: "db".to_owned(),
        image: "dir:/srv/db".to_owned(),
        stale: false,
        used: full.then_some(1),
        size_max: full.then_some(2),
        path: "/data/jails/db/root".to_owned(),
    }
}

pub(super) fn usage() -> Usage {
    Usage { user_us: 1, system_us: 2, max_rss: 3 }
}

pub(super) fn victim() -> Victim {
    Victim { pid: 416, program: "nginx".to_owned() }
}

pub(super) fn exit(full: bool) -> Exit {
    Exit {
        reason: ExitReason::Exited,
        code: full.then_some(7),
        signal: full.then(|| "SIGSEGV".to_owned()),
        core: false,
        at: 1,
        stage: full.then(|| "cannot mount /proc".to_owned()),
        errno: full.then(|| "EPERM".to_owned()),
        detail: full.then(String::new),
        usage: full.then(usage),
        program: full.then(|| "/usr/sbin/nginx".to_owned()),
        pid: full.then_some(415),
        victim: full.then(victim),
    }
}

pub(super) fn summary(full: bool) -> JailSummary {
    JailSummary {
        name: "web".to_owned(),
        state: JailState::Up,
        since: 1,
        address: vec!["192.0.2.10/24".to_owned()],
        pid: full.then_some(7),
        restarts: 0,
        problem: full.then(String::new),
        waits_for: full.then(String::new),
        unit: "/etc/jails.d/web.toml".to_owned(),
        frozen: false,
        enabled: true,
        stale: false,
        health: full.then_some(HealthState::Healthy),
        status: full.then(String::new),
    }
}

pub(super) fn checks(full: bool) -> Checks {
    Checks {
        what: "http://127.0.0.1/".to_owned(),
        interval_ms: 30_000,
        probing: false,
        failures: 0,
        last_at: full.then_some(1),
        succeeded: full.then_some(true),
        output: full.then(String::new),
    }
}

pub(super) fn jail(full: bool) -> Jail {
    Jail {
        summary: summary(full),
        description: full.then(String::new),
        critical: true,
        image: String::new(),
        exec: Vec::new(),
        user: "root".to_owned(),
        uid_base: full.then_some(65536),
        mac: full.then(String::new),
        link: full.then(String::new),
        publish: Vec::new(),
        ingress: full.then(Vec::new),
        egress: full.then(Vec::new),
        cgroup: full.then(String::new),
        capabilities: full.then(Vec::new),
        bounding: full.then(Vec::new),
        seccomp: full.then_some(Seccomp::Filter),
        no_new_privs: full.then_some(true),
        init: full.then(|| privileges(full)),
        landlock: full.then_some(true),
        last_exit: full.then(|| exit(full)),
        memory_current: full.then_some(1),
        pids_current: full.then_some(1),
        start_time: full.then_some(1),
        ready_at: full.then_some(1),
        watchdog_us: full.then_some(1),
        reloading: false,
        checks: full.then(|| checks(full)),
        problems: Vec::new(),
    }
}

pub(super) fn privileges(full: bool) -> Privileges {
    let seccomp = full.then_some(Seccomp::Filter);
    Privileges { capabilities: Vec::new(), bounding: Vec::new(), seccomp, no_new_privs: true }
}

pub(super) fn log_entry(full: bool) -> LogEntry {
    let jail = full.then(|| "web".to_owned());
    LogEntry { time: 1, jail, stream: Stream::Stdout, text: "hello".to_owned() }
}

pub(super) fn stage() -> Stage {
    let name = "mounts".to_owned();
    Stage { name, start_us: 1, duration_us: 2, state: StageState::Ok, message: String::new() }
}

pub(super) fn host_info(full: bool) -> HostInfo {
    HostInfo {
        version: String::new(),
        hostname: String::new(),
        kernel: String::new(),
        boot_id: String::new(),
        booted: 1,
        data: "disk".to_owned(),
        uplink: full.then(String::new),
        stages: vec![stage()],
        problems: Vec::new(),
    }
}

pub(super) fn draft(full: bool) -> UnitDraft {
    UnitDraft { stem: String::new(), text: String::new(), path: full.then(String::new) }
}

pub(super) fn problem(full: bool) -> Problem {
    Problem {
        file: String::new(),
        line: 1,
        column: 1,
        key: String::new(),
        message: String::new(),
        help: full.then(String::new),
        text: String::new(),
    }
}

pub(super) fn change(full: bool) -> Change {
    Change {
        key: "resources.memory_max".to_owned(),
        old: full.then(String::new),
        new: full.then(String::new),
        effect: Effect::Live,
    }
}

pub(super) fn plan_step() -> PlanStep {
    PlanStep {
        name: "web".to_owned(),
        consequence: Consequence::Start,
        why: String::new(),
        changes: vec![change(true)],
        problems: Vec::new(),
    }
}

pub(super) fn applied(full: bool) -> Applied {
    Applied {
        name: "web".to_owned(),
        consequence: Consequence::Start,
        reached: JailState::Up,
        problem: full.then(String::new),
    }
}

pub(super) fn unit_text() -> UnitText {
    UnitText {
        path: String::new(),
        text: String::new(),
        role: UnitRole::DropIn,
        hash: String::new(),
    }
}

pub(super) fn key_doc(full: bool) -> KeyDoc {
    KeyDoc {
        key: "restart.delay".to_owned(),
        kind: "a duration".to_owned(),
        required: false,
        default: full.then(String::new),
        otherwise: full.then(String::new),
        effect: Effect::Live,
        doc: String::new(),
        example: String::new(),
    }
}

pub(super) fn event(full: bool) -> Event {
    Event {
        time: 1,
        jail: "web".to_owned(),
        from: full.then_some(JailState::Up),
        to: full.then_some(JailState::Stopping),
        reason: full.then_some(ExitReason::Watchdog),
        why: String::new(),
    }
}

pub(super) fn evidence(full: bool) -> Evidence {
    Evidence {
        jail: summary(full),
        text: Vec::new(),
        last_exit: full.then(|| exit(full)),
        start_problem: full.then(String::new),
        next_try_ms: full.then_some(1),
        next_try_at: full.then_some(1),
        problems: Vec::new(),
        events: vec![event(full)],
        log: vec![log_entry(true)],
    }
}

pub(super) fn process() -> Process {
    Process { pid: 412, ppid: 1, jail_pid: 1, user: 0, command: vec!["/sbin/init".to_owned()] }
}

pub(super) fn jail_processes() -> JailProcesses {
    let (name, state) = ("web".to_owned(), JailState::Up);
    JailProcesses { name, state, processes: vec![process()] }
}

pub(super) fn process_usage() -> ProcessUsage {
    let command = vec!["/sbin/init".to_owned()];
    let (cpu_us, memory, io_read, io_write) = (1, 1, 1, 1);
    ProcessUsage { pid: 412, jail_pid: 1, command, cpu_us, memory, io_read, io_write }
}

pub(super) fn jail_usage(full: bool) -> JailUsage {
    JailUsage {
        name: "web".to_owned(),
        state: JailState::Up,
        counters: Counters::default(),
        memory_max: full.then_some(1),
        processes: full.then(|| vec![process_usage()]),
    }
}

pub(super) fn terminal_size() -> TerminalSize {
    TerminalSize { rows: 24, columns: 80 }
}

pub(super) fn net_address(full: bool) -> NetAddress {
    NetAddress {
        address: "192.0.2.10/24".to_owned(),
        set_by: SetBy::Lease,
        from: full.then(|| "192.0.2.1".to_owned()),
        ends: full.then_some(1),
        problem: full.then(String::new),
    }
}

pub(super) fn net_link(full: bool) -> NetLink {
    NetLink {
        name: "eth0".to_owned(),
        kind: "macvlan".to_owned(),
        state: LinkState::Up,
        mtu: 1500,
        mac: full.then(|| "02:00:00:00:00:01".to_owned()),
        parent: full.then(|| "eth1".to_owned()),
        vlan: full.then_some(10),
        network: full.then(|| "back".to_owned()),
        warder: true,
        addresses: vec![net_address(full)],
        received: 1,
        sent: 2,
    }
}

pub(super) fn net_route(full: bool) -> NetRoute {
    NetRoute {
        to: "default".to_owned(),
        via: full.then(|| "192.0.2.1".to_owned()),
        link: full.then(|| "eth0".to_owned()),
        metric: full.then_some(1024),
        set_by: SetBy::Unit,
        from: full.then(String::new),
    }
}

pub(super) fn jail_network(full: bool) -> JailNetwork {
    JailNetwork {
        jail: "web".to_owned(),
        running: true,
        links: vec![net_link(full)],
        routes: vec![net_route(full)],
        problem: full.then(String::new),
        cut: false,
    }
}

pub(super) fn finding(full: bool) -> Finding {
    Finding {
        weight: Weight::Suspected,
        what: String::new(),
        evidence: String::new(),
        remedy: full.then(String::new),
    }
}
