//! `[root]`: what is written below a jail's `/`, where it goes, how much of it there may be.

use jailsupd::control::wire::{JailState, RootsListed};

use crate::{Boxes, NOT_THERE, REFUSED, SOON, guest, unit, unit_as};

const PERSISTENT: &str = "[root]\nmode = \"persistent\"\n";
const COUNT: &str =
    "cat /var/lib/app/count; echo life >> /var/lib/app/count; ls -ldn /var/lib/app /bin/busybox";

#[test]
fn persistent_root_keeps_what_is_written_and_ephemeral_does_not() {
    let mut guest = guest();
    let kept = unit_as("app", COUNT, PERSISTENT);

    let first = guest.run("kept", &kept);
    let second = guest.again("kept");
    guest.run("passing", &unit_as("app", COUNT, ""));
    let passing = guest.again("passing");

    assert!(!first.contains("life"), "{first}");
    assert!(first.contains(" 100      101 ") && first.contains(" 0        0 "), "{first}");
    assert_eq!(second.lines().filter(|line| line.ends_with(" life")).count(), 1, "{second}");
    assert!(!passing.contains(" life"), "{passing}");
    // Owners are counted from 0 on the disk, and nobody else of the host gets there.
    let host =
        guest.sh("stat -c '%a %u %n' /data/jails/kept /data/jails/kept/root/var/lib/app/count");
    assert_eq!(host, "700 0 /data/jails/kept\n644 100 /data/jails/kept/root/var/lib/app/count\n");
    guest.remove("kept");
    guest.remove("passing");
    guest.ctl(&["root", "rm", "kept"]);
}

#[test]
fn persistent_root_outlives_unit_and_image_until_it_is_removed() {
    let mut guest = guest();
    guest.sh("cp -a /data/images/box /data/images/other && touch /data/images/other/new");
    let script = "ls /; echo mine >> /mine; sleep 1000";
    guest.put("root", &unit(script, PERSISTENT));
    guest.agent().wait_state("root", JailState::Up).unwrap();
    guest.agent().wait_until("test -s /data/jails/root/root/mine", SOON).unwrap();

    let running = guest.refused(&["root", "rm", "root"], REFUSED);
    let of_box = guest.agent().ask::<RootsListed>(&["root", "ls"]).unwrap().roots.remove(0);
    guest.remove("root");
    let other = format!("{PERSISTENT}[image]\nsource = \"dir:/data/images/other\"\n");
    let stale = guest.run("root", &unit("ls /", &other));
    let of_other = guest.agent().ask::<RootsListed>(&["root", "ls"]).unwrap().roots.remove(0);
    guest.ctl(&["root", "rm", "root"]);
    let fresh = guest.again("root");

    assert!(running.contains("it runs: stop it first"), "{running}");
    assert_eq!((of_box.jail.as_str(), of_box.stale), ("root", false));
    assert!(of_box.used.unwrap() > 0);
    assert!(stale.contains(" mine") && !stale.contains(" new"), "{stale}");
    assert!(stale.contains("its root was made from another image than it has now"), "{stale}");
    assert!(of_other.stale && of_other.image.contains("/data/images/box"), "{of_other:?}");
    assert!(!fresh.contains(" mine") && fresh.contains(" new"), "{fresh}");
    guest.remove("root");
    guest.ctl(&["root", "rm", "root"]);
    guest.refused(&["root", "rm", "root"], NOT_THERE);
    guest.sh("rm -r /data/images/other");
}

#[test]
fn a_root_that_is_full_is_its_own_affair() {
    let mut guest = guest();
    let write = "dd if=/dev/zero of=/big bs=65536 count=400; sync; echo wrote";
    let ephemeral = "[root]\nsize_max = \"8M\"\n";
    let persistent = format!("{PERSISTENT}size_max = \"8M\"\n");

    let small = guest.run("small", &unit(write, ephemeral));
    let again = guest.again("small");
    let kept = guest.run("kept", &unit(write, &persistent));
    let neighbour = guest.run("other", &unit(write, ""));
    let tiny = guest.failure("tiny", &unit(write, &format!("{PERSISTENT}size_max = \"64K\"\n")));

    for full in [&small, &again, &kept] {
        assert!(full.contains("Disk quota exceeded") && full.contains("wrote"), "{full}");
    }
    assert!(neighbour.contains("400+0 records out"), "{neighbour}");
    // The image itself does not fit.
    assert!(tiny.contains("EDQUOT"), "{tiny}");
    for name in ["small", "kept", "other", "tiny"] {
        guest.remove(name);
    }
    guest.ctl(&["root", "rm", "kept"]);
    guest.agent().wait_until("[ -z \"$(ls -A /data/jails/.trash)\" ]", SOON).unwrap();
}

#[test]
fn squashfs_is_a_root_like_any_other() {
    let mut guest = guest();
    let source = "[image]\nsource = \"squashfs:/usr/share/jails/nuisance.squashfs\"\n";
    let text = |mode: &str| {
        format!(
            "version = 1\n{source}[root]\nmode = \"{mode}\"\n[network]\nmode = \"none\"\n\
             [process]\nexec = [\"/bin/nuisance\", \"look\"]\n"
        )
    };
    for mode in ["ephemeral", "persistent"] {
        guest.put("squash", &text(mode));
        let seen = "cat /proc/$(pidof -s nuisance)/root/seen";
        guest.agent().wait_state("squash", JailState::Up).unwrap();
        let pid = guest.agent().service("squash", "nuisance").unwrap().pid;
        let seen = seen.replace("$(pidof -s nuisance)", &pid.to_string());
        guest.agent().wait_until(&format!("{seen} | grep -q 'uid: 0'"), SOON).unwrap();
        guest.remove("squash");
    }
    guest.ctl(&["root", "rm", "squash"]);
    // In memory, where nothing could be sealed.
    guest.sh("mkdir -p /etc/warder && printf 'version = 1\\n[image]\\nsource = [\"/usr/share/jails\", \"/srv\", \"/data/images\", \"/run\"]\\n' \
         >/etc/warder/policy.toml && /usr/bin/jailctl apply");
    guest.sh("cp /usr/share/jails/nuisance.squashfs /run/nuisance.squashfs");
    guest.put_up("squash", &text("read-only").replace("/usr/share/jails/", "/run/"));
    guest.remove("squash");
    guest.sh("rm /run/nuisance.squashfs /etc/warder/policy.toml && /usr/bin/jailctl apply");
    // Its loop device went with its last mount.
    let unused = "for d in /sys/block/loop*/loop/backing_file; do [ -e $d ] && exit 1; done; true";
    guest.agent().wait_until(&format!("( {unused} )"), SOON).unwrap();
    let erofs =
        guest.failure("wrong", &text("read-only").replace("nuisance.squashfs", "nuisance.erofs"));
    assert!(erofs.contains("is not a squashfs file system"), "{erofs}");
    guest.remove("wrong");
}

#[test]
fn a_root_that_was_being_made_is_made_anew() {
    let mut guest = guest();
    // Large enough that jailsupd dies amid the copy.
    guest.sh("cp -a /data/images/box /data/images/large && dd if=/dev/urandom of=/data/images/large/bulk bs=1M count=32 2>/dev/null");
    let source = "[image]\nsource = \"dir:/data/images/large\"\n";
    let script = "cmp -s /bulk /bulk && ls -l /bulk; sleep 1000";
    guest.put("large", &unit(script, &format!("{PERSISTENT}{source}")));
    guest.agent().wait_until("test -e /data/jails/large/root.new/bulk", SOON).unwrap();
    let early = guest.agent().shell("test -d /data/jails/large/root").is_err();

    guest.agent().kill_jailsupd().unwrap();
    let up = guest.agent().wait_state("large", JailState::Up).unwrap();
    guest.agent().wait_until("/usr/bin/jailctl logs large | grep -q 33554432", SOON).unwrap();

    assert!(early, "the copy had its name before it was whole");
    assert_eq!(up.problem, None);
    assert_eq!(
        guest.sh("ls -d /data/jails/large/root*"),
        "/data/jails/large/root\n/data/jails/large/root.image\n"
    );
    guest.remove("large");
    // One that is not wanted any more while it is made leaves nothing.
    guest.ctl(&["root", "rm", "large"]);
    guest.put("large", &unit(script, &format!("{PERSISTENT}{source}")));
    guest.agent().wait_until("test -e /data/jails/large/root.new/bulk", SOON).unwrap();
    guest.remove("large");
    guest.agent().wait_until("! test -e /data/jails/large", SOON).unwrap();
    guest.sh("rm -r /data/images/large");
}
