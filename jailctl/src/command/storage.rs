//! `jailctl volume` and `jailctl root`.

use std::io::Write;

use jailsupd::control::wire::{
    Request, RootRemoved, RootsListed, VolumeInspected, VolumeRemoved, VolumesListed,
};

use super::Show;
use super::order::each;
use crate::cli::{RootCommand, VolumeCommand};
use crate::error::Error;
use crate::output::Output;
use crate::render;

pub(super) fn root(
    show: &Show<'_>,
    command: &RootCommand,
    out: &mut Output<impl Write>,
) -> Result<(), Error> {
    match command {
        RootCommand::Ls => {
            show.tell(&Request::ListRoots {}, out, |listed: &RootsListed, _, style| {
                render::roots(&listed.roots, style)
            })
        }
        RootCommand::Rm(of) => {
            let ask = |jail| Request::RemoveRoot { jail };
            each(show, &of.names, ask, out, |name, _: &RootRemoved| {
                Ok(format!("the root of {name} is removed; its next start makes another\n"))
            })
        }
    }
}

pub(super) fn volume(
    show: &Show<'_>,
    command: &VolumeCommand,
    out: &mut Output<impl Write>,
) -> Result<(), Error> {
    match command {
        VolumeCommand::Ls => {
            show.tell(&Request::ListVolumes {}, out, |listed: &VolumesListed, now, style| {
                render::volumes(&listed.volumes, now, style)
            })
        }
        VolumeCommand::Inspect { name } => {
            let request = Request::InspectVolume { name: name.clone() };
            show.tell(&request, out, |inspected: &VolumeInspected, now, style| {
                render::volume(&inspected.volume, now, style)
            })
        }
        VolumeCommand::Rm { names } => {
            let ask = |name| Request::RemoveVolume { name };
            each(show, names, ask, out, |name, _: &VolumeRemoved| {
                Ok(format!("{name} is removed\n"))
            })
        }
    }
}
