//! Our terminal while a program in a jail has it: raw, and as it was afterwards, however we end.

use jailsupd::control::wire::TerminalSize;
use rustix::fd::OwnedFd;
use rustix::termios::{
    OptionalActions, Termios, Winsize, isatty, tcgetattr, tcgetwinsize, tcsetattr,
};

/// What a terminal is taken for that does not say.
const USUAL: TerminalSize = TerminalSize { rows: 24, columns: 80 };

/// The size of our terminal.
pub(crate) fn size() -> TerminalSize {
    let size =
        tcgetwinsize(rustix::stdio::stdout()).or_else(|_| tcgetwinsize(rustix::stdio::stdin()));
    match size {
        Ok(Winsize { ws_row: rows, ws_col: columns, .. }) if rows > 0 && columns > 0 => {
            TerminalSize { rows, columns }
        }
        _ => USUAL,
    }
}

/// Ours, joined to the program's.
pub(super) struct Screen {
    /// The program's.
    master: OwnedFd,
    /// What ours was; none when it is not a terminal, or not read.
    saved: Option<Termios>,
}

impl Screen {
    pub(super) fn new(master: OwnedFd, with_input: bool) -> Self {
        let stdin = rustix::stdio::stdin();
        let saved = if with_input && isatty(stdin) { tcgetattr(stdin).ok() } else { None };
        let screen = Self { master, saved };
        screen.set_raw();
        // It may have changed since it was asked for.
        screen.resize();
        screen
    }

    /// Joins it to another terminal of the program's.
    pub(super) fn replace(&mut self, master: OwnedFd) {
        self.master = master;
        self.resize();
    }

    /// Every key goes to the program, control-C too.
    pub(super) fn set_raw(&self) {
        if let Some(saved) = &self.saved {
            let mut raw = saved.clone();
            raw.make_raw();
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw);
        }
    }

    /// Gives the program's terminal the size of ours; its programs are sent SIGWINCH.
    pub(super) fn resize(&self) {
        if !isatty(rustix::stdio::stdout()) && !isatty(rustix::stdio::stdin()) {
            return;
        }
        let TerminalSize { rows, columns } = size();
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let _ = rustix::termios::tcsetwinsize(&self.master, size);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(saved) = &self.saved {
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Flush, saved);
        }
    }
}
