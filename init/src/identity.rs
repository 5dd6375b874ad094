//! What makes this host itself: its name, its id, its share of randomness.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use sys::entropy::SEED_LEN;

use crate::boot::Boot;
use crate::cmdline::valid_hostname;
use crate::error::{Context, Error};
use crate::mounts;
use crate::stage::Outcome;
use crate::state;

const DEFAULT_HOSTNAME: &str = "warder";
const SEED: &str = "random-seed";
const MACHINE_ID: &str = "machine-id";

/// From the command line, else the image's `/etc/hostname`, else `warder`.
pub(crate) fn set_hostname(boot: &mut Boot) -> Result<Outcome, Error> {
    let baked = fs::read_to_string("/etc/hostname").unwrap_or_default();
    let baked = Some(baked.trim()).filter(|name| valid_hostname(name));
    let name = boot.cmdline.hostname.as_deref().or(baked).unwrap_or(DEFAULT_HOSTNAME);
    rustix::system::sethostname(name.as_bytes()).doing(|| format!("set host name {name}"))?;
    Ok(Outcome::Done)
}

/// Credits the seed kept at the last boot. The new one is on the disk first: a seed that could be used twice is
/// never credited.
pub(crate) fn seed_random(boot: &mut Boot) -> Result<Outcome, Error> {
    let doing = || "renew the random seed".to_owned();
    let mut random = File::options().read(true).write(true).open("/dev/urandom").doing(doing)?;
    let old = fs::read(Path::new(state::DIRECTORY).join(SEED)).unwrap_or_default();
    let old: Option<[u8; SEED_LEN]> = old.try_into().ok();
    if let Some(seed) = &old {
        // Mixed in without credit, so that the seed kept for the next boot depends on it.
        std::io::Write::write_all(&mut random, seed).doing(doing)?;
    }
    let mut new = [0; SEED_LEN];
    random.read_exact(&mut new).doing(doing)?;
    state::replace(SEED, &new).doing(doing)?;
    if let Some(seed) = old.filter(|_| boot.kept()) {
        sys::entropy::credit(random.as_fd(), &seed).doing(doing)?;
    }
    Ok(Outcome::Done)
}

/// Binds the host's id, made at the first boot, over the image's empty `/etc/machine-id` (machine-id(5)).
pub(crate) fn set_machine_id(_: &mut Boot) -> Result<Outcome, Error> {
    let path = format!("{}/{MACHINE_ID}", state::DIRECTORY);
    if !fs::read_to_string(&path).is_ok_and(|text| valid_machine_id(&text)) {
        // The kernel's random UUID: version 4, as machine-id(5) wants it.
        let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid")
            .doing(|| "make a machine id".to_owned())?;
        let id = uuid.replace('-', "");
        state::replace(MACHINE_ID, id.as_bytes()).doing(|| format!("write {path}"))?;
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444))
        .doing(|| format!("open {path} to readers"))?;
    mounts::bind(&path, "/etc/machine-id")?;
    Ok(Outcome::Done)
}

fn valid_machine_id(text: &str) -> bool {
    let id = text.trim_end();
    id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::valid_machine_id;

    #[test]
    fn a_machine_id_is_32_lower_case_digits() {
        assert!(valid_machine_id("0123456789abcdef0123456789abcdef\n"));
        for bad in ["", "uninitialized", "0123456789ABCDEF0123456789abcdef", "0123"] {
            assert!(!valid_machine_id(bad), "{bad}");
        }
    }
}
