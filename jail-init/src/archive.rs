//! Files and directories as a stream: what `jailctl cp` sends between a host and a jail.
//!
//! Like tar, but no entry has a path: a directory is entered and left, and a name is a single one. So no
//! stream can name a file outside of where it is unpacked, and what unpacks it follows no link that it finds
//! or has made. Both ends distrust the stream; the reader of an evil one gets files, directories and links
//! inside one directory, as its sender likes them, and an end of the stream too early is an error.
//!
//! ```text
//!   stream = entry END
//!   entry  = DIRECTORY(name, mode, time) entry* UP
//!          | FILE(name, mode, time, size) bytes
//!          | LINK(name, size) target
//! ```

mod pack;
mod unpack;

pub use pack::pack;
pub use unpack::{Links, unpack};

use std::io::{self, Read, Write};

/// `argv[0]` of the helper that packs what its argument names.
pub const PACK: &str = "jail-pack";
/// `argv[0]` of the helper that unpacks to where its first argument says, under the second's name.
pub const UNPACK: &str = "jail-unpack";

/// Directories in each other; each is an open file on both sides.
const DEPTH_MAX: usize = 200;
/// The kernel's NAME_MAX and PATH_MAX.
const NAME_MAX: usize = 255;
const TARGET_MAX: u64 = 4095;
/// Permissions only: set-user-id and its like do not travel.
const MODE_MASK: u32 = 0o777;

/// When a file was changed last: seconds and nanoseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Time {
    seconds: i64,
    nanoseconds: u32,
}

/// One entry without its contents.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Directory { name: Vec<u8>, mode: u32, time: Time },
    File { name: Vec<u8>, mode: u32, time: Time, size: u64 },
    Link { name: Vec<u8>, target: Vec<u8> },
    Up,
    End,
}

const HEAD: usize = 32;

impl Entry {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let (kind, name, mode, time, size): (u8, &[u8], u32, Time, u64) = match self {
            Self::Directory { name, mode, time } => (1, name, *mode, *time, 0),
            Self::File { name, mode, time, size } => (2, name, *mode, *time, *size),
            Self::Link { name, target } => (3, name, 0, Time::default(), target.len() as u64),
            Self::Up => (4, b"", 0, Time::default(), 0),
            Self::End => (5, b"", 0, Time::default(), 0),
        };
        let mut head = [0; HEAD];
        head[0] = kind;
        let length = u16::try_from(name.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        head[2..4].copy_from_slice(&length.to_le_bytes());
        head[4..8].copy_from_slice(&mode.to_le_bytes());
        head[8..12].copy_from_slice(&time.nanoseconds.to_le_bytes());
        head[16..24].copy_from_slice(&time.seconds.to_le_bytes());
        head[24..].copy_from_slice(&size.to_le_bytes());
        out.write_all(&head)?;
        out.write_all(name)?;
        match self {
            Self::Link { target, .. } => out.write_all(target),
            _ => Ok(()),
        }
    }

    /// Reads the next entry, and refuses what no packer of ours writes.
    fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut head = [0; HEAD];
        from.read_exact(&mut head)?;
        let number = |from: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&head[from..from + 8]);
            u64::from_le_bytes(bytes)
        };
        let low = |value: u64| u32::try_from(value & 0xffff_ffff).unwrap_or(0);
        let length = usize::from(u16::from_le_bytes([head[2], head[3]]));
        let mode = low(number(4)) & MODE_MASK;
        let nanoseconds = low(number(8)).min(999_999_999);
        let seconds = i64::from_le_bytes(number(16).to_le_bytes());
        let time = Time { seconds, nanoseconds };
        let size = number(24);
        if length > NAME_MAX {
            return Err(malformed("a name is too long"));
        }
        let mut name = vec![0; length];
        from.read_exact(&mut name)?;
        match head[0] {
            1 => Ok(Self::Directory { name: checked(name)?, mode, time }),
            2 => Ok(Self::File { name: checked(name)?, mode, time, size }),
            3 if (1..=TARGET_MAX).contains(&size) => {
                let mut target = vec![0; usize::try_from(size).unwrap_or(0)];
                from.read_exact(&mut target)?;
                if target.contains(&0) {
                    return Err(malformed("a link's target holds a NUL byte"));
                }
                Ok(Self::Link { name: checked(name)?, target })
            }
            4 => Ok(Self::Up),
            5 => Ok(Self::End),
            _ => Err(malformed("an entry of no kind")),
        }
    }
}

/// One name, and nothing that leads elsewhere.
fn checked(name: Vec<u8>) -> io::Result<Vec<u8>> {
    let bad =
        name.is_empty() || name == b"." || name == b".." || name.iter().any(|b| b"/\0".contains(b));
    if bad { Err(malformed("a name that is a path, or none")) } else { Ok(name) }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the stream of files is malformed: {what}"))
}

#[cfg(test)]
mod tests;
