//! Who takes turns at starting the program, and what each leaves out.

use std::path::PathBuf;

use qemu_tests::{
    Error, Result, Vm,
    peers::Peer,
    starts_job::{How, Named},
};
use serde_json::{Value, json};

/// The program's root and what else is needed in the peers' tree.
pub(crate) const HERE: &str = "/run/bench";
/// Podman's profile, which is moby's.
const PROFILE: &str = "/usr/share/containers/seccomp.json";

/// One who takes turns, and what a Warder jail has that it has not.
pub(crate) struct Contender {
    pub(crate) named: Named,
    pub(crate) leaves_out: &'static str,
}

/// All of them. Peers with their defaults, as `tests/peers.rs` runs them; OCI runtimes also with a
/// configuration that asks for what a Warder jail has, as far as it can be asked for.
pub(crate) fn all(vm: &mut Vm) -> Result<Vec<Contender>> {
    let mut all = vec![
        floor("bare clone3 and exec", "bare", "everything"),
        floor("floor", "floor", "supervision, logs, users by name, checks of the image, an init"),
        floor("floor, read-only root", "read-only", "the same, and the writable layer"),
        floor("floor, new namespaces", "fresh", "as the floor; nothing is kept between starts"),
        floor("floor, kill to next exec", "restart", "as the floor"),
        Contender { named: named("Warder", How::Jail { jail: "stamp".into() }), leaves_out: "" },
        Contender {
            named: named("Warder, read-only root", How::Jail { jail: "stamp-ro".into() }),
            leaves_out: "the writable layer",
        },
        Contender {
            named: named("Warder, crash to next exec", How::Crash { jail: "stamp-crash".into() }),
            leaves_out: "",
        },
    ];
    let root = format!("{HERE}/rootfs");
    let program = ["/bin/stamp"];
    for peer in Peer::ALL {
        vm.agent().peer_output(&peer.prepare(&root, &program))?;
        let line = peer.run(&root, &program).replace("$$", "bench");
        all.push(Contender {
            named: named(peer.name(), command(&line)),
            leaves_out: leaves_out(peer),
        });
    }
    // youki has no configuration of its own that would start anything: crun's is as good.
    let config = read_json(vm, "/tmp/crun/config.json")?;
    all.push(runtime(vm, "youki", "youki", &config, leaves_out(Peer::Crun))?);
    let profile = allowed(&read_json(vm, PROFILE)?);
    // Not youki: with a user namespace it wants systemd for its cgroup (libcontainer 0.7.0, builder_impl.rs).
    for name in ["crun", "runc"] {
        let config = equal(read_json(vm, &format!("/tmp/{name}/config.json"))?, &profile);
        let leaves_out = "the writable layer, shifted owners of files, supervision, logs, an init";
        all.push(runtime(vm, name, &format!("{name}, equal"), &config, leaves_out)?);
    }
    Ok(all)
}

/// An OCI runtime with this configuration.
fn runtime(
    vm: &mut Vm,
    program: &str,
    name: &str,
    config: &Value,
    leaves_out: &'static str,
) -> Result<Contender> {
    let id = word(name);
    let bundle = format!("{HERE}/{id}");
    vm.agent().peer_output(&format!(
        "mkdir -p {bundle} && cat >{bundle}/config.json <<'END'\n{config}\nEND"
    ))?;
    let line = format!("{program} run --bundle {bundle} {id}");
    Ok(Contender { named: named(name, command(&line)), leaves_out })
}

/// The floor program's command line: on the host, since its layers are on the data partition.
pub(crate) fn floor_argv(filters: &[PathBuf]) -> Vec<String> {
    let words = [
        "nsenter",
        "-t",
        "1",
        "-m",
        "/run/bench/floor",
        "/data/stamp.erofs",
        "CGROUP",
        "/data/bench-NAME",
    ];
    let mut argv: Vec<String> = words.map(Into::into).into();
    argv.extend((0..filters.len()).map(|number| format!("/run/bench/filter{number}")));
    argv.extend(["--", "/bin/stamp"].map(Into::into));
    argv
}

fn floor(name: &str, kind: &str, leaves_out: &'static str) -> Contender {
    let named = named(name, How::Floor { kind: kind.into() });
    Contender { named, leaves_out }
}

fn named(name: &str, how: How) -> Named {
    Named { name: name.into(), cgroup: word(name), how }
}

/// The name as one word.
fn word(name: &str) -> String {
    name.replace([' ', ','], "-")
}

fn command(line: &str) -> How {
    let argv = line.split_whitespace().map(Into::into).collect();
    How::Command { argv, after: Vec::new() }
}

fn leaves_out(peer: Peer) -> &'static str {
    match peer {
        Peer::Crun | Peer::Runc => {
            "user namespace, seccomp, limits, the writable layer, supervision, logs, an init"
        }
        Peer::Bubblewrap => {
            "seccomp, cgroup, limits, masks of /proc and /sys, ids (one is mapped), the writable layer, \
             supervision, logs"
        }
        Peer::Nspawn => "user namespace, own network namespace, limits, supervision",
        Peer::Lxc => "user namespace, limits, the writable layer, supervision, logs",
        Peer::Podman => "user namespace, the writable layer, supervision, an init",
    }
}

fn read_json(vm: &mut Vm, path: &str) -> Result<Value> {
    let text = vm.agent().peer_output(&format!("cat {path}"))?;
    serde_json::from_str(&text).map_err(|error| Error::Answer {
        peer: "the peers' tree",
        answer: format!("{path}: {error}"),
    })
}

/// The calls that a profile allows here without a capability, whatever their arguments.
fn allowed(profile: &Value) -> Vec<Value> {
    let is_empty = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    let is_here = |rule: &Value| {
        let arches = &rule["includes"]["arches"];
        arches.as_array().is_none_or(|arches| arches.iter().any(|arch| arch == "amd64"))
    };
    let rules = profile["syscalls"].as_array().cloned().unwrap_or_default();
    let plain = rules.iter().filter(|rule| {
        rule["action"] == "SCMP_ACT_ALLOW"
            && is_empty(&rule["args"])
            && is_empty(&rule["includes"]["caps"])
            && is_here(rule)
    });
    plain.flat_map(|rule| rule["names"].as_array().cloned().unwrap_or_default()).collect()
}

/// What `crun spec` or `runc spec` made, with what a Warder jail has beyond it.
fn equal(mut config: Value, allowed: &[Value]) -> Value {
    let linux = &mut config["linux"];
    if let Some(namespaces) = linux["namespaces"].as_array_mut() {
        for kind in ["user", "cgroup", "network"] {
            if !namespaces.iter().any(|namespace| namespace["type"] == kind) {
                namespaces.push(json!({ "type": kind }));
            }
        }
    }
    let ids = json!([{ "containerID": 0, "hostID": 1 << 30, "size": 65_536 }]);
    linux["uidMappings"] = ids.clone();
    linux["gidMappings"] = ids;
    linux["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{ "names": allowed, "action": "SCMP_ACT_ALLOW" }],
    });
    linux["resources"]["pids"] = json!({ "limit": 512 });
    linux["resources"]["cpu"] = json!({ "shares": 1024 });
    config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    config["process"]["capabilities"] = json!({});
    config["process"]["noNewPrivileges"] = json!(true);
    config
}
