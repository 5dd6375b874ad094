//! Logging to the kernel's ring buffer (/dev/kmsg), the one log that exists before any disk does
//! and that reaches every console.

use log::{Level, LevelFilter, Log, Metadata, Record};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::OnceLock;

/// Longest record that the kernel takes (kernel/printk: `LOG_LINE_MAX`, 1024 with its prefix); a
/// longer write fails with EINVAL, so that the line would be lost.
const LINE_MAX: usize = 976;

struct Kmsg {
    program: &'static str,
    device: File,
}

static LOGGER: OnceLock<Kmsg> = OnceLock::new();

/// Sends `log`'s records and panics of this program to /dev/kmsg as `<level>program: message`, or
/// to standard error where there is no /dev/kmsg (a container, a test). Later calls do nothing.
pub fn init(program: &'static str) {
    let device = OpenOptions::new().write(true).open("/dev/kmsg").or_else(|_| {
        use rustix::fd::AsFd;
        std::io::stderr().as_fd().try_clone_to_owned().map(File::from)
    });
    let Ok(device) = device else { return };
    let logger = LOGGER.get_or_init(|| Kmsg { program, device });
    if log::set_logger(logger).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
    log_panics();
}

/// Has panics logged; for who has had them do something else.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|info| log::error!("{info}")));
}

impl Log for Kmsg {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // What libraries have to say beyond that is nobody's business here.
        metadata.level() <= Level::Info
            || (metadata.level() == Level::Debug && metadata.target().starts_with(self.program))
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // syslog(3)'s levels: 3 err, 4 warning, 6 info, 7 debug. The kernel shows none of the last on a console, unless
        // its command line says so.
        let level = match record.level() {
            Level::Error => 3,
            Level::Warn => 4,
            Level::Info => 6,
            Level::Debug | Level::Trace => 7,
        };
        let text = record.args().to_string();
        for line in text.lines() {
            for part in chunks(line) {
                let entry = format!("<{level}>{}: {part}\n", self.program);
                // There is nowhere to report a failure to log.
                let _ = (&self.device).write_all(entry.as_bytes());
            }
        }
    }

    fn flush(&self) {}
}

/// Cuts a line into parts that the kernel takes, at character boundaries.
fn chunks(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let text = rest?;
        if text.len() <= LINE_MAX {
            rest = None;
            return Some(text);
        }
        let mut end = LINE_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        rest = Some(&text[end..]);
        Some(&text[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_without_losing_a_character() {
        let line = "ä".repeat(1000);
        let parts: Vec<&str> = chunks(&line).collect();
        assert!(parts.len() > 1 && parts.iter().all(|part| part.len() <= LINE_MAX));
        assert_eq!(parts.concat(), line);
    }

    #[test]
    fn an_empty_line_is_one_part() {
        assert_eq!(chunks("").collect::<Vec<_>>(), [""]);
    }
}
