//! Writing to the terminal or pipe, without the panics of `println!`.

use std::error::Error as _;
use std::io::{self, IsTerminal as _, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use jailsupd::control::wire::WireError;

use crate::error::Error;
use crate::render::{Style, printable, problem};

/// Where answers go, and how they may look there.
pub(crate) struct Output<W> {
    writer: W,
    pub(crate) style: Style,
    /// It is a terminal, on which a line can be written again.
    pub(crate) terminal: bool,
    /// Milliseconds since 1970 when the command was given.
    pub(crate) now: u64,
}

impl Output<io::Stdout> {
    pub(crate) fn stdout() -> Self {
        let writer = io::stdout();
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let terminal = writer.is_terminal() && !dumb;
        let colour = terminal && !set("NO_COLOR");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        Self { writer, style: Style { colour }, terminal, now }
    }
}

impl<W: Write> Output<W> {
    #[cfg(test)]
    pub(crate) fn new(writer: W, now: u64) -> Self {
        Self { writer, style: Style { colour: false }, terminal: false, now }
    }

    /// Writes the whole text at once: a line of `logs -f` shows as soon as it is there.
    pub(crate) fn write(&mut self, text: &str) -> Result<(), Error> {
        let written = self.writer.write_all(text.as_bytes()).and_then(|()| self.writer.flush());
        written.map_err(Error::Output)
    }
}

/// The whole chain of causes and the remedy, on standard error. That cannot be written to either: then so be it.
pub(crate) fn complain(error: &Error) {
    let _ = io::stderr().write_all(complaint(error).as_bytes());
}

/// What is no answer and no failure, such as that there is none; on standard error, beside the output.
pub(crate) fn remark(text: &str) {
    let _ = io::stderr().write_all(format!("jailctl: {}\n", printable(text)).as_bytes());
}

pub(crate) fn complaint(error: &Error) -> String {
    if let Error::Several(all) = error {
        return all.iter().map(complaint).collect();
    }
    let mut text = format!("jailctl: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    if let Some(remedy) = error.remedy() {
        text.push_str(&format!("\n  help: {remedy}"));
    }
    text = printable(&text) + "\n";
    text + &problems(error)
}

/// What is wrong with the unit that jailsupd refused to write.
fn problems(error: &Error) -> String {
    match error {
        Error::Refused(WireError::InvalidUnit { problems }) => {
            problems.iter().map(|one| format!("\n{}", problem(&one.text))).collect()
        }
        Error::Kept { source, .. } => problems(source),
        _ => String::new(),
    }
}
