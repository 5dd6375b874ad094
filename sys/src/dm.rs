//! Device-mapper control, as far as one read-only target needs it (kernel: `include/uapi/linux/dm-ioctl.h`).
//!
//! rustix and nix have no device-mapper calls, hence the unsafe here. The request is one plain structure:
//! header, one target, its parameters. Nothing is read out of the kernel's answer but the device number.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::ioctl::{Updater, ioctl, opcode};

/// The version of the interface that this file was written against.
const VERSION: [u32; 3] = [4, 0, 0];
const DM_READONLY_FLAG: u32 = 1;
const NAME_LEN: usize = 128;
const PARAMS_LEN: usize = 1024;

#[repr(C)]
struct Header {
    version: [u32; 3],
    data_size: u32,
    data_start: u32,
    target_count: u32,
    open_count: i32,
    flags: u32,
    event_nr: u32,
    padding: u32,
    dev: u64,
    name: [u8; NAME_LEN],
    uuid: [u8; 129],
    data: [u8; 7],
}

#[repr(C)]
struct TargetSpec {
    sector_start: u64,
    length: u64,
    status: i32,
    next: u32,
    target_type: [u8; 16],
}

#[repr(C)]
struct Request {
    header: Header,
    spec: TargetSpec,
    params: [u8; PARAMS_LEN],
}

/// `sizeof(struct dm_ioctl)`.
const HEADER_SIZE: u32 = 312;
const REQUEST_SIZE: u32 = HEADER_SIZE + 40 + 1024;
const _: () = assert!(size_of::<Header>() == HEADER_SIZE as usize);
const _: () = assert!(size_of::<Request>() == REQUEST_SIZE as usize);
const DM_DEV_CREATE: u32 = opcode::read_write::<Header>(0xfd, 3);
const DM_DEV_REMOVE: u32 = opcode::read_write::<Header>(0xfd, 4);
const DM_DEV_SUSPEND: u32 = opcode::read_write::<Header>(0xfd, 6);
const DM_TABLE_LOAD: u32 = opcode::read_write::<Header>(0xfd, 9);

/// Opens `/dev/mapper/control`.
///
/// # Errors
/// `ENOENT` when the kernel has no device-mapper (module `dm_mod` not loaded).
pub fn control() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/mapper/control")
}

/// Makes an empty mapped device called `name`.
///
/// # Errors
/// `EBUSY` when the name is taken; `EINVAL` when it is longer than 127 bytes.
pub fn create(control: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    call::<DM_DEV_CREATE>(control, &mut Request::new(name, 0)?)
}

/// Gives device `name` a read-only table of one target; it takes effect at [`resume`].
///
/// # Errors
/// `EINVAL` when the target refuses `params` (the kernel log says why) or they are longer than 1023 bytes.
pub fn load_read_only(
    control: BorrowedFd<'_>,
    name: &str,
    sectors: u64,
    target: &str,
    params: &str,
) -> io::Result<()> {
    let mut request = Request::new(name, DM_READONLY_FLAG)?;
    request.header.target_count = 1;
    request.spec.length = sectors;
    request.spec.next = REQUEST_SIZE - HEADER_SIZE;
    put(&mut request.spec.target_type, target)?;
    put(&mut request.params, params)?;
    call::<DM_TABLE_LOAD>(control, &mut request)
}

/// Makes the loaded table live and returns the device's number, encoded as `dev_t`.
///
/// # Errors
/// As the kernel's: `ENXIO` for an unknown name.
pub fn resume(control: BorrowedFd<'_>, name: &str) -> io::Result<u64> {
    let mut request = Request::new(name, 0)?;
    call::<DM_DEV_SUSPEND>(control, &mut request)?;
    Ok(request.header.dev)
}

/// Takes device `name` away again.
///
/// # Errors
/// `EBUSY` while it is open, `ENXIO` for an unknown name.
pub fn remove(control: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    call::<DM_DEV_REMOVE>(control, &mut Request::new(name, 0)?)
}

impl Request {
    fn new(name: &str, flags: u32) -> io::Result<Self> {
        let mut request = Self {
            header: Header {
                version: VERSION,
                data_size: REQUEST_SIZE,
                data_start: HEADER_SIZE,
                target_count: 0,
                open_count: 0,
                flags,
                event_nr: 0,
                padding: 0,
                dev: 0,
                name: [0; NAME_LEN],
                uuid: [0; 129],
                data: [0; 7],
            },
            spec: TargetSpec {
                sector_start: 0,
                length: 0,
                status: 0,
                next: 0,
                target_type: [0; 16],
            },
            params: [0; PARAMS_LEN],
        };
        put(&mut request.header.name, name)?;
        Ok(request)
    }
}

/// Copies `text` into a zeroed C string field, leaving room for its end.
fn put(field: &mut [u8], text: &str) -> io::Result<()> {
    if text.len() >= field.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    field[..text.len()].copy_from_slice(text.as_bytes());
    Ok(())
}

fn call<const OPCODE: u32>(control: BorrowedFd<'_>, request: &mut Request) -> io::Result<()> {
    // SAFETY: every dm opcode takes a pointer to a buffer of `data_size` bytes that starts with a dm_ioctl
    // header; `Request` is `repr(C)`, starts with that header, and `data_size` is its own size.
    let update = unsafe { Updater::<OPCODE, Request>::new(request) };
    // SAFETY: the opcode belongs to the structure (above); the kernel checks the file and copies at most
    // `data_size` bytes each way, and every bit pattern is a valid `Request`.
    unsafe { ioctl(control, update) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Request;

    #[test]
    fn a_name_that_does_not_fit_is_refused() {
        assert!(Request::new(&"x".repeat(128), 0).is_err());
        assert!(Request::new(&"x".repeat(127), 0).is_ok());
    }
}
