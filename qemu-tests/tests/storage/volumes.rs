//! `[[volume]]` and `jailctl volume`.

use jailsupd::control::wire::{JailState, VolumeInspected};
use qemu_tests::{End, Image, Machine};

use crate::{BOX, Boxes, NOT_THERE, PROBLEMS, REFUSED, SOON, guest, machine, unit, unit_as};

const COUNT: &str = "cat /var/lib/app/count; echo life >> /var/lib/app/count; ls -ldn /var/lib/app";

fn named(name: &str, path: &str, rest: &str) -> String {
    format!("[[volume]]\nname = \"{name}\"\npath = \"{path}\"\n{rest}\n")
}

#[test]
fn named_volume_is_made_for_its_jail_and_outlives_it() {
    let mut guest = guest();
    let text = unit_as("app", COUNT, &named("kept", "/var/lib/app", ""));

    let first = guest.run("keeper", &text);
    let second = guest.again("keeper");
    guest.remove("keeper");
    let third = guest.run("keeper", &text);

    // Owner and mode are those of the image's directory there.
    assert!(first.contains("drwxr-x---") && first.contains(" 100      101 "), "{first}");
    assert!(!first.contains("life"), "{first}");
    assert_eq!(second.matches("life").count(), 1, "{second}");
    assert_eq!(third.lines().filter(|line| line.ends_with("life")).count(), 1 + 2, "{third}");
    // Owners are counted from 0 on the disk, and nobody else of the host gets there.
    let host = guest
        .sh("stat -c '%a %u %n' /data/volumes /data/volumes/kept /data/volumes/kept/data/count");
    assert_eq!(
        host,
        "700 0 /data/volumes\n700 0 /data/volumes/kept\n644 100 /data/volumes/kept/data/count\n"
    );
    guest.remove("keeper");
}

#[test]
fn a_volume_that_is_full_is_its_own_affair() {
    let mut guest = guest();
    let write = "dd if=/dev/zero of=/var/lib/app/big bs=65536 count=160; sync; echo wrote $?";
    let small = unit_as("app", write, &named("small", "/var/lib/app", "size_max = \"8M\""));

    let full = guest.run("writer", &small);
    let neighbour = guest.run("other", &unit_as("app", write, &named("roomy", "/var/lib/app", "")));
    let VolumeInspected { volume } = guest.agent().ask(&["volume", "inspect", "small"]).unwrap();

    assert!(full.contains("Disk quota exceeded"), "{full}");
    assert!(
        !neighbour.contains("exceeded") && neighbour.contains("160+0 records out"),
        "{neighbour}"
    );
    assert_eq!(volume.size_max, Some(8 << 20));
    let used = volume.used.unwrap();
    assert!(used > 4 << 20 && used <= 8 << 20, "{used}");
    assert!(!full.contains("160+0 records out"), "{full}");
    // The limit is that of the unit, from the next start on, which follows by itself.
    guest.sh("sed -i 's/8M/64M/' /etc/jails.d/writer.toml");
    let whole = "/usr/bin/jailctl logs writer | grep -q '160+0 records out'";
    guest.agent().wait_until(whole, SOON).unwrap();
    guest.remove("writer");
    guest.remove("other");
}

#[test]
fn read_only_holds_for_what_is_mounted_below_too() {
    let mut guest = guest();
    guest.sh("mkdir -p /data/shared/tree/sub && mount -t tmpfs tmpfs /data/shared/tree/sub");
    let script = "touch /mnt/top; touch /mnt/sub/below; echo done; ls /mnt /mnt/sub";
    let bind = "[[volume]]\nsource = \"/data/shared/tree\"\npath = \"/mnt\"\n";

    let refused = guest.run("reader", &unit(script, &format!("{bind}read_only = true")));
    let nothing = guest.sh("ls -A /data/shared/tree/sub");
    let allowed = guest.run("writer", &unit(script, bind));
    let written = guest.sh("stat -c '%u %n' /data/shared/tree/top /data/shared/tree/sub/below");

    assert!(refused.contains("/mnt/top: Read-only file system"), "{refused}");
    assert!(refused.contains("/mnt/sub/below: Read-only file system"), "{refused}");
    assert_eq!(nothing, "");
    assert!(!allowed.contains("Read-only"), "{allowed}");
    assert_eq!(written, "0 /data/shared/tree/top\n0 /data/shared/tree/sub/below\n");
    guest.remove("reader");
    guest.remove("writer");
    guest.sh("umount /data/shared/tree/sub && rm -r /data/shared");
}

#[test]
fn a_set_user_id_program_on_a_volume_gives_nobody_anything() {
    let mut guest = guest();
    let drop = "cp /bin/busybox /mnt/busybox && chmod 4755 /mnt/busybox && ls -l /mnt; grep /mnt /proc/self/mountinfo";

    let made = guest.run("dropper", &unit(drop, &named("su", "/mnt", "")));
    let user = guest.agent().run_as((1000, 1000), &["/data/volumes/su/data/busybox", "id"]);

    assert!(made.contains("-rwsr-xr-x"), "{made}");
    assert!(made.contains("nosuid") && made.contains("nodev"), "{made}");
    assert!(user.is_err(), "a user of the host has run it: {user:?}");
    // Root of the host, who gets there, can.
    assert!(guest.sh("/data/volumes/su/data/busybox id").starts_with("uid=0"));
    guest.remove("dropper");
}

#[test]
fn noexec_tmpfs_and_its_size_are_kept_by_the_kernel() {
    let mut guest = guest();
    let script = "cp /bin/busybox /mnt/prog; /mnt/prog id; dd if=/dev/zero of=/mnt/big bs=65536 count=200; echo done";
    let volume = "[[volume]]\ntmpfs = true\npath = \"/mnt\"\nnoexec = true\nsize_max = \"4M\"\n";

    let said = guest.run("tmp", &unit(script, volume));

    assert!(said.contains("/mnt/prog: Permission denied"), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    guest.remove("tmp");
}

#[test]
fn a_path_through_a_link_of_the_image_stays_in_the_jail() {
    let mut guest = guest();
    // `/outside` of the image is a link to `/../../../../data`.
    let text = unit("echo here > /outside/x/file; ls /data/x", &named("linked", "/outside/x", ""));

    let said = guest.run("linker", &text);

    assert!(said.contains("file"), "{said}");
    assert!(guest.agent().shell("test -e /data/x").is_err(), "it was made on the host");
    assert_eq!(guest.sh("cat /data/volumes/linked/data/file"), "here\n");
    guest.remove("linker");
}

#[test]
fn read_only_root_takes_volumes_where_it_has_directories() {
    let mut guest = guest();
    let root = "[root]\nmode = \"read-only\"\n";
    let good = format!("{root}{}", named("ro", "/var/lib/app", ""));
    let over_tmp = format!("{root}[[volume]]\ntmpfs = true\npath = \"/tmp\"\nsize_max = \"1M\"\n");
    let bad = format!("{root}{}", named("ro", "/nowhere", ""));

    let said =
        guest.run("good", &unit_as("app", "touch /var/lib/app/x && echo written; touch /x", &good));
    let tmp = guest.run("tmp", &unit("grep -c ' /tmp ' /proc/self/mountinfo", &over_tmp));
    let failure = guest.failure("bad", &unit("echo no", &bad));

    assert!(said.contains("written") && said.contains("/x: Read-only file system"), "{said}");
    assert!(tmp.lines().any(|line| line.ends_with(" 1")), "{tmp}");
    assert!(failure.contains("cannot mount its volumes: EROFS"), "{failure}");
    for name in ["good", "tmp", "bad"] {
        guest.remove(name);
    }
}

#[test]
fn a_jail_cannot_escape_its_limit_by_a_subvolume_of_its_own() {
    let mut guest = guest();
    let text = "version = 1\n[image]\nsource = \"erofs:/usr/share/jails/nuisance.erofs\"\n\
                [network]\nmode = \"none\"\n[restart]\npolicy = \"no\"\n\
                [process]\nexec = [\"/bin/nuisance\", \"subvolume\", \"/vol\"]\n\
                [[volume]]\nname = \"nested\"\npath = \"/vol\"\n";

    let said = guest.run("nester", text);

    assert!(said.contains("subvolume: Operation not permitted"), "{said}");
    assert_eq!(guest.sh("ls -A /data/volumes/nested/data"), "");
    guest.remove("nester");
}

#[test]
fn a_volume_goes_when_nobody_names_it_and_not_before() {
    let mut guest = guest();
    let script = "mkdir -p /mnt/a/b/c; echo secret > /mnt/a/b/c/file; sleep 1000";
    guest.put("user", &unit(script, &named("precious", "/mnt", "")));
    guest.agent().wait_state("user", JailState::Up).unwrap();
    let written = "grep -q secret /data/volumes/precious/data/a/b/c/file";
    guest.agent().wait_until(written, crate::SOON).unwrap();

    let listed = guest.ctl(&["volume", "ls"]);
    let in_use = guest.refused(&["volume", "rm", "precious"], REFUSED);
    guest.remove("user");
    let unused = guest.ctl(&["volume", "inspect", "precious"]);
    guest.ctl(&["volume", "rm", "precious"]);

    assert!(listed.lines().any(|l| l.starts_with("precious ") && l.ends_with(" user")), "{listed}");
    assert!(in_use.contains("it is a volume of user"), "{in_use}");
    assert!(unused.contains("/data/volumes/precious/data"), "{unused}");
    let gone = guest.refused(&["volume", "inspect", "precious"], NOT_THERE);
    assert!(gone.contains("there is no volume `precious`"), "{gone}");
    guest.agent().wait_until("[ -z \"$(ls -A /data/jails/.trash)\" ]", crate::SOON).unwrap();
    guest.refused(&["volume", "rm", "../jails"], NOT_THERE);
}

#[test]
fn what_the_host_does_not_share_is_refused_before_anything_starts() {
    let mut guest = guest();
    let bind = |source: &str| {
        unit("cat /mnt/shadow", &format!("[[volume]]\nsource = \"{source}\"\npath = \"/mnt\"\n"))
    };
    guest.sh("mkdir -p /data/shared && ln -sfn /etc /data/shared/link");

    guest.agent().write("/tmp/etc.toml", &bind("/etc")).unwrap();
    let refused = guest.refused(&["check", "/tmp/etc.toml"], PROBLEMS);
    let missing = guest.failure("missing", &bind("/data/shared/nothing"));
    guest.put("linked", &bind("/data/shared/link"));
    let linked = guest
        .agent()
        .wait_listed("linked", "not up", |row| row.is_some_and(|row| row.problem.is_some()));

    assert!(
        refused.contains("the volume at /mnt shows /etc, which is more than this host's policy"),
        "{refused}"
    );
    assert!(missing.contains("there is no directory or file /data/shared/nothing"), "{missing}");
    let linked = linked.unwrap().unwrap().problem.unwrap();
    assert!(linked.contains("cannot open the volume /data/shared/link: ELOOP"), "{linked}");
    for name in ["missing", "linked"] {
        guest.remove(name);
    }
    guest.sh("rm -r /data/shared");
}

#[test]
fn volumes_and_persistent_roots_survive_a_reboot() {
    let mut first = machine("storage-before").start().unwrap();
    first.wait_boot().unwrap();
    first.sh(BOX);
    let text = unit_as("app", COUNT, &named("kept", "/var/lib/app", "size_max = \"16M\""));
    first.run("keeper", &text);
    let root = "[root]\nmode = \"persistent\"\nsize_max = \"16M\"\n";
    first.run("rooted", &unit_as("app", COUNT, root));

    first.ctl(&["host", "reboot"]);
    // Of this QEMU a reboot is the end.
    assert_eq!(first.wait_end().unwrap(), End::Reset);
    let again = Machine::new("storage-again", Image::Debug).own_disk(first.disk());
    let mut second = again.start().unwrap();
    second.wait_boot().unwrap();
    // It starts with the host; its script ends.
    let done = "[ $(grep -c life /data/volumes/kept/data/count) = 2 ]";
    second.agent().wait_until(done, crate::SOON).unwrap();
    let done = "[ $(grep -c life /data/jails/rooted/root/var/lib/app/count) = 2 ]";
    second.agent().wait_until(done, crate::SOON).unwrap();

    let VolumeInspected { volume } = second.agent().ask(&["volume", "inspect", "kept"]).unwrap();
    assert_eq!((volume.size_max, volume.jails), (Some(16 << 20), vec!["keeper".to_owned()]));
}
