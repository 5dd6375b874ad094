//! `jailctl events` and `jailctl why`.

use jailsupd::control::wire::{Event, Evidence};

use super::jail::{heading, last_exit, log_entry};
use super::time::{stamp, wait};
use super::{Paint, Style, one_line, paint_of, pairs, problems, wrap};

/// One line: time, jail, what happened.
pub(crate) fn event(event: &Event, style: Style) -> String {
    let time = style.paint(Paint::Dim, &stamp(event.time));
    let name = style.paint(Paint::Bold, &one_line(&event.jail));
    let state = match (event.from, event.to) {
        (from, Some(to)) => {
            let from = from.map_or_else(String::new, |from| format!("{from} -> "));
            format!("{from}{}", style.paint(paint_of(to), to.word()))
        }
        (Some(from), None) => from.to_string(),
        (None, None) => String::new(),
    };
    let why = one_line(&event.why);
    let parts = [time, name, state, why];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("  ") + "\n"
}

/// The explanation, then what it rests on.
pub(crate) fn why(evidence: &Evidence, now: u64, style: Style) -> String {
    let rows = [
        ("Unit", Some(evidence.jail.unit.clone())),
        ("Next start", next_start(evidence)),
        ("Start failed", evidence.start_problem.clone()),
        ("Last end", evidence.last_exit.as_ref().map(|exit| last_exit(exit, now))),
        ("Restarts", Some(evidence.jail.restarts.to_string())),
    ];
    let mut out = heading(&evidence.jail, now, style);
    evidence.text.iter().for_each(|line| out.push_str(&wrap(&one_line(line), "  ")));
    if !evidence.text.is_empty() {
        out.push('\n');
    }
    out.push_str(&pairs(&rows, style));
    out.push_str(&problems(&evidence.problems, style));
    let events: Vec<String> = evidence.events.iter().map(|e| event(e, style)).collect();
    let log: Vec<String> = evidence.log.iter().map(|line| log_entry(line, None, style)).collect();
    out + &section("Last events", &events, style) + &section("Last output", &log, style)
}

/// "2026-11-22T15:30:12.123Z, in 40s".
fn next_start(evidence: &Evidence) -> Option<String> {
    let within = format!("in {}", wait(evidence.next_try_ms?));
    Some(match evidence.next_try_at {
        Some(at) => format!("{}, {within}", stamp(at)),
        None => within,
    })
}

fn section(title: &str, lines: &[String], style: Style) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let lines: String = lines.iter().map(|line| format!("  {line}")).collect();
    format!("\n{}\n{lines}", style.paint(Paint::Bold, title))
}
