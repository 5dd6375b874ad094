//! A control socket whose process has no descriptors left. Alone in its program: the limit is the whole process's.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;

use jailsupd::control::server::Server;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn who_cannot_be_taken_is_sent_away_and_does_not_wake_us_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let mut server = Server::listen(&socket).unwrap();
    let mut early = UnixStream::connect(&socket).unwrap();
    // The next descriptor would be the first that is too many.
    let next = std::fs::File::open("/").unwrap().as_raw_fd();
    let before = getrlimit(Resource::Nofile);
    let current = Some(u64::try_from(next).unwrap());
    setrlimit(Resource::Nofile, Rlimit { current, maximum: before.maximum }).unwrap();

    assert_eq!(server.accept(), None);

    let mut waiting = [PollFd::from_borrowed_fd(server.listener(), PollFlags::IN)];
    assert_eq!(poll(&mut waiting, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap(), 0);
    assert_eq!(early.read(&mut [0]).unwrap(), 0, "it is closed");
    // Twice, since what was given up for it is there again.
    setrlimit(Resource::Nofile, before).unwrap();
    let _late = UnixStream::connect(&socket).unwrap();
    assert!(server.accept().is_some());
}
