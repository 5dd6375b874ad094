//! Addresses from a real DHCP server: dnsmasq in a jail, on the wire or on the same parent link.

use std::time::Duration;

use jailsupd::control::wire::JailState;
use qemu_tests::proto::Status;
use qemu_tests::{Vm, client::curl, disk};

use super::parents::{pull, put_in, told};
use super::{Hosts, SOON, hosts, in_network, wait_reached};

/// The server has to be able to reach a host whose address the kernel does not know yet.
const POLICY: &str = "version = 1\n[security]\nadd_capability = [\"NET_ADMIN\", \"NET_RAW\", \"NET_BIND_SERVICE\"]\n";

/// The server's unit: it gives these addresses, and says this besides.
fn server(range: &str, options: &[&str]) -> String {
    let options: String = options.iter().map(|option| format!(", \"{option}\"")).collect();
    format!(
        "version = 1\n[image]\nsource = \"erofs:/usr/share/jails/dnsmasq.erofs\"\n[root]\nmode = \"ephemeral\"\n\
         [process]\nexec = [\"/usr/sbin/dnsmasq\", \"--keep-in-foreground\", \"--conf-file\", \"--port=0\", \"--user=root\", \
         \"--log-facility=-\", \"--log-dhcp\", \"--no-ping\", \"--dhcp-authoritative\", \
         \"--dhcp-leasefile=/tmp/leases\", \"--dhcp-range={range},255.255.255.0,2m\"{options}]\n\
         [security]\nadd_capability = [\"NET_ADMIN\", \"NET_RAW\", \"NET_BIND_SERVICE\"]\n\
         [network]\nparent = \"eth1\"\naddress = [\"10.9.0.53/24\"]\n"
    )
}

pub(super) const RANGE: &str = "10.9.0.100,10.9.0.119";
pub(super) const DNS: &str = "--dhcp-option=option:dns-server,10.9.0.53";

/// A jail that asks; `rest` are more keys of `[network]`.
pub(super) fn asks(rest: &str) -> String {
    super::unit(1, rest).replace("[\"10.9.0.1/24\", \"fd00:9::1/64\"]", "[\"dhcp\"]")
}

/// The same from an image that has the files of /etc which the host writes.
fn asks_named(rest: &str) -> String {
    asks(rest).replace("/nuisance.erofs", "/named.erofs")
}

/// Both hosts; the far one has the server.
pub(super) fn served(range: &str, options: &[&str]) -> Hosts {
    let mut hosts = hosts();
    for host in [&mut hosts.near, &mut hosts.far] {
        host.agent().write("/etc/warder/policy.toml", POLICY).unwrap();
    }
    hosts.far.put_up("dhcp", &server(range, options));
    hosts
}

fn address(vm: &mut Vm, jail: &str) -> String {
    let jail = vm.up(jail);
    assert_eq!(jail.address.len(), 1, "{:?}", jail.address);
    jail.address[0].clone()
}

fn file(vm: &mut Vm, jail: &str, file: &str) -> String {
    let pid = vm.agent().service(jail, "nuisance").unwrap().pid;
    vm.sh(&format!("cat /proc/{pid}/root/etc/{file}"))
}

/// The processes of the host that ask DHCP servers.
pub(super) fn workers(vm: &mut Vm) -> Vec<u32> {
    let found = "grep -l '^memfd:dhcp-work' /proc/[0-9]*/comm 2>/dev/null | cut -d/ -f3; true";
    vm.sh(found).split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// How often the server has said so.
fn said(far: &mut Vm, what: &str) -> usize {
    far.sh(&format!("/usr/bin/jailctl logs dhcp | grep -c '{what}'; true")).trim().parse().unwrap()
}

fn wait_said(far: &mut Vm, what: &str, count: usize) {
    let condition = format!("[ $(/usr/bin/jailctl logs dhcp | grep -c '{what}') -ge {count} ]");
    far.agent().wait_until(&condition, SOON).unwrap();
}

#[test]
fn a_jail_has_what_the_dhcp_server_gives_before_its_program_starts() {
    // One of the routes can be nobody's.
    let routes =
        "--dhcp-option=121,10.77.0.0/16,10.9.0.54,10.78.0.0/16,224.0.0.5,0.0.0.0/0,10.9.0.53";
    let mut hosts = served(RANGE, &[DNS, "--domain=example.test", routes]);
    let named = said(&mut hosts.far, "DHCPACK.* a$");
    let near = &mut hosts.near;
    near.put_up("a", &asks_named(""));

    let given = address(near, "a");
    assert!(given.starts_with("10.9.0.1") && given.ends_with("/24"), "{given}");
    let shown = in_network(near, "a", "ip address show eth0");
    let shown = near.sh(&shown);
    assert!(shown.contains(&format!("inet {given}")), "{shown}");
    // The kernel takes it away by itself when nobody renews it.
    assert!(shown.contains("valid_lft 1") && !shown.contains("inet 10.9.0.1/24"), "{shown}");
    let routes = in_network(near, "a", "ip route");
    let routes = near.sh(&routes);
    assert!(routes.contains("default via 10.9.0.53"), "{routes}");
    assert!(
        routes.contains("10.77.0.0/16 via 10.9.0.54") && !routes.contains("10.78."),
        "{routes}"
    );
    assert_eq!(file(near, "a", "resolv.conf"), "nameserver 10.9.0.53\nsearch example.test\n");
    let own = given.trim_end_matches("/24");
    assert!(file(near, "a", "hosts").contains(&format!("\n{own} a\n")));
    wait_reached(near, "a", "10.9.0.53");
    let told = near.ctl(&["events", "a"]);
    assert!(told.contains(&format!("has {given} from the DHCP server 10.9.0.53 for 2m")), "{told}");
    // It has told its name, and keeps the address when it is started again.
    assert!(said(&mut hosts.far, "DHCPACK.* a$") > named);
    let asked = said(&mut hosts.far, "DHCPDISCOVER");
    near.ctl(&["restart", "a"]);
    assert_eq!(address(near, "a"), given);
    assert_eq!(said(&mut hosts.far, "DHCPDISCOVER"), asked);
    // The server hears of another name.
    let renamed = said(&mut hosts.far, "DHCPACK.* other$");
    hosts.near.put("a", &asks_named("hostname = \"other\"\n"));
    wait_said(&mut hosts.far, "DHCPACK.* other$", renamed + 1);
    hosts.near.remove("a");
    assert_eq!(hosts.near.sh("ls /data/leases"), "");
    hosts.far.remove("dhcp");
}

#[test]
fn a_jail_waits_for_its_address_and_says_so() {
    let mut hosts = hosts();
    hosts.far.agent().write("/etc/warder/policy.toml", POLICY).unwrap();
    let near = &mut hosts.near;
    near.put("waits", &asks(""));
    let told = "/usr/bin/jailctl why waits | tr -s '\\n ' ' ' | grep -q 'waits for an address, which no DHCP server on eth1 has given'";
    near.agent().wait_until(told, SOON).unwrap();
    let summary = near.agent().inspect("waits").unwrap().summary;
    assert_eq!((summary.state, summary.address.len()), (JailState::Waiting, 0));
    // Nobody waits for it in vain, and one that need not wait does not.
    near.refused(&["apply"], Status::Exit(5));
    near.put("b", &asks_named("wait_for_address = false\n"));
    near.up("b");

    hosts.far.put_up("dhcp", &server(RANGE, &[DNS]));
    let first = address(near, "waits");
    let has = "/usr/bin/jailctl inspect b | grep -q '10.9.0.1'";
    near.agent().wait_until(has, Duration::from_secs(90)).unwrap();
    assert_ne!(address(near, "b"), first);
    assert_eq!(file(near, "b", "resolv.conf"), "nameserver 10.9.0.53\n");
    for jail in ["waits", "b"] {
        near.remove(jail);
    }
    hosts.far.remove("dhcp");
}

#[test]
fn an_address_outlives_jailsupd_and_the_process_that_asks_and_is_renewed() {
    // It is to be renewed after six seconds.
    let mut hosts = served(RANGE, &["--dhcp-option=58,6", "--dhcp-option=59,90"]);
    let near = &mut hosts.near;
    near.put_up("kept", &asks(""));
    let (given, pid) = (address(near, "kept"), near.up("kept").pid);
    let asked = said(&mut hosts.far, "DHCPDISCOVER");
    let near = &mut hosts.near;
    let first = workers(near);
    assert_eq!(first.len(), 1, "{first:?}");

    near.sh(&format!("kill -KILL {}", first[0]));
    let acks = said(&mut hosts.far, "DHCPACK");
    wait_said(&mut hosts.far, "DHCPACK", acks + 2);
    let second = workers(near);
    assert!(second.len() == 1 && second != first, "{second:?}");
    near.agent().kill_jailsupd().unwrap();
    let acks = said(&mut hosts.far, "DHCPACK");
    wait_said(&mut hosts.far, "DHCPACK", acks + 2);

    assert_eq!((address(near, "kept"), near.up("kept").pid), (given, pid));
    assert!(workers(near).len() == 1 && workers(near) != second);
    assert_eq!(said(&mut hosts.far, "DHCPDISCOVER"), asked);
    wait_reached(near, "kept", "10.9.0.53");
    let told = near.ctl(&["events", "kept"]);
    assert!(!told.contains("has lost its address"), "{told}");
    hosts.near.remove("kept");
    hosts.far.remove("dhcp");
}

#[test]
fn a_server_that_has_other_addresses_now_renumbers_a_running_jail() {
    let quick = ["--dhcp-option=58,4", "--dhcp-option=59,90"];
    let mut hosts = served(RANGE, &quick);
    let near = &mut hosts.near;
    near.put_up("moved", &asks(""));
    let (given, pid) = (address(near, "moved"), near.up("moved").pid);

    let other = server("10.9.0.200,10.9.0.219", &[DNS, quick[0], quick[1]]);
    hosts.far.put_up("dhcp", &other);

    let has = "/usr/bin/jailctl inspect moved | grep -q '10.9.0.2'";
    near.agent().wait_until(has, SOON).unwrap();
    assert_eq!(near.up("moved").pid, pid);
    let told = near.ctl(&["events", "moved"]);
    let lost = format!("has lost its address {given}: the DHCP server has refused it");
    assert!(told.contains(&lost), "{told}");
    let shown = in_network(near, "moved", "ip address show eth0");
    assert!(!near.sh(&shown).contains(given.trim_end_matches("/24")));
    // Its program reads the same file, with what it says now.
    assert_eq!(file(near, "moved", "resolv.conf"), "nameserver 10.9.0.53\n");
    hosts.near.remove("moved");
    hosts.far.remove("dhcp");
}

#[test]
fn an_address_that_somebody_has_already_is_declined() {
    let mut hosts = served(RANGE, &["--dhcp-host=02:00:00:00:00:aa,10.9.0.100"]);
    hosts.far.put_up("squatter", &super::unit(100, ""));
    let declined = said(&mut hosts.far, "DHCPDECLINE.*10.9.0.100");
    let near = &mut hosts.near;

    near.put_up("refuses", &asks("mac = \"02:00:00:00:00:aa\"\n"));

    let given = address(near, "refuses");
    assert_ne!(given, "10.9.0.100/24");
    assert!(said(&mut hosts.far, "DHCPDECLINE.*10.9.0.100") > declined);
    let told = near.ctl(&["events", "refuses"]);
    assert!(told.contains("gave 10.9.0.100, which"), "{told}");
    hosts.near.remove("refuses");
    hosts.far.remove("squatter");
    hosts.far.remove("dhcp");
}

#[test]
fn an_address_that_a_unit_of_this_host_has_is_declined() {
    let mut hosts = served(RANGE, &["--dhcp-host=02:00:00:00:00:ab,10.9.0.101"]);
    let near = &mut hosts.near;
    // It does not run, so nobody on the link answers for its address.
    near.put(
        "owner",
        &super::unit(101, "").replace("version = 1\n", "version = 1\nenabled = false\n"),
    );
    near.ctl(&["apply"]);

    near.put("declines", &asks("mac = \"02:00:00:00:00:ab\"\n"));

    let text = "cannot be used: the DHCP server 10.9.0.53 on eth1 gave 10.9.0.101, which this host or a jail on it has";
    told(near, "declines", text);
    near.up("declines");
    assert_ne!(address(near, "declines"), "10.9.0.101/24");
    let shown = in_network(near, "declines", "ip address show eth0");
    assert!(!near.sh(&shown).contains("10.9.0.101"));
    for jail in ["declines", "owner"] {
        near.remove(jail);
    }
    hosts.far.remove("dhcp");
}

#[test]
fn a_jail_has_its_address_again_when_the_parent_is_back() {
    let mut hosts = served(RANGE, &[]);
    let near = &mut hosts.near;
    near.put_up("back", &asks(""));
    let (given, pid) = (address(near, "back"), near.up("back").pid);
    near.put_up("free", &asks("wait_for_parent = false\n"));

    pull(near);
    told(near, "back", "its link is gone with the parent; it runs on without");
    near.put("late", &asks(""));
    told(near, "late", "waits for link eth1, which is not there");
    // What does not wait for its parent does not wait for an address on it either.
    near.ctl(&["restart", "free"]);
    near.agent().kill_jailsupd().unwrap();
    near.agent().wait_state("late", JailState::Waiting).unwrap();

    put_in(near);
    near.up("late");
    wait_reached(near, "late", "10.9.0.53");
    let has = "/usr/bin/jailctl inspect free | grep -q 10.9.0.1";
    near.agent().wait_until(has, SOON).unwrap();
    wait_reached(near, "free", "10.9.0.53");
    told(near, "back", "its link is there");
    // Whether it still holds was asked, meanwhile it was without.
    let has = format!("/usr/bin/jailctl inspect back | grep -q {given}");
    near.agent().wait_until(&has, SOON).unwrap();
    wait_reached(near, "back", "10.9.0.53");
    assert_eq!((address(near, "back"), near.up("back").pid), (given, pid));
    for jail in ["back", "free", "late"] {
        near.remove(jail);
    }
    hosts.far.remove("dhcp");
}

#[test]
fn a_jail_that_waits_asks_on_the_parent_that_its_unit_is_corrected_to() {
    let mut near = hosts().near;
    near.put("corrected", &asks(""));
    told(&mut near, "corrected", "waits for an address, which no DHCP server on eth1 has given");

    near.put("corrected", &asks("").replace("eth1", "eth0"));

    near.up("corrected");
    // QEMU's own server has these.
    let given = address(&mut near, "corrected");
    assert!(given.starts_with("10.0.2."), "{given}");
    near.remove("corrected");
}

#[test]
fn an_edit_without_jailsupd_leaves_a_running_jail_the_address_that_it_has() {
    let mut hosts = served(RANGE, &["--dhcp-option=58,4", "--dhcp-option=59,90"]);
    let edit = |near: &mut Vm, unit: &str| {
        near.sh("kill -STOP $(pidof jailsupd)");
        near.put("changed", unit);
        near.sh("kill -KILL $(pidof jailsupd)");
        let told = "/usr/bin/jailctl inspect changed | grep -q 'older version'";
        near.agent().wait_until(told, SOON).unwrap();
    };
    let near = &mut hosts.near;
    near.put_up("changed", &asks(""));
    let shown = in_network(near, "changed", "ip address show eth0");
    let lent = near.sh(&format!("{shown} | grep 'inet '"));

    // It runs on as it was begun, and its lease is renewed.
    edit(near, &super::unit(1, ""));
    let acks = said(&mut hosts.far, "DHCPACK");
    wait_said(&mut hosts.far, "DHCPACK", acks + 2);
    let near = &mut hosts.near;
    assert_eq!(near.sh(&format!("{shown} | grep 'inet '")), lent);
    near.ctl(&["restart", "changed"]);
    let shown = in_network(near, "changed", "ip address show eth0");
    let fixed = near.sh(&format!("{shown} | grep 'inet '"));
    assert!(fixed.contains("inet 10.9.0.1/24") && fixed.lines().count() == 1, "{fixed}");
    assert_eq!(near.sh("ls /data/leases"), "");

    edit(near, &asks(""));
    near.ctl(&["restart", "changed"]);
    let given = address(near, "changed");
    assert!(given.starts_with("10.9.0.10") || given.starts_with("10.9.0.11"), "{given}");
    wait_reached(near, "changed", "10.9.0.53");
    near.remove("changed");
    hosts.far.remove("dhcp");
}

#[test]
fn a_version_that_starts_first_takes_the_address_over() {
    let mut hosts = served(RANGE, &[DNS, "--dhcp-option=58,4", "--dhcp-option=59,90"]);
    let near = &mut hosts.near;
    let first = "[deploy]\nstrategy = \"start-first\"\nmin_healthy_time = \"1500ms\"\n";
    let version = |rest: &str| format!("{}{rest}{first}", asks_named(""));
    near.put_up("first", &version(""));
    let (given, pid) = (address(near, "first"), near.up("first").pid);

    near.put("first", &version("environment = { VERSION = \"2\" }\n"));

    told(near, "first", "its new version takes its place");
    told(near, "first", "its link is there");
    let new = near.up("first");
    assert_ne!(new.pid, pid);
    assert_eq!(new.address, std::slice::from_ref(&given));
    assert_eq!(file(near, "first", "resolv.conf"), "nameserver 10.9.0.53\n");
    wait_reached(near, "first", "10.9.0.53");
    // It is renewed on its new link.
    let acks = said(&mut hosts.far, "DHCPACK");
    wait_said(&mut hosts.far, "DHCPACK", acks + 3);
    assert!(!near.ctl(&["events", "first"]).contains("has lost its address"));
    near.remove("first");
    hosts.far.remove("dhcp");
}

#[test]
fn what_parses_packets_has_nothing_of_the_host() {
    let mut hosts = served(RANGE, &[]);
    let near = &mut hosts.near;
    near.put_up("a", &asks(""));
    let pid = workers(near)[0];
    let status = near.sh(&format!("cat /proc/{pid}/status"));
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    for ids in [field("Uid:"), field("Gid:")] {
        assert!(ids.iter().all(|id| id.parse::<u32>().unwrap() >= 65_536), "{status}");
    }
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set), ["0000000000000000"], "{status}");
    }
    assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), (vec!["1".into()], vec!["2".into()]));
    assert_eq!(near.sh(&format!("ls -A /proc/{pid}/root/")), "");
    for space in ["mnt", "net", "pid", "ipc", "uts", "cgroup"] {
        let [own, hosts] = [pid.to_string(), "1".to_owned()]
            .map(|pid| near.sh(&format!("readlink /proc/{pid}/ns/{space}")));
        assert_ne!(own, hosts, "{space}");
    }
    // Its socket to jailsupd, and nothing of a jail: that has its address.
    assert_eq!(near.sh(&format!("ls -l /proc/{pid}/fd | grep -c socket:")).trim(), "1");
    near.remove("a");
    hosts.far.remove("dhcp");
}

#[test]
fn nginx_serves_its_page_at_an_address_that_was_given() {
    const PART: &str = "/etc/jails.d/nginx.toml.d/50-dhcp.toml";
    let mut near = hosts().near;
    near.sh("mkdir -p /etc/jails.d/nginx.toml.d");
    near.agent().write(PART, "[network]\naddress = [\"dhcp\"]\ngateway = []\n").unwrap();
    near.ctl(&["apply"]);

    // QEMU's own server gave it.
    let given = address(&mut near, "nginx");
    assert!(given.starts_with("10.0.2.") && given != "10.0.2.20/24", "{given}");
    let forwarded = near.forward(&format!("{}:80", given.trim_end_matches("/24"))).unwrap();
    let page = disk::tool(&mut curl(&format!("http://{forwarded}/"))).unwrap();
    assert!(page.contains("<h1>nginx jail</h1>"), "{page}");

    near.sh("rm -r /etc/jails.d/nginx.toml.d");
    near.ctl(&["apply"]);
    assert_eq!(near.wait_page().unwrap().status, 200);
    assert_eq!(near.sh("ls /data/leases"), "");
}
