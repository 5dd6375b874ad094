//! Broken units beside good ones: each is refused or fails with one message that a person can act
//! on, and stops no other. One boot.
#![allow(clippy::unwrap_used, reason = "tests")]

use jailsupd::control::wire::{ExitReason, Jail, JailState, JailSummary};
use qemu_tests::{Guest, Image, Jails, Machine, Result, Shared};

static SHARED: Shared = Shared::new();

const GOOD: &str = "version = 1
[image]
source = \"erofs:/usr/share/jails/nuisance.erofs\"
[process]
exec = [\"/bin/nuisance\", \"stay\"]
[network]
mode = \"none\"
";

fn guest() -> Guest<'static> {
    SHARED.guest(|| Machine::new("broken-units", Image::Debug).jails(jails().unwrap()))
}

fn jails() -> Result<Jails> {
    let image = |name: &str| GOOD.replace("nuisance.erofs", name);
    Jails::new()?
        .unit("good", GOOD)?
        .unit("syntax", &GOOD.replace("version = 1", "version = "))?
        .unit("unknown-key", &format!("{GOOD}[resources]\nmemroy_max = \"64M\"\n"))?
        .unit("wrong-type", &format!("{GOOD}[resources]\npids_max = \"many\"\n"))?
        .unit("Bad_Name", GOOD)?
        .unit("missing-image", &image("nowhere.erofs"))?
        .unit("not-erofs", &image("text.erofs"))?
        .file("images/text.erofs", &"this is no file system\n".repeat(1000))?
        .unit("missing-exec", &GOOD.replace("/bin/nuisance", "/bin/nothing"))?
        .unit(
            "unknown-parent",
            &GOOD.replace("mode = \"none\"", "parent = \"nolink0\"\naddress = [\"10.0.2.21/24\"]"),
        )
}

/// The jail as `jailctl inspect` shows it, once it has come to its end.
fn settled(guest: &mut Guest<'_>, name: &str) -> Jail {
    let shown = format!("/usr/bin/jailctl ls | grep -E '^{name} +(invalid|failed|backoff)'");
    guest.agent().wait_until(&shown, std::time::Duration::from_secs(20)).unwrap();
    guest.agent().inspect(name).unwrap()
}

/// Asserts that file and line, key and remedy stand in `jailctl inspect`, in one line of `jailctl ls`
/// and in exactly one of the console.
fn assert_message(guest: &mut Guest<'_>, jail: &Jail, parts: [&str; 3]) {
    let name = &jail.summary.name;
    let full = jail.problems.join("\n");
    let row = guest.agent().listed(name).unwrap().problem.unwrap_or_default();
    let marks = [&format!("jail={name} "), parts[0], parts[1], parts[2]];
    let lines = guest.console.lines();
    let said = lines.iter().filter(|line| marks.iter().all(|mark| line.text.contains(mark)));

    assert!(parts.iter().all(|part| full.contains(part)), "jailctl inspect: {full}");
    assert!(parts.iter().all(|part| row.contains(part)), "jailctl ls: {row}");
    assert_eq!(said.count(), 1, "lines of the console with {marks:?}");
}

#[test]
fn other_jails_start() {
    let mut guest = guest();

    guest.wait_jail(0, "good", "up").unwrap();
    let page = guest.wait_page().unwrap();

    assert_eq!(page.status, 200);
}

#[test]
fn syntax_error_is_refused() {
    let mut guest = guest();

    let jail = settled(&mut guest, "syntax");

    assert_eq!(jail.summary.state, JailState::Invalid);
    assert_message(
        &mut guest,
        &jail,
        ["/jails.d/syntax.toml:1:", "not TOML", "write text in quotes"],
    );
}

#[test]
fn unknown_key_is_refused() {
    let mut guest = guest();

    let jail = settled(&mut guest, "unknown-key");

    assert_eq!(jail.summary.state, JailState::Invalid);
    let key = "resources.memroy_max";
    assert_message(
        &mut guest,
        &jail,
        ["/jails.d/unknown-key.toml:9:1", key, "did you mean `memory_max`"],
    );
}

#[test]
fn wrong_type_is_refused() {
    let mut guest = guest();

    let jail = settled(&mut guest, "wrong-type");

    assert_eq!(jail.summary.state, JailState::Invalid);
    let key = "resources.pids_max";
    assert_message(
        &mut guest,
        &jail,
        ["/jails.d/wrong-type.toml:9:", key, "expected a whole number"],
    );
}

#[test]
fn bad_name_is_refused() {
    let mut guest = guest();

    let jail = settled(&mut guest, "Bad_Name");

    assert_eq!(jail.summary.state, JailState::Invalid);
    assert_message(
        &mut guest,
        &jail,
        ["/jails.d/Bad_Name.toml", "Bad_Name", "try `bad-name.toml`"],
    );
}

#[test]
fn missing_image_fails() {
    let mut guest = guest();

    let jail = settled(&mut guest, "missing-image");

    let place = "/jails.d/missing-image.toml:3";
    assert_message(&mut guest, &jail, [place, "image.source", "/usr/share/jails/nowhere.erofs"]);
    assert_not_started(&mut guest, "missing-image", "cannot provide image.source");
}

/// Its last end says that, and at what stage, like that of any other jail.
fn assert_not_started(guest: &mut Guest<'_>, jail: &str, stage: &str) {
    let exit = guest.agent().last_exit(jail).unwrap();
    assert_eq!((exit.reason, exit.stage.as_deref()), (ExitReason::StartFailed, Some(stage)));
    let inspected = guest.ctl(&["inspect", jail]);
    assert!(inspected.contains(stage), "{inspected}");
}

#[test]
fn image_that_is_no_erofs_fails() {
    let mut guest = guest();

    let jail = settled(&mut guest, "not-erofs");

    assert_message(&mut guest, &jail, ["/jails.d/not-erofs.toml:3", "image.source", "mkfs.erofs"]);
}

#[test]
fn program_that_does_not_exist_fails() {
    let mut guest = guest();

    let jail = settled(&mut guest, "missing-exec");

    assert_message(
        &mut guest,
        &jail,
        ["/jails.d/missing-exec.toml:5", "process.exec", "must be a program in the image"],
    );
    assert_not_started(&mut guest, "missing-exec", "cannot execute its program");
}

#[test]
fn unknown_parent_link_is_waited_for() {
    let mut guest = guest();

    let waits = |row: Option<&JailSummary>| row.is_some_and(|row| row.waits_for.is_some());
    let row = guest.agent().wait_listed("unknown-parent", "waiting", waits).unwrap().unwrap();

    let problem = row.problem.unwrap_or_default();
    let parts = ["/jails.d/unknown-parent.toml:7", "network.parent", "nolink0", "eth0"];
    assert!(parts.iter().all(|part| problem.contains(part)), "{problem}");
    let why = guest.ctl(&["why", "unknown-parent"]);
    assert!(why.contains("waits for link nolink0"), "{why}");
}
