//! A peer that speaks the wire as jailsupd does: `web` does as it is told, `bad` does not come up, others are not
//! there.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use clap::Parser as _;
use jailsupd::control::wire::{
    Applied, Call, Change, Changed, Checked, Consequence, Counters, Decoder, Effect, Event,
    EventLine, Evidence, Image, ImageImported, ImageInspected, ImageRemoved, ImageTagged,
    ImagesCollected, ImagesListed, Inspected, JailProcesses, JailState, JailSummary, JailUsage,
    KeyDoc, KeyDocs, Listed, LogLine, Outcome, PlanStep, Planned, Problem, Process, ProcessTable,
    ProcessUsage, Reached, Reply, Request, Root, RootRemoved, RootsListed, Stream, UnitDraft,
    UnitFiles, UnitRole, UnitSchema, UnitText, UsageTable, Volume, VolumeInspected, VolumeRemoved,
    VolumesListed, WireError, encode,
};

use super::net::{diagnosis, network};
use super::{NOW, entry, info, jails, summary, web};
use crate::cli::Arguments;
use crate::command::run;
use crate::error::Error;
use crate::output::Output;

/// Runs `jailctl ARGUMENTS` against the peer.
pub(super) fn jailctl(arguments: &[&str]) -> Result<String, Error> {
    asking(arguments).0
}

/// The same, with what was printed in any case and what the peer was asked.
pub(super) fn asking(arguments: &[&str]) -> (Result<String, Error>, String, Vec<Request>) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("jailsupd.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let peer = thread::spawn(move || {
        let mut asked = Vec::new();
        // A connection without a call is the end of the test.
        while let Some(request) = serve(listener.accept().unwrap().0) {
            asked.extend(request);
        }
        asked
    });
    let mut bytes = Vec::new();
    let done = write_at(&socket, arguments, &mut bytes);
    drop(UnixStream::connect(&socket).unwrap());
    let printed = String::from_utf8(bytes).unwrap();
    (done.map(|()| printed.clone()), printed, peer.join().unwrap())
}

pub(super) fn at(socket: &Path, arguments: &[&str]) -> Result<String, Error> {
    let mut bytes = Vec::new();
    write_at(socket, arguments, &mut bytes)?;
    Ok(String::from_utf8(bytes).unwrap())
}

fn write_at(socket: &Path, arguments: &[&str], bytes: &mut Vec<u8>) -> Result<(), Error> {
    let words = ["jailctl"].iter().chain(arguments);
    let parsed = Arguments::try_parse_from(words).unwrap();
    run(&parsed, socket, &mut Output::new(bytes, NOW)).map(drop)
}

/// Serves one connection, with bytes cut at odd places.
fn serve(mut stream: UnixStream) -> Option<Option<Request>> {
    let mut decoder = Decoder::default();
    let call: Call = loop {
        let mut bytes = [0; 100];
        let count = stream.read(&mut bytes).unwrap();
        if count == 0 {
            return None;
        }
        decoder.push(&bytes[..count]);
        if let Some(call) = decoder.pop().unwrap() {
            break call;
        }
    };
    let request = Request::from_call(&call);
    let replies = match &request {
        Ok(request) => answer(request),
        Err(error) => vec![Reply::refusal(error)],
    };
    let bytes: Vec<u8> = replies.iter().flat_map(encode).collect();
    for part in bytes.chunks(17) {
        stream.write_all(part).unwrap();
    }
    Some(request.ok())
}

fn answer(request: &Request) -> Vec<Reply> {
    use Request as R;
    vec![match request {
        R::List {} => Reply::with(&Listed { jails: jails() }),
        R::HostInfo {} => Reply::with(&info()),
        R::Reboot {} => Reply::refusal(&WireError::PermissionDenied),
        R::Check { units } => check(units),
        R::Plan { units } => Reply::with(&planned(!units.is_empty())),
        R::Apply { .. } => Reply::with(&outcome()),
        R::Put { text, .. } if text.contains("bad") => {
            Reply::refusal(&WireError::InvalidUnit { problems: vec![problem("web.toml")] })
        }
        R::Put { text, .. } if text.contains("late") => {
            let path = "/etc/jails.d/web.toml".to_owned();
            Reply::refusal(&WireError::Conflict { path, hash: "00".to_owned() })
        }
        R::Put { stem, .. } => changed(stem),
        R::Explain { key } => explain(key.as_deref().unwrap_or_default()),
        R::Schema {} => Reply::with(&UnitSchema { schema: "{\n  \"a\": 1\n}".to_owned() }),
        R::Processes { name: None } => Reply::with(&ProcessTable { jails: processes() }),
        R::Stats { .. } => Reply::with(&stats()),
        R::Events { follow, .. } => return events(*follow),
        R::ListImages {} => Reply::with(&ImagesListed { images: vec![image()] }),
        R::ImportImage { path, .. } => return import(path),
        R::InspectImage { image: name }
        | R::TagImage { image: name, .. }
        | R::RemoveImage { image: name }
            if name != "web" =>
        {
            Reply::refusal(&WireError::NoSuchImage { image: name.clone(), nearest: None })
        }
        R::InspectImage { .. } => Reply::with(&ImageInspected { image: image() }),
        R::TagImage { name, .. } => {
            Reply::with(&ImageTagged { name: name.clone(), digest: image().digest })
        }
        R::RemoveImage { image: name } => {
            Reply::with(&ImageRemoved { removed: vec![name.clone(), image().digest] })
        }
        R::CollectImages {} => Reply::with(&ImagesCollected { removed: Vec::new(), freed: 0 }),
        R::ListRoots {} => Reply::with(&RootsListed { roots: roots() }),
        R::RemoveRoot { jail } if jail == "db" => {
            Reply::with(&RootRemoved { removed: jail.clone() })
        }
        R::RemoveRoot { jail } => {
            Reply::refusal(&WireError::NoSuchRoot { jail: jail.clone(), nearest: None })
        }
        R::ShowNetwork {} => Reply::with(&network()),
        R::ListVolumes {} => Reply::with(&VolumesListed { volumes: volumes() }),
        R::InspectVolume { name } => {
            about_volume(name, |volume| Reply::with(&VolumeInspected { volume }))
        }
        R::RemoveVolume { name } => {
            about_volume(name, |volume| Reply::with(&VolumeRemoved { removed: volume.name }))
        }
        other => return answer_of_jail(other),
    }]
}

fn explain(key: &str) -> Reply {
    let unknown = |nearest: Option<&str>, related: &[&str]| {
        let (key, nearest) = (key.to_owned(), nearest.map(str::to_owned));
        let related = related.iter().map(|key| (*key).to_owned()).collect();
        Reply::refusal(&WireError::NoSuchKey { key, nearest, related })
    };
    match key {
        "memroy_max" => unknown(Some("resources.memory_max"), &[]),
        "memory" => unknown(None, &["resources.memory_min", "resources.memory_max"]),
        _ => Reply::with(&KeyDocs { entries: key_docs() }),
    }
}

pub(super) fn volumes() -> Vec<Volume> {
    let volume = |name: &str, used, size_max, jails: &[&str]| Volume {
        name: name.to_owned(),
        created: NOW - 7_200_000,
        used,
        size_max,
        jails: jails.iter().map(|jail| (*jail).to_owned()).collect(),
        path: format!("/data/volumes/{name}/data"),
    };
    vec![volume("db", Some(5 << 20), Some(1 << 30), &["db"]), volume("old", None, None, &[])]
}

pub(super) fn image() -> Image {
    Image {
        digest: format!("sha256:{}", "0123456789abcdef".repeat(4)),
        kind: "erofs".to_owned(),
        size: 12 << 20,
        created: NOW - 7_200_000,
        origin: "/srv/web.tar".to_owned(),
        names: vec!["web:latest".to_owned()],
        jails: vec!["web".to_owned()],
    }
}

fn import(path: &str) -> Vec<Reply> {
    if path.ends_with("bad") {
        let reason = "cannot write the image: ENOSPC: No space left on device".to_owned();
        return vec![Reply::refusal(&WireError::NotPossible { name: path.to_owned(), reason })];
    }
    let progress = ImageImported { done: Some(1 << 20), total: Some(4 << 20), image: None };
    let done = ImageImported { image: Some(image()), ..ImageImported::default() };
    vec![Reply::with(&progress).continued(), Reply::with(&done)]
}

pub(super) fn roots() -> Vec<Root> {
    vec![Root {
        jail: "db".to_owned(),
        image: "dir:/srv/db".to_owned(),
        stale: true,
        used: Some(5 << 20),
        size_max: None,
        path: "/data/jails/db/root".to_owned(),
    }]
}

fn about_volume(name: &str, reply: impl Fn(Volume) -> Reply) -> Reply {
    let found = volumes().into_iter().find(|volume| volume.name == name);
    let unknown =
        || Reply::refusal(&WireError::NoSuchVolume { name: name.to_owned(), nearest: None });
    found.map_or_else(unknown, reply)
}

/// Methods that name a jail.
fn answer_of_jail(request: &Request) -> Vec<Reply> {
    use Request as R;
    let call = request.to_call();
    let first = call.parameters.get("names").and_then(|names| names.get(0));
    let name = call.parameters.get("name").or(call.parameters.get("stem")).or(first);
    let name = name.and_then(|name| name.as_str()).unwrap_or_default();
    if name != "web" && name != "bad" && !call.parameters.is_empty() {
        let nearest = name.starts_with('w').then(|| "web".to_owned());
        return vec![Reply::refusal(&WireError::NoSuchJail { name: name.to_owned(), nearest })];
    }
    let mut jail = summary(name, JailState::Up, 0);
    if name == "bad" {
        jail.state = JailState::Backoff;
        jail.problem = Some("exit code 7".to_owned());
    }
    vec![match request {
        R::Inspect { .. } => Reply::with(&Inspected { jail: web() }),
        R::Logs { follow, .. } => return log(*follow),
        R::Wait { .. } if name == "bad" => {
            Reply::refusal(&WireError::Timeout { state: JailState::Backoff })
        }
        R::Stop { .. } => reached(JailSummary { state: JailState::Down, ..jail }),
        R::Freeze { .. } => reached(JailSummary { frozen: true, ..jail }),
        R::Kill { signal, .. } if signal.ends_with('!') => {
            let problem = format!("\"{signal}\" is not a signal");
            let help = Some("did you mean \"SIGHUP\"?".to_owned());
            Reply::refusal(&WireError::InvalidValue { parameter: "signal".into(), problem, help })
        }
        R::Start { .. } | R::Restart { .. } | R::Kill { .. } | R::Thaw { .. } | R::Wait { .. } => {
            reached(jail)
        }
        R::Cat { .. } => Reply::with(&files()),
        R::Why { .. } => Reply::with(&evidence()),
        R::Doctor { .. } => Reply::with(&diagnosis(name == "bad")),
        R::Processes { .. } => Reply::with(&ProcessTable { jails: processes() }),
        R::Enable { .. }
        | R::Disable { .. }
        | R::Mask { .. }
        | R::Unmask { .. }
        | R::Delete { .. } => changed(name),
        _ => Reply::empty(),
    }]
}

fn reached(jail: JailSummary) -> Reply {
    Reply::with(&Reached { jail })
}

fn changed(name: &str) -> Reply {
    let jail = Some(summary(name, JailState::Starting, 0));
    Reply::with(&Changed { paths: vec![format!("/etc/jails.d/{name}.toml")], jail })
}

fn log(follow: bool) -> Vec<Reply> {
    let line =
        |text| Reply::with(&LogLine { entry: Some(entry(Stream::Stdout, text)) }).continued();
    let mut replies = vec![line("one"), line("two")];
    replies.extend((!follow).then(|| Reply::with(&LogLine::default())));
    replies
}

pub(super) fn event(from: JailState, to: JailState, why: &str) -> Event {
    let (from, to) = (Some(from), Some(to));
    let (time, jail) = (NOW - 1000, "web".to_owned());
    Event { time, jail, from, to, reason: None, why: why.to_owned() }
}

fn events(follow: bool) -> Vec<Reply> {
    let one = event(JailState::Starting, JailState::Up, "its program runs");
    let mut replies = vec![Reply::with(&EventLine { event: Some(one) }).continued()];
    replies.extend((!follow).then(|| Reply::with(&EventLine::default())));
    replies
}

pub(super) fn problem(file: &str) -> Problem {
    let (key, message) = ("resources.memroy_max", "unknown key");
    let help = "did you mean `memory_max`?";
    Problem {
        file: file.to_owned(),
        line: 7,
        column: 1,
        key: key.to_owned(),
        message: message.to_owned(),
        help: Some(help.to_owned()),
        text: format!(
            "error in `{key}`: {message}\n --> {file}:7:1\n  |\n7 | memroy_max = \"1M\"\n  | ^^^^^^^^^^\n  = help: {help}\n"
        ),
    }
}

fn check(units: &[UnitDraft]) -> Reply {
    let bad = units.iter().filter(|unit| unit.text.contains("bad"));
    let file = |unit: &UnitDraft| unit.path.clone().unwrap_or_default();
    let problems = bad.map(|unit| problem(&file(unit))).collect();
    let checked = if units.is_empty() { 5 } else { units.len() as u64 };
    Reply::with(&Checked { problems, checked })
}

pub(super) fn planned(with_invalid: bool) -> Planned {
    let step = |name: &str, consequence, why: &str| PlanStep {
        name: name.to_owned(),
        consequence,
        why: why.to_owned(),
        changes: Vec::new(),
        problems: Vec::new(),
    };
    let change = |key: &str, old: Option<&str>, new: Option<&str>, effect| Change {
        key: key.to_owned(),
        old: old.map(str::to_owned),
        new: new.map(str::to_owned),
        effect,
    };
    let mut web = step("web", Consequence::Restart, "process.exec differs");
    let long = "[\"/usr/sbin/nginx\", \"-g\", \"daemon off;\"]";
    web.changes = vec![
        change("process.exec", Some("[\"/usr/sbin/nginx\"]"), Some(long), Effect::Restart),
        change("resources.memory_max", Some("\"256M\""), None, Effect::Live),
    ];
    let mut steps = vec![step("cache", Consequence::Start, "new unit"), web];
    steps.push(step("db", Consequence::Nothing, ""));
    if with_invalid {
        let mut broken = step("broken", Consequence::Invalid, "its unit has problems");
        broken.problems = vec![problem("/etc/jails.d/broken.toml").text];
        steps.push(broken);
    }
    Planned { steps }
}

pub(super) fn outcome() -> Outcome {
    let one = |name: &str, consequence, reached, problem: Option<&str>| Applied {
        name: name.to_owned(),
        consequence,
        reached,
        problem: problem.map(str::to_owned),
    };
    Outcome {
        jails: vec![
            one("cache", Consequence::Start, JailState::Backoff, Some("exit code 7")),
            one("db", Consequence::Nothing, JailState::Up, None),
            one("web", Consequence::Restart, JailState::Up, None),
        ],
    }
}

pub(super) fn files() -> UnitFiles {
    let one = |path: &str, text: &str, role| UnitText {
        path: path.to_owned(),
        text: text.to_owned(),
        role,
        hash: "5f".to_owned(),
    };
    UnitFiles {
        files: vec![
            one("/etc/jails.d/web.toml", "version = 1\t# one\n", UnitRole::Unit),
            one("/etc/jails.d/web.toml.d/10-x.toml", "critical = true\n", UnitRole::DropIn),
        ],
    }
}

pub(super) fn key_docs() -> Vec<KeyDoc> {
    let key = |key: &str, default: Option<&str>, otherwise: Option<&str>, effect| KeyDoc {
        key: key.to_owned(),
        kind: "a size".to_owned(),
        required: default.is_none() && otherwise.is_none(),
        default: default.map(str::to_owned),
        otherwise: otherwise.map(str::to_owned),
        effect,
        doc: "The most memory the jail may use. Beyond it the kernel kills.".to_owned(),
        example: "\"256M\"".to_owned(),
    };
    vec![
        key("version", None, None, Effect::Restart),
        key("resources.memory_max", None, Some("no limit"), Effect::Live),
        key("resources.pids_max", Some("1024"), None, Effect::Live),
    ]
}

fn stats() -> UsageTable {
    let command = vec!["/usr/sbin/nginx".to_owned()];
    let (cpu_us, memory, io_read, io_write) = (10_000, 4 << 20, 3 << 20, 8 << 20);
    let process =
        ProcessUsage { pid: 415, jail_pid: 2, command, cpu_us, memory, io_read, io_write };
    let counters = Counters { cpu_us: 120_000, memory: 12 << 20, pids: 3, ..Counters::default() };
    let (name, processes) = ("web".to_owned(), Some(vec![process]));
    let memory_max = Some(64 << 20);
    let web = JailUsage { name, state: JailState::Up, counters, memory_max, processes };
    UsageTable { time_us: 4_000_000, jails: vec![web] }
}

pub(super) fn processes() -> Vec<JailProcesses> {
    let process = |pid, ppid, jail_pid, user, command: &[&str]| Process {
        pid,
        ppid,
        jail_pid,
        user,
        command: command.iter().map(|word| (*word).to_owned()).collect(),
    };
    let nginx = ["nginx: master process /usr/sbin/nginx -g daemon off; and a good deal more of it"];
    let web = vec![
        process(412, 1, 1, 0, &["/usr/lib/warder/jail-init"]),
        process(415, 412, 2, 0, &nginx),
        process(416, 415, 3, 33, &["nginx: worker process"]),
        process(420, 412, 9, 0, &["/bin/sh", "-c", "a b"]),
    ];
    vec![
        JailProcesses { name: "db".to_owned(), state: JailState::Down, processes: Vec::new() },
        JailProcesses { name: "web".to_owned(), state: JailState::Up, processes: web },
    ]
}

pub(super) fn evidence() -> Evidence {
    let mut jail = summary("web", JailState::Backoff, 2);
    jail.restarts = 4;
    Evidence {
        jail,
        text: vec!["Its program exited with code 7.".to_owned(), "It is started again.".to_owned()],
        last_exit: web().last_exit,
        start_problem: None,
        next_try_ms: Some(800),
        next_try_at: Some(1_795_343_509_923),
        problems: Vec::new(),
        events: vec![event(JailState::Up, JailState::Backoff, "exit code 7")],
        log: vec![entry(Stream::Stderr, "bind: address in use")],
    }
}
