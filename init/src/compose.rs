//! `/etc/jails.d`, `/etc/warder` and the unit and image directories, composed from the image, the data partition
//! and an optional second disk.

use std::fs;
use std::path::Path;

use rustix::mount::MountFlags;

use crate::block;
use crate::boot::Boot;
use crate::error::{Context, Error};
use crate::mounts;
use crate::stage::Outcome;

/// Writable directory on the data partition, and what it is bound over.
const WRITABLE: [(&str, &str); 2] =
    [("/data/etc/jails.d", "/etc/jails.d"), ("/data/etc/warder", "/etc/warder")];

/// PARTLABEL of the disk with jails.
const JAILS_LABEL: &str = "warder-jails";
const JAILS_DISK: &str = "/run/warder/jails-disk";
/// Directory on that disk, and what it is bound over.
const JAILS: [(&str, &str); 2] = [("jails.d", "/usr/lib/jails.d"), ("images", "/usr/share/jails")];

/// Binds the writable layer over the image's `/etc`.
pub(crate) fn bind_writable(_: &mut Boot) -> Result<Outcome, Error> {
    for (source, target) in WRITABLE {
        fs::create_dir_all(source).doing(|| format!("make {source}"))?;
        mounts::bind(source, target)?;
    }
    Ok(Outcome::Done)
}

/// Mounts the disk with jails, if one is attached; it is looked for once, after all drivers are loaded.
pub(crate) fn mount_jails_disk(_: &mut Boot) -> Result<Outcome, Error> {
    let partitions = block::partitions().doing(|| "list partitions".to_owned())?;
    let Some(partition) = partitions.into_iter().find(|p| p.label == JAILS_LABEL) else {
        return Ok(Outcome::Done);
    };
    fs::create_dir_all(JAILS_DISK).doing(|| format!("make {JAILS_DISK}"))?;
    let flags = MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
    rustix::mount::mount(partition.node(), JAILS_DISK, "erofs", flags, None)
        .doing(|| format!("mount {} at {JAILS_DISK} as erofs", partition.name))?;
    for (source, target) in JAILS {
        let source = format!("{JAILS_DISK}/{source}");
        if Path::new(&source).is_dir() {
            mounts::bind(&source, target)?;
        }
    }
    log::info!("jails disk: {}", partition.name);
    Ok(Outcome::Done)
}
