//! Standard input, output and error of a program, given to it in its own process, right before it is executed. Nothing
//! of this allocates.

use super::child::{At as _, Staged};
use super::ends::{Inside, Size, Streams};
use super::terminal;
use jail_init::Stage;
use rustix::fd::{AsFd as _, BorrowedFd};

/// Makes these standard input, output and error.
pub(super) fn files(streams: [BorrowedFd<'_>; 3]) -> Staged {
    for (file, number) in streams.into_iter().zip(0..) {
        sys::fd::place(file, number).at(Stage::Files)?;
    }
    Ok(())
}

/// Opens a terminal, which is all three, for whoever is at the other end of `socket`.
pub(super) fn terminal(socket: BorrowedFd<'_>, size: Size) -> Staged {
    let opened = terminal::open_for(socket, size);
    let peer = opened.map_err(|errno| (Stage::Terminal, errno.raw_os_error()))?;
    files([peer.as_fd(); 3])
}

/// Those of a program with a client, and at `number` its session with it.
pub(super) fn client(inside: &Inside, number: i32) -> Staged {
    let Inside { session, stdin, stdout, stderr, streams } = inside;
    match *streams {
        Streams::Pipes { .. } | Streams::Nothing => {
            files([stdin.as_fd(), stdout.as_fd(), stderr.as_fd()])?;
        }
        Streams::Terminal(size) => terminal(session.as_fd(), size)?,
    }
    sys::fd::place(session.as_fd(), number).at(Stage::Files)
}
