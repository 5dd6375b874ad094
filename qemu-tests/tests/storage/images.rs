//! `jailctl image`, and the images that units name.

use std::{fs, path::Path};

use jailsupd::control::wire::{ImageInspected, ImagesListed, JailState};
use qemu_tests::{Guest, unit_of};

use crate::{Boxes, NOT_THERE, REFUSED, SOON, guest, machine, unit, unit_as};

const STORE: &str = "/data/images/.store";
const EMPTY: &str = "[ -z \"$(ls -A /data/images/.store/new)\" ]";
const LOOK: &str = "ls -ln / /bin/busybox; ls -ldn /var/lib/app; touch /written && echo written";

fn import(guest: &mut Guest<'_>, path: &str, name: &str) -> String {
    let answer: jailsupd::control::wire::ImageImported =
        guest.agent().ask(&["image", "import", path, "--name", name]).unwrap();
    answer.image.unwrap().digest
}

fn image(name: &str) -> String {
    format!("[image]\nsource = \"image:{name}\"\n")
}

/// Tar archives of the box.
fn pack(guest: &mut Guest<'_>) {
    guest.sh(
        "cd /data/images && [ -e box.tar ] || { tar cf box.new -C box . && gzip -c box.new > box.tar.gz && mv box.new box.tar; }",
    );
}

#[test]
fn a_tree_and_its_archives_become_images_that_run() {
    let mut guest = guest();
    pack(&mut guest);

    let plain = import(&mut guest, "/data/images/box.tar", "box:tar");
    let packed = import(&mut guest, "/data/images/box.tar.gz", "box:packed");
    import(&mut guest, "/data/images/box", "box:tree");
    let said = ["box:tar", "box:tree"].map(|name| {
        let said = guest.run("booter", &unit(LOOK, &image(name)));
        guest.remove("booter");
        said
    });
    let direct =
        guest.run("booter", &unit(LOOK, "[image]\nsource = \"tar:/data/images/box.tar.gz\"\n"));
    let pinned = format!("[image]\ndigest = \"{plain}\"\n[root]\nmode = \"persistent\"\n");
    let kept = guest.run("kept", &unit(LOOK, &pinned));

    assert_eq!(plain, packed, "the same tree is another image");
    for said in said.iter().chain([&direct, &kept]) {
        assert!(said.contains(" written"), "{said}");
        assert!(said.contains("drwxr-x---") && said.contains(" 100      101 "), "{said}");
        assert!(said.contains("outside -> /../../../../data"), "{said}");
    }
    let listed = guest.agent().ask::<ImagesListed>(&["image", "ls"]).unwrap().images;
    let of_tar = listed.iter().find(|image| image.digest == plain).unwrap();
    assert_eq!(of_tar.names, ["box:packed", "box:tar"]);
    assert_eq!((of_tar.kind.as_str(), of_tar.jails.len()), ("erofs", 2), "{of_tar:?}");
    let roots = guest.ctl(&["root", "ls"]);
    assert!(roots.contains(&plain[.."sha256:".len() + 12]) && !roots.contains("stale"), "{roots}");
    guest.remove("booter");
    guest.remove("kept");
    guest.ctl(&["root", "rm", "kept"]);
    guest.ctl(&["image", "rm", "box:packed", "box:tar", "box:tree"]);
}

#[test]
fn finished_file_systems_are_taken_as_they_are() {
    let mut guest = guest();
    for kind in ["erofs", "squashfs"] {
        let file = format!("/usr/share/jails/nuisance.{kind}");
        let digest = import(&mut guest, &file, "ready");
        let sum = guest.sh(&format!("sha256sum {file} | cut -d' ' -f1"));
        let inspected: ImageInspected = guest.agent().ask(&["image", "inspect", "ready"]).unwrap();

        assert_eq!(digest, format!("sha256:{}", sum.trim()));
        assert_eq!(inspected.image.kind, kind);
        let text = format!(
            "version = 1\n{}[network]\nmode = \"none\"\n[process]\nexec = [\"/bin/nuisance\", \"stay\"]\n",
            image("ready")
        );
        guest.put("ready", &text);
        guest.agent().wait_state("ready", JailState::Up).unwrap();
        guest.remove("ready");
        guest.ctl(&["image", "rm", &digest]);
    }
}

#[test]
fn what_a_jail_uses_stays_and_what_nobody_names_goes() {
    let mut guest = guest();
    pack(&mut guest);
    guest.ctl(&["image", "gc"]);
    let digest = import(&mut guest, "/data/images/box.tar", "used:1");
    guest.ctl(&["image", "tag", "used:1", "used:2"]);
    guest.put("user", &unit("sleep 1000", &image("used:1")));
    guest.agent().wait_state("user", JailState::Up).unwrap();

    let by_name = guest.refused(&["image", "rm", "used:1"], REFUSED);
    let by_digest = guest.refused(&["image", "rm", &digest], REFUSED);
    let other_name = guest.ctl(&["image", "rm", "used:2"]);
    let last_name = guest.refused(&["image", "rm", "used:1"], REFUSED);
    // The name moves on; the jail runs from what it had.
    let next = import(&mut guest, "/data/images/box", "used:1");
    let kept = guest.ctl(&["image", "gc"]);
    let moved: ImageInspected = guest.agent().ask(&["image", "inspect", "used:1"]).unwrap();
    guest.remove("user");
    let collected = guest.ctl(&["image", "gc"]);

    assert!(by_name.contains("it is the image of user"), "{by_name}");
    assert!(by_digest.contains("it is the image of user"), "{by_digest}");
    assert_eq!(other_name, "used:2 is removed\n");
    assert!(last_name.contains("it is the image of user"), "{last_name}");
    assert!(kept.starts_with("nothing to remove"), "{kept}");
    assert!(next != digest && moved.image.digest == next);
    assert!(collected.contains(&format!("{digest} is removed")), "{collected}");
    assert!(!collected.contains(&next), "{collected}");
    guest.ctl(&["image", "rm", "used:1"]);
    guest.refused(&["image", "inspect", "used:1"], NOT_THERE);
    let left = guest.sh(&format!("ls {STORE}/objects | grep -c {} || true", &digest[7..]));
    assert_eq!(left, "0\n");
    let missing = guest.failure("user", &unit("true", &image("used:1")));
    assert!(missing.contains("there is no image image:used:1"), "{missing}");
    guest.remove("user");
}

#[test]
fn an_image_that_was_changed_is_not_mounted() {
    let mut guest = guest();
    pack(&mut guest);
    let digest = import(&mut guest, "/data/images/box.tar", "sealed");
    let file = format!("{STORE}/objects/{}", &digest[7..]);
    let text = unit("echo ran", &image("sealed"));
    guest.run("sealed", &text);
    guest.remove("sealed");

    // The file itself cannot be written, so another one takes its place.
    let written = guest.agent().shell(&format!("echo x >> {file}"));
    guest.sh(&format!(
        "cp {file} /data/other && printf X | dd of=/data/other bs=1 seek=5000 conv=notrunc 2>/dev/null && mv -f /data/other {file}"
    ));
    let refused = guest.failure("sealed", &text);

    assert!(written.is_err(), "a sealed file was written");
    assert!(refused.contains("is not what was imported"), "{refused}");
    guest.remove("sealed");
    guest.ctl(&["image", "rm", "sealed"]);
}

#[test]
fn an_import_that_is_cut_off_leaves_nothing() {
    let mut guest = guest();
    guest.sh("mkdir -p /data/images/bulk && dd if=/dev/urandom of=/data/images/bulk/file bs=1M count=24 2>/dev/null && tar cf /data/images/bulk.tar -C /data/images/bulk . && gzip -c /data/images/bulk.tar > /data/images/bulk.tar.gz && mv /data/images/bulk.tar.gz /data/images/bulk.tar");
    let begin = "rm -f /tmp/import; (/usr/bin/jailctl image import /data/images/bulk.tar --name bulk >/tmp/import 2>&1; echo ended >> /tmp/import) >/dev/null 2>&1 &";
    let under_way = format!("! {EMPTY}");
    let objects = format!("ls {STORE}/objects {STORE}/names");
    guest.agent().shell(&objects).ok();
    import(&mut guest, "/usr/share/jails/nuisance.erofs", "other");
    let before = guest.sh(&objects);

    guest.sh(begin);
    guest.agent().wait_until(&under_way, SOON).unwrap();
    // Who reads the archive is nobody, and nowhere.
    let reader = "for p in $(pidof jailsupd); do grep -q 'Seccomp:.2' /proc/$p/status && echo $p; done; true";
    guest.agent().wait_until(&format!("[ -n \"$({reader})\" ]"), SOON).unwrap();
    let pid = guest.sh(reader).trim().to_owned();
    let status = guest.sh(&format!("cat /proc/{pid}/status; ls -A /proc/{pid}/root/ | wc -l; ls -l /proc/{pid}/ns /proc/self/ns"));
    guest.agent().kill_jailsupd().unwrap();
    guest.agent().wait_until("grep -q ended /tmp/import", SOON).unwrap();
    guest.agent().wait_until(EMPTY, SOON).unwrap();
    assert_eq!(guest.sh(&objects), before, "jailsupd was killed");

    guest.sh(begin);
    guest.agent().wait_until(&under_way, SOON).unwrap();
    guest.sh("kill -KILL $(pidof jailctl)");
    guest.agent().wait_until(EMPTY, SOON).unwrap();
    assert_eq!(guest.sh(&objects), before, "its client was killed");

    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(field("Uid:").iter().all(|uid| uid.parse::<u32>().unwrap() > 65_536), "{status}");
    for capabilities in ["CapPrm:", "CapEff:", "CapBnd:"] {
        assert_eq!(field(capabilities), ["0000000000000000"], "{status}");
    }
    assert_eq!(field("NoNewPrivs:"), ["1"], "{status}");
    assert!(status.lines().any(|line| line == "0"), "its root is not empty: {status}");
    for kind in ["user", "mnt", "pid", "net", "ipc"] {
        let of = format!("{kind} -> {kind}:[");
        let all: Vec<&str> =
            status.lines().filter_map(|line| line.split_once(&of)).map(|(_, n)| n).collect();
        assert!(all.len() == 2 && all[0] != all[1], "{kind}: {status}");
    }

    import(&mut guest, "/data/images/bulk.tar", "bulk");
    guest.ctl(&["image", "rm", "bulk", "other"]);
    guest.sh("rm -r /data/images/bulk.tar");
}

#[test]
fn a_full_disk_ends_an_import_and_nothing_else() {
    let mut guest = guest();
    guest.sh("mkdir -p /data/images/bulk && [ -e /data/images/bulk/file ] || dd if=/dev/urandom of=/data/images/bulk/file bs=1M count=24 2>/dev/null");
    guest.put("stays", &unit("sleep 1000", ""));
    guest.agent().wait_state("stays", JailState::Up).unwrap();
    let before = guest.ctl(&["image", "ls"]);
    // All is taken but what the import may begin with.
    guest.sh("dd if=/dev/zero of=/data/spare bs=1M count=8 2>/dev/null; sync; \
         dd if=/dev/zero of=/data/filler bs=1M 2>/dev/null; sync; rm /data/spare; sync");

    let full = guest.refused(&["image", "import", "/data/images/bulk", "--name", "bulk"], REFUSED);
    let after = guest.ctl(&["image", "ls"]);
    guest.agent().wait_until(EMPTY, SOON).unwrap();
    guest.sh("rm /data/filler");

    assert!(full.contains("ENOSPC"), "{full}");
    assert_eq!(before, after);
    guest.agent().wait_state("stays", JailState::Up).unwrap();
    import(&mut guest, "/data/images/bulk", "bulk");
    guest.ctl(&["image", "rm", "bulk"]);
    guest.remove("stays");
    guest.sh("rm -r /data/images/bulk");
}

#[test]
fn hostile_archives_end_as_in_the_corpus_and_reach_nothing() {
    let mut guest = guest();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../jailsupd/tests/tars");
    let look = "ls -A / /etc /data /data/images; cat /etc/passwd";
    let host = guest.sh(look);
    let (mut taken, mut refused) = (0, 0);

    for file in fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()) {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        // The limit of the corpus's own test is lower than a host's.
        if name.ends_with(".expected") || name.starts_with("small-bomb") {
            continue;
        }
        let expected = fs::read_to_string(file.with_file_name(format!("{name}.expected"))).unwrap();
        let path = format!("/usr/share/jails/tars/{name}");
        let output =
            guest.agent().jailctl(&["image", "import", &path, "--name", "hostile"]).unwrap();
        if expected.starts_with("taken") {
            taken += 1;
            assert_eq!(output.status, qemu_tests::proto::Status::Exit(0), "{name}: {output:?}");
        } else {
            refused += 1;
            assert_eq!(output.status, REFUSED, "{name}: {output:?}");
            let reason = expected.lines().next().unwrap();
            assert!(output.stderr.contains(reason), "{name}: {output:?}");
        }
    }

    assert!(taken > 5 && refused > 10, "{taken} {refused}");
    assert_eq!(guest.sh(look), host);
    assert_eq!(guest.sh(&format!("ls -A {STORE}/new")), "");
    // A set-user-id program in an image gives nobody anything.
    let su = "cp /data/images/box.tar /dev/null; ls -l /bin/su; grep ' / ' /proc/self/mountinfo";
    guest.sh("mkdir -p /data/images/su && cp -a /data/images/box/. /data/images/su && cp /usr/bin/busybox /data/images/su/bin/su && chmod 4755 /data/images/su/bin/su");
    import(&mut guest, "/data/images/su", "su");
    let said = guest.run("su", &unit_as("app", su, &image("su")));
    assert!(said.contains("-rwsr-xr-x") && said.contains("nosuid"), "{said}");
    guest.remove("su");
    guest.ctl(&["image", "rm", "su", "hostile"]);
    guest.ctl(&["image", "gc"]);
    guest.sh("rm -r /data/images/su");
}

/// A guest of its own: its power is cut.
#[test]
fn an_import_whose_power_is_cut_leaves_nothing_and_can_be_done_again() {
    let mut first = machine("storage-cut").start().unwrap();
    first.wait_boot().unwrap();
    first.sh("mkdir -p /data/images/bulk && dd if=/dev/urandom of=/data/images/bulk/file bs=1M count=24 2>/dev/null && sync");
    first.ctl(&["image", "import", "/usr/share/jails/nuisance.erofs", "--name", "whole"]);
    first.sh("(/usr/bin/jailctl image import /data/images/bulk --name bulk) >/dev/null 2>&1 &");
    // What is cut off is on the disk already.
    first
        .agent()
        .wait_until(&format!("[ $(du -s {STORE}/new | cut -f1) -gt 2048 ] && kill -STOP $(pidof jailsupd) && sync"), SOON)
        .unwrap();

    first.kill();
    let again = machine("storage-after").own_disk(first.disk());
    let mut second = again.start().unwrap();
    second.wait_boot().unwrap();
    second.agent().wait_until(EMPTY, SOON).unwrap();
    let ImagesListed { images } = second.agent().ask(&["image", "ls"]).unwrap();
    let names: Vec<_> = images.iter().flat_map(|image| &image.names).collect();
    second.ctl(&["image", "import", "/data/images/bulk", "--name", "bulk"]);
    let of = unit_of("nuisance", &["say", "it ran"], "")
        .replace("erofs:/usr/share/jails/nuisance.erofs", "image:whole");
    second.put_up("runs", &of);
    second
        .agent()
        .wait_until("/usr/bin/jailctl logs runs | grep -q 'stdout it ran'", SOON)
        .unwrap();

    assert_eq!(names, ["whole:latest"]);
}
