//! `jailctl volume` and `jailctl root`.

use jailsupd::control::wire::{Root, Volume};

use super::image::DIGITS;
use super::time::ago;
use super::{Paint, Style, bytes, one_line, pairs};

/// A line for each volume.
pub(crate) fn volumes(volumes: &[Volume], now: u64, style: Style) -> String {
    if volumes.is_empty() {
        return "no volumes: a unit's `[[volume]]` with a `name` makes one\n".to_owned();
    }
    let name = volumes.iter().map(|v| v.name.chars().count()).max().unwrap_or(0).max(4);
    let head = format!("{:name$}  {:>10}  {:>10}  {:6}  JAILS", "NAME", "USED", "SIZE MAX", "MADE");
    let mut out = style.paint(Paint::Dim, &head) + "\n";
    for volume in volumes {
        let size = |size: Option<u64>| size.map_or_else(|| "-".to_owned(), bytes);
        let line = format!(
            "{:name$}  {:>10}  {:>10}  {:6}  {}",
            one_line(&volume.name),
            size(volume.used),
            size(volume.size_max),
            ago(volume.created, now),
            one_line(&volume.jails.join(" ")),
        );
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// A line for each root.
pub(crate) fn roots(roots: &[Root], style: Style) -> String {
    if roots.is_empty() {
        return "no roots: a unit's `mode = \"persistent\"` in `[root]` makes one\n".to_owned();
    }
    let name = roots.iter().map(|root| root.jail.chars().count()).max().unwrap_or(0).max(4);
    let head = format!("{:name$}  {:>10}  {:>10}  MADE FROM", "JAIL", "USED", "SIZE MAX");
    let mut out = style.paint(Paint::Dim, &head) + "\n";
    for root in roots {
        let size = |size: Option<u64>| size.map_or_else(|| "-".to_owned(), bytes);
        let stale = if root.stale { ", stale" } else { "" };
        let line = format!(
            "{:name$}  {:>10}  {:>10}  {}{stale}",
            one_line(&root.jail),
            size(root.used),
            size(root.size_max),
            one_line(&short_digest(&root.image)),
        );
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Digests in it as tables have them.
fn short_digest(text: &str) -> String {
    let is_digit = |c: char| c.is_ascii_hexdigit();
    let mut parts = text.split("sha256:");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.chars().take_while(|c| is_digit(*c)).count();
        out.push_str("sha256:");
        out.extend(part.chars().take(digits.min(DIGITS)));
        out.extend(part.chars().skip(digits));
    }
    out
}

/// Everything about one volume.
pub(crate) fn volume(volume: &Volume, now: u64, style: Style) -> String {
    let rows = [
        ("made", Some(format!("{} ago", ago(volume.created, now)))),
        ("used", volume.used.map(bytes)),
        ("size max", volume.size_max.map(bytes)),
        ("jails", Some(volume.jails.join(" "))),
        ("path", Some(volume.path.clone())),
    ];
    format!("{}\n{}", style.paint(Paint::Bold, &one_line(&volume.name)), pairs(&rows, style))
}
