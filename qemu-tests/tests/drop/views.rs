//! What can be seen, and what is only said would happen.

use jailsupd::control::wire::{
    Applied, Changed, Checked, Consequence, Effect, Event, Evidence, ExitReason, JailState,
    LogEntry, Outcome, PlanStep, Planned, Stream, UnitFiles,
};
use qemu_tests::proto::Status;

use crate::{NO_SUCH_JAIL, NOT_REACHED, PROBLEMS, SOON, etc, guest, put_ready, stay, unit};

#[test]
fn check_names_all_problems_of_all_files() {
    let mut guest = guest();
    let good = guest.agent().jailctl(&["check"]).unwrap();

    guest.put("worse", &stay("[resources]\npids_max = \"many\"\nmemory_max = \"-1M\""));
    guest.put("bad", "version = ");
    let all = guest.agent().jailctl(&["check", "--json"]).unwrap();
    let one = guest.agent().jailctl(&["check", &etc("bad")]).unwrap();

    assert_eq!(good.status, Status::Exit(0), "{good:?}");
    assert_eq!((all.status, one.status), (PROBLEMS, PROBLEMS));
    let all: Checked = serde_json::from_str(&all.stdout).unwrap();
    let places: Vec<_> = all.problems.iter().map(|p| (p.file.as_str(), p.line)).collect();
    let worse = "/etc/jails.d/worse.toml";
    assert_eq!(places, [("/etc/jails.d/bad.toml", 1), (worse, 9), (worse, 10)]);
    assert!(one.stdout.contains("/etc/jails.d/bad.toml:1") && !one.stdout.contains("worse"));
    guest.remove("worse");
    guest.remove("bad");
}

#[test]
fn plan_says_field_by_field_what_would_happen_and_changes_nothing() {
    let mut guest = guest();
    let before = guest.put_up("planned", &stay("[resources]\nmemory_max = \"64M\""));
    let live = stay("[resources]\nmemory_max = \"96M\"");
    let restart = stay("environment = { A = \"1\" }\n[resources]\nmemory_max = \"64M\"");
    guest.sh("mkdir -p /run/drafts");
    let mut plan = |text: &str, name: &str| {
        let path = format!("/run/drafts/{name}.toml");
        guest.agent().write(&path, text).unwrap();
        let plan: Planned = guest.agent().ask(&["plan", &path]).unwrap();
        let step: Vec<PlanStep> = plan.steps.into_iter().filter(|step| step.name == name).collect();
        step.into_iter().next().unwrap()
    };

    let (live, restart) = (plan(&live, "planned"), plan(&restart, "planned"));
    let new = plan(&stay(""), "new");
    let text = guest.ctl(&["plan", "/run/drafts/planned.toml"]);
    let names: Vec<_> = guest.agent().list().unwrap().into_iter().map(|row| row.name).collect();

    assert_eq!(live.consequence, Consequence::Live);
    let [change] = &live.changes[..] else { panic!("{live:?}") };
    assert_eq!((change.key.as_str(), change.effect), ("resources.memory_max", Effect::Live));
    assert_eq!(change.old.as_deref(), Some("\"64M\""));
    assert_eq!(change.new.as_deref(), Some("\"96M\""));
    assert_eq!(restart.consequence, Consequence::Restart);
    assert_eq!(restart.changes.len(), 1, "{restart:?}");
    assert_eq!(new.consequence, Consequence::Start);
    assert!(text.contains("process.environment") && text.contains("needs a restart"), "{text}");
    assert_eq!(names, ["nginx", "planned", "shipped"]);
    assert_eq!(guest.up("planned").pid, before.pid);
    guest.sh("rm -r /run/drafts");
    guest.remove("planned");
}

#[test]
fn apply_reports_what_was_reached() {
    let mut guest = guest();
    let good = unit(&["stay"], "");
    guest.put("works", &good);
    let missing = good.replace("nuisance.erofs", "nowhere.erofs") + "[restart]\npolicy = \"no\"";
    guest.put("cannot", &missing);

    let output = guest.agent().jailctl(&["apply", "--json"]).unwrap();
    guest.remove("cannot");
    guest.put("cannot", "version = ");
    let invalid = guest.agent().jailctl(&["apply", "--json"]).unwrap();
    guest.remove("cannot");
    let nothing = guest.ctl(&["apply"]);

    let of = |output: &str, name: &str| -> Applied {
        let outcome: Outcome = serde_json::from_str(output).unwrap();
        outcome.jails.into_iter().find(|jail| jail.name == name).unwrap()
    };
    assert_eq!(output.status, NOT_REACHED, "{output:?}");
    assert_eq!(of(&output.stdout, "works").reached, JailState::Up);
    let failed = of(&output.stdout, "cannot");
    assert_eq!(failed.reached, JailState::Failed);
    assert!(failed.problem.unwrap().contains("nowhere.erofs"));
    assert_eq!(invalid.status, PROBLEMS, "{invalid:?}");
    assert_eq!(of(&invalid.stdout, "cannot").consequence, Consequence::Invalid);
    assert!(nothing.contains("all jails are as their units say"), "{nothing}");
    guest.remove("works");
}

#[test]
fn unit_is_written_shown_and_deleted_through_jailctl() {
    let mut guest = guest();
    guest.agent().write("/run/draft", &stay("description = \"drafted\"")).unwrap();

    let refused = guest.agent().jailctl(&["edit", "drafted", "--file", "/run/draft"]).unwrap();
    let text = stay("").replace("version = 1", "version = 1\ndescription = \"drafted\"");
    guest.agent().write("/run/draft", &text).unwrap();
    let put: Changed = guest.agent().ask(&["edit", "drafted", "--file", "/run/draft"]).unwrap();
    guest.up("drafted");
    let cat: UnitFiles = guest.agent().ask(&["cat", "drafted"]).unwrap();
    guest.ctl(&["delete", "drafted"]);
    guest.agent().wait_gone("drafted").unwrap();
    let twice = guest.agent().jailctl(&["delete", "drafted"]).unwrap();

    assert_eq!(refused.status, PROBLEMS, "{refused:?}");
    assert!(refused.stderr.contains("description"), "{refused:?}");
    assert_eq!(put.paths, ["/etc/jails.d/drafted.toml"]);
    assert_eq!(cat.files[0].text, text);
    assert_eq!(twice.status, NO_SUCH_JAIL, "{twice:?}");
}

#[test]
fn logs_show_the_last_lines_those_since_a_time_and_new_ones() {
    let mut guest = guest();
    guest.put_up("talks", &unit(&["say", "one", "two", "three"], ""));
    let talked = "/usr/bin/jailctl logs talks | grep -q three";
    guest.agent().wait_until(talked, crate::SOON).unwrap();

    let entries = |text: &str| -> Vec<LogEntry> {
        let out = text.lines().map(|line| serde_json::from_str(line).unwrap());
        out.filter(|entry: &LogEntry| entry.stream == Stream::Stdout).collect()
    };
    let texts = |entries: &[LogEntry]| -> Vec<String> {
        entries.iter().map(|entry| entry.text.clone()).collect()
    };
    let all = entries(&guest.ctl(&["logs", "talks", "--json"]));
    let last = entries(&guest.ctl(&["logs", "talks", "-n", "2", "--json"]));
    let recent = entries(&guest.ctl(&["logs", "talks", "--since", "1h", "--json"]));
    let future = guest.ctl(&["logs", "talks", "--since", "2100-01-01T00:00:00Z", "--json"]);
    let follow = "/usr/bin/jailctl logs talks -f -n 1 </dev/null >/run/followed 2>&1 & echo $!";
    let follower = guest.sh(follow);
    guest.agent().wait_until("grep -q three /run/followed", crate::SOON).unwrap();
    guest.ctl(&["kill", "talks", "-s", "SIGUSR1"]);
    guest.agent().wait_until("grep -q again /run/followed", crate::SOON).unwrap();
    guest.sh(&format!("kill {}; rm /run/followed", follower.trim()));

    assert_eq!(texts(&all), ["one", "two", "three"]);
    assert_eq!(texts(&last), ["two", "three"]);
    assert_eq!(recent, all);
    assert_eq!(entries(&future), []);
    guest.remove("talks");
}

#[test]
fn logs_go_on_over_the_death_of_jailsupd() {
    let mut guest = guest();
    put_ready(&mut guest, "writer", "");
    let brain = guest.agent().jailsupd().unwrap();
    let service = guest.agent().service("writer", "nuisance").unwrap().pid;

    guest.sh(&format!("kill -STOP {brain} && kill -USR1 {service}"));
    guest.agent().kill_jailsupd().unwrap();
    let again = "/usr/bin/jailctl logs writer | grep -q again";
    guest.agent().wait_until(again, crate::SOON).unwrap();

    let log = guest.ctl(&["logs", "writer"]);
    assert!(log.find("ready") < log.find("again"), "{log}");
    guest.remove("writer");
}

#[test]
fn events_tell_what_happened_to_a_jail_in_order() {
    let mut guest = guest();
    let follow = "/usr/bin/jailctl events told -f --json </dev/null >/run/told 2>&1 & echo $!";
    let follower = guest.sh(follow);
    guest.put_up("told", &stay(""));
    guest.ctl(&["stop", "told"]);
    guest.agent().wait_until("grep -q '\"to\":\"down\"' /run/told", crate::SOON).unwrap();
    guest.sh(&format!("kill {}", follower.trim()));

    let events = guest.ctl(&["events", "told", "--json"]);
    let followed = guest.agent().read("/run/told").unwrap();

    let parse = |text: &str| -> Vec<Event> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let states: Vec<_> = parse(&events).iter().filter_map(|event| event.to).collect();
    assert_eq!(states.first(), Some(&JailState::Preparing), "{events}");
    assert!(states.ends_with(&[JailState::Stopping, JailState::Cleaning, JailState::Down]));
    assert!(parse(&events).iter().any(|event| event.why == "someone stopped it"), "{events}");
    assert_eq!(parse(&followed), parse(&events));
    guest.remove("told");
}

#[test]
fn why_tells_how_a_jail_ended() {
    let mut guest = guest();
    guest.put("asked", &unit(&["exit", "7"], "[restart]\npolicy = \"no\""));
    guest.agent().wait_state("asked", JailState::Failed).unwrap();

    let why: Evidence = guest.agent().ask(&["why", "asked"]).unwrap();
    let text = guest.ctl(&["why", "asked"]);

    let exit = why.last_exit.unwrap();
    assert_eq!((exit.reason, exit.code), (ExitReason::Exited, Some(7)));
    assert!(why.text.iter().any(|line| line.contains("exited with 7")), "{:?}", why.text);
    assert!(why.events.iter().any(|event| event.to == Some(JailState::Failed)), "{:?}", why.events);
    assert!(text.contains("exited with 7") && text.contains("jailctl start"), "{text}");
    guest.remove("asked");
}

#[test]
fn why_shows_what_a_jail_has_printed_last() {
    let mut guest = guest();
    guest.put("told", &unit(&["say", "one", "two"], ""));
    guest.up("told");
    guest.agent().wait_until("/usr/bin/jailctl logs told | grep -q two", SOON).unwrap();

    let why: Evidence = guest.agent().ask(&["why", "told"]).unwrap();
    let text = guest.ctl(&["why", "told"]);

    let printed: Vec<&str> = why.log.iter().map(|line| line.text.as_str()).collect();
    assert!(printed.windows(2).any(|lines| lines == ["one", "two"]), "{printed:?}");
    let (_, output) = text.split_once("\nLast output\n").unwrap();
    assert!(output.contains(" one\n") && output.trim_end().ends_with(" two"), "{text}");
    guest.remove("told");
}

#[test]
fn why_tells_that_a_jail_did_not_stop_in_time() {
    let mut guest = guest();
    guest.put_up("deaf", &unit(&["ignore"], "[stop]\ntimeout = \"500ms\""));
    guest.agent().wait_heeds("deaf", "nuisance", SOON).unwrap();
    let pid = guest.agent().service("deaf", "nuisance").unwrap().pid;

    guest.ctl(&["stop", "deaf"]);
    let why: Evidence = guest.agent().ask(&["why", "deaf"]).unwrap();

    let exit = why.last_exit.unwrap();
    assert_eq!((exit.reason, exit.signal.as_deref()), (ExitReason::Killed, Some("SIGKILL")));
    let text = why.text.join("\n");
    assert!(text.contains("It did not stop within its time-out."), "{text}");
    assert_eq!((exit.program.as_deref(), exit.pid), (Some("/bin/nuisance"), Some(pid)));
    assert!(text.contains(&format!("Its program was /bin/nuisance, process {pid}.")), "{text}");
    guest.remove("deaf");
}
