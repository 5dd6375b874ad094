//! `jailctl net`.

use std::io::Write;

use jailsupd::control::wire::{Diagnosis, NetworkShown, Request, Weight};

use super::Show;
use crate::cli::{Net, NetCommand};
use crate::error::Error;
use crate::output::Output;
use crate::render;

pub(super) fn net(show: &Show<'_>, net: &Net, out: &mut Output<impl Write>) -> Result<(), Error> {
    match &net.command {
        None => show.tell(&Request::ShowNetwork {}, out, |shown: &NetworkShown, now, style| {
            render::network(shown, now, style)
        }),
        Some(NetCommand::Doctor(of)) => doctor(show, &of.name, out),
    }
}

fn doctor(show: &Show<'_>, name: &str, out: &mut Output<impl Write>) -> Result<(), Error> {
    let request = Request::Doctor { name: name.to_owned() };
    let found: Diagnosis =
        show.ask(&request, out, |found: &Diagnosis, _, style| render::diagnosis(found, style))?;
    let is_reason = |weight: Weight| weight != Weight::Note;
    match found.findings.iter().filter(|one| is_reason(one.weight)).count() {
        0 => Ok(()),
        count => Err(Error::NotReachable { name: name.to_owned(), count }),
    }
}
