//! The other programs that Warder is compared with, in the debug guest.
#![allow(clippy::unwrap_used, reason = "tests")]

use qemu_tests::{Image, Machine, peers::Peer};

/// A root that each peer accepts: the tree's own /usr, and mount points.
const ROOT: &str = "mkdir /tmp/root && cd /tmp/root && mkdir usr proc sys dev etc tmp run && \
     mount --bind /usr usr && for name in bin lib lib64; do ln -s usr/$name $name; done";

#[test]
fn every_peer_runs_a_program_in_a_container() {
    let mut vm = Machine::new("peers", Image::Debug).peers().memory_mib(2048).start().unwrap();
    vm.wait_boot().unwrap();
    let agent = vm.agent();
    agent.enter_peers().unwrap();
    agent.peer_output(ROOT).unwrap();
    // Refused to a process whose root is not its namespace's: then peers would look stricter than they are.
    agent.peer_output("unshare --user true").unwrap();
    let program = ["/usr/bin/uname", "-s"];

    let said = Peer::ALL.map(|peer| {
        agent.peer_output(&peer.prepare("/tmp/root", &program)).unwrap();
        agent.peer_output(&peer.run("/tmp/root", &program)).unwrap().trim_end().to_owned()
    });

    assert_eq!(said, ["Linux"; 6]);
}
