//! What DHCP servers have granted to jails, kept across restarts of jailsupd and of the host: `<data>/leases/NAME`, the
//! worker's JSON. Each file is replaced whole. Nothing waits for the disk: a lease that is lost is asked for again.

use super::{Layout, private_directory};
use dhcp_worker::lease::{Lease, Record};
use dhcp_worker::wire::Identity;
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// All leases.
#[derive(Clone, Debug)]
pub struct Leases {
    directory: PathBuf,
    boot_id: String,
}

/// The time by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Since the boot.
    pub boot: Duration,
    /// Milliseconds since 1970.
    pub wall_ms: u64,
}

/// A lease from earlier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What is left of it.
    pub lease: Lease,
    /// What the link said of itself.
    pub identity: Identity,
    /// A server has granted it on the link as that is now.
    pub is_sure: bool,
    /// It was granted since this boot.
    pub is_of_this_boot: bool,
}

impl Now {
    /// So many seconds earlier.
    #[must_use]
    pub fn before(self, seconds: u64) -> Self {
        Self {
            boot: self.boot.saturating_sub(Duration::from_secs(seconds)),
            wall_ms: self.wall_ms.saturating_sub(seconds.saturating_mul(1000)),
        }
    }
}

impl Leases {
    /// Those of this host; the directory is made if it is not there.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn open(layout: &Layout) -> io::Result<Self> {
        let directory = layout.data.join("leases");
        private_directory(&directory)?;
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        Ok(Self { directory, boot_id: boot_id.trim().to_owned() })
    }

    /// Remembers a lease of a jail's link, in words, that has begun then.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn put(&self, jail: &str, link: &str, lease: Found, begun: Now) -> io::Result<()> {
        let record = Record {
            lease: lease.lease,
            link: link.to_owned(),
            identity: lease.identity,
            is_sure: lease.is_sure,
            wall_ms: begun.wall_ms,
            boot_us: u64::try_from(begun.boot.as_micros()).unwrap_or(u64::MAX),
            boot_id: self.boot_id.clone(),
        };
        let new = self.directory.join(".new");
        std::fs::write(&new, serde_json::to_vec(&record)?)?;
        std::fs::rename(&new, self.directory.join(jail))
    }

    /// What is left of the lease of a jail's link. None when there is none of this link, or it has ended, or nobody can know
    /// whether it has.
    #[must_use]
    pub fn get(&self, jail: &str, link: &str, now: Now) -> Option<Found> {
        let text = std::fs::read(self.directory.join(jail)).ok()?;
        let record: Record = serde_json::from_slice(&text).ok()?;
        if record.link != link {
            return None;
        }
        let is_of_this_boot = record.boot_id == self.boot_id;
        let age = match is_of_this_boot {
            true => now.boot.checked_sub(Duration::from_micros(record.boot_us))?.as_secs(),
            // A clock that was set back says nothing.
            false => now.wall_ms.checked_sub(record.wall_ms)? / 1000,
        };
        let is_over = record.lease.left(age) == Some(0);
        (!is_over).then(|| Found {
            lease: record.lease.rest(age),
            identity: record.identity,
            is_sure: record.is_sure,
            is_of_this_boot,
        })
    }

    /// Forgets all jails but these.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn keep_only(&self, jails: &BTreeSet<&str>) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(|name| jails.contains(name)) {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Forgets a jail's.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn forget(&self, jail: &str) -> io::Result<()> {
        match std::fs::remove_file(self.directory.join(jail)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn lease_grows_old_and_ends_on_this_boot_and_after_the_next() {
        let data = tempfile::tempdir().unwrap();
        let layout = Layout {
            data: data.path().to_owned(),
            run: data.path().to_owned(),
            cgroups: data.path().to_owned(),
        };
        let lease = Lease {
            address: Ipv4Addr::new(192, 0, 2, 7),
            length: 24,
            router: None,
            routes: Vec::new(),
            dns: Vec::new(),
            search: Vec::new(),
            mtu: None,
            server: Ipv4Addr::new(192, 0, 2, 1),
            server_mac: [2; 6],
            seconds: 600,
            t1: 300,
            t2: 525,
        };
        let at = |seconds: u64, wall: u64| Now {
            boot: Duration::from_secs(seconds),
            wall_ms: wall * 1000,
        };
        let leases = Leases::open(&layout).unwrap();
        let identity = Identity {
            mac: [2; 6],
            client_id: vec![1],
            hostname: "web".to_owned(),
            broadcast: false,
        };
        let found = |age: u64, is_of_this_boot: bool| {
            let (lease, identity) = (lease.clone().rest(age), identity.clone());
            Some(Found { lease, identity, is_sure: true, is_of_this_boot })
        };
        assert_eq!(leases.get("web", "on eth1", at(100, 5000)), None);
        leases.put("web", "on eth1", found(0, true).unwrap(), at(100, 5000)).unwrap();
        assert_eq!(leases.get("web", "on eth1", at(160, 9999)), found(60, true));
        assert_eq!(leases.get("web", "on eth1", at(700, 5000)), None);
        assert_eq!(leases.get("web", "on eth2", at(160, 9999)), None);

        let next = Leases { boot_id: "another".to_owned(), ..leases };
        assert_eq!(next.get("web", "on eth1", at(5, 5100)), found(100, false));
        assert_eq!(next.get("web", "on eth1", at(5, 5600)), None);
        assert_eq!(next.get("web", "on eth1", at(5, 4999)), None);
        next.keep_only(&BTreeSet::from(["web"])).unwrap();
        assert!(next.get("web", "on eth1", at(5, 5100)).is_some());
        next.forget("web").unwrap();
        assert_eq!(next.get("web", "on eth1", at(5, 5100)), None);
    }
}
