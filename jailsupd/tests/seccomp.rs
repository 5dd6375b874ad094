//! Profiles in OCI's JSON format: what good ones mean, and what the writer of a broken one gets to read
//! (`UPDATE=1 cargo test -p jailsupd --test seccomp` writes the `.expected` files anew). The same files are the corpus
//! of the fuzzing below: an input that once failed is put there.

#![allow(clippy::unwrap_used)] // test helpers: a panic is the report

use std::path::{Path, PathBuf};
use std::{env, fs};

use jailsupd::plan::seccomp::{Request, compile};
use jailsupd::unit::seccomp::{Action, Condition, Profile, Seccomp, read};
use jailsupd::unit::value::FromText as _;
use jailsupd::unit::{Capabilities, Problem};
use proptest::prelude::*;

const KERNEL: (u32, u32) = (6, 12);

fn files(directory: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seccomp").join(directory);
    let entries = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
    found.sort();
    found
}

fn corpus() -> Vec<String> {
    let paths = files("good").into_iter().chain(files("broken"));
    paths.map(|path| fs::read_to_string(path).unwrap()).collect()
}

fn good(name: &str) -> Profile {
    let path = format!("{}/tests/seccomp/good/{name}.json", env!("CARGO_MANIFEST_DIR"));
    read(name, &fs::read_to_string(path).unwrap()).unwrap()
}

/// What the profile says of a call; the strictest rule that holds, as a reader of the file would find it.
fn says(profile: &Profile, caps: u64, call: i64, arguments: [u64; 6]) -> Action {
    let capabilities = Capabilities::from_bits(caps);
    let all = |all: &Vec<Condition>| all.iter().all(|condition| condition.holds(&arguments));
    let rules = profile.rules.iter().filter(|rule| {
        rule.calls.contains(&call)
            && rule.scope.holds(capabilities, KERNEL)
            && (rule.alternatives.is_empty() || rule.alternatives.iter().any(all))
    });
    let strictest = rules.map(|rule| rule.action).max_by_key(|action| action.rank());
    strictest.unwrap_or(profile.default)
}

#[test]
fn dockers_format_is_read_with_its_conditions() {
    let profile = good("docker-format");
    let of = |call| says(&profile, 0, call, [0; 6]);

    assert_eq!(profile.default, Action::Errno(1));
    assert_eq!(of(libc::SYS_read), Action::Allow);
    assert_eq!(of(libc::SYS_ptrace), Action::Allow, "the kernel is new enough");
    assert_eq!(of(libc::SYS_getpid), Action::Errno(1), "it is not");
    assert_eq!(of(libc::SYS_getppid), Action::Errno(1), "only elsewhere");
    assert_eq!(of(libc::SYS_arch_prctl), Action::Allow);
    assert_eq!(of(libc::SYS_lseek), Action::Errno(38));
    assert_eq!(of(libc::SYS_chroot), Action::Errno(1));
    assert_eq!(says(&profile, 1 << 18, libc::SYS_chroot, [0; 6]), Action::Allow);
    let unshare = |caps, flags| says(&profile, caps, libc::SYS_unshare, [flags, 0, 0, 0, 0, 0]);
    assert_eq!(unshare(0, 0x400), Action::Allow);
    assert_eq!(unshare(0, 0x1000_0400), Action::Errno(1));
    assert_eq!(unshare(1 << 21, 0x400), Action::Errno(1), "not with SYS_ADMIN");
    let socket = |family| says(&profile, 0, libc::SYS_socket, [family, 0, 0, 0, 0, 0]);
    assert_eq!((socket(40), socket(2)), (Action::Errno(1), Action::Allow));
}

#[test]
fn ocis_format_is_read_with_all_its_actions() {
    let profile = good("oci-format");
    let of = |call| says(&profile, 0, call, [0; 6]);

    assert!(profile.log);
    assert_eq!(profile.default, Action::Allow);
    assert_eq!(of(libc::SYS_getcwd), Action::Errno(1));
    assert_eq!(of(libc::SYS_sync), Action::KillProcess);
    assert_eq!(of(libc::SYS_getpgid), Action::Trap);
    assert_eq!(of(libc::SYS_getsid), Action::Log);
    assert_eq!(of(libc::SYS_umask), Action::Trace(7));
    assert_eq!(of(libc::SYS_getuid), Action::KillThread);
    let lseek = |offset, whence| says(&profile, 0, libc::SYS_lseek, [0, offset, whence, 0, 0, 0]);
    assert_eq!(lseek(10, 1), Action::Errno(22));
    assert_eq!((lseek(9, 1), lseek(10, 2)), (Action::Allow, Action::Allow), "both must hold");
    let fcntl = |command| says(&profile, 0, libc::SYS_fcntl, [0, command, 0, 0, 0, 0]);
    assert_eq!((fcntl(1001), fcntl(3)), (Action::Errno(0), Action::Errno(0)), "either is enough");
    assert_eq!(fcntl(4), Action::Allow);
}

#[test]
fn each_broken_profile_is_refused_with_its_message() {
    let mut wrong = Vec::new();
    for path in files("broken") {
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let found = match read(&format!("/etc/warder/seccomp/{name}"), &text) {
            Ok(_) => "accepted".to_owned(),
            Err(problem) => problem.to_string(),
        };
        let golden = path.with_extension("expected");
        if env::var_os("UPDATE").is_some() {
            fs::write(&golden, &found).unwrap();
        }
        let wanted = fs::read_to_string(&golden).unwrap_or_default();
        if wanted != found || found == "accepted" {
            wrong.push(format!("{}: expected\n{wanted}\nfound\n{found}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}\n(UPDATE=1 accepts what was found)", wrong.join("\n"));
}

/// Whatever the text is, there is an answer: a problem that can be shown, or a profile that is compiled or refused.
fn answer(text: &str) {
    match read("x.json", text) {
        Ok(profile) => {
            let seccomp = Seccomp::from_text("/x.json").unwrap();
            let capabilities = Capabilities::NONE;
            let profile = Some(&profile);
            let request =
                Request { seccomp: &seccomp, profile, capabilities, kernel: KERNEL, log: false };
            if let Ok(filter) = compile(request) {
                assert!(filter.unwrap().program.len() <= 4096);
            }
        }
        Err(problem) => show(&problem),
    }
}

fn show(problem: &Problem) {
    let shown = problem.to_string() + &problem.one_line();
    assert!(!shown.replace('\n', "").contains(char::is_control), "{shown:?}");
    assert!(!problem.message.is_empty() && problem.help.is_some());
}

#[test]
fn the_corpus_has_answers() {
    let corpus = corpus();
    assert!(corpus.len() >= 20);
    corpus.iter().for_each(|text| answer(text));
}

/// Words of the format, so that more than the syntax is tried.
fn word() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "\"SCMP_ACT_ALLOW\"",
        "\"SCMP_ACT_ERRNO\"",
        "\"SCMP_ACT_LOG\"",
        "\"SCMP_ACT_KILL\"",
        "\"SCMP_CMP_EQ\"",
        "\"SCMP_CMP_MASKED_EQ\"",
        "\"SCMP_CMP_GT\"",
        "\"CAP_SYS_ADMIN\"",
        "\"mount\"",
        "\"read\"",
        "\"clone\"",
        "\"amd64\"",
        "\"4.8\"",
        "\"EPERM\"",
        "null",
        "[]",
        "{}",
        "0",
        "5",
        "4096",
        "18446744073709551615",
        "-1",
        "1e3",
        "true",
    ]);
    prop_oneof![words.prop_map(str::to_owned), "[ -~]{0,6}"]
}

/// A profile of the right shape with any words in it.
fn shaped() -> impl Strategy<Value = String> {
    let entry = (word(), word(), word(), word(), word(), word()).prop_map(
        |(name, action, index, value, op, more)| {
            format!(
                "{{\"names\":[{name}],\"action\":{action},\"args\":[{{\"index\":{index},\
                 \"value\":{value},\"op\":{op}}}],\"errnoRet\":{more}}}"
            )
        },
    );
    (word(), prop::collection::vec(entry, 0..4)).prop_map(|(default, entries)| {
        format!("{{\"defaultAction\":{default},\"syscalls\":[{}]}}", entries.join(","))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_has_an_answer(text in "(?s).{0,200}") {
        answer(&text);
    }

    #[test]
    fn any_profile_of_the_right_shape_has_an_answer(text in shaped()) {
        answer(&text);
    }

    #[test]
    fn a_profile_with_a_bite_taken_out_has_an_answer(
        at in 0..100_usize, start in 0..3000_usize, length in 1..20_usize, put in word(),
    ) {
        let corpus = corpus();
        let whole = &corpus[at % corpus.len()];
        let keep = |(at, _): &(usize, char)| *at < start || *at >= start + length;
        let mut bitten: String = whole.char_indices().filter(keep).map(|(_, c)| c).collect();
        let mut place = start.min(bitten.len());
        while !bitten.is_char_boundary(place) {
            place -= 1;
        }
        bitten.insert_str(place, &put);
        answer(&bitten);
    }
}
