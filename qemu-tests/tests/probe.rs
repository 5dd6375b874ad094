//! How far a container reaches: the program `probe` in a Warder jail and in each peer's container, with
//! the defaults of each, in the same guest. `UPDATE=1 cargo test -p qemu-tests --test probe` also writes
//! the table of docs/security.md.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fs, path::Path, time::Duration};

use qemu_tests::{
    Image, Jails, Machine,
    agent::Agent,
    image,
    peers::{self, Peer},
    probe::{ROWS, Report, Row, Stricter},
};

/// Some 500 system calls, each in processes of its own, twice (idle machine).
const PROBE_LIMIT: Duration = Duration::from_secs(60);

const WARDER: &str = "version = 1\n[image]\nsource = \"erofs:/usr/share/jails/probe.erofs\"\n\
     [network]\nmode = \"none\"\n[restart]\npolicy = \"no\"\n[process]\nexec = [\"/bin/probe\", ARGUMENTS]\n";

/// A root that each peer accepts.
const ROOT: &str = "mkdir -p /tmp/root && cd /tmp/root && mkdir bin usr proc sys dev etc tmp run && \
     cp /srv/probe bin/probe && chmod 755 bin/probe";

/// Where a peer is stricter, and why that is as it should be.
const STRICTER: [(&str, Peer, &str); 1] = [(
    "mapped-ids",
    Peer::Bubblewrap,
    "a single user; a service with users of its own cannot run (docs/decisions/0012)",
)];

#[test]
#[ignore = "takes long: make test-long"]
fn warder_is_at_least_as_strict_as_every_peer_in_every_row() {
    let program = image::program("probe").unwrap();
    let jails = Jails::new().unwrap().image("probe", &program).unwrap();
    let jails = jails.copy(&program, "images/probe").unwrap();
    let machine = Machine::new("probe", Image::Debug).jails(jails).peers().memory_mib(2048);
    let mut vm = machine.start().unwrap();
    vm.wait_boot().unwrap();
    let agent = vm.agent();
    agent.enter_peers().unwrap();
    agent.peer_output(ROOT).unwrap();
    let host = host_namespaces(agent);

    let warder = in_warder(agent, &host);
    let mut columns = vec![("Warder", String::new(), warder)];
    for peer in Peer::ALL {
        let version = version(agent, peer);
        columns.push((peer.name(), version, in_peer(agent, peer, &host)));
    }

    let results = image::ensure_dir(image::target().join("probe")).unwrap().join("results.json");
    fs::write(&results, serde_json::to_string_pretty(&columns).unwrap()).unwrap();
    let table = table(agent, &columns);
    println!("{table}");
    if std::env::var_os("UPDATE").is_some() {
        write_into_docs(&table);
    }
    let ours = &columns[0].2;
    let mut weaker = Vec::new();
    let excepted = |id: &str, name: &str| {
        STRICTER.iter().any(|(row, peer, _)| *row == id && peer.name() == name)
    };
    for (peer, _, theirs) in &columns[1..] {
        for row in ROWS {
            let (ours, theirs) = (&ours[row.id], &theirs[row.id]);
            if !row.holds(ours.value, theirs.value) && !excepted(row.id, peer) {
                weaker.push((row.id, *peer, ours.clone(), theirs.clone()));
            }
        }
    }
    assert!(weaker.is_empty(), "{weaker:#?}");
}

/// `KIND:INODE` of each.
fn host_namespaces(agent: &mut Agent) -> Vec<String> {
    let links =
        "cd /proc/self/ns && for n in mnt pid net ipc uts user cgroup time; do readlink $n; done";
    let links = agent.shell(links).unwrap();
    links.lines().map(|link| link.replace(['[', ']'], "")).collect()
}

fn in_warder(agent: &mut Agent, host: &[String]) -> Report {
    let words: Vec<_> = host.iter().map(|word| format!("\"{word}\"")).collect();
    let unit = WARDER.replace("ARGUMENTS", &words.join(", "));
    agent.write("/etc/jails.d/probe.toml", &unit).unwrap();
    let line = "/usr/bin/jailctl logs probe | grep -q mapped-ids";
    agent.wait_until(line, PROBE_LIMIT).unwrap();
    let log = agent.output(&["/usr/bin/jailctl", "logs", "probe"]).unwrap();
    report(&log)
}

fn in_peer(agent: &mut Agent, peer: Peer, host: &[String]) -> Report {
    let host: Vec<_> = host.iter().map(String::as_str).collect();
    let program = [&["/bin/probe"], &host[..]].concat();
    agent.peer_output(&peer.prepare("/tmp/root", &program)).unwrap();
    // Longer than the agent waits for one call.
    let run = peer.run("/tmp/root", &program);
    let script =
        format!("{{ {run}; }} </dev/null >/tmp/{0}.out 2>&1; echo $? >/tmp/{0}.end", peer.name());
    agent.peer_output(&format!("({script}) </dev/null >/dev/null 2>&1 &")).unwrap();
    let end =
        format!("nsenter -t $(cat {}) -m /usr/bin/test -e /tmp/{}.end", peers::HOLDER, peer.name());
    agent.wait_until(&end, PROBE_LIMIT).unwrap();
    report(&agent.peer_output(&format!("cat /tmp/{}.out", peer.name())).unwrap())
}

fn report(output: &str) -> Report {
    println!("{output}");
    let start = output.find("{\"").unwrap();
    serde_json::from_str(output[start..].lines().next().unwrap()).unwrap()
}

fn version(agent: &mut Agent, peer: Peer) -> String {
    let query = format!("dpkg-query -W -f '${{Version}}' {}", peer.package());
    agent.peer_output(&query).unwrap()
}

/// Markdown: a row of the schema a line, a container a column.
fn table(agent: &mut Agent, columns: &[(&str, String, Report)]) -> String {
    let date = agent.shell("date -u +%Y-%m-%d").unwrap();
    let kernel = agent.shell("uname -r").unwrap();
    let cells = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut head = vec!["what is counted".to_owned()];
    head.extend(
        columns.iter().map(|(name, version, _)| format!("{name} {version}").trim().to_owned()),
    );
    let mut text = format!("Measured {} on Linux {}.\n\n", date.trim(), kernel.trim());
    text += &cells(head);
    text += &format!("|---|{}\n", "---|".repeat(columns.len()));
    for row in ROWS {
        let mut line = vec![title(&row)];
        line.extend(columns.iter().map(|(_, _, report)| report[row.id].value.to_string()));
        text += &cells(line);
    }
    text
}

fn title(row: &Row) -> String {
    let way = if row.stricter == Stricter::More { " (more is stricter)" } else { "" };
    format!("{}{way}", row.title)
}

/// Between the marks of docs/security.md.
fn write_into_docs(table: &str) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/security.md");
    let text = fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once("<!-- probe: begin -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- probe: end -->").unwrap();
    let text = format!("{before}<!-- probe: begin -->\n{table}<!-- probe: end -->{after}");
    fs::write(page, text).unwrap();
}
