//! Rendering as pure functions, and whole commands against a peer that speaks the wire.

mod commands;
mod edit;
mod net;
mod pages;
mod peer;
mod schema;

use std::io::Write;
use std::path::Path;

use clap::{CommandFactory as _, Parser as _};
use jailsupd::control::wire::{
    Checks, Exit, ExitReason, HealthState, HostInfo, Inspected, Jail, JailState, JailSummary,
    Listed, LogEntry, Privileges, Seccomp, Stage, StageState, Stream, Usage,
};

use crate::cli::Arguments;
use crate::output::{Output, complaint};
use crate::render::{self, Style};
use peer::{at, jailctl};

const NOW: u64 = 1_795_343_509_123;
const PLAIN: Style = Style { colour: false };

fn summary(name: &str, state: JailState, seconds: u64) -> JailSummary {
    JailSummary {
        name: name.to_owned(),
        state,
        since: NOW - seconds * 1000,
        address: vec!["192.0.2.10/24".to_owned()],
        pid: None,
        restarts: 0,
        problem: None,
        waits_for: None,
        unit: format!("/etc/jails.d/{name}.toml"),
        frozen: false,
        enabled: true,
        stale: false,
        health: None,
        status: None,
    }
}

fn jails() -> Vec<JailSummary> {
    let mut broken = summary("broken", JailState::Invalid, 90_061);
    broken.address.clear();
    broken.problem = Some(
        "/etc/jails.d/broken.toml:13:1: resources.memroy_max: unknown key in a unit file \
         (did you mean `memory_max`?)"
            .to_owned(),
    );
    let mut db = summary("db", JailState::Backoff, 2);
    db.restarts = 4;
    db.address = vec!["192.0.2.11/24".to_owned(), "2001:db8:1234:5678::11/64".to_owned()];
    db.problem = Some("exit code 1\x1b[2J".to_owned());
    vec![broken, db, summary("web", JailState::Up, 192)]
}

#[test]
fn a_list_has_a_line_for_each_jail_and_its_problem_below() {
    let text = render::list(&jails(), NOW, PLAIN);
    assert_eq!(
        text,
        "\
NAME    STATE    SINCE   RESTARTS  ADDRESS
broken  invalid  1d1h           0
    /etc/jails.d/broken.toml:13:1: resources.memroy_max: unknown key in a unit
    file (did you mean `memory_max`?)
db      backoff  2s             4  192.0.2.11/24 2001:db8:1234:5678::11/64
    exit code 1\u{fffd}[2J
web     up       3m12s          0  192.0.2.10/24
"
    );
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn addresses_without_room_are_counted() {
    let mut jail = summary("a-jail-with-a-rather-long-name", JailState::Up, 1);
    jail.address = vec!["192.0.2.11/24".to_owned(), "2001:db8:1234:5678::11/64".to_owned()];
    let text = render::list(&[jail], NOW, PLAIN);
    assert!(text.ends_with("  192.0.2.11/24 +1\n"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn a_list_of_nothing_says_what_to_do() {
    assert_eq!(
        render::list(&[], NOW, PLAIN),
        "no jails: put a unit file into /etc/jails.d (`jailctl edit NAME` makes one)\n"
    );
}

#[test]
fn colours_leave_the_columns_as_they_are() {
    let coloured = render::list(&jails(), NOW, Style { colour: true });
    assert!(coloured.contains("\x1b[32mup     \x1b[0m"), "{coloured:?}");
    let mut bare = coloured;
    for code in ["\x1b[0m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m"] {
        bare = bare.replace(code, "");
    }
    assert_eq!(bare, render::list(&jails(), NOW, PLAIN));
}

fn web() -> Jail {
    let mut summary = summary("web", JailState::Up, 192);
    summary.pid = Some(412);
    summary.restarts = 2;
    Jail {
        summary,
        description: Some("front web server".to_owned()),
        critical: false,
        image: "erofs:/usr/share/jails/nginx.erofs".to_owned(),
        exec: ["/usr/sbin/nginx", "-g", "daemon off;"].map(str::to_owned).to_vec(),
        user: "root".to_owned(),
        uid_base: Some(655_360),
        mac: Some("02:00:00:00:00:0a".to_owned()),
        link: Some("bridge on network front as 02:00:00:00:00:0a 10.89.0.2/24".to_owned()),
        publish: vec!["80:8080/tcp".to_owned(), "5000-5100:5000-5100/udp".to_owned()],
        ingress: Some(vec!["jail:proxy 10.0.0.0/8: 8080/tcp, 10/s".to_owned()]),
        egress: Some(Vec::new()),
        cgroup: Some("jails/web".to_owned()),
        capabilities: Some(vec!["NET_BIND_SERVICE".to_owned()]),
        bounding: Some(vec!["NET_BIND_SERVICE".to_owned(), "NET_RAW".to_owned()]),
        seccomp: Some(Seccomp::Filter),
        no_new_privs: Some(true),
        init: Some(Privileges {
            capabilities: Vec::new(),
            bounding: Vec::new(),
            seccomp: Some(Seccomp::Filter),
            no_new_privs: true,
        }),
        landlock: Some(true),
        last_exit: Some(Exit {
            reason: ExitReason::Signaled,
            code: None,
            signal: Some("SIGSEGV".to_owned()),
            core: true,
            at: NOW - 200_000,
            stage: None,
            errno: None,
            detail: None,
            usage: Some(Usage { user_us: 120_000, system_us: 1_030_000, max_rss: 10 << 20 }),
            program: Some("/usr/sbin/nginx".to_owned()),
            pid: Some(415),
            victim: None,
        }),
        memory_current: Some(12_900_000),
        pids_current: Some(3),
        start_time: Some(1234),
        ready_at: None,
        watchdog_us: None,
        reloading: false,
        checks: None,
        problems: Vec::new(),
    }
}

#[test]
fn a_jail_is_shown_with_all_that_it_has() {
    assert_eq!(
        render::jail(&web(), NOW, PLAIN),
        "\
web  up for 3m12s
  Description     front web server
  Unit            /etc/jails.d/web.toml
  Image           erofs:/usr/share/jails/nginx.erofs
  Program         /usr/sbin/nginx -g 'daemon off;'
  User            root
  Host ids        655360 to 720895
  Address         192.0.2.10/24
  Link            bridge on network front as 02:00:00:00:00:0a 10.89.0.2/24
  Ports           80:8080/tcp 5000-5100:5000-5100/udp
  Lets in         jail:proxy 10.0.0.0/8: 8080/tcp, 10/s
  Lets out        nothing
  Cgroup          jails/web
  Process         412 on the host
  Capabilities    NET_BIND_SERVICE, at most NET_BIND_SERVICE NET_RAW
  New privileges  never
  System calls    filtered
  Landlock        no mounts, no device nodes
  Its init        capabilities none; filtered; no new privileges
  Memory          12.3 MiB
  Processes       3
  Restarts        2
  Last end        killed by SIGSEGV, core dumped, 3m20s ago
  It had used     120.0ms in user mode, 1.030s in the kernel, 10.0 MiB of memory
"
    );
}

#[test]
fn a_jail_shows_how_it_is_and_what_it_says() {
    let mut jail = web();
    jail.summary.health = Some(HealthState::Healthy);
    jail.summary.status = Some("serving\u{1b}[2J".to_owned());
    jail.ready_at = Some(NOW - 60_000);
    jail.watchdog_us = Some(30_000_000);
    jail.reloading = true;
    jail.checks = Some(Checks {
        what: "http://127.0.0.1/".to_owned(),
        interval_ms: 30_000,
        probing: false,
        failures: 0,
        last_at: Some(NOW - 2000),
        succeeded: Some(true),
        output: Some("HTTP/1.1 200 OK".to_owned()),
    });
    let text = render::jail(&jail, NOW, PLAIN);
    assert!(text.starts_with("web  up, healthy for 3m12s\n"), "{text}");
    for line in [
        "Ready           1m ago",
        "Says            serving\u{fffd}[2J (reloading)",
        "Health          http://127.0.0.1/ every 30s, 2s ago: HTTP/1.1 200 OK",
        "Watchdog        30s",
    ] {
        assert!(text.contains(line), "no {line}: {text}");
    }
    let checks = jail.checks.as_mut().unwrap();
    (checks.failures, checks.succeeded, checks.probing) = (3, Some(false), true);
    checks.output = Some("connection refused".to_owned());
    let text = render::jail(&jail, NOW, PLAIN).split_whitespace().collect::<Vec<_>>().join(" ");
    let told = "startup probe http://127.0.0.1/ every 30s, 2s ago, 3 failures in a row: connection refused";
    assert!(text.contains(told), "{text}");
}

#[test]
fn an_unhealthy_jail_stands_out_and_one_that_comes_up_says_where_it_is() {
    let mut coming = summary("db", JailState::Activating, 5);
    coming.status = Some("recovering".to_owned());
    let mut sick = summary("web", JailState::Up, 5);
    sick.health = Some(HealthState::Unhealthy);
    let text = render::list(&[coming, sick], NOW, PLAIN);
    assert!(text.contains("    recovering\n") && text.contains("up, unhealthy"), "{text}");
}

#[test]
fn a_jail_that_is_invalid_shows_its_problems_in_full() {
    let mut jail = web();
    jail.summary = summary("web", JailState::Invalid, 5);
    jail.problems = vec!["error: one\n --> x\n".to_owned(), "error: two\x07\n".to_owned()];
    let text = render::jail(&jail, NOW, PLAIN);
    assert!(text.ends_with("\nProblems\nerror: one\n --> x\n\nerror: two\u{fffd}\n"), "{text}");
}

#[test]
fn each_end_of_a_jail_has_its_words() {
    let mut jail = web();
    let mut shown = |reason, code, stage: Option<&str>| {
        let exit = Exit {
            reason,
            code,
            signal: None,
            core: false,
            at: NOW - 1000,
            stage: stage.map(str::to_owned),
            errno: stage.map(|_| "EPERM".to_owned()),
            detail: None,
            usage: None,
            program: None,
            pid: None,
            victim: None,
        };
        jail.last_exit = Some(exit);
        let text = render::jail(&jail, NOW, PLAIN);
        text.lines().last().unwrap().trim().to_owned()
    };
    assert_eq!(shown(ExitReason::Exited, Some(7), None), "Last end        exit code 7, 1s ago");
    assert_eq!(
        shown(ExitReason::StartFailed, None, Some("cannot mount /proc")),
        "Last end        cannot mount /proc: EPERM, 1s ago"
    );
    assert!(shown(ExitReason::Oom, None, None).contains("out of memory"));
    assert!(shown(ExitReason::Killed, None, None).contains("did not stop in time"));
    assert!(shown(ExitReason::Unknown, None, None).contains("nobody saw it"));
}

fn info() -> HostInfo {
    let stage = |name: &str, state, message: &str| Stage {
        name: name.to_owned(),
        start_us: 512_000,
        duration_us: 3_140,
        state,
        message: message.to_owned(),
    };
    HostInfo {
        version: "0.1.0".to_owned(),
        hostname: "rack4-12".to_owned(),
        kernel: "6.12.57".to_owned(),
        boot_id: "0b7e".to_owned(),
        booted: NOW - 7_500_000,
        data: "memory: no data partition".to_owned(),
        uplink: Some("eth0".to_owned()),
        stages: vec![
            stage("mounts", StageState::Ok, ""),
            stage("data", StageState::Degraded, "no data partition"),
        ],
        problems: Vec::new(),
    }
}

#[test]
fn a_host_is_shown_with_its_boot() {
    assert_eq!(
        render::host(&info(), NOW, PLAIN),
        "\
rack4-12  Warder 0.1.0, up for 2h5m
  Kernel   6.12.57
  Boot id  0b7e
  Data     memory: no data partition
  Uplink   eth0

  STAGE         AT      TOOK  STATE
  mounts   512.0ms     3.1ms  ok
  data     512.0ms     3.1ms  degraded
      no data partition
"
    );
}

fn entry(stream: Stream, text: &str) -> LogEntry {
    LogEntry { time: NOW, jail: Some("web".to_owned()), stream, text: text.to_owned() }
}

#[test]
fn a_log_line_cannot_command_the_terminal() {
    assert_eq!(
        render::log_entry(&entry(Stream::Stdout, "a\tb\x1b]0;c\r"), None, PLAIN),
        "2026-11-22T10:31:49.123Z stdout a    b\u{fffd}]0;c\u{fffd}\n"
    );
}

#[test]
fn lines_of_several_logs_have_names() {
    let line = render::log_entry(&entry(Stream::Stderr, "a"), Some(5), PLAIN);
    assert_eq!(line, "2026-11-22T10:31:49.123Z web   stderr a\n");
    let kernel = LogEntry { jail: None, ..entry(Stream::Kernel, "b") };
    let line = render::log_entry(&kernel, Some(3), PLAIN);
    assert_eq!(line, "2026-11-22T10:31:49.123Z -   kernel b\n");
}

#[test]
fn lines_are_looked_for() {
    let found = |words: &[&str]| {
        let log = jailctl(&[&["logs", "web"], words].concat()).unwrap();
        log.lines().map(|l| l.rsplit(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found(&["--grep", "^t.o$"]), ["two"]);
    assert_eq!(found(&["--grep", "o", "-n", "1"]), ["two"]);
    assert_eq!(found(&["--stream", "stdout"]), ["one", "two"]);
    assert_eq!(found(&["--stream", "stderr", "--stream", "warder"]), [""; 0]);
    let usage = Arguments::try_parse_from(["jailctl", "logs", "web", "--grep", "("]).unwrap_err();
    assert!(usage.to_string().contains("unclosed group"), "{usage}");
}

#[test]
fn each_command_shows_the_answer_of_the_peer() {
    assert_eq!(jailctl(&["ls"]).unwrap(), render::list(&jails(), NOW, PLAIN));
    assert_eq!(jailctl(&["inspect", "web"]).unwrap(), render::jail(&web(), NOW, PLAIN));
    assert_eq!(jailctl(&["host", "info"]).unwrap(), render::host(&info(), NOW, PLAIN));
    assert!(jailctl(&["host", "poweroff"]).unwrap().contains("turns off"));
    let log = jailctl(&["logs", "web", "-n", "2"]).unwrap();
    assert_eq!(
        log.lines().map(|l| l.rsplit(' ').next().unwrap()).collect::<Vec<_>>(),
        ["one", "two"]
    );
}

#[test]
fn json_is_the_answer_as_it_is() {
    let listed: Listed = serde_json::from_str(&jailctl(&["ls", "--json"]).unwrap()).unwrap();
    assert_eq!(listed.jails, jails());
    let found: Inspected =
        serde_json::from_str(&jailctl(&["--json", "inspect", "web"]).unwrap()).unwrap();
    assert_eq!(found.jail, web());
    let log = jailctl(&["logs", "--json", "web"]).unwrap();
    let lines: Vec<LogEntry> = log.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines, ["one", "two"].map(|text| entry(Stream::Stdout, text)));
    assert_eq!(jailctl(&["host", "poweroff", "--json"]).unwrap(), "{}\n");
}

#[test]
fn a_refusal_has_its_exit_code_and_remedy() {
    let error = jailctl(&["inspect", "wbe"]).unwrap_err();
    assert_eq!(error.code(), 3);
    assert_eq!(
        complaint(&error),
        "jailctl: there is no jail `wbe`\n  help: did you mean `web`? `jailctl ls` lists the jails\n"
    );
    let error = jailctl(&["inspect", "other"]).unwrap_err();
    assert!(complaint(&error).ends_with("  help: `jailctl ls` lists the jails\n"));
    assert_eq!(jailctl(&["logs", "wbe"]).unwrap_err().code(), 3);
    let error = jailctl(&["host", "reboot"]).unwrap_err();
    assert_eq!(error.code(), 1);
    assert_eq!(
        complaint(&error),
        "jailctl: permission denied\n  help: run jailctl as root: the group `jails` may look, and not change anything\n"
    );
}

#[test]
fn a_jailsupd_that_is_away_or_goes_away_is_exit_code_4() {
    let error = at(Path::new("/nowhere/jailsupd.sock"), &["ls"]).unwrap_err();
    assert_eq!(error.code(), 4);
    assert_eq!(
        complaint(&error),
        "jailctl: cannot reach jailsupd at /nowhere/jailsupd.sock: No such file or directory (os error 2)\n  \
         help: is this a Warder host, and jailsupd running? Another socket: --socket PATH\n"
    );
    // The peer ends after two lines, as it does not when jailsupd lives.
    let error = jailctl(&["logs", "-f", "web"]).unwrap_err();
    assert_eq!(error.code(), 4);
    assert!(complaint(&error).contains("jails are not touched"));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    assert!(Output::new(Closed, NOW).write("x").unwrap_err().is_closed_pipe());
}

#[test]
fn the_command_line_is_well_formed() {
    Arguments::command().debug_assert();
    let usage = |words: &[&str]| Arguments::try_parse_from(words).unwrap_err().exit_code();
    assert_eq!(usage(&["jailctl", "frobnicate"]), 2);
    assert_eq!(usage(&["jailctl", "inspect"]), 2);
    assert_eq!(usage(&["jailctl", "logs", "web", "-n", "many"]), 2);
    assert_eq!(usage(&["jailctl", "help", "logs"]), 0);
    assert_eq!(usage(&["jailctl", "help", "image", "import"]), 0);
    assert_eq!(usage(&["jailctl", "help", "log"]), 2);
}

#[test]
fn help_is_80_columns_wide() {
    let mut command = Arguments::command();
    command.build();
    let mut all: Vec<clap::Command> = vec![command];
    let mut count = 0;
    while let Some(mut one) = all.pop() {
        for text in [one.render_help().to_string(), one.render_long_help().to_string()] {
            let wide = text.lines().find(|line| line.chars().count() > 80);
            assert!(wide.is_none(), "{}: {wide:?}", one.get_name());
        }
        count += 1;
        all.extend(one.get_subcommands().cloned());
    }
    assert!(count > 40, "{count} commands");
}

#[test]
fn the_help_of_a_problem_is_wrapped_and_the_lines_of_the_file_are_not() {
    let line =
        "7 | x = \"a line of a file that is a good deal longer than the eighty columns of a page\"";
    let help =
        "the keys of `[resources]` are `memory_min`, `memory_low`, `memory_high`, `memory_max`";
    let text =
        format!("error in `x`: unknown\n --> web.toml:7:1\n  |\n{line}\n  | ^\n  = help: {help}\n");
    assert_eq!(
        render::problem(&text),
        format!(
            "error in `x`: unknown\n --> web.toml:7:1\n  |\n{line}\n  | ^\n  \
             = help: the keys of `[resources]` are `memory_min`, `memory_low`,\n    \
             `memory_high`, `memory_max`\n"
        )
    );
}

#[test]
fn words_of_other_tools_are_commands_too() {
    let same = |one: &[&str], other: &[&str]| {
        assert_eq!(jailctl(one).unwrap(), jailctl(other).unwrap(), "{one:?}");
    };
    same(&["list"], &["ls"]);
    same(&["ps"], &["tree"]);
    same(&["status", "web"], &["why", "web"]);
    same(&["rm", "web"], &["delete", "web"]);
}
