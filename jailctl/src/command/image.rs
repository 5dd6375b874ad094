//! `jailctl image`.

use std::io::Write;

use jailsupd::control::wire::{
    ImageImported, ImageInspected, ImageRemoved, ImageTagged, ImagesCollected, ImagesListed,
    Request,
};
use serde_json::Value;

use super::order::each;
use super::{Show, results, typed};
use crate::cli::{ImageCommand, Import};
use crate::error::Error;
use crate::output::Output;
use crate::render;
use crate::varlink::Client;

pub(super) fn image(
    show: &Show<'_>,
    command: &ImageCommand,
    out: &mut Output<impl Write>,
) -> Result<(), Error> {
    match command {
        ImageCommand::Import(import) => bring_in(show, import, out),
        ImageCommand::Ls => {
            show.tell(&Request::ListImages {}, out, |listed: &ImagesListed, now, style| {
                render::images(&listed.images, now, style)
            })
        }
        ImageCommand::Inspect { image } => {
            let request = Request::InspectImage { image: image.clone() };
            show.tell(&request, out, |inspected: &ImageInspected, now, style| {
                render::image(&inspected.image, now, style)
            })
        }
        ImageCommand::Tag { image, name } => {
            let request = Request::TagImage { image: image.clone(), name: name.clone() };
            show.tell(&request, out, |tagged: &ImageTagged, _, _| {
                format!("{} is {}\n", tagged.name, tagged.digest)
            })
        }
        ImageCommand::Rm { images } => {
            let ask = |image| Request::RemoveImage { image };
            each(show, images, ask, out, |_, answer: &ImageRemoved| {
                Ok(answer.removed.iter().map(|what| format!("{what} is removed\n")).collect())
            })
        }
        ImageCommand::Gc => {
            show.tell(&Request::CollectImages {}, out, |collected: &ImagesCollected, _, _| {
                render::collected(collected)
            })
        }
    }
}

/// Shows how far it is on a terminal, and what came of it.
fn bring_in(show: &Show<'_>, import: &Import, out: &mut Output<impl Write>) -> Result<(), Error> {
    // jailsupd opens it, and stands elsewhere.
    let path = std::path::absolute(&import.path)
        .map_err(|source| Error::Read { path: import.path.clone(), source })?;
    let path = path.to_string_lossy().into_owned();
    let request = Request::ImportImage { path, name: import.name.clone() };
    let mut client = Client::send(show.socket, &request)?;
    let bar = out.terminal && !show.json;
    loop {
        let reply = client.receive();
        let last = reply.as_ref().map_or(true, |reply| !reply.continues);
        if bar && last {
            out.write("\r\x1b[K")?;
        }
        let value = results::<Value>(reply?)?;
        let answer: ImageImported = typed(value.clone())?;
        if !last {
            if bar {
                out.write(&format!("\r\x1b[K{}", render::progress(&answer)))?;
            }
            continue;
        }
        let text = if show.json { format!("{value:#}\n") } else { render::imported(&answer) };
        return out.write(&text);
    }
}
