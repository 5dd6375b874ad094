//! Images stay mounted between starts, once for all jails, and no longer than they are wanted.
#![allow(clippy::unwrap_used, reason = "tests")]

use jailsupd::control::wire::JailState;
use qemu_tests::{Image, Jails, Machine, Vm, agent::Agent};

const IMAGE: &str = "/data/images/mounted.erofs";

#[test]
fn image_is_mounted_once_until_it_is_another_or_nobody_wants_it() {
    let mut vm = boot("mounted");
    let agent = vm.agent();
    let copy = format!("mkdir -p /data/images && cp /usr/share/jails/nuisance.erofs {IMAGE}");
    agent.shell(&copy).unwrap();
    for jail in ["one", "two"] {
        agent.write(&format!("/etc/jails.d/{jail}.toml"), &unit()).unwrap();
    }
    agent.output(&["/usr/bin/jailctl", "apply"]).unwrap();
    let first = mounts(agent);

    agent.output(&["/usr/bin/jailctl", "restart", "one"]).unwrap();
    let again = mounts(agent);
    // The same again at the same path is the same image; one with other contents is another, as an update leaves it.
    agent.shell(&format!("{copy}.new && mv {IMAGE}.new {IMAGE}")).unwrap();
    agent.output(&["/usr/bin/jailctl", "restart", "two"]).unwrap();
    let same = mounts(agent);
    agent.shell(&format!("printf x >>{IMAGE}")).unwrap();
    agent.output(&["/usr/bin/jailctl", "restart", "two"]).unwrap();
    let other = mounts(agent);
    agent.shell("rm /etc/jails.d/one.toml /etc/jails.d/two.toml").unwrap();
    for jail in ["one", "two"] {
        agent.wait_gone(jail).unwrap();
    }

    assert_eq!(first.len(), 1, "{first:?}");
    assert_eq!(again, first);
    assert_eq!(same, first);
    assert_eq!(other.len(), 1, "{other:?}");
    assert_ne!(other, first);
    assert_eq!(mounts(agent), [""; 0]);
}

/// Removing an image that a jail runs from is nothing to the jail, and its next start says what is wrong.
#[test]
fn image_that_is_gone_is_not_started_from_a_mount_that_was_left() {
    let mut vm = boot("mounted-gone");
    let agent = vm.agent();
    agent
        .shell(&format!("mkdir -p /data/images && cp /usr/share/jails/nuisance.erofs {IMAGE}"))
        .unwrap();
    agent.write("/etc/jails.d/one.toml", &unit()).unwrap();
    agent.output(&["/usr/bin/jailctl", "apply"]).unwrap();
    agent.wait_state("one", JailState::Up).unwrap();

    agent.shell(&format!("rm {IMAGE}")).unwrap();
    let still = agent.listed("one").unwrap().state;
    agent.jailctl(&["restart", "one"]).unwrap();
    let after = agent.wait_state("one", JailState::Failed).unwrap();

    assert_eq!(still, JailState::Up);
    assert!(after.problem.unwrap_or_default().contains(IMAGE));
    assert_eq!(mounts(agent), [""; 0]);
}

/// A guest in which nothing else runs.
fn boot(name: &str) -> Vm {
    let mut vm = Machine::new(name, Image::Debug).jails(Jails::new().unwrap()).start().unwrap();
    vm.wait_boot().unwrap();
    vm.agent().output(&["/usr/bin/jailctl", "mask", "nginx"]).unwrap();
    vm
}

fn unit() -> String {
    format!(
        "version = 1\n[image]\nsource = \"erofs:{IMAGE}\"\n[process]\nexec = [\"/bin/nuisance\", \"stay\"]\n\
         [network]\nmode = \"none\"\n[restart]\npolicy = \"no\"\n"
    )
}

/// The device numbers of the images that jailsupd has mounted: each superblock has its own.
fn mounts(agent: &mut Agent) -> Vec<String> {
    let brain = agent.jailsupd().unwrap();
    let text = agent.read(&format!("/proc/{brain}/mountinfo")).unwrap();
    let images = text.lines().filter(|line| line.contains(" /run/jailsupd/images/"));
    images.filter_map(|line| line.split(' ').nth(2)).map(Into::into).collect()
}
