//! `jailctl image`.

use jailsupd::control::wire::{Image, ImageImported, ImagesCollected};

use super::time::ago;
use super::{Paint, Style, bytes, one_line, pairs};

/// Cells of a progress bar.
const BAR: usize = 30;

/// Digits of a digest that tell images apart for a person.
pub(super) const DIGITS: usize = 12;
const SHORT: usize = "sha256:".len() + DIGITS;

/// A line for each image.
pub(crate) fn images(images: &[Image], now: u64, style: Style) -> String {
    if images.is_empty() {
        return "no images: `jailctl image import FILE --name NAME` brings one in\n".to_owned();
    }
    let shown = |image: &Image| match image.names.as_slice() {
        [] => "-".to_owned(),
        names => names.join(" "),
    };
    let name = images.iter().map(|image| shown(image).chars().count()).max().unwrap_or(0).max(4);
    let head =
        format!("{:name$}  {:SHORT$}  {:>10}  {:6}  JAILS", "NAME", "DIGEST", "SIZE", "MADE");
    let mut out = style.paint(Paint::Dim, &head) + "\n";
    for image in images {
        let digest: String = image.digest.chars().take(SHORT).collect();
        let line = format!(
            "{:name$}  {:SHORT$}  {:>10}  {:6}  {}",
            one_line(&shown(image)),
            one_line(&digest),
            bytes(image.size),
            ago(image.created, now),
            one_line(&image.jails.join(" ")),
        );
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Everything about one image.
pub(crate) fn image(image: &Image, now: u64, style: Style) -> String {
    let rows = [
        ("names", Some(image.names.join(" "))),
        ("kind", Some(image.kind.clone())),
        ("size", Some(bytes(image.size))),
        ("made", Some(format!("{} ago", ago(image.created, now)))),
        ("from", Some(image.origin.clone())),
        ("jails", Some(image.jails.join(" "))),
    ];
    format!("{}\n{}", style.paint(Paint::Bold, &one_line(&image.digest)), pairs(&rows, style))
}

/// How far an import is, in one line: `[#####     ] 50% of 12.0 MiB`.
pub(crate) fn progress(progress: &ImageImported) -> String {
    let done = progress.done.unwrap_or(0);
    match progress.total {
        Some(total) if total > 0 => {
            let part = |of: u64| u128::from(done.min(total)) * u128::from(of) / u128::from(total);
            let full = usize::try_from(part(BAR as u64)).unwrap_or(BAR);
            let bar = "#".repeat(full) + &" ".repeat(BAR - full);
            format!("[{bar}] {:3}% of {}", part(100), bytes(total))
        }
        _ => format!("{} read", bytes(done)),
    }
}

/// What came of an import.
pub(crate) fn imported(imported: &ImageImported) -> String {
    let Some(image) = &imported.image else { return "imported\n".to_owned() };
    let names = match image.names.as_slice() {
        [] => String::new(),
        names => format!(", named {}", names.join(" ")),
    };
    let text = format!("{} ({}, {}){names}", image.digest, image.kind, bytes(image.size));
    one_line(&text) + "\n"
}

/// What a collection has removed.
pub(crate) fn collected(collected: &ImagesCollected) -> String {
    if collected.removed.is_empty() {
        return "nothing to remove: each image has a name or a jail\n".to_owned();
    }
    let lines = collected.removed.iter().map(|digest| format!("{} is removed\n", one_line(digest)));
    lines.collect::<String>() + &format!("{} are free\n", bytes(collected.freed))
}
