//! Attackers that race the host: for a volume that is mounted, files that are copied, a program that is executed.

use qemu_tests::{Guest, proto::Status};

use super::{ATTACKS_LIMIT, one_by_one, together};

/// Tries after which a race that is lost each time is held to be no race.
const TRIES: usize = 40;

/// Starts the jail that swaps, or the one that lurks.
fn start(guest: &mut Guest<'_>, jail: &str, said: &str) {
    super::set_up_host(guest.agent());
    guest.agent().jailctl(&["restart", jail]).unwrap();
    let begun = format!("/usr/bin/jailctl logs {jail} | grep -q {said}");
    guest.agent().wait_until(&begun, ATTACKS_LIMIT).unwrap();
}

fn stop(guest: &mut Guest<'_>, jail: &str) {
    guest.agent().jailctl(&["stop", jail]).unwrap();
}

/// How often the victim of the swaps did not start, and how often it saw its own volume; and whether it ever saw
/// the host's. Until `enough`.
fn victims(
    guest: &mut Guest<'_>,
    enough: impl Fn(usize, usize, bool) -> bool,
) -> (usize, usize, bool) {
    let (mut refused, mut own, mut host) = (0, 0, false);
    for _ in 0..TRIES {
        let attempt = super::attack(guest, "victim").remove(0);
        match attempt.attack.as_str() {
            "start" => refused += 1,
            _ if attempt.succeeded => host = true,
            _ => own += 1,
        }
        if enough(refused, own, host) {
            break;
        }
    }
    (refused, own, host)
}

/// CVE-2021-30465 and its kind.
#[test]
fn volume_whose_directory_is_swapped_for_a_link_shows_no_file_of_the_host() {
    let mut guest = together::guest();
    start(&mut guest, "swapper", "swapping");

    let (refused, own, host) = victims(&mut guest, |refused, own, _| refused > 5 && own > 5);
    stop(&mut guest, "swapper");

    assert!(!host, "a file of the host was seen");
    assert!(refused > 0 && own > 0, "the race was on: {refused} refused, {own} not");
}

/// The same from its other side: what is swapped is the place at which a volume is mounted.
#[test]
fn volume_whose_mount_point_is_swapped_for_a_link_is_mounted_in_no_place_of_the_host() {
    let mut guest = together::guest();
    start(&mut guest, "swapper", "swapping");
    let supervisor = guest.agent().jailsupd().unwrap();
    let (mut refused, mut mounted) = (0, 0);
    for _ in 0..TRIES {
        let restarted = guest.agent().jailctl(&["restart", "nested"]).unwrap();
        let init = guest.agent().listed("nested").unwrap().pid;
        let of = |guest: &mut Guest<'_>, pid| {
            let agent = guest.agent();
            let all = agent.read(&format!("/proc/{pid}/mountinfo")).unwrap();
            let ours = all.lines().filter(|line| line.contains("/shared/nested "));
            ours.map(|line| line.split(' ').nth(4).unwrap().to_owned()).collect::<Vec<_>>()
        };
        for host in [1, supervisor] {
            assert_eq!(of(&mut guest, host), [""; 0], "a mount of process {host}");
        }
        match init.filter(|_| restarted.status == Status::Exit(0)) {
            None => refused += 1,
            Some(init) => {
                // The directory may have got its other name since.
                let places = of(&mut guest, init);
                assert!(places.len() == 1 && places[0].starts_with("/pool/"), "{places:?}");
                mounted += 1;
            }
        }
        if refused > 5 && mounted > 5 {
            break;
        }
    }
    stop(&mut guest, "nested");
    stop(&mut guest, "swapper");

    assert!(refused > 0 && mounted > 0, "the race was on: {refused} refused, {mounted} not");
}

#[test]
fn link_that_is_swapped_in_is_followed_where_nothing_forbids_it() {
    let mut guest = one_by_one::guest();
    guest.weaken().unwrap();
    guest.leave_out(&["volume-links"], false).unwrap();
    start(&mut guest, "swapper", "swapping");

    let (refused, own, host) = victims(&mut guest, |_, _, host| host);
    stop(&mut guest, "swapper");

    assert!(host, "{refused} refused, {own} with its own");
}

#[test]
fn copies_in_and_out_of_a_directory_that_is_swapped_stay_in_the_jail() {
    let mut guest = together::guest();
    start(&mut guest, "swapper", "swapping");
    guest
        .agent()
        .shell("rm -rf /data/out; mkdir /data/out; echo dropped >/data/out/dropped")
        .unwrap();

    let copied = guest
        .agent()
        .shell(
            // Not each finds the directory there: until one has, but no more often than this.
            "n=0; while [ $n -lt 8 ] || { [ -z \"$copied\" ] && [ $n -lt 100 ]; }; do n=$((n + 1)); \
             /usr/bin/jailctl cp /data/out/dropped swapper:/pool/sub/dropped 2>/dev/null; \
             /usr/bin/jailctl cp swapper:/pool/sub /data/out/$n 2>/dev/null && copied=copied; done; echo $copied",
        )
        .unwrap();
    stop(&mut guest, "swapper");
    let leaked = guest
        .agent()
        .shell("ls /run/hostile/dropped 2>/dev/null; find /data/out -name passwd; grep -rl mallory /data/out; :")
        .unwrap();

    assert_eq!(leaked, "");
    assert!(copied.contains("copied"), "some were copied");
}

/// Executes a few programs in the jail that lurks; what it has seen and held of those that brought them in.
fn lurked(guest: &mut Guest<'_>) -> (usize, Vec<String>) {
    start(guest, "lurker", "lurking");
    let pid = guest.agent().service("lurker", "attacker").unwrap().pid;
    // The helper as its own script, and as the shell of the image (CVE-2019-5736).
    let entries = format!(
        "cd /proc/{pid}/root && printf '#!/proc/self/exe\\n' >entry && chmod 755 entry && ln -sf /proc/self/exe bin/sh"
    );
    guest.agent().shell(&entries).unwrap();
    for program in [&["/bin/attacker", "list"][..], &["/entry"], &["/bin/sh"]].repeat(5) {
        let ended = guest.agent().jailctl(&[&["exec", "lurker"], program].concat()).unwrap();
        assert!(matches!(ended.status, Status::Exit(_)), "{ended:?}");
    }
    let log = guest.agent().jailctl(&["logs", "lurker"]).unwrap().stdout;
    stop(guest, "lurker");
    let seen = log.lines().filter(|line| line.contains("stdout seen ")).count();
    let held = log.lines().filter(|line| line.contains("stdout held ")).map(str::to_owned);
    (seen, held.collect())
}

#[test]
fn root_that_lurks_for_what_exec_brings_in_gets_hold_of_nothing() {
    let mut guest = together::guest();
    let hash = "sha256sum /usr/lib/warder/jail-init /usr/lib/warder/jailsupd";
    let before = guest.agent().shell(hash).unwrap();

    let (seen, held) = lurked(&mut guest);

    assert!(seen > 0, "it was there in time");
    assert_eq!(held, Vec::<String>::new());
    assert_eq!(guest.agent().shell(hash).unwrap(), before);
}

#[test]
fn root_that_lurks_gets_hold_of_a_helper_that_can_be_read() {
    let mut guest = one_by_one::guest();
    guest.weaken().unwrap();
    guest.agent().shell(one_by_one::NO_YAMA).unwrap();
    guest.leave_out(&["helper-mode", "landlock"], true).unwrap();

    let (seen, held) = lurked(&mut guest);

    assert!(seen > 0, "it was there in time");
    assert!(held.iter().any(|line| line.contains(" exe")), "{held:?}");
}
