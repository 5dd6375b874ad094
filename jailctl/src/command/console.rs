//! `console`: the terminal of a jail's program.

use std::io::Write;

use jailsupd::control::wire::{Attached, Request};

use super::{Show, results};
use crate::cli::Console;
use crate::error::Error;
use crate::output::Output;
use crate::session::console::{End, Place, attend};
use crate::varlink::Client;

/// Attaches until the program ends, or the keys come that detach.
pub(super) fn console(
    show: &Show<'_>,
    console: &Console,
    out: &mut Output<impl Write>,
) -> Result<(), Error> {
    let place = attach(show, &console.name)?;
    if rustix::termios::isatty(rustix::stdio::stdin()) {
        let (name, keys) = (&console.name, &console.detach_keys);
        out.write(&format!("attached to {name}; {keys} detaches\n"))?;
    }
    let end = attend(place, &console.detach_keys, || attach(show, &console.name))?;
    out.write(&match end {
        End::Detached => format!("\ndetached from {}\n", console.name),
        End::Ended(how) => format!("\nthe program of {} {how}\n", console.name),
    })
}

fn attach(show: &Show<'_>, name: &str) -> Result<Place, Error> {
    let mut call = Client::send(show.socket, &Request::Console { name: name.to_owned() })?;
    let (reply, fds) = call.receive_with_fds()?;
    let attached: Attached = results(reply)?;
    let mut fds: Vec<Option<_>> = fds.into_iter().map(Some).collect();
    let mut take = |place: Option<u64>| {
        let place = place.and_then(|place| usize::try_from(place).ok());
        place.and_then(|place| fds.get_mut(place)?.take()).ok_or(Error::NoDescriptors)
    };
    Ok(Place { terminal: take(attached.terminal)?, output: take(attached.output)?, call })
}
