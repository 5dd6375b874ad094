//! The packet filter of a jail, in its own network namespace.

use super::{Network, failed, nftables};
use crate::exec::Error;
use crate::plan::firewall::Rule;
use rustix::fd::OwnedFd;
use std::io;

impl Network {
    /// Has these rules, and no others, count in a jail's network namespace, in one step. `known` are those that do, if anybody
    /// knows; what counts already is not told again.
    ///
    /// # Errors
    /// When the kernel has no packet filter, or refuses; then the former ones count.
    pub fn filter(
        &self,
        namespace: &OwnedFd,
        known: &mut Option<Vec<Rule>>,
        rules: Vec<Rule>,
    ) -> Result<(), Error> {
        if known.as_ref() == Some(&rules) {
            return Ok(());
        }
        *known = None;
        let set = self.enter(namespace, |_| set(&rules)).and_then(|inside| inside);
        set.map_err(|e| failed("set the jail's packet filter", e))?;
        *known = Some(rules);
        Ok(())
    }
}

fn set(rules: &[Rule]) -> io::Result<()> {
    match rules.is_empty() {
        false => nftables::replace(rules),
        true if nftables::is_there()? => nftables::remove(),
        true => Ok(()),
    }
}
