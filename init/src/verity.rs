//! The dm-verity superblock and the target line that follows from it. Pure.
//!
//! Source: kernel `Documentation/admin-guide/device-mapper/verity.rst`, cryptsetup's on-disk format. Nothing in
//! the superblock is trusted: the root hash decides, these checks only make the failure readable.

use std::fmt::Write as _;

use crate::cmdline::RootHash;
use crate::le;

/// Bytes of the superblock.
pub(crate) const SUPERBLOCK_LEN: usize = 512;
const MAX_SALT: usize = 256;

/// A checked superblock.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Superblock {
    algorithm: &'static str,
    data_block: u32,
    hash_block: u32,
    data_blocks: u64,
    salt: Vec<u8>,
}

impl Superblock {
    /// Reads and checks a superblock against the digest's length and the size of the data partition in bytes.
    ///
    /// # Errors
    /// The reason in words.
    pub(crate) fn parse(
        block: &[u8; SUPERBLOCK_LEN],
        root: &RootHash,
        data_size: u64,
    ) -> Result<Self, &'static str> {
        if &block[..8] != b"verity\0\0" {
            return Err("no verity superblock (wrong or overwritten partition)");
        }
        if le::u32_at(block, 8) != 1 || le::u32_at(block, 12) != 1 {
            return Err("verity superblock of an unknown version or hash type");
        }
        let algorithm = algorithm(&block[32..64]).ok_or("verity hash is not sha256 or sha512")?;
        if root.digest_len() != digest_len(algorithm) {
            return Err("length of roothash= is not that of the verity hash");
        }
        let (data_block, hash_block) = (le::u32_at(block, 64), le::u32_at(block, 68));
        if ![data_block, hash_block].iter().all(|b| b.is_power_of_two() && (512..=4096).contains(b))
        {
            return Err("verity block size is not a power of two from 512 to 4096");
        }
        let data_blocks = le::u64_at(block, 72);
        let bytes =
            data_blocks.checked_mul(data_block.into()).ok_or("verity data size overflows")?;
        if bytes == 0 || bytes > data_size {
            return Err("verity data is empty or larger than the root partition");
        }
        let salt_len = usize::from(le::u16_at(block, 80));
        if salt_len > MAX_SALT {
            return Err("verity salt is longer than 256 bytes");
        }
        let salt = block[88..88 + salt_len].to_vec();
        Ok(Self { algorithm, data_block, hash_block, data_blocks, salt })
    }

    /// Length of the mapped device in sectors of 512 bytes.
    pub(crate) fn sectors(&self) -> u64 {
        self.data_blocks * u64::from(self.data_block) / 512
    }

    /// The parameters of the kernel's `verity` target. A corrupt block panics the kernel: nothing that was
    /// tampered with runs on.
    pub(crate) fn target(&self, data: &str, hash: &str, root: &RootHash) -> String {
        let mut salt = String::new();
        for byte in &self.salt {
            // Writing to a String cannot fail.
            let _ = write!(salt, "{byte:02x}");
        }
        if salt.is_empty() {
            salt.push('-');
        }
        // The tree starts in the first block after the superblock, which is block 1 for every block size.
        format!(
            "1 {data} {hash} {} {} {} 1 {} {root} {salt} 1 panic_on_corruption",
            self.data_block, self.hash_block, self.data_blocks, self.algorithm
        )
    }
}

fn algorithm(field: &[u8]) -> Option<&'static str> {
    let name = field.split(|b| *b == 0).next()?;
    ["sha256", "sha512"].into_iter().find(|known| known.as_bytes() == name)
}

fn digest_len(algorithm: &str) -> usize {
    if algorithm == "sha512" { 64 } else { 32 }
}

#[cfg(test)]
mod tests {
    use super::{SUPERBLOCK_LEN, Superblock};
    use crate::cmdline::{Cmdline, RootHash};

    fn root() -> RootHash {
        Cmdline::parse(&format!("roothash={}", "ab".repeat(32))).root_hash.unwrap()
    }

    fn block() -> [u8; SUPERBLOCK_LEN] {
        let mut b = [0; SUPERBLOCK_LEN];
        b[..8].copy_from_slice(b"verity\0\0");
        b[8] = 1;
        b[12] = 1;
        b[32..38].copy_from_slice(b"sha256");
        b[64..68].copy_from_slice(&4096u32.to_le_bytes());
        b[68..72].copy_from_slice(&4096u32.to_le_bytes());
        b[72..80].copy_from_slice(&100u64.to_le_bytes());
        b[80] = 2;
        b[88..90].copy_from_slice(&[0x0f, 0xa0]);
        b
    }

    #[test]
    fn target_line_is_the_kernels() {
        let sb = Superblock::parse(&block(), &root(), 409_600).unwrap();
        assert_eq!(sb.sectors(), 800);
        assert_eq!(
            sb.target("254:2", "254:3", &root()),
            format!("1 254:2 254:3 4096 4096 100 1 sha256 {} 0fa0 1 panic_on_corruption", root())
        );
    }

    #[test]
    fn an_empty_salt_is_a_dash() {
        let mut b = block();
        b[80] = 0;
        let line = Superblock::parse(&b, &root(), 409_600).unwrap().target("a", "b", &root());
        assert!(line.ends_with(" - 1 panic_on_corruption"), "{line}");
    }

    #[test]
    fn every_field_is_checked() {
        for (at, value, says) in [
            (0, 0, "no verity"),
            (8, 2, "version"),
            (12, 0, "version"),
            (37, b'5', "sha256"),
            (65, 0x11, "power of two"),
            (71, 1, "power of two"),
            (72, 101, "larger"),
            (79, 0xff, "overflows"),
            (81, 2, "salt"),
        ] {
            let mut b = block();
            b[at] = value;
            let error = Superblock::parse(&b, &root(), 409_600).unwrap_err();
            assert!(error.contains(says), "byte {at}: {error}");
        }
    }

    #[test]
    fn a_hash_of_another_length_is_refused() {
        let long = Cmdline::parse(&format!("roothash={}", "ab".repeat(64))).root_hash.unwrap();
        assert!(Superblock::parse(&block(), &long, 409_600).unwrap_err().contains("length"));
    }
}
