//! What others are told of leases.

use super::super::jail::Kept;
use super::super::poller::JailId;
use super::super::{Supervisor, clock};
use super::{Held, outcome};
use dhcp_worker::lease::Lease;

impl Held {
    /// What was granted.
    pub(in super::super) const fn lease(&self) -> &Lease {
        &self.lease
    }

    /// When it ends, in milliseconds since 1970; none when it does not.
    pub(in super::super) fn ends_at_wall(&self) -> Option<u64> {
        let left = self.ends_at()?.saturating_sub(clock::now()).as_millis();
        Some(clock::wall_ms().saturating_add(u64::try_from(left).unwrap_or(u64::MAX)))
    }
}

impl Supervisor {
    /// The namespaces of the life that has the jail's own link; none while it has none.
    pub(in super::super) fn namespaces_with_link(&self, id: JailId) -> Option<&Kept> {
        self.with_link(id)
    }

    /// Why a jail that is to have an address from DHCP has none, to be read after "an address".
    pub(in super::super) fn lacks_lease(&self, id: JailId) -> Option<String> {
        let jail = self.jails.get(id).filter(|jail| jail.lease.is_none())?;
        let loaded = jail.loaded.as_ref().filter(|loaded| loaded.asks_dhcp())?;
        // Nobody asks before there is a link.
        let client = self.leases.clients.get(&id)?;
        Some(match &client.trouble {
            _ if self.leases.worker.is_none() => {
                "cannot be asked for: the process that does it has ended".to_owned()
            }
            None => format!("is asked for by DHCP on {}", loaded.lower()),
            Some(trouble) => outcome::told(trouble, &loaded.lower()),
        })
    }
}
