//! The types against the interface texts, and both against bytes.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Call, Decoder, Exit, ExitReason, FrameError, HostInfo, INTERFACES, InterfaceDescription, Jail,
    JailState, JailSummary, LogEntry, LogLine, MAX_MESSAGE, Reply, Request, Seccomp, ServiceInfo,
    Stage, StageState, Stream, Usage, WireError, encode,
};

/// The fields of one parenthesis: name to whether it may be missing. Enumerations have words only.
type Fields = BTreeMap<String, bool>;

/// All definitions of all interfaces: `type Jail`, `method List in`, `method List out`, `error ...`.
fn definitions() -> BTreeMap<String, Fields> {
    let mut all = BTreeMap::new();
    for (interface, text) in INTERFACES {
        let code: String =
            text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join(" ");
        let mut rest = code.as_str();
        while let Some(open) = rest.find('(') {
            let close = rest.find(')').unwrap();
            let head: Vec<&str> = rest[..open].split_whitespace().collect();
            let fields = fields(&rest[open + 1..close]);
            match head.as_slice() {
                [.., "->"] => {
                    let (name, _) = last_method(&all).unwrap();
                    all.insert(name.replace(" in", " out"), fields);
                }
                [.., "method", name] => {
                    all.insert(format!("{:04} {interface}.{name} in", all.len()), fields);
                }
                [.., kind, name] => {
                    all.insert(format!("{kind} {name}"), fields);
                }
                _ => panic!("{head:?}"),
            }
            rest = &rest[close + 1..];
        }
    }
    let trimmed = |name: String| match name.split_once(' ') {
        Some((number, rest)) if number.parse::<u32>().is_ok() => rest.to_owned(),
        _ => name,
    };
    all.into_iter().map(|(name, fields)| (trimmed(name), fields)).collect()
}

fn last_method(all: &BTreeMap<String, Fields>) -> Option<(String, ())> {
    all.keys().rev().find(|name| name.ends_with(" in")).map(|name| (name.clone(), ()))
}

fn fields(text: &str) -> Fields {
    text.split(',')
        .map(str::trim)
        .filter(|field| !field.is_empty())
        .map(|field| match field.split_once(':') {
            Some((name, kind)) => (name.trim().to_owned(), kind.trim().starts_with('?')),
            None => (field.to_owned(), false),
        })
        .collect()
}

fn keys(value: &impl Serialize) -> BTreeSet<String> {
    let Value::Object(map) = serde_json::to_value(value).unwrap() else { panic!("no object") };
    map.keys().cloned().collect()
}

/// `full` has every field, `bare` none that may be missing.
fn assert_fields(what: &str, full: &impl Serialize, bare: &impl Serialize) {
    let all = definitions();
    let fields = all.get(what).unwrap_or_else(|| panic!("{what} is not in the text"));
    let names = |optional: bool| -> BTreeSet<String> {
        fields.iter().filter(|(_, o)| optional || !**o).map(|(n, _)| n.clone()).collect()
    };
    assert_eq!(keys(full), names(true), "{what}");
    assert_eq!(keys(bare), names(false), "{what}, bare");
}

fn assert_words<T: Serialize>(what: &str, words: &[T]) {
    let all = definitions();
    let ours: BTreeSet<String> = words
        .iter()
        .map(|word| serde_json::to_value(word).unwrap().as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ours, all[what].keys().cloned().collect(), "{what}");
}

fn usage() -> Usage {
    Usage { user_us: 1, system_us: 2, max_rss: 3 }
}

fn exit(full: bool) -> Exit {
    Exit {
        reason: ExitReason::Exited,
        code: full.then_some(7),
        signal: full.then(|| "SIGSEGV".to_owned()),
        core: false,
        at: 1,
        stage: full.then(|| "cannot mount /proc".to_owned()),
        errno: full.then(|| "EPERM".to_owned()),
        usage: full.then(usage),
    }
}

fn summary(full: bool) -> JailSummary {
    JailSummary {
        name: "web".to_owned(),
        state: JailState::Up,
        since: 1,
        address: vec!["192.0.2.10/24".to_owned()],
        pid: full.then_some(7),
        restarts: 0,
        problem: full.then(String::new),
        unit: "/etc/jails.d/web.toml".to_owned(),
    }
}

fn jail(full: bool) -> Jail {
    Jail {
        summary: summary(full),
        description: full.then(String::new),
        critical: true,
        image: String::new(),
        exec: Vec::new(),
        user: "root".to_owned(),
        uid_base: full.then_some(65536),
        mac: full.then(String::new),
        cgroup: full.then(String::new),
        capabilities: full.then(Vec::new),
        seccomp: full.then_some(Seccomp::Filter),
        no_new_privs: full.then_some(true),
        last_exit: full.then(|| exit(full)),
        memory_current: full.then_some(1),
        pids_current: full.then_some(1),
        start_time: full.then_some(1),
        problems: Vec::new(),
    }
}

fn log_entry() -> LogEntry {
    LogEntry { time: 1, stream: Stream::Stdout, text: "hello".to_owned() }
}

fn stage() -> Stage {
    let name = "mounts".to_owned();
    Stage { name, start_us: 1, duration_us: 2, state: StageState::Ok, message: String::new() }
}

fn host_info(full: bool) -> HostInfo {
    HostInfo {
        version: String::new(),
        hostname: String::new(),
        kernel: String::new(),
        boot_id: String::new(),
        booted: 1,
        data: "disk".to_owned(),
        uplink: full.then(String::new),
        stages: vec![stage()],
        problems: Vec::new(),
    }
}

#[test]
fn each_struct_has_the_fields_of_its_text() {
    assert_fields("type Usage", &usage(), &usage());
    assert_fields("type Exit", &exit(true), &exit(false));
    assert_fields("type JailSummary", &summary(true), &summary(false));
    assert_fields("type Jail", &jail(true), &jail(false));
    assert_fields("type LogEntry", &log_entry(), &log_entry());
    assert_fields("type Stage", &stage(), &stage());
    assert_fields("org.warder.Host.Info out", &host_info(true), &host_info(false));
    let service = ServiceInfo::jailsupd();
    assert_fields("org.varlink.service.GetInfo out", &service, &service);
    let text = InterfaceDescription::of("org.warder.Host").unwrap();
    assert_fields("org.varlink.service.GetInterfaceDescription out", &text, &text);
    let line = LogLine { entry: Some(log_entry()) };
    assert_fields("org.warder.Jails.Logs out", &line, &LogLine::default());
    let listed = super::Listed { jails: Vec::new() };
    assert_fields("org.warder.Jails.List out", &listed, &listed);
    let inspected = super::Inspected { jail: jail(false) };
    assert_fields("org.warder.Jails.Inspect out", &inspected, &inspected);
}

#[test]
fn each_enumeration_has_the_words_of_its_text() {
    assert_words("type JailState", JailState::ALL);
    assert_words("type ExitReason", ExitReason::ALL);
    assert_words("type Seccomp", Seccomp::ALL);
    assert_words("type Stream", Stream::ALL);
    assert_words("type StageState", StageState::ALL);
}

fn requests() -> Vec<Request> {
    let name = || "web".to_owned();
    vec![
        Request::GetInfo {},
        Request::GetInterfaceDescription { interface: name() },
        Request::List {},
        Request::Inspect { name: name() },
        Request::Logs { name: name(), lines: Some(3), follow: true },
        Request::HostInfo {},
        Request::PowerOff {},
        Request::Reboot {},
    ]
}

#[test]
fn each_method_of_the_texts_is_a_request_and_comes_back_from_its_call() {
    let mut methods: BTreeSet<String> = definitions()
        .into_keys()
        .filter_map(|name| name.strip_suffix(" in").map(str::to_owned))
        .collect();
    for request in requests() {
        let call = request.to_call();
        let all = definitions();
        let fields: BTreeSet<_> = all[&format!("{} in", call.method)].keys().cloned().collect();
        assert_eq!(call.parameters.keys().cloned().collect::<BTreeSet<_>>(), fields);
        assert_eq!(Request::from_call(&call), Ok(request));
        assert!(methods.remove(&call.method), "{} is not in the texts", call.method);
    }
    assert_eq!(methods, BTreeSet::new(), "methods without a request");
}

#[test]
fn each_refusal_of_ours_is_in_the_texts_and_comes_back_from_its_reply() {
    let text = || "x".to_owned();
    let all = definitions();
    for error in [
        WireError::NoSuchJail { name: text() },
        WireError::PermissionDenied,
        WireError::NotSupported { reason: text() },
        WireError::InterfaceNotFound { interface: text() },
        WireError::MethodNotFound { method: text() },
        WireError::InvalidParameter { parameter: text() },
        WireError::ExpectedMore,
    ] {
        let reply = Reply::refusal(&error);
        let name = reply.error.clone().unwrap();
        let fields = &all[&format!("error {}", name.rsplit('.').next().unwrap())];
        assert_eq!(reply.parameters.keys().collect::<Vec<_>>(), fields.keys().collect::<Vec<_>>());
        assert_eq!(reply.results::<LogLine>(), Err(error));
    }
}

fn refusal(call: Value) -> WireError {
    Request::from_call(&serde_json::from_value::<Call>(call).unwrap()).unwrap_err()
}

#[test]
fn a_bad_call_is_refused_by_name() {
    let method = "org.warder.Jails.Eat".to_owned();
    assert_eq!(refusal(json!({ "method": method })), WireError::MethodNotFound { method });
    let interface = "com.example".to_owned();
    assert_eq!(
        refusal(json!({ "method": "com.example.List" })),
        WireError::InterfaceNotFound { interface }
    );
    let parameter = "name".to_owned();
    let inspect = "org.warder.Jails.Inspect";
    assert_eq!(
        refusal(json!({ "method": inspect })),
        WireError::InvalidParameter { parameter: parameter.clone() }
    );
    assert_eq!(
        refusal(json!({ "method": inspect, "parameters": { "name": 7 } })),
        WireError::InvalidParameter { parameter }
    );
    let logs = "org.warder.Jails.Logs";
    assert_eq!(
        refusal(
            json!({ "method": logs, "more": true, "parameters": { "name": "web", "lines": "x" } })
        ),
        WireError::InvalidParameter { parameter: "lines".to_owned() }
    );
    assert_eq!(
        refusal(json!({ "method": logs, "parameters": { "name": "web" } })),
        WireError::ExpectedMore
    );
    refusal(json!({ "method": "" }));
}

#[test]
fn a_call_as_varlinkctl_writes_it_is_understood() {
    let call = json!({ "method": "org.warder.Jails.List", "parameters": {} });
    let call: Call = serde_json::from_value(call).unwrap();
    assert_eq!(Request::from_call(&call), Ok(Request::List {}));
}

#[test]
fn messages_come_out_whole_however_the_stream_is_cut() {
    let calls: Vec<Call> = requests().iter().map(Request::to_call).collect();
    let stream: Vec<u8> = calls.iter().flat_map(encode).collect();
    for size in [1, 2, 7, 64, stream.len()] {
        let mut decoder = Decoder::default();
        let mut found: Vec<Call> = Vec::new();
        for bytes in stream.chunks(size) {
            decoder.push(bytes);
            while let Some(call) = decoder.pop().unwrap() {
                found.push(call);
            }
        }
        assert_eq!(found, calls);
        assert!(!decoder.is_amid());
    }
}

#[test]
fn a_message_without_end_and_one_without_sense_are_errors() {
    let mut decoder = Decoder::default();
    decoder.push(&vec![b' '; MAX_MESSAGE]);
    assert!(decoder.pop::<Call>().unwrap().is_none());
    decoder.push(b" ");
    assert!(matches!(decoder.pop::<Call>(), Err(FrameError::TooLong(MAX_MESSAGE))));

    let mut decoder = Decoder::default();
    decoder.push(b"{]\0");
    assert!(matches!(decoder.pop::<Call>(), Err(FrameError::Shape(_))));
    decoder.push(b"{");
    assert!(decoder.is_amid());
}
