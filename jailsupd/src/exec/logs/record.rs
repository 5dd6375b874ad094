//! One line of a store: `TIME STREAM TAG:END:SUM TEXT`, readable by people, and by whatever reads the log
//! files of Kubernetes' container runtimes, whose form it is (`TIME STREAM TAG TEXT`, where what follows the
//! first letter of the tag is free).
//!
//! `TAG` is `F` for a whole line or the last part of one, `P` for a part that another one of the same stream
//! follows. `END` is the log's position after the text: how many bytes were ever logged for this jail. `SUM`
//! is the CRC-32 of the whole line without itself.

use super::{Stream, stamp};

/// Longest text of one record: a longer line is several.
pub const LINE_MAX: usize = 16 << 10;
/// Longest record: what stands before the text is not longer than this.
pub(super) const RECORD_MAX: usize = LINE_MAX + 128;

/// One record as it stands in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// Milliseconds since 1970.
    pub(super) time: u64,
    pub(super) stream: Stream,
    /// The line ends here.
    pub(super) whole: bool,
    /// The log's position after it.
    pub(super) end: u64,
    pub(super) text: &'a [u8],
}

impl<'a> Record<'a> {
    /// Appends it and a line feed to `out`. `stamp` is [`stamp::show`] of its time: a batch has one.
    pub(super) fn write(&self, stamp: &str, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(stamp.as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.stream.word().as_bytes());
        out.extend_from_slice(if self.whole { b" F:" } else { b" P:" });
        push_number(out, self.end);
        out.push(b':');
        let sum = sum(&out[start..], self.text);
        push_hex(out, sum);
        out.push(b' ');
        out.extend_from_slice(self.text);
        out.push(b'\n');
    }

    /// Reads one back, given without its line feed; nothing when it is damaged.
    pub(super) fn read(line: &'a [u8]) -> Option<Self> {
        let time = stamp::read(line.get(..stamp::LEN)?)?;
        let mut fields = line.get(stamp::LEN + 1..)?.splitn(3, |byte| *byte == b' ');
        let stream = Stream::from_word(std::str::from_utf8(fields.next()?).ok()?)?;
        let tag = fields.next()?;
        let text = fields.next()?;
        let mut parts = tag.splitn(3, |byte| *byte == b':');
        let whole = match parts.next()? {
            b"F" => true,
            b"P" => false,
            _ => return None,
        };
        let end = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
        let told = parts.next().filter(|sum| sum.len() == 8)?;
        let told = u32::from_str_radix(std::str::from_utf8(told).ok()?, 16).ok()?;
        let head = line.len() - text.len() - 1 - 8;
        (sum(&line[..head], text) == told).then_some(Self { time, stream, whole, end, text })
    }

    /// The log's position before it.
    pub(super) fn start(&self) -> u64 {
        self.end.saturating_sub(self.text.len() as u64 + u64::from(self.whole))
    }
}

fn sum(head: &[u8], text: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(text);
    hasher.finalize()
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let (mut at, mut left) = (digits.len(), number);
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(left % 10).unwrap_or(0);
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

fn push_hex(out: &mut Vec<u8>, number: u32) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for shift in (0..8).rev() {
        out.push(DIGITS[(number >> (4 * shift) & 15) as usize]);
    }
}

/// A piece of what a stream has said: its text, and whether a line feed ended it.
pub(super) fn pieces(bytes: &[u8]) -> impl Iterator<Item = (&[u8], bool)> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let window = &rest[..rest.len().min(LINE_MAX + 1)];
        let (text, whole) = match memchr::memchr(b'\n', window) {
            Some(at) => (&rest[..at], true),
            None => (&rest[..rest.len().min(LINE_MAX)], false),
        };
        rest = &rest[text.len() + usize::from(whole)..];
        Some((text, whole))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(record: &Record<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        record.write(&stamp::show(record.time), &mut out);
        out
    }

    #[test]
    fn a_record_is_a_line_for_people() {
        let record =
            Record { time: 0, stream: Stream::Stderr, whole: true, end: 12, text: b"hello you" };
        let line = String::from_utf8(written(&record)).unwrap();
        let (head, text) = line.split_at(42);
        assert_eq!(head, "1970-01-01T00:00:00.000Z stderr F:12:".to_owned() + &line[37..42]);
        assert!(text.ends_with(" hello you\n"), "{line}");
        assert_eq!(record.start(), 2);
    }

    #[test]
    fn what_a_stream_says_is_cut_at_line_feeds() {
        let cut: Vec<_> = pieces(b"one\n\ntwo").collect();
        assert_eq!(cut, [(&b"one"[..], true), (b"", true), (b"two", false)]);
        let long = vec![b'x'; LINE_MAX];
        assert_eq!(pieces(&[&long[..], b"\n"].concat()).count(), 1);
        assert_eq!(pieces(&[&long[..], b"x\n"].concat()).count(), 2);
    }

    proptest! {
        #[test]
        fn a_record_is_read_back(text in "[^\n]{0,40}", end: u64, whole: bool, time in 0u64..1 << 40) {
            let text = text.as_bytes();
            let record = Record { time, stream: Stream::Stdout, whole, end, text };
            let line = written(&record);
            prop_assert_eq!(Record::read(&line[..line.len() - 1]), Some(record));
        }

        #[test]
        fn a_changed_byte_is_noticed(at in 0usize..50, by in 1u8..=255) {
            let text = b"some text of a line";
            let record = Record { time: 1, stream: Stream::Stdout, whole: true, end: 99, text };
            let mut line = written(&record);
            line.pop();
            let at = at % line.len();
            line[at] ^= by;
            // In the sum itself, another case of a letter is the same number.
            let same = Record::read(&line);
            prop_assert!(same.is_none() || same == Some(record), "{:?}", same);
        }

        #[test]
        fn pieces_hold_all_bytes(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200)) {
            let mut joined = Vec::new();
            for (text, whole) in pieces(&bytes) {
                joined.extend_from_slice(text);
                joined.extend(whole.then_some(b'\n'));
            }
            prop_assert_eq!(joined, bytes);
        }
    }
}
