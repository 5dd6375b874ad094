//! Adding a saved seed to the kernel's random pool with credit (random(4), `RNDADDENTROPY`).
//!
//! A plain write to `/dev/urandom` mixes but does not credit; rustix and nix lack the ioctl that does.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::ioctl::{Opcode, Setter, ioctl, opcode};

/// Bytes of a seed: the size of the kernel's pool.
pub const SEED_LEN: usize = 32;

/// `struct rand_pool_info` of `linux/random.h` with its buffer.
#[repr(C)]
struct PoolInfo {
    entropy_bits: i32,
    buffer_size: i32,
    buffer: [u8; SEED_LEN],
}

const RNDADDENTROPY: Opcode = opcode::write::<[i32; 2]>(b'R', 3);

/// Mixes `seed` into the pool and credits all its bits.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`; `ENOTTY` when `random` is not `/dev/random` or `/dev/urandom`.
pub fn credit(random: BorrowedFd<'_>, seed: &[u8; SEED_LEN]) -> io::Result<()> {
    let len = i32::try_from(SEED_LEN).unwrap_or(0);
    let info = PoolInfo { entropy_bits: len * 8, buffer_size: len, buffer: *seed };
    // SAFETY: RNDADDENTROPY takes a pointer to `struct rand_pool_info`, followed by `buffer_size` bytes.
    let set = unsafe { Setter::<RNDADDENTROPY, PoolInfo>::new(info) };
    // SAFETY: the kernel reads `buffer_size` bytes of `buffer`, which is exactly its length.
    unsafe { ioctl(random, set) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn number_is_the_kernels() {
        assert_eq!(super::RNDADDENTROPY, 0x4008_5203);
    }
}
