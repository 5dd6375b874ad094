//! Jails on the wire between two guests: whom they reach with each kind of link, VLANs, sizes of packets, and a parent link
//! that goes and comes back. Two boots of the debug image, which the tests take turns with.
#![allow(clippy::unwrap_used, reason = "tests")]

mod bridges;
mod dhcp;
mod doctor;
mod duplicates;
mod firewall;
mod kinds;
mod names;
mod parents;
mod shown;
mod vlans;
mod ways_out;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use qemu_tests::segment::{self, Plug};
use qemu_tests::time::stretched;
use qemu_tests::{Guest, Image, Jails, Machine, Shared, Vm, image, unit_of};

static NEAR: Shared = Shared::new();
static FAR: Shared = Shared::new();
static WIRE: LazyLock<[Plug; 2]> = LazyLock::new(|| segment::wire().unwrap());

const SOON: Duration = Duration::from_secs(30);

/// The guest that a test is about, and one that is no more than somebody else on the wire.
struct Hosts {
    near: Guest<'static>,
    far: Guest<'static>,
}

/// Both, without jails but nginx, and with a policy that lets units have two VLANs.
fn hosts() -> Hosts {
    let boot = |shared: &'static Shared, name: &'static str, end: usize| {
        let machine = || {
            let jails = Jails::new().unwrap().image_with("named", names::image).unwrap();
            let (dnsmasq, _) = image::example("dnsmasq").unwrap();
            let jails = jails.copy(&dnsmasq, "images/dnsmasq.erofs").unwrap();
            let (redis, _) = image::example("redis").unwrap();
            let jails = jails.copy(&redis, "images/redis.erofs").unwrap();
            Machine::new(name, Image::Debug).jails(jails).plug(WIRE[end].clone())
        };
        let mut guest = shared.guest(machine);
        guest.sh("rm -rf /etc/jails.d/*");
        let policy = "version = 1\n[network]\nvlan = [10, 20]\n";
        guest.agent().write("/etc/warder/policy.toml", policy).unwrap();
        guest.ctl(&["apply"]);
        guest
    };
    Hosts { near: boot(&NEAR, "near", 0), far: boot(&FAR, "far", 1) }
}

/// A jail on the wire: its addresses end with `number`; `rest` are more keys of `[network]`.
fn unit(number: u8, rest: &str) -> String {
    let network = format!(
        "parent = \"eth1\"\naddress = [\"10.9.0.{number}/24\", \"fd00:9::{number}/64\"]\n{rest}"
    );
    unit_of("nuisance", &["stay"], "").replace("mode = \"none\"", &network)
}

/// Whether a jail gets an answer from an address, as its own programs would.
fn reaches(vm: &mut Vm, jail: &str, address: &str) -> bool {
    let ping = in_network(vm, jail, &format!("ping -q -c 3 -i 0.3 -W 1 {address} >/dev/null"));
    vm.sh(&format!("if {ping}; then echo yes; else echo no; fi")).trim() == "yes"
}

/// An address of IPv6 is used when nobody else has it, which takes the kernel a second or two: waits for that.
fn wait_usable(vm: &mut Vm, jail: &str) {
    let addresses = in_network(vm, jail, "ip address");
    vm.agent().wait_until(&format!("! {addresses} | grep -q tentative"), SOON).unwrap();
}

/// Waits until it does.
fn wait_reached(vm: &mut Vm, jail: &str, address: &str) {
    let deadline = Instant::now() + stretched(SOON);
    while !reaches(vm, jail, address) {
        assert!(Instant::now() < deadline, "{jail} does not reach {address}");
    }
}

/// A command of the host in the network namespace of a jail.
fn in_network(vm: &mut Vm, jail: &str, command: &str) -> String {
    let pid = vm.agent().service(jail, "nuisance").unwrap().pid;
    format!("nsenter -t {pid} -n /usr/bin/busybox {command}")
}

/// What somebody is told, on one line with one space between words, however it was wrapped.
fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The host's links.
fn links(vm: &mut Vm) -> Vec<String> {
    vm.sh("ls /sys/class/net").split_whitespace().map(str::to_owned).collect()
}
