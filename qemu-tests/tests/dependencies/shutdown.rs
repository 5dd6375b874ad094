//! The end of the host.

use std::time::Duration;

use qemu_tests::{End, Image, Jails, Machine};

use crate::{stay, unit};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn host_that_goes_down_stops_its_jails_in_the_reverse_order_of_their_start() {
    let deaf = "[stop]\ntimeout = \"3s\"\n[dependencies]\nafter = [\"c-last\"]";
    let jails = Jails::new()
        .and_then(|jails| jails.unit("c-last", &stay("")))
        .and_then(|jails| jails.unit("b-deaf", &unit(&["ignore"], deaf)))
        .and_then(|jails| jails.unit("a-first", &stay("wants = [\"b-deaf\"]")))
        .unwrap();
    let mut vm = Machine::new("ordered-end", Image::Debug).jails(jails).start().unwrap();
    vm.wait_boot().unwrap();
    vm.up("a-first");

    vm.agent().output(&["/usr/bin/jailctl", "host", "poweroff"]).unwrap();

    let line = |jail: &str, to: &str| vm.wait_jail(0, jail, to).unwrap().at;
    let ends = [
        line("a-first", "stopping"),
        line("a-first", "down"),
        line("b-deaf", "stopping"),
        line("b-deaf", "down"),
        line("c-last", "stopping"),
        line("c-last", "down"),
    ];
    assert!(ends.is_sorted(), "{ends:?}");
    // Nobody waits for one that has no say in this.
    assert!(line("nginx", "down") < line("b-deaf", "down"));
    vm.console.wait_for("init: unmounted /data", SOON).unwrap();
    assert_eq!(vm.wait_end().unwrap(), End::PowerOff);
}
