//! The rules: what of a unit is held against which key of the policy.

use std::fmt::Display;

use super::{POLICY, Policy};
use crate::unit::capability::Capabilities;
use crate::unit::publish::Publish;
use crate::unit::{ImageSource, NetworkName, Problem, Unit, VolumeSource};

/// One bound of the policy, held against one unit.
type Rule = fn(&mut Review<'_>);

const RULES: &[Rule] = &[
    image,
    user,
    capabilities,
    devices,
    seccomp,
    sysctl,
    unmask,
    network,
    volumes,
    memory,
    processor,
    processes,
];

pub(super) fn check(policy: &Policy, unit: &Unit) -> Vec<Problem> {
    let mut review = Review { policy, unit, problems: Vec::new() };
    RULES.iter().for_each(|rule| rule(&mut review));
    review.problems
}

/// One unit before the policy.
struct Review<'a> {
    policy: &'a Policy,
    unit: &'a Unit,
    problems: Vec<Problem>,
}

impl Review<'_> {
    /// The unit's `key` asks for `what`, and the policy's key of the same name does not allow that.
    fn refuse(&mut self, key: &str, what: impl Display) {
        self.refuse_in(key, key, what);
    }

    /// The same of a key that is one of several in the unit's `place`.
    fn refuse_in(&mut self, place: &str, key: &str, what: impl Display) {
        let found = POLICY.keys.iter().find(|known| known.path() == key);
        let allowed = found.and_then(|key| (key.show)(&self.policy.bounds)).unwrap_or_default();
        let message = format!("{what}, which is more than this host's policy allows");
        let rule = match self.policy.origin.has(key) {
            true => format!("the rule is {} = {allowed} at {}", key, self.policy.origin.at(key)),
            false => format!("the rule is the built-in default, {key} = {allowed}"),
        };
        let help = format!(
            "{rule}; ask for less, or have the administrator change it in /etc/warder/policy.toml"
        );
        self.problems.push(self.unit.problem(place, message, help));
    }

    /// A limit and its ceiling: `asked` is none for no limit.
    fn ceiling<T: PartialOrd + Display>(&mut self, key: &str, asked: Option<T>, most: Option<T>) {
        let Some(most) = most else { return };
        match asked {
            Some(asked) if asked <= most => {}
            Some(asked) => self.refuse(key, format!("asks for {asked}")),
            None => self.refuse(key, "is not set, so there is no limit"),
        }
    }
}

fn image(review: &mut Review<'_>) {
    let source = &review.unit.image.source;
    // What was imported, the host's root has imported.
    let ImageSource::Path { path, .. } = source else { return };
    if !review.policy.bounds.image_source.iter().any(|prefix| prefix.holds(path)) {
        review.refuse("image.source", format!("the image is {source}"));
    }
}

fn capabilities(review: &mut Review<'_>) {
    let asked = review.unit.security.add_capability.bits();
    let more = Capabilities::from_bits(asked & !review.policy.bounds.add_capability.bits());
    if more != Capabilities::NONE {
        review
            .refuse("security.add_capability", format!("asks for {}", more.names().join(" and ")));
    }
}

fn user(review: &mut Review<'_>) {
    let (user, bounds) = (&review.unit.user, &review.policy.bounds);
    let maps = [
        ("user.uid_map", &user.uid_map, &bounds.uid_map),
        ("user.gid_map", &user.gid_map, &bounds.gid_map),
    ];
    for (key, asked, allowed) in maps {
        let more = asked.iter().find(|mapping| !allowed.iter().any(|ids| ids.holds(mapping)));
        if let Some(mapping) = more {
            review.refuse(key, format!("asks for ids of the host: {mapping}"));
        }
    }
}

fn devices(review: &mut Review<'_>) {
    let (devices, allowed) = (&review.unit.security.add_device, &review.policy.bounds.add_device);
    let more = devices.iter().find(|d| !allowed.iter().any(|prefix| prefix.holds(&d.host)));
    if let Some(device) = more {
        review.refuse("security.add_device", format!("asks for {}", device.host));
    }
}

fn seccomp(review: &mut Review<'_>) {
    let asked = &review.unit.security.seccomp;
    if !review.policy.bounds.seccomp.iter().any(|bound| bound.allows(asked)) {
        review.refuse("security.seccomp", format!("asks for {:?}", asked.to_string()));
    }
}

fn sysctl(review: &mut Review<'_>) {
    let (unit, bounds) = (review.unit, &review.policy.bounds.sysctl);
    let allowed = |name: &str| bounds.iter().any(|pattern| pattern.matches(name));
    let asked = unit.security.sysctl.iter().map(|(name, _)| name.as_str());
    for name in asked.filter(|name| !allowed(name)) {
        review.refuse("security.sysctl", format!("sets {name}"));
    }
}

fn unmask(review: &mut Review<'_>) {
    let (unit, bounds) = (review.unit, &review.policy.bounds.unmask);
    let more = unit.security.unmask.iter().find(|path| !bounds.iter().any(|b| b.holds(path)));
    if let Some(path) = more {
        review.refuse("security.unmask", format!("asks to see {path}"));
    }
}

fn network(review: &mut Review<'_>) {
    let (network, bounds) = (&review.unit.network, &review.policy.bounds);
    if !bounds.network_mode.contains(&network.mode) {
        return review.refuse("network.mode", format!("asks for {:?}", network.mode.to_string()));
    }
    let parent = network.parent.as_str();
    if network.mode.has_parent()
        && !bounds.network_parent.iter().any(|pattern| pattern.matches(parent))
    {
        review.refuse("network.parent", format!("asks for {parent:?}"));
    }
    let name = network.network.as_ref().map(NetworkName::as_str);
    if let Some(name) =
        name.filter(|name| !bounds.network_network.iter().any(|pattern| pattern.matches(name)))
    {
        review.refuse("network.network", format!("asks for {name:?}"));
    }
    let forward = review.unit.joined().map(|joined| joined.forward);
    if let Some(forward) = forward.filter(|forward| !bounds.network_forward.contains(forward)) {
        let what = format!("is in a network with `forward = \"{forward}\"`");
        review.refuse_in("network.network", "network.forward", what);
    }
    let is_allowed = |port| bounds.network_publish.iter().any(|range| range.contains(port));
    let may = |publish: &Publish| publish.host.ports().all(is_allowed);
    if let Some(port) = network.publish.iter().find(|port| !may(port)) {
        review.refuse("network.publish", format!("asks for port {}", port.shown_host()));
    }
    if let Some(vlan) = network.vlan.filter(|vlan| !bounds.network_vlan.contains(vlan)) {
        review.refuse("network.vlan", format!("asks for VLAN {vlan}"));
    }
}

fn volumes(review: &mut Review<'_>) {
    for volume in review.unit.volumes.iter() {
        let VolumeSource::Bind(path) = &volume.source else { continue };
        if !review.policy.bounds.volume_source.iter().any(|prefix| prefix.holds(path)) {
            let what = format!("the volume at {} shows {path}", volume.path);
            review.refuse_in("volume", "volume.source", what);
        }
    }
}

fn memory(review: &mut Review<'_>) {
    let (asked, most) = (review.unit.resources.memory_max, review.policy.bounds.memory_max);
    review.ceiling("resources.memory_max", asked, most);
}

fn processor(review: &mut Review<'_>) {
    let (asked, most) = (review.unit.resources.cpu_max, review.policy.bounds.cpu_max);
    review.ceiling("resources.cpu_max", asked, most);
}

fn processes(review: &mut Review<'_>) {
    let (asked, most) = (review.unit.resources.pids_max, review.policy.bounds.pids_max);
    review.ceiling("resources.pids_max", Some(asked), most);
}
