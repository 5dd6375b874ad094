//! Answers as text for people: pure functions of the answer, the time and the style.
//!
//! Everything that comes from a jail or a file is made printable first: it could hold what a terminal obeys.

mod history;
mod host;
mod image;
mod jail;
mod list;
mod net;
mod order;
mod plan;
mod storage;
mod time;
mod top;
mod tree;
mod unit;

pub(crate) use history::{event, why};
pub(crate) use host::host;
pub(crate) use image::{collected, image, images, imported, progress};
pub(crate) use jail::{jail, log_entry};
pub(crate) use list::list;
pub(crate) use net::{diagnosis, network};
pub(crate) use order::{asked, changed, killed, reached};
pub(crate) use plan::{applied, plan};
pub(crate) use storage::{roots, volume, volumes};
pub(crate) use top::top;
pub(crate) use tree::tree;
pub(crate) use unit::{cat, checked, count_problems, key_docs, keys};

use jailsupd::control::wire::{HealthState, JailState, JailSummary};

/// What tables and texts are made for.
const WIDTH: usize = 80;

/// How text may look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// The terminal shows colours and the user wants them.
    pub(crate) colour: bool,
}

/// Colours of the terminal's own palette.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Paint {
    Bold,
    Dim,
    Good,
    Passing,
    Bad,
}

impl Style {
    /// The text in that paint; text is padded before, since the codes have no width.
    fn paint(self, paint: Paint, text: &str) -> String {
        if !self.colour || text.trim().is_empty() {
            return text.to_owned();
        }
        let code = match paint {
            Paint::Bold => "1",
            Paint::Dim => "2",
            Paint::Good => "32",
            Paint::Passing => "33",
            Paint::Bad => "31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

const fn paint_of(state: JailState) -> Paint {
    match state {
        JailState::Up => Paint::Good,
        JailState::Down => Paint::Dim,
        JailState::Failed | JailState::Invalid => Paint::Bad,
        JailState::Waiting
        | JailState::Preparing
        | JailState::Starting
        | JailState::Activating
        | JailState::Stopping
        | JailState::Cleaning
        | JailState::Backoff => Paint::Passing,
    }
}

/// The same, with what its checks say.
fn paint_of_jail(jail: &JailSummary) -> Paint {
    match jail.health {
        Some(HealthState::Unhealthy) => Paint::Bad,
        Some(HealthState::Starting | HealthState::Healthy) | None => paint_of(jail.state),
    }
}

/// The state, and what a reader must know beside it.
fn state_of(jail: &JailSummary) -> String {
    let mut text = jail.state.word().to_owned();
    match jail.health {
        Some(HealthState::Healthy) => text.push_str(", healthy"),
        Some(HealthState::Unhealthy) => text.push_str(", unhealthy"),
        // A check that has not succeeded yet is no news.
        Some(HealthState::Starting) | None => {}
    }
    if jail.frozen {
        text.push_str(", frozen");
    }
    if !jail.enabled {
        text.push_str(", disabled");
    }
    text
}

/// At most so many characters, the last of which says that there were more.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// No control characters but line feeds; a tab is four blanks. A marker stands for each other one.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push('\n'),
            '\t' => out.push_str("    "),
            c if c.is_control() || turns(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// What changes the direction of the text after it (Unicode's explicit directional formatting).
const fn turns(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
}

/// One line of it: line feeds too become visible.
fn one_line(text: &str) -> String {
    printable(&text.replace('\n', "\u{fffd}"))
}

/// Breaks at blanks so that each line, `indent` included, has at most [`WIDTH`] characters where it can.
fn wrap(text: &str, indent: &str) -> String {
    let mut out = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let width = indent.chars().count() + line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && width > WIDTH {
            out.push_str(&format!("{indent}{line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        out.push_str(&format!("{indent}{line}\n"));
    }
    out
}

/// `name  value` lines, the values in one column. Values that are missing have no line.
fn pairs(rows: &[(&str, Option<String>)], style: Style) -> String {
    let wide = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let line = |(name, value): &(&str, Option<String>)| {
        let value = value.as_ref().filter(|v| !v.is_empty())?;
        let name = style.paint(Paint::Dim, &format!("{name:wide$}"));
        let value = one_line(value);
        if wide + 4 + value.chars().count() <= WIDTH {
            return Some(format!("  {name}  {value}\n"));
        }
        let lines = wrap(&value, &" ".repeat(wide + 4));
        Some(format!("  {name}  {}", lines.trim_start()))
    };
    rows.iter().filter_map(line).collect()
}

/// Bytes as people read them: `12.3 MiB`.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    // Tenths of the unit, in whole numbers.
    let mut tenths = u128::from(count) * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    let unit = UNITS.get(unit).copied().unwrap_or_default();
    if tenths >= 1000 {
        format!("{} {unit}", tenths / 10)
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

/// The problems as their writer reads them, with a blank line between.
fn problems(all: &[String], style: Style) -> String {
    if all.is_empty() {
        return String::new();
    }
    let shown: Vec<String> = all.iter().map(|text| problem(text)).collect();
    format!("\n{}\n{}", style.paint(Paint::Bad, "Problems"), shown.join("\n"))
}

/// A problem as jailsupd tells it. Its help is wrapped; what is searched for, and what shows the file, is not.
pub(crate) fn problem(text: &str) -> String {
    let mut out = String::new();
    for line in printable(text.trim_end()).lines() {
        let words = line.trim_start();
        let indent = line.len() - words.len();
        let lead = indent + "= ".len();
        if words.starts_with("= help: ") && line.chars().count() > WIDTH {
            let wrapped = wrap(&line[lead..], &" ".repeat(lead));
            out.push_str(&format!("{}{}", &line[..lead], &wrapped[lead..]));
        } else {
            out.push_str(&format!("{line}\n"));
        }
    }
    out
}
