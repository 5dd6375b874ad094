//! Letting go of a program's code and constants that will not be used again.
//!
//! rustix has madvise, but unsafe: it cannot know what an address range holds.

use std::ffi::c_void;
use std::io;
use std::ptr;

use rustix::mm::{Advice, madvise};

/// Unmaps the pages of this process's code and constants. Those that are used again are mapped again, from the
/// page cache or the file; after a long start-up phase that is a small part.
///
/// # Errors
/// When `/proc` is not mounted, or as madvise(2).
pub fn release() -> io::Result<()> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    for (start, len) in maps.lines().filter_map(code_range) {
        let address: *mut c_void = ptr::with_exposed_provenance_mut(start);
        // SAFETY: the range is a private mapping of a file that was never writable (checked by `code_range`), so
        // that its pages are unchanged and the next access brings the same bytes back.
        unsafe { madvise(address, len, Advice::LinuxDontNeed) }?;
    }
    Ok(())
}

/// Start and length of a line's mapping, if it is a file's code, or the constants that are first in the file
/// (proc_pid_maps(5)). Read-only pages elsewhere may be relocations, written before they were protected.
fn code_range(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (permissions, offset) = (fields.next()?, fields.next()?);
    let never_written = match permissions {
        "r-xp" => true,
        "r--p" => offset.bytes().all(|b| b == b'0'),
        _ => false,
    };
    let of_a_file = fields.nth(2)?.starts_with('/');
    if !never_written || !of_a_file {
        return None;
    }
    let start = usize::from_str_radix(start, 16).ok()?;
    Some((start, usize::from_str_radix(end, 16).ok()?.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::{code_range, release};

    #[test]
    fn only_what_was_never_writable_is_chosen() {
        let line = "55550000-55558000 r-xp 00001000 fd:00 12        /usr/lib/warder/init";
        assert_eq!(code_range(line), Some((0x5555_0000, 0x8000)));
        for other in ["rw-p", "r--p", "rwxp", "r-xs"] {
            assert_eq!(code_range(&line.replace("r-xp", other)), None, "{other}");
        }
        let first = line.replace("r-xp 00001000", "r--p 00000000");
        assert_eq!(code_range(&first), Some((0x5555_0000, 0x8000)));
        assert_eq!(code_range("7ff0000-7ff2000 r-xp 00000000 00:00 0   [vdso]"), None);
        assert_eq!(code_range("7ff0000-7ff2000 r-xp 00000000 00:00 0 "), None);
    }

    #[test]
    fn the_program_runs_on() {
        release().unwrap();
        assert_eq!(format!("{:?}", [1.5, 2.0]), "[1.5, 2.0]");
    }
}
