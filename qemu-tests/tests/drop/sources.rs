//! Several files that make one jail, or keep it away: directories, drop-ins, templates, masks.

use jailsupd::control::wire::{JailState, JailSummary, UnitFiles, UnitRole};

use crate::{REFUSED, etc, guest, stay, unit};

#[test]
fn run_wins_over_etc_and_etc_over_usr() {
    let mut guest = guest();
    let files = ["/usr/lib/jails.d", "/etc/jails.d", "/run/jails.d"].map(|d| d.to_owned() + "/");
    let at = |directory: &str| format!("{directory}shipped.toml");
    let unit_is = |path: String| {
        move |row: Option<&JailSummary>| {
            row.is_some_and(|row| row.unit == path && row.state == JailState::Up)
        }
    };

    guest.up("shipped");
    guest.put("shipped", &unit(&["say", "etc"], ""));
    guest.agent().wait_listed("shipped", "of /etc", unit_is(at(&files[1]))).unwrap();
    guest.agent().write("/run/jails.d/shipped.toml", &unit(&["say", "run"], "")).unwrap();
    guest.agent().wait_listed("shipped", "of /run", unit_is(at(&files[2]))).unwrap();
    guest.ctl(&["apply"]);
    let exec = guest.agent().inspect("shipped").unwrap().exec;
    guest.sh("rm /run/jails.d/shipped.toml /etc/jails.d/shipped.toml");
    guest.agent().wait_listed("shipped", "of /usr", unit_is(at(&files[0]))).unwrap();
    guest.ctl(&["apply"]);

    assert_eq!(exec, ["/bin/nuisance", "say", "run"]);
    assert_eq!(guest.agent().inspect("shipped").unwrap().exec, ["/bin/nuisance", "stay"]);
}

#[test]
fn drop_ins_are_merged_in_the_order_of_their_names() {
    let mut guest = guest();
    guest.put_up("merged", &stay("[resources]\npids_max = 50"));

    let directory = "/etc/jails.d/merged.toml.d";
    guest.sh(&format!("mkdir {directory}"));
    let part = |pids: u32| format!("[resources]\npids_max = {pids}\n");
    guest.agent().write(&format!("{directory}/20-b.toml"), &part(70)).unwrap();
    guest.agent().write(&format!("{directory}/10-a.toml"), &part(60)).unwrap();
    guest.ctl(&["apply"]);
    let limit = "/sys/fs/cgroup/jails/merged/pids.max";
    let merged = guest.agent().read(limit).unwrap();
    let files: UnitFiles = guest.agent().ask(&["cat", "merged"]).unwrap();
    guest.sh(&format!("rm -r {directory}"));
    guest.agent().wait_until(&format!("[ \"$(cat {limit})\" = 50 ]"), crate::SOON).unwrap();

    assert_eq!(merged, "70\n");
    let files: Vec<_> = files.files.iter().map(|file| (file.path.as_str(), file.role)).collect();
    assert_eq!(
        files,
        [
            ("/etc/jails.d/merged.toml", UnitRole::Unit),
            ("/etc/jails.d/merged.toml.d/10-a.toml", UnitRole::DropIn),
            ("/etc/jails.d/merged.toml.d/20-b.toml", UnitRole::DropIn),
        ]
    );
    guest.remove("merged");
}

#[test]
fn deleted_unit_stops_although_its_drop_ins_stay() {
    let mut guest = guest();
    guest.put_up("left", &stay(""));
    guest.sh("mkdir /etc/jails.d/left.toml.d");
    guest.agent().write("/etc/jails.d/left.toml.d/a.toml", "critical = true\n").unwrap();
    guest.ctl(&["apply"]);

    guest.sh("rm /etc/jails.d/left.toml");
    let row = guest.agent().wait_state("left", JailState::Invalid).unwrap();

    assert_eq!(row.pid, None);
    let problem = row.problem.unwrap_or_default();
    assert!(problem.contains("left.toml.d/a.toml"), "{problem}");
    guest.remove("left");
}

#[test]
fn template_makes_a_jail_of_each_link() {
    let mut guest = guest();
    guest.put("svc@", &unit(&["say", "I am %i of %n"], ""));
    guest.sh("cd /etc/jails.d && ln -s svc@.toml svc@a.toml && ln -s svc@.toml svc@b.toml");

    let (first, _) = (guest.up("svc-a"), guest.up("svc-b"));
    let exec = guest.agent().inspect("svc-b").unwrap().exec;
    guest.sh("rm /etc/jails.d/svc@b.toml");
    guest.agent().wait_gone("svc-b").unwrap();
    guest.ctl(&["enable", "svc@c"]);
    guest.up("svc-c");
    guest.ctl(&["disable", "svc@c"]);
    guest.agent().wait_gone("svc-c").unwrap();

    assert_eq!(exec[2], "I am b of svc-b");
    assert_eq!(guest.up("svc-a").pid, first.pid, "the other instances go on");
    guest.sh("rm /etc/jails.d/svc@*.toml");
    guest.agent().wait_gone("svc-a").unwrap();
}

#[test]
fn instance_is_masked_and_comes_back() {
    let mut guest = guest();
    guest.put("msk@", &stay(""));
    guest.sh("cd /etc/jails.d && ln -s msk@.toml msk@a.toml && ln -s msk@.toml msk@b.toml");
    guest.up("msk-a");
    guest.up("msk-b");

    guest.ctl(&["mask", "msk-a"]);
    guest.agent().wait_gone("msk-a").unwrap();
    guest.up("msk-b");
    guest.ctl(&["unmask", "msk-a"]);
    guest.up("msk-a");

    guest.sh("rm /etc/jails.d/msk@*.toml");
    guest.agent().wait_gone("msk-a").unwrap();
    guest.agent().wait_gone("msk-b").unwrap();
}

#[test]
fn masked_jail_is_not_there_until_it_is_unmasked() {
    let mut guest = guest();
    guest.up("shipped");

    guest.ctl(&["mask", "shipped"]);
    guest.agent().wait_gone("shipped").unwrap();
    let link = guest.sh("readlink /etc/jails.d/shipped.toml");
    let start = guest.agent().jailctl(&["start", "shipped"]).unwrap();
    guest.ctl(&["unmask", "shipped"]);
    guest.up("shipped");
    // By hand, too.
    guest.sh("ln -s /dev/null /etc/jails.d/shipped.toml");
    guest.agent().wait_gone("shipped").unwrap();
    guest.sh("rm /etc/jails.d/shipped.toml");
    guest.up("shipped");

    assert_eq!(link, "/dev/null\n");
    assert_eq!(start.status, REFUSED, "{start:?}");
    assert!(start.stderr.contains("masked"), "{start:?}");
}

#[test]
fn disabled_jail_is_down_until_someone_starts_or_enables_it() {
    let mut guest = guest();
    guest.put_up("toggled", &stay(""));

    guest.ctl(&["disable", "toggled"]);
    let down = guest.agent().wait_state("toggled", JailState::Down).unwrap();
    // Neither an edit nor a new jailsupd starts it.
    guest.put("toggled", &stay("environment = { A = \"1\" }"));
    guest.ctl(&["apply"]);
    guest.agent().kill_jailsupd().unwrap();
    let still = guest.agent().listed("toggled").unwrap();
    guest.ctl(&["start", "toggled"]);
    let by_hand = guest.agent().listed("toggled").unwrap();
    guest.ctl(&["stop", "toggled"]);
    guest.ctl(&["enable", "toggled"]);
    let enabled = guest.up("toggled");

    assert!(!down.enabled && enabled.enabled);
    assert_eq!(still.state, JailState::Down);
    assert_eq!((by_hand.state, by_hand.enabled), (JailState::Up, false));
    assert_eq!(guest.sh("ls /etc/jails.d"), "toggled.toml\n");
    assert!(guest.agent().read(&etc("toggled")).unwrap().contains("version = 1"));
    guest.remove("toggled");
}
