//! `jailctl ls`.

use jailsupd::control::wire::{JailState, JailSummary};

use super::time::ago;
use super::{Paint, Style, WIDTH, one_line, paint_of_jail, state_of, wrap};

/// A line for each jail; below it what one that is not up says of itself, and its problem.
pub(crate) fn list(jails: &[JailSummary], now: u64, style: Style) -> String {
    if jails.is_empty() {
        return "no jails: put a unit file into /etc/jails.d (`jailctl edit NAME` makes one)\n"
            .to_owned();
    }
    let name = jails.iter().map(|jail| jail.name.chars().count()).max().unwrap_or(0).max(4);
    let state = jails.iter().map(|jail| state_of(jail).len()).max().unwrap_or(0).max(5);
    let head =
        format!("{:name$}  {:state$}  {:6}  {:>8}  ADDRESS", "NAME", "STATE", "SINCE", "RESTARTS");
    let mut out = style.paint(Paint::Dim, &head) + "\n";
    let room = WIDTH.saturating_sub(name + state + 6 + 8 + 4 * 2).max(18);
    for jail in jails {
        let shown_state = style.paint(paint_of_jail(jail), &format!("{:state$}", state_of(jail)));
        let line = format!(
            "{:name$}  {shown_state}  {:6}  {:>8}  {}",
            one_line(&jail.name),
            ago(jail.since, now),
            jail.restarts,
            addresses(&jail.address, room),
        );
        out.push_str(line.trim_end());
        out.push('\n');
        if let Some(status) = jail.status.as_ref().filter(|_| jail.state != JailState::Up) {
            let text = wrap(&one_line(status), "    ");
            out.extend(text.lines().map(|line| style.paint(Paint::Dim, line) + "\n"));
        }
        if let Some(problem) = &jail.problem {
            let text = wrap(&one_line(problem), "    ");
            let lines = text.lines().map(|line| style.paint(Paint::Bad, line) + "\n");
            out.extend(lines);
        }
    }
    out
}

/// All of them when there is room, else the first and how many more.
fn addresses(all: &[String], room: usize) -> String {
    let joined = one_line(&all.join(" "));
    match all {
        [first, rest @ ..] if joined.chars().count() > room && !rest.is_empty() => {
            format!("{} +{}", one_line(first), rest.len())
        }
        _ => joined,
    }
}
