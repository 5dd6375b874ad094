//! The types against the interface texts, and both against bytes.

mod samples;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Attached, Call, Changed, Checked, Consequence, Decoder, Diagnosis, Effect, EventLine,
    ExitReason, FrameError, HealthState, INTERFACES, ImageImported, ImageInspected, ImageRemoved,
    ImageTagged, ImagesCollected, ImagesListed, Inspected, InterfaceDescription, JailState,
    KeyDocs, LinkState, Listed, LogLine, MAX_MESSAGE, NetworkShown, Outcome, Planned, ProcessTable,
    Ran, Reached, Reply, Request, RootRemoved, RootsListed, Seccomp, ServiceInfo, SetBy,
    StageState, Stream, Streams, UnitFiles, UnitRole, UnitSchema, UsageTable, VolumeInspected,
    VolumeRemoved, VolumesListed, Weight, WireError, encode,
};
use samples::{
    applied, change, checks, draft, event, evidence, exit, finding, host_info, image, jail,
    jail_network, jail_processes, jail_usage, key_doc, log_entry, net_address, net_link, net_route,
    plan_step, privileges, problem, process, process_usage, root, stage, summary, terminal_size,
    unit_text, usage, victim, volume,
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

#[test]
fn each_struct_has_the_fields_of_its_text() {
    assert_fields("type Usage", &usage(), &usage());
    assert_fields("type Victim", &victim(), &victim());
    assert_fields("type Exit", &exit(true), &exit(false));
    assert_fields("type JailSummary", &summary(true), &summary(false));
    assert_fields("type Jail", &jail(true), &jail(false));
    assert_fields("type Privileges", &privileges(true), &privileges(false));
    assert_fields("type LogEntry", &log_entry(true), &log_entry(false));
    assert_fields("type Checks", &checks(true), &checks(false));
    assert_fields("type Stage", &stage(), &stage());
    assert_fields("type UnitDraft", &draft(true), &draft(false));
    assert_fields("type Problem", &problem(true), &problem(false));
    assert_fields("type Change", &change(true), &change(false));
    assert_fields("type PlanStep", &plan_step(), &plan_step());
    assert_fields("type Applied", &applied(true), &applied(false));
    assert_fields("type UnitText", &unit_text(), &unit_text());
    assert_fields("type KeyDoc", &key_doc(true), &key_doc(false));
    assert_fields("type Event", &event(true), &event(false));
    assert_fields("type Process", &process(), &process());
    assert_fields("type TerminalSize", &terminal_size(), &terminal_size());
    assert_fields("type JailProcesses", &jail_processes(), &jail_processes());
    assert_fields("type ProcessUsage", &process_usage(), &process_usage());
    assert_fields("type JailUsage", &jail_usage(true), &jail_usage(false));
    assert_fields("type Volume", &volume(true), &volume(false));
    assert_fields("type Root", &root(true), &root(false));
    assert_fields("type Image", &image(), &image());
    assert_fields("type NetAddress", &net_address(true), &net_address(false));
    assert_fields("type NetLink", &net_link(true), &net_link(false));
    assert_fields("type NetRoute", &net_route(true), &net_route(false));
    assert_fields("type JailNetwork", &jail_network(true), &jail_network(false));
    assert_fields("type Finding", &finding(true), &finding(false));
}

/// The results of one method of `org.warder.Jails`, with and without what may be missing.
fn assert_results<T: Serialize>(method: &str, full: &T, bare: &T) {
    assert_fields(&format!("org.warder.Jails.{method} out"), full, bare);
}

#[test]
fn each_result_has_the_fields_of_its_text() {
    assert_fields("org.warder.Host.Info out", &host_info(true), &host_info(false));
    let service = ServiceInfo::jailsupd();
    assert_fields("org.varlink.service.GetInfo out", &service, &service);
    let text = InterfaceDescription::of("org.warder.Host").unwrap();
    assert_fields("org.varlink.service.GetInterfaceDescription out", &text, &text);
    let line = LogLine { entry: Some(log_entry(true)) };
    assert_results("Logs", &line, &LogLine::default());
    assert_results("Events", &EventLine { event: Some(event(true)) }, &EventLine::default());
    let listed = Listed { jails: Vec::new() };
    assert_results("List", &listed, &listed);
    let inspected = Inspected { jail: jail(false) };
    assert_results("Inspect", &inspected, &inspected);
    for method in ["Start", "Stop", "Restart", "Kill", "Freeze", "Thaw", "Wait"] {
        let reached = Reached { jail: summary(true) };
        assert_results(method, &reached, &reached);
    }
    for method in ["Put", "Delete", "Enable", "Disable", "Mask", "Unmask"] {
        let changed = |jail| Changed { paths: Vec::new(), jail };
        assert_results(method, &changed(Some(summary(true))), &changed(None));
    }
    let checked = Checked { problems: Vec::new(), checked: 1 };
    assert_results("Check", &checked, &checked);
    let planned = Planned { steps: Vec::new() };
    assert_results("Plan", &planned, &planned);
    let outcome = Outcome { jails: Vec::new() };
    assert_results("Apply", &outcome, &outcome);
    let files = UnitFiles { files: Vec::new() };
    assert_results("Cat", &files, &files);
    let docs = KeyDocs { entries: Vec::new() };
    assert_results("Explain", &docs, &docs);
    let ends = |end| Streams { session: 0, stdin: end, stdout: end, stderr: end };
    let ran = |end| Ran {
        name: "run-1".to_owned(),
        session: end,
        stdin: end,
        stdout: end,
        stderr: end,
        problem: end.map(|_| String::new()),
    };
    assert_results("Run", &ran(Some(1)), &ran(None));
    let attached = Attached { terminal: Some(0), output: Some(1), end: Some(String::new()) };
    assert_results("Console", &attached, &Attached::default());
    for method in ["Exec", "CopyFrom", "CopyTo"] {
        assert_results(method, &ends(Some(1)), &ends(None));
    }
    let schema = UnitSchema { schema: String::new() };
    assert_results("Schema", &schema, &schema);
    assert_results("Why", &evidence(true), &evidence(false));
    let table = ProcessTable { jails: Vec::new() };
    assert_results("Processes", &table, &table);
    let table = UsageTable { time_us: 1, jails: Vec::new() };
    assert_results("Stats", &table, &table);
}

#[test]
fn each_result_of_storage_has_the_fields_of_its_text() {
    let check =
        |method: &str, value: &dyn Fn(&str)| value(&format!("org.warder.Storage.{method} out"));
    let listed = VolumesListed { volumes: Vec::new() };
    check("ListVolumes", &|what| assert_fields(what, &listed, &listed));
    let inspected = VolumeInspected { volume: volume(false) };
    check("InspectVolume", &|what| assert_fields(what, &inspected, &inspected));
    let listed = ImagesListed { images: Vec::new() };
    check("ListImages", &|what| assert_fields(what, &listed, &listed));
    let inspected = ImageInspected { image: image() };
    check("InspectImage", &|what| assert_fields(what, &inspected, &inspected));
    let imported = ImageImported { done: Some(1), total: Some(2), image: Some(image()) };
    check("ImportImage", &|what| assert_fields(what, &imported, &ImageImported::default()));
    let tagged = ImageTagged { name: String::new(), digest: String::new() };
    check("TagImage", &|what| assert_fields(what, &tagged, &tagged));
    let removed = ImageRemoved { removed: Vec::new() };
    check("RemoveImage", &|what| assert_fields(what, &removed, &removed));
    let collected = ImagesCollected { removed: Vec::new(), freed: 0 };
    check("CollectImages", &|what| assert_fields(what, &collected, &collected));
    let roots = RootsListed { roots: Vec::new() };
    check("ListRoots", &|what| assert_fields(what, &roots, &roots));
    let removed = RootRemoved { removed: String::new() };
    check("RemoveRoot", &|what| assert_fields(what, &removed, &removed));
    let removed = VolumeRemoved { removed: String::new() };
    check("RemoveVolume", &|what| assert_fields(what, &removed, &removed));
}

#[test]
fn each_result_of_network_has_the_fields_of_its_text() {
    let (links, routes, jails) = (Vec::new(), Vec::new(), Vec::new());
    let shown = NetworkShown { links, routes, jails };
    assert_fields("org.warder.Network.Show out", &shown, &shown);
    let (jail, findings, right) = ("web".to_owned(), Vec::new(), Vec::new());
    let found = Diagnosis { jail, findings, right };
    assert_fields("org.warder.Network.Doctor out", &found, &found);
}

#[test]
fn each_enumeration_has_the_words_of_its_text() {
    assert_words("type JailState", JailState::ALL);
    assert_words("type ExitReason", ExitReason::ALL);
    assert_words("type HealthState", HealthState::ALL);
    assert_words("type Seccomp", Seccomp::ALL);
    assert_words("type Stream", Stream::ALL);
    assert_words("type StageState", StageState::ALL);
    assert_words("type Consequence", Consequence::ALL);
    assert_words("type Effect", Effect::ALL);
    assert_words("type UnitRole", UnitRole::ALL);
    assert_words("type LinkState", LinkState::ALL);
    assert_words("type SetBy", SetBy::ALL);
    assert_words("type Weight", Weight::ALL);
}

/// Those that bring descriptors.
fn sessions() -> Vec<Request> {
    let name = || "web".to_owned();
    vec![
        Request::Exec {
            name: name(),
            command: vec![name()],
            user: Some(name()),
            environment: vec!["A=b".to_owned()],
            working_dir: Some(name()),
            terminal: Some(terminal_size()),
            stdin: true,
        },
        Request::Run {
            unit: name(),
            name: Some(name()),
            terminal: Some(terminal_size()),
            stdin: true,
        },
        Request::Console { name: name() },
        Request::CopyFrom { name: name(), path: name(), user: Some(name()) },
        Request::CopyTo { name: name(), path: name(), base: name(), user: Some(name()) },
    ]
}

fn requests() -> Vec<Request> {
    others().into_iter().chain(sessions()).collect()
}

fn others() -> Vec<Request> {
    let name = || "web".to_owned();
    let wait = false;
    vec![
        Request::GetInfo {},
        Request::GetInterfaceDescription { interface: name() },
        Request::List {},
        Request::Inspect { name: name() },
        Request::Logs {
            name: Some(name()),
            names: Some(vec![name()]),
            lines: Some(3),
            follow: true,
            since: Some(1),
            until: Some(2),
            kernel: Some(true),
        },
        Request::Start { name: name(), wait },
        Request::Stop { name: name(), wait },
        Request::Restart { name: name(), wait },
        Request::Kill { name: name(), signal: "SIGHUP".to_owned(), wait },
        Request::Freeze { name: name(), wait },
        Request::Thaw { name: name(), wait },
        Request::Wait { name: name(), state: JailState::Up, timeout_ms: Some(1) },
        Request::Check { units: vec![draft(true)] },
        Request::Plan { units: vec![draft(false)] },
        Request::Apply { wait },
        Request::Cat { name: name() },
        Request::Put { stem: name(), text: String::new(), expect_hash: Some(String::new()) },
        Request::Delete { stem: name() },
        Request::Enable { name: name() },
        Request::Disable { name: name() },
        Request::Mask { name: name() },
        Request::Unmask { name: name() },
        Request::Explain { key: Some(name()) },
        Request::Schema {},
        Request::Events { follow: true, name: Some(name()), lines: Some(5) },
        Request::Why { name: name() },
        Request::Processes { name: Some(name()) },
        Request::Stats { name: Some(name()), processes: Some(true) },
        Request::HostInfo {},
        Request::PowerOff {},
        Request::Reboot {},
        Request::Reexec {},
        Request::ListVolumes {},
        Request::InspectVolume { name: name() },
        Request::RemoveVolume { name: name() },
        Request::ListRoots {},
        Request::ListImages {},
        Request::InspectImage { image: name() },
        Request::ImportImage { path: name(), name: Some(name()) },
        Request::TagImage { image: name(), name: name() },
        Request::RemoveImage { image: name() },
        Request::CollectImages {},
        Request::RemoveRoot { jail: name() },
        Request::ShowNetwork {},
        Request::Doctor { name: name() },
    ]
}

#[test]
fn a_group_that_may_look_may_change_nothing() {
    let changing: Vec<String> =
        requests().iter().filter(|r| !r.is_read_only()).map(|r| r.to_call().method).collect();
    let short: Vec<&str> = changing.iter().map(|m| m.rsplit('.').next().unwrap()).collect();
    assert_eq!(
        short,
        [
            "Start",
            "Stop",
            "Restart",
            "Kill",
            "Freeze",
            "Thaw",
            "Apply",
            "Put",
            "Delete",
            "Enable",
            "Disable",
            "Mask",
            "Unmask",
            "PowerOff",
            "Reboot",
            "Reexec",
            "RemoveVolume",
            "ImportImage",
            "TagImage",
            "RemoveImage",
            "CollectImages",
            "RemoveRoot",
            "Exec",
            "Run",
            "Console",
            "CopyFrom",
            "CopyTo"
        ]
    );
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
        WireError::NoSuchJail { name: text(), nearest: Some(text()) },
        WireError::NotPossible { name: text(), reason: text() },
        WireError::Timeout { state: JailState::Backoff },
        WireError::InvalidUnit { problems: vec![problem(true)] },
        WireError::Conflict { path: text(), hash: String::new() },
        WireError::NoSuchKey { key: text(), nearest: Some(text()), related: vec![text()] },
        WireError::InvalidValue { parameter: text(), problem: text(), help: Some(text()) },
        WireError::PermissionDenied,
        WireError::NoSuchVolume { name: text(), nearest: Some(text()) },
        WireError::NoSuchRoot { jail: text(), nearest: Some(text()) },
        WireError::NoSuchImage { image: text(), nearest: Some(text()) },
        WireError::NotSupported { reason: text() },
        WireError::NotReexecuted { reason: text() },
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

#[test]
fn a_refusal_of_a_later_version_is_known_as_far_as_it_goes() {
    let reply = |name: &str| Reply {
        parameters: [("more".to_owned(), json!(1))].into_iter().collect(),
        error: Some(name.to_owned()),
        continues: false,
    };
    let denied = reply("org.varlink.service.PermissionDenied").results::<LogLine>();
    assert_eq!(denied, Err(WireError::PermissionDenied));
    let name = "org.warder.Jails.Moon".to_owned();
    assert_eq!(reply(&name).results::<LogLine>(), Err(WireError::Other { name }));
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
            json!({ "method": logs, "more": true, "parameters": { "names": ["web"], "lines": "x" } })
        ),
        WireError::InvalidParameter { parameter: "lines".to_owned() }
    );
    assert_eq!(
        refusal(json!({ "method": logs, "parameters": { "names": ["web"] } })),
        WireError::ExpectedMore
    );
    refusal(json!({ "method": "" }));
    for (method, parameters, parameter) in [
        ("Wait", json!({ "name": "web", "state": "flying" }), "state"),
        ("Wait", json!({ "name": "web", "state": "up", "timeout_ms": -1 }), "timeout_ms"),
        ("Start", json!({ "name": "web", "wait": "no" }), "wait"),
        ("Put", json!({ "stem": "web" }), "text"),
        ("Check", json!({ "units": "web" }), "units"),
        ("Check", json!({ "units": [{ "stem": "web" }] }), "units"),
    ] {
        let method = format!("org.warder.Jails.{method}");
        let parameter = parameter.to_owned();
        assert_eq!(
            refusal(json!({ "method": method, "parameters": parameters })),
            WireError::InvalidParameter { parameter }
        );
    }
}

#[test]
fn a_call_as_varlinkctl_writes_it_is_understood() {
    let call = json!({ "method": "org.warder.Jails.List", "parameters": {} });
    let call: Call = serde_json::from_value(call).unwrap();
    assert_eq!(Request::from_call(&call), Ok(Request::List {}));
    let read = |call| Request::from_call(&serde_json::from_value::<Call>(call).unwrap());
    let kill =
        json!({ "method": "org.warder.Jails.Kill", "parameters": { "name": "web", "wait": null } });
    let (name, signal) = ("web".to_owned(), "SIGKILL".to_owned());
    assert_eq!(read(kill), Ok(Request::Kill { name, signal, wait: true }));
    let check = json!({ "method": "org.warder.Jails.Check" });
    assert_eq!(read(check), Ok(Request::Check { units: Vec::new() }));
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
