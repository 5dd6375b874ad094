//! The kernel command line, as far as PID 1 reads it. Pure.

use std::fmt;

/// What PID 1 takes from `/proc/cmdline`; unknown words are other programs' business.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Cmdline {
    /// `roothash=`, when it is there and well formed.
    pub(crate) root_hash: Option<RootHash>,
    /// `warder.hostname=`, when it is a valid host name.
    pub(crate) hostname: Option<String>,
    /// `panic=`.
    pub(crate) panic: PanicPolicy,
    /// Words that were meant for us and are wrong, for the log.
    pub(crate) rejected: Vec<String>,
}

/// The root hash of the verity tree, 64 (sha256) to 128 (sha512) hexadecimal digits in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RootHash(String);

/// What happens when nothing more can be done; the meaning of `panic=` is the kernel's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum PanicPolicy {
    /// `panic=0` or absent: stop, for ever, with the message on the screen.
    #[default]
    Stop,
    /// `panic=N`: reboot after N seconds.
    RebootAfter(u32),
    /// `panic=-N`: reboot at once.
    RebootNow,
}

impl Cmdline {
    /// Reads the command line. Of a repeated word the last one counts, as in the kernel.
    pub(crate) fn parse(text: &str) -> Self {
        let mut cmdline = Self::default();
        for word in text.split_ascii_whitespace() {
            let Some((key, value)) = word.split_once('=') else { continue };
            let known = match key {
                "roothash" => RootHash::parse(value).map(|v| cmdline.root_hash = Some(v)),
                "warder.hostname" => {
                    valid_hostname(value).then(|| cmdline.hostname = Some(value.to_owned()))
                }
                "panic" => PanicPolicy::parse(value).map(|v| cmdline.panic = v),
                _ => continue,
            };
            if known.is_none() {
                cmdline.rejected.push(word.to_owned());
            }
        }
        cmdline
    }
}

impl RootHash {
    fn parse(text: &str) -> Option<Self> {
        let right_length = (64..=128).contains(&text.len()) && text.len() % 2 == 0;
        let hex = text.bytes().all(|b| b.is_ascii_hexdigit());
        (right_length && hex).then(|| Self(text.to_ascii_lowercase()))
    }

    /// PARTUUID of the root partition, without dashes: the hash's first 128 bits (Discoverable Partitions
    /// Specification).
    pub(crate) fn data_partition(&self) -> &str {
        &self.0[..32]
    }

    /// PARTUUID of the verity partition, without dashes: the hash's last 128 bits.
    pub(crate) fn hash_partition(&self) -> &str {
        &self.0[self.0.len() - 32..]
    }

    /// Length of the digest in bytes.
    pub(crate) fn digest_len(&self) -> usize {
        self.0.len() / 2
    }
}

impl fmt::Display for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PanicPolicy {
    fn parse(text: &str) -> Option<Self> {
        Some(match text.parse::<i32>().ok()? {
            0 => Self::Stop,
            seconds => u32::try_from(seconds).map_or(Self::RebootNow, Self::RebootAfter),
        })
    }
}

/// RFC 1123: labels of letters, digits and inner hyphens; at most 64 bytes, the kernel's limit.
pub(crate) fn valid_hostname(name: &str) -> bool {
    name.len() <= 64
        && name.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::{Cmdline, PanicPolicy, valid_hostname};

    const HASH: &str = "00112233445566778899aabbccddeeff0123456789abcdef0123456789ABCDEF";

    #[test]
    fn root_hash_names_both_partitions() {
        let hash = Cmdline::parse(&format!("quiet roothash={HASH} ro\n")).root_hash.unwrap();
        assert_eq!(hash.data_partition(), "00112233445566778899aabbccddeeff");
        assert_eq!(hash.hash_partition(), "0123456789abcdef0123456789abcdef");
        assert_eq!(hash.digest_len(), 32);
    }

    #[test]
    fn malformed_words_are_rejected_by_name() {
        let cmdline = Cmdline::parse("roothash=xyz warder.hostname=-a panic=soon other=1");
        assert_eq!(cmdline.rejected, ["roothash=xyz", "warder.hostname=-a", "panic=soon"]);
        assert_eq!(cmdline.root_hash, None);
    }

    #[test]
    fn panic_means_what_it_means_to_the_kernel() {
        let policy = |text| Cmdline::parse(text).panic;
        assert_eq!(policy(""), PanicPolicy::Stop);
        assert_eq!(policy("panic=0"), PanicPolicy::Stop);
        assert_eq!(policy("panic=10"), PanicPolicy::RebootAfter(10));
        assert_eq!(policy("panic=-1"), PanicPolicy::RebootNow);
        assert_eq!(policy("panic=5 panic=7"), PanicPolicy::RebootAfter(7));
    }

    #[test]
    fn host_names_follow_rfc_1123() {
        assert!(valid_hostname("web-1.example.net"));
        for bad in ["", ".", "a..b", "-a", "a-", "a_b", &"x".repeat(65)] {
            assert!(!valid_hostname(bad), "{bad}");
        }
    }
}
