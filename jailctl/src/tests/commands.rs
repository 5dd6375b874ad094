//! Commands against the peer: what they ask, show and exit with.

use std::fs;

use jailsupd::control::wire::{Changed, JailState, Request};

use super::peer::{asking, event, evidence, files, jailctl, key_docs, outcome, planned, processes};
use super::{NOW, PLAIN, summary};
use crate::output::complaint;
use crate::render;

pub(super) fn asked(arguments: &[&str]) -> Vec<Request> {
    asking(arguments).2
}

pub(super) fn refused(arguments: &[&str]) -> (u8, String) {
    let error = jailctl(arguments).unwrap_err();
    (error.code(), complaint(&error))
}

pub(super) fn name() -> String {
    "web".to_owned()
}

#[test]
fn orders_are_asked_for_with_waiting_and_without() {
    let (name, wait) = (name(), true);
    assert_eq!(asked(&["start", "web"]), [Request::Start { name: name.clone(), wait }]);
    assert_eq!(asked(&["stop", "web"]), [Request::Stop { name: name.clone(), wait }]);
    assert_eq!(asked(&["freeze", "web"]), [Request::Freeze { name: name.clone(), wait }]);
    assert_eq!(asked(&["thaw", "web"]), [Request::Thaw { name: name.clone(), wait }]);
    let restart = Request::Restart { name: name.clone(), wait: false };
    assert_eq!(asked(&["restart", "--no-wait", "web"]), [restart]);
    let kill =
        |signal: &str| [Request::Kill { name: name.clone(), signal: signal.to_owned(), wait }];
    assert_eq!(asked(&["kill", "web"]), kill("SIGKILL"));
    assert_eq!(asked(&["kill", "-s", "HUP", "web"]), kill("HUP"));
    let wait = |state, timeout_ms| [Request::Wait { name: name.clone(), state, timeout_ms }];
    assert_eq!(asked(&["wait", "web"]), wait(JailState::Up, None));
    assert_eq!(
        asked(&["wait", "web", "--state", "down", "--timeout", "1m30s"]),
        wait(JailState::Down, Some(90_000))
    );
}

#[test]
fn files_of_jails_are_changed_by_name() {
    let name = name();
    assert_eq!(asked(&["enable", "web"]), [Request::Enable { name: name.clone() }]);
    assert_eq!(asked(&["disable", "web"]), [Request::Disable { name: name.clone() }]);
    assert_eq!(asked(&["mask", "web"]), [Request::Mask { name: name.clone() }]);
    assert_eq!(asked(&["unmask", "web"]), [Request::Unmask { name: name.clone() }]);
    assert_eq!(asked(&["delete", "web"]), [Request::Delete { stem: name }]);
    assert_eq!(
        jailctl(&["disable", "web"]).unwrap(),
        "web: disabled; it is starting now\n    /etc/jails.d/web.toml\n"
    );
}

#[test]
fn a_reached_state_is_told_in_a_line() {
    assert_eq!(jailctl(&["start", "web"]).unwrap(), "web is up\n");
    assert_eq!(jailctl(&["stop", "web"]).unwrap(), "web is down\n");
    assert_eq!(jailctl(&["freeze", "web"]).unwrap(), "web is frozen (up)\n");
    assert_eq!(jailctl(&["thaw", "web"]).unwrap(), "web is thawed (up)\n");
    assert_eq!(jailctl(&["wait", "web"]).unwrap(), "web is up\n");
    assert_eq!(jailctl(&["kill", "web"]).unwrap(), "web got SIGKILL; it is up now\n");
    assert_eq!(
        jailctl(&["start", "web", "--no-wait"]).unwrap(),
        "web was asked to be up; it is up now\n"
    );
}

#[test]
fn a_state_that_is_not_reached_is_exit_code_5() {
    let help = "  help: `jailctl why bad` tells more\n";
    let text = format!("jailctl: `bad` is not up but backoff: exit code 7\n{help}");
    assert_eq!(refused(&["start", "bad"]), (5, text));
    let text = format!("jailctl: `bad` is not up but backoff: the time is up\n{help}");
    assert_eq!(refused(&["wait", "bad", "--timeout", "1s"]), (5, text));
    // A script that reads JSON gets both.
    let (done, printed, _) = asking(&["start", "bad", "--json"]);
    assert_eq!(done.unwrap_err().code(), 5);
    assert!(printed.contains("\"state\":\"backoff\""), "{printed}");
}

#[test]
fn of_several_jails_each_is_tried_and_each_failure_told() {
    let (done, printed, asked) = asking(&["start", "bad", "web", "wbe"]);
    assert_eq!(asked.len(), 3);
    assert_eq!(printed, "web is up\n");
    let error = done.unwrap_err();
    assert_eq!(error.code(), 5);
    assert_eq!(
        complaint(&error),
        "\
jailctl: `bad` is not up but backoff: exit code 7
  help: `jailctl why bad` tells more
jailctl: there is no jail `wbe`
  help: did you mean `web`? `jailctl ls` lists the jails
"
    );
    let many: Vec<String> = (0..200).map(|_| name()).collect();
    let words: Vec<&str> = ["stop"].into_iter().chain(many.iter().map(String::as_str)).collect();
    assert_eq!(jailctl(&words).unwrap().lines().count(), 200);
}

#[test]
fn a_refusal_that_names_no_jail_is_told_with_its_jail() {
    let (code, text) = refused(&["kill", "web", "-s", "hup!"]);
    assert_eq!(code, 2);
    assert_eq!(
        text,
        "jailctl: `web`: \"hup!\" is not a signal\n  help: did you mean \"SIGHUP\"?\n"
    );
}

#[test]
fn logs_and_events_pass_on_what_is_asked_for() {
    let since = Some(NOW - 600_000);
    let (lines, follow) = (Some(3), false);
    let (names, until, kernel) = (Some(vec![name()]), None, None);
    let logs = Request::Logs { name: None, names, lines, follow, since, until, kernel };
    assert_eq!(asked(&["logs", "web", "-n", "3", "--since", "10m"]), [logs]);
    let (lines, since, until, kernel) = (None, None, Some(NOW - 1000), Some(true));
    let only_kernel =
        Request::Logs { name: None, names: Some(Vec::new()), lines, follow, since, until, kernel };
    // How many lines are shown is decided here, where it is known which are looked for.
    let words = ["logs", "-k", "--until", "1s", "-n", "2", "--grep", "x"];
    assert_eq!(asked(&words), [only_kernel]);
    let events = |follow, name| [Request::Events { follow, name, lines: None }];
    assert_eq!(asked(&["events"]), events(false, None));
    let last = Request::Events { follow: false, name: None, lines: Some(5) };
    assert_eq!(asked(&["events", "-n", "5"]), [last]);
    assert_eq!(asked(&["events", "-f", "web"]), events(true, Some(name())));
    assert_eq!(
        jailctl(&["events"]).unwrap(),
        "2026-11-22T10:31:48.123Z  web  starting -> up  its program runs\n"
    );
    let mut plain = event(JailState::Up, JailState::Up, "frozen");
    (plain.from, plain.to) = (None, None);
    assert!(render::event(&plain, PLAIN).ends_with("Z  web  frozen\n"));
}

#[test]
fn why_starts_with_the_explanation() {
    assert_eq!(jailctl(&["why", "web"]).unwrap(), render::why(&evidence(), NOW, PLAIN));
    assert_eq!(
        render::why(&evidence(), NOW, PLAIN),
        "\
web  backoff for 2s
  Its program exited with code 7.
  It is started again.

  Unit          /etc/jails.d/web.toml
  Next start    2026-11-22T10:31:49.923Z, in 800.0ms
  Last end      killed by SIGSEGV, core dumped, 3m20s ago
  Restarts      4

Last events
  2026-11-22T10:31:48.123Z  web  up -> backoff  exit code 7

Last output
  2026-11-22T10:31:49.123Z stderr bind: address in use
"
    );
}

#[test]
fn a_tree_has_children_below_their_parents() {
    let text = jailctl(&["tree"]).unwrap();
    assert_eq!(text, jailctl(&["tree", "web"]).unwrap());
    assert_eq!(
        text,
        "\
db  down

web  up
      PID  IN JAIL   USER  COMMAND
      412        1      0  /usr/lib/warder/jail-init
      415        2      0    nginx: master process /usr/sbin/nginx -g daemon of…
      416        3     33      nginx: worker process
      420        9      0    /bin/sh -c 'a b'
"
    );
}

#[test]
fn processes_that_claim_to_be_each_others_children_are_shown_once() {
    let mut jails = processes();
    for process in &mut jails[1].processes {
        process.ppid = if process.pid == 415 { 416 } else { 415 };
    }
    assert_eq!(render::tree(&jails, PLAIN).lines().count(), 2 + 2 + 4);
}

#[test]
fn a_plan_is_shown_field_by_field() {
    assert_eq!(jailctl(&["plan"]).unwrap(), render::plan(&planned(false), PLAIN));
    assert_eq!(
        render::plan(&planned(true), PLAIN),
        "\
cache   start    new unit
web     restart  process.exec differs
    process.exec: (needs a restart)
        [\"/usr/sbin/nginx\"]
     -> [\"/usr/sbin/nginx\", \"-g\", \"daemon off;\"]
    resources.memory_max: \"256M\" -> unset (live)
broken  invalid  its unit has problems
Problems
error in `resources.memroy_max`: unknown key
 --> /etc/jails.d/broken.toml:7:1
  |
7 | memroy_max = \"1M\"
  | ^^^^^^^^^^
  = help: did you mean `memory_max`?
1 other jail stays as it is
"
    );
}

#[test]
fn what_was_applied_is_shown_with_the_state_reached() {
    let (done, printed, asked) = asking(&["apply"]);
    assert_eq!(asked, [Request::Apply { wait: true }]);
    assert_eq!(printed, render::applied(&outcome(), PLAIN));
    assert_eq!(
        printed,
        "\
NAME   DONE     STATE
cache  start    backoff
    exit code 7
web    restart  up
"
    );
    let error = done.unwrap_err();
    assert_eq!(error.code(), 5);
    assert!(complaint(&error).starts_with("jailctl: one jail is not as its unit says"));
}

#[test]
fn files_are_checked_under_the_names_that_the_user_gave() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    fs::write(at("good.toml"), "version = 1\n").unwrap();
    fs::write(at("worse.toml"), "bad").unwrap();
    assert_eq!(jailctl(&["check"]).unwrap(), "5 unit files: no problems\n");
    assert_eq!(jailctl(&["check", &at("good.toml")]).unwrap(), "1 unit file: no problems\n");
    let (done, printed, asked) = asking(&["check", &at("good.toml"), &at("worse.toml")]);
    assert!(printed.contains(&format!(" --> {}:7:1\n", at("worse.toml"))), "{printed}");
    let error = done.unwrap_err();
    assert_eq!(error.code(), 6);
    assert_eq!(complaint(&error), "jailctl: 1 problem in 1 of 2 unit files\n");
    let Request::Check { units } = &asked[0] else { panic!("{asked:?}") };
    assert_eq!([units[0].stem.as_str(), units[1].stem.as_str()], ["good", "worse"]);
    let (done, ..) = asking(&["plan", &at("good.toml")]);
    assert_eq!(done.unwrap_err().code(), 6);
}

#[test]
fn what_is_no_unit_file_is_refused_before_jailsupd_is_asked() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let of = |path: &str| refused(&["check", path]);
    fs::write(at("web.conf"), "").unwrap();
    let (code, text) = of(&at("web.conf"));
    assert_eq!(code, 2);
    assert!(
        text.contains("does not end in .toml\n  help: a unit file is named NAME.toml"),
        "{text}"
    );
    assert!(of(&at("")).1.contains("it is a directory"));
    assert!(of("/dev/null").1.contains("it is no regular file"));
    let (code, text) = of(&at("none.toml"));
    assert_eq!(code, 1);
    assert!(text.contains("none.toml: No such file or directory"), "{text}");
    fs::write(at("latin.toml"), b"\xe4").unwrap();
    assert!(of(&at("latin.toml")).1.contains("it is not UTF-8 text"));
    fs::write(at("long.toml"), vec![b'#'; 2 << 20]).unwrap();
    assert!(of(&at("long.toml")).1.contains("at most 1 MiB"));
}

#[test]
fn cat_shows_each_file_under_its_path() {
    assert_eq!(jailctl(&["cat", "web"]).unwrap(), render::cat(&files().files, PLAIN));
    assert_eq!(
        render::cat(&files().files, PLAIN),
        "\
# /etc/jails.d/web.toml
version = 1\t# one

# /etc/jails.d/web.toml.d/10-x.toml (drop-in)
critical = true
"
    );
}

#[test]
fn keys_are_explained_in_short_and_in_full() {
    assert_eq!(jailctl(&["explain"]).unwrap(), render::keys(&key_docs(), PLAIN));
    let text = render::keys(&key_docs(), PLAIN);
    assert!(text.contains("\nresources.memory_max  The most memory the jail may use.\n"), "{text}");
    assert_eq!(
        render::key_docs(&key_docs()[1..2], PLAIN),
        "\
resources.memory_max
  The most memory the jail may use. Beyond it the kernel kills.

  Takes     a size
  Default   no limit
  A change  in force at once
  Example   memory_max = \"256M\"
"
    );
    let full = jailctl(&["explain", "resources"]).unwrap();
    assert_eq!(full, render::key_docs(&key_docs(), PLAIN));
    assert_eq!(jailctl(&["explain", "--schema"]).unwrap(), "{\n  \"a\": 1\n}\n");
    let (code, text) = refused(&["explain", "memroy_max"]);
    assert_eq!(code, 1);
    assert!(text.contains("help: did you mean `resources.memory_max`?"), "{text}");
    assert_eq!(
        refused(&["explain", "memory"]),
        (
            1,
            "jailctl: unit files have no key `memory`\n  \
             help: see `resources.memory_min`, `resources.memory_max`\n"
                .to_owned()
        )
    );
}

#[test]
fn no_answer_can_command_the_terminal() {
    const EVIL: &str = "\x1b[2J\x07\r\u{202e}\u{9b}";
    let evil = || EVIL.to_owned();
    let mut tree = processes();
    tree[1].name = evil();
    tree[1].processes[0].command = vec![evil()];
    let mut plan = planned(true);
    for step in &mut plan.steps {
        (step.name, step.why, step.problems) = (evil(), evil(), vec![evil()]);
        for change in &mut step.changes {
            (change.key, change.old, change.new) = (evil(), Some(evil()), Some(evil()));
        }
    }
    let mut done = outcome();
    done.jails[0].name = evil();
    done.jails[0].problem = Some(evil());
    let mut why = evidence();
    (why.text, why.problems, why.start_problem) = (vec![evil()], vec![evil()], Some(evil()));
    (why.jail.name, why.jail.unit) = (evil(), evil());
    (why.events[0].jail, why.events[0].why, why.log[0].text) = (evil(), evil(), evil());
    let mut read = files().files;
    (read[0].path, read[1].text) = (evil(), evil());
    let mut keys = key_docs();
    (keys[0].key, keys[0].doc, keys[0].example, keys[0].kind) = (evil(), evil(), evil(), evil());
    let changed = Changed { paths: vec![evil()], jail: None };
    let shown = [
        render::tree(&tree, PLAIN),
        render::plan(&plan, PLAIN),
        render::applied(&done, PLAIN),
        render::why(&why, NOW, PLAIN),
        render::cat(&read, PLAIN),
        render::keys(&keys, PLAIN),
        render::key_docs(&keys, PLAIN),
        render::changed(EVIL, "written", &changed),
        render::killed(EVIL, EVIL, &why.jail),
    ];
    for text in shown {
        let bad = text.chars().find(|c| EVIL.chars().any(|e| e == *c && !"[2J".contains(e)));
        assert_eq!(bad, None, "{text:?}");
        assert!(text.contains('\u{fffd}'), "{text:?}");
    }
}

#[test]
fn a_frozen_or_disabled_jail_is_shown_as_such() {
    let mut frozen = summary("a", JailState::Up, 1);
    frozen.frozen = true;
    let mut disabled = summary("b", JailState::Down, 1);
    disabled.enabled = false;
    let text = render::list(&[frozen, disabled], NOW, PLAIN);
    assert!(text.contains("\na     up, frozen      1s "), "{text}");
    assert!(text.contains("\nb     down, disabled  1s "), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn volumes_are_listed_shown_and_removed_by_name() {
    assert_eq!(
        jailctl(&["volume", "ls"]).unwrap(),
        "\
NAME        USED    SIZE MAX  MADE    JAILS
db       5.0 MiB     1.0 GiB  2h      db
old            -           -  2h
"
    );
    assert_eq!(asked(&["volume", "rm", "old"]), [Request::RemoveVolume { name: "old".to_owned() }]);
    assert_eq!(jailctl(&["volume", "rm", "old"]).unwrap(), "old is removed\n");
    let shown = jailctl(&["volume", "inspect", "db"]).unwrap();
    assert!(shown.contains("/data/volumes/db/data"), "{shown}");
    let (code, text) = refused(&["volume", "inspect", "new"]);
    assert_eq!(code, 3);
    assert!(text.contains("`jailctl volume ls` lists the volumes"), "{text}");
}

#[test]
fn roots_are_listed_with_their_image_and_removed_by_their_jail() {
    assert_eq!(
        jailctl(&["root", "ls"]).unwrap(),
        "JAIL        USED    SIZE MAX  MADE FROM\ndb       5.0 MiB           -  dir:/srv/db, stale\n"
    );
    let removed = "the root of db is removed; its next start makes another\n";
    assert_eq!(jailctl(&["root", "rm", "db"]).unwrap(), removed);
    assert_eq!(refused(&["root", "rm", "web"]).0, 3);
}

#[test]
fn images_are_brought_in_listed_named_and_removed() {
    let short = "sha256:0123456789ab";
    let digest = super::peer::image().digest;
    assert_eq!(
        jailctl(&["image", "ls"]).unwrap(),
        format!(
            "NAME        DIGEST                     SIZE  MADE    JAILS\n\
             web:latest  {short}    12.0 MiB  2h      web\n"
        )
    );
    let imported = jailctl(&["image", "import", "/srv/web.tar", "--name", "web"]).unwrap();
    assert_eq!(imported, format!("{digest} (erofs, 12.0 MiB), named web:latest\n"));
    let path = std::env::current_dir().unwrap().join("web.tar").to_string_lossy().into_owned();
    let request = Request::ImportImage { path, name: None };
    assert_eq!(asked(&["image", "import", "web.tar"]), [request]);
    let (code, text) = refused(&["image", "import", "/srv/bad"]);
    assert_eq!(code, 1);
    assert!(text.contains("ENOSPC"), "{text}");
    assert_eq!(jailctl(&["image", "tag", "web", "web:2"]).unwrap(), format!("web:2 is {digest}\n"));
    let removed = format!("web is removed\n{digest} is removed\n");
    assert_eq!(jailctl(&["image", "rm", "web"]).unwrap(), removed);
    assert!(jailctl(&["image", "gc"]).unwrap().starts_with("nothing to remove"));
    assert_eq!(refused(&["image", "inspect", "wbe"]).0, 3);
}

#[test]
fn a_bar_shows_how_far_an_import_is() {
    use jailsupd::control::wire::ImageImported;
    let at =
        |done, total| render::progress(&ImageImported { done: Some(done), total, image: None });
    assert_eq!(at(1 << 20, Some(4 << 20)), format!("[#######{}]  25% of 4.0 MiB", " ".repeat(23)));
    assert_eq!(at(9, Some(4)), format!("[{}] 100% of 4 B", "#".repeat(30)));
    assert_eq!(at(5 << 20, None), "5.0 MiB read");
}

#[test]
fn what_follows_the_program_of_exec_is_the_programs() {
    use crate::cli::{Arguments, Command};
    use clap::Parser as _;
    let parse = |words: &[&str]| {
        let words = ["jailctl", "exec"].iter().chain(words);
        match Arguments::try_parse_from(words).unwrap().command {
            Command::Exec(exec) => exec,
            other => panic!("{other:?}"),
        }
    };
    let exec = parse(&["-t", "web", "-i", "-e", "A=b", "ls", "-t", "--json", "-u", "x"]);
    assert!(exec.attach.terminal && exec.attach.interactive && exec.user.is_none());
    assert_eq!(exec.command, ["ls", "-t", "--json", "-u", "x"]);
    let exec = parse(&["-it", "-u", "33:33", "web", "--", "-odd", "--"]);
    assert!(exec.attach.terminal && exec.attach.interactive);
    assert_eq!(exec.command, ["-odd", "--"]);
    assert_eq!((exec.name.as_str(), exec.user.as_deref()), ("web", Some("33:33")));
}
