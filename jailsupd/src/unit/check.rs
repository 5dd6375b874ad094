//! What the keys of one unit must be to each other. Only keys that were read well are compared, so that
//! one mistake leads to one problem.

pub(crate) mod network;
mod readiness;

use std::time::Duration;

use super::Problem;
use super::address::IpPrefix;
use super::amount::{Bytes, show_duration};
use super::device::Device;
use super::document::Walk;
use super::image::{Digest, ImageSource};
use super::keys::{Draft, UNIT};
use super::name::{BESIDE, JailName};
use super::resources::{IoDevice, Resources};
use super::section::{Backing, Deploy, NetworkMode, Restart, Root, RootMode, Strategy};
use super::user::{Mapping, User};

/// What every unit must say, and a template or a drop-in alone need not.
pub(crate) fn complete(walk: &mut Walk<'_>, draft: &Draft) {
    UNIT.require(walk);
    let has_image = draft.source.is_some() || draft.digest.is_some();
    if !has_image && walk.lacks("image", "image.source") && walk.lacks("image", "image.digest") {
        let help = "add `source = \"erofs:/usr/share/jails/web.erofs\"` in `[image]`";
        let place = walk.at("image");
        walk.add(Problem::new(place, "image.source", "is missing").help(help));
    }
    network::complete(walk, &draft.network);
    readiness::complete(walk, draft);
}

/// What a unit says and its name must go together.
pub(crate) fn named(walk: &mut Walk<'_>, draft: &Draft, jail: &str) {
    let most = JailName::MAX - BESIDE.len();
    let is_start_first = draft.deploy.strategy == Strategy::StartFirst;
    if is_start_first && walk.sound("deploy.strategy") && jail.len() > most {
        let message = format!("the jail's name is too long for two at once: {} bytes", jail.len());
        let help = format!("{most} are allowed with `start-first`");
        walk.refuse("deploy.strategy", message, help);
    }
}

/// What is said must go together. What a later file has made void is taken out of the draft.
pub(crate) fn unit(walk: &mut Walk<'_>, draft: &mut Draft) {
    description(walk, draft.description.as_deref());
    image(walk, draft);
    root(walk, &mut draft.root);
    network::unit(walk, &mut draft.network);
    firewall(walk, draft);
    if draft.process.core_dump.is_some_and(|size| size < Bytes::new(64 << 10)) {
        walk.refuse("process.core_dump", "is less than any core", "at least \"64K\"");
    }
    user(walk, &draft.user);
    devices(walk, &draft.security.add_device);
    if draft.security.unmask.len() > 32 {
        let help = "name a directory that holds them";
        walk.refuse("security.unmask", "has more than 32 entries", help);
    }
    resources(walk, &draft.resources);
    readiness::unit(walk, draft);
    restart(walk, &draft.restart);
    deploy(walk, &draft.deploy);
    start_first(walk, draft);
    if draft.logs.size_max < Bytes::new(256 << 10) {
        walk.refuse("logs.size_max", "is too little for a log", "at least \"256K\"");
    }
    if draft.logs.rate_limit_interval.is_some_and(|interval| interval.is_zero()) {
        walk.refuse("logs.rate_limit_interval", "is no time", "leave it out for no limit");
    }
}

fn description(walk: &mut Walk<'_>, text: Option<&str>) {
    if text.is_some_and(|t| t.contains(char::is_control)) {
        walk.refuse("description", "is more than one line", "write one line of plain text");
    }
}

fn image(walk: &mut Walk<'_>, draft: &mut Draft) {
    let of_path = matches!(draft.source, Some(ImageSource::Path { .. }));
    let sound = walk.sound("image.source") && walk.sound("image.digest");
    if of_path && sound && is_void(walk, "image.digest", "image.source") {
        walk.refuse(
            "image.digest",
            "is only of images that were imported",
            "take it out, or import the image and write `source = \"image:NAME\"`",
        );
    }
    if of_path {
        draft.digest = None;
    }
}

/// What source and digest make together.
pub(crate) fn image_source(
    source: Option<ImageSource>,
    digest: Option<Digest>,
) -> Option<ImageSource> {
    match (source, digest) {
        (Some(ImageSource::Stored { name, .. }), digest) => {
            Some(ImageSource::Stored { name, digest })
        }
        (None, Some(digest)) => Some(ImageSource::Stored { name: None, digest: Some(digest) }),
        (source, _) => source,
    }
}

/// Whether `key` is said in vain beside `by`; one that only a later file's `by` has made void is forgotten.
pub(super) fn is_void(walk: &mut Walk<'_>, key: &str, by: &str) -> bool {
    if walk.is_overridden(key, by) {
        walk.forget(key);
    }
    walk.has(key)
}

fn root(walk: &mut Walk<'_>, root: &mut Root) {
    if !walk.sound("root.mode") || !walk.sound("root.backing") {
        return;
    }
    if root.mode == RootMode::ReadOnly {
        for key in ["root.backing", "root.size_max"] {
            if is_void(walk, key, "root.mode") {
                walk.refuse(
                    key,
                    "has no effect on a read-only root",
                    "take it out, or write `mode = \"ephemeral\"`",
                );
            }
        }
        *root = Root { mode: RootMode::ReadOnly, ..Root::default() };
        return;
    }
    if root.mode == RootMode::Persistent && root.backing == Backing::Memory {
        if is_void(walk, "root.backing", "root.mode") {
            walk.refuse(
                "root.backing",
                "a persistent root is on the disk",
                "take it out, or write `mode = \"ephemeral\"`",
            );
        }
        root.backing = Backing::Disk;
    }
    if root.size_max.is_some_and(|size| size < Bytes::new(64 << 10)) {
        walk.refuse("root.size_max", "is less than any program needs", "at least \"64K\"");
    }
}

/// What could get around its own firewall has none.
fn firewall(walk: &mut Walk<'_>, draft: &mut Draft) {
    const OVER_IT: [(u64, &str); 2] = [(1 << 12, "NET_ADMIN"), (1 << 13, "NET_RAW")];
    for key in ["firewall.ingress", "firewall.egress"] {
        let is_without = draft.network.mode == NetworkMode::None && walk.sound("network.mode");
        if is_without && is_void(walk, key, "network.mode") {
            let message = "has no effect with `mode = \"none\"`";
            walk.refuse(key, message, "take it out, or choose another mode");
        }
        let mut over = OVER_IT.into_iter();
        let bits = draft.security.add_capability.bits();
        let over = over.find(|(bit, _)| bits & bit != 0).filter(|_| walk.has(key));
        if let Some((_, name)) = over.filter(|_| walk.sound("security.add_capability")) {
            let message = format!("a jail with {name} could get around it");
            let help = format!("take {name} out of `add_capability`, or this out");
            walk.refuse(key, message, help);
        }
    }
    if draft.network.mode == NetworkMode::None {
        draft.firewall = super::Firewall::default();
    }
}

fn user(walk: &mut Walk<'_>, user: &User) {
    for (key, map) in [("user.uid_map", &user.uid_map), ("user.gid_map", &user.gid_map)] {
        let twice = map.iter().enumerate().find(|(at, m)| map[..*at].iter().any(|o| o.overlaps(m)));
        if let Some((_, mapping)) = twice {
            walk.refuse(key, format!("{mapping} overlaps another"), "map each id once");
        }
        let beyond = |m: &&Mapping| m.jail + m.count > user.size.get();
        if let Some(mapping) = map.iter().find(beyond) {
            let message =
                format!("{mapping} is beyond the jail's ids, 0 to {}", user.size.get() - 1);
            walk.refuse(key, message, "give ids that the jail has, or a larger `size`");
        }
        // The kernel takes 340 extents; each mapping may cut one in two.
        if map.len() > 100 {
            walk.refuse(key, "has too many entries", "at most 100 are possible");
        }
    }
}

fn devices(walk: &mut Walk<'_>, devices: &[Device]) {
    for (at, device) in devices.iter().enumerate() {
        let other = devices[..at].iter().find(|other| other.jail == device.jail);
        let inside = |outer: &Device, inner: &Device| {
            inner.name().strip_prefix(outer.name()).is_some_and(|rest| rest.starts_with('/'))
        };
        let nested = devices[..at].iter().any(|o| inside(o, device) || inside(device, o));
        if other.is_some() {
            let message = format!("{} is there twice", device.jail);
            walk.refuse("security.add_device", message, "keep one of them");
        } else if nested {
            let message = format!("{} is in, or holds, another device", device.jail);
            walk.refuse("security.add_device", message, "give it another name in the jail");
        }
    }
}

fn resources(walk: &mut Walk<'_>, resources: &Resources) {
    if resources.memory_max.is_some_and(|max| max < Bytes::new(1 << 20)) {
        walk.refuse("resources.memory_max", "is less than any program needs", "at least \"1M\"");
    }
    if let (Some(high), Some(max)) = (resources.memory_high, resources.memory_max) {
        if high > max {
            walk.refuse(
                "resources.memory_high",
                format!("{high} is above `memory_max`, {max}"),
                "the jail is slowed down at `memory_high` and killed at `memory_max`: make it the smaller one",
            );
        }
    }
    for (key, kept) in [("memory_min", resources.memory_min), ("memory_low", resources.memory_low)]
    {
        if let (Some(kept), Some(max)) = (kept, resources.memory_max) {
            if kept > max {
                walk.refuse(
                    &format!("resources.{key}"),
                    format!("{kept} is above `memory_max`, {max}"),
                    "the jail cannot use it: make it the smaller one",
                );
            }
        }
    }
    let thresholds = [
        ("memory_pressure_threshold", resources.memory_pressure_threshold),
        ("cpu_pressure_threshold", resources.cpu_pressure_threshold),
        ("io_pressure_threshold", resources.io_pressure_threshold),
    ];
    for (key, threshold) in thresholds {
        let (least, most) = (Duration::from_millis(1), Duration::from_secs(2));
        if threshold.is_some_and(|threshold| !(least..=most).contains(&threshold)) {
            let help = "it is a part of 2 seconds: from \"1ms\" to \"2s\"";
            walk.refuse(&format!("resources.{key}"), "is out of range", help);
        }
    }
    let key = "resources.pressure_action";
    let is_asked = thresholds.iter().any(|(key, _)| walk.has(&format!("resources.{key}")));
    if walk.has(key) && walk.sound(key) && !is_asked {
        walk.refuse(
            key,
            "has no effect without a threshold",
            "add one, such as `memory_pressure_threshold = \"200ms\"`, or take it out",
        );
    }
    once_each(walk, resources);
}

/// A disk, a page size or a kind of limit is said once in each list.
fn once_each(walk: &mut Walk<'_>, resources: &Resources) {
    let show = |device: &IoDevice| device.to_string();
    let bandwidth = |list: &[super::resources::DeviceBandwidth]| {
        list.iter().map(|limit| show(&limit.device)).collect::<Vec<_>>()
    };
    let iops = |list: &[super::resources::DeviceIops]| {
        list.iter().map(|limit| show(&limit.device)).collect::<Vec<_>>()
    };
    let lists = [
        ("io_read_bandwidth_max", bandwidth(&resources.io_read_bandwidth_max)),
        ("io_write_bandwidth_max", bandwidth(&resources.io_write_bandwidth_max)),
        ("io_read_iops_max", iops(&resources.io_read_iops_max)),
        ("io_write_iops_max", iops(&resources.io_write_iops_max)),
        ("hugetlb_max", resources.hugetlb_max.iter().map(|h| h.page.to_string()).collect()),
        ("ulimit", resources.ulimit.iter().map(|u| u.name.word().to_owned()).collect()),
    ];
    for (key, names) in lists {
        let twice = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name));
        if let Some((_, name)) = twice {
            walk.refuse(
                &format!("resources.{key}"),
                format!("{name} is there twice"),
                "keep one of them",
            );
        }
    }
}

fn deploy(walk: &mut Walk<'_>, deploy: &Deploy) {
    if !walk.sound("deploy.min_healthy_time") || !walk.sound("deploy.healthy_deadline") {
        return;
    }
    if deploy.min_healthy_time >= deploy.healthy_deadline {
        let is_said = walk.has("deploy.min_healthy_time");
        let key = if is_said { "deploy.min_healthy_time" } else { "deploy.healthy_deadline" };
        let (time, deadline) =
            (show_duration(deploy.min_healthy_time), show_duration(deploy.healthy_deadline));
        walk.refuse(
            key,
            format!("no version is good that is healthy for {time} and failed after {deadline}"),
            "make `healthy_deadline` longer than `min_healthy_time`",
        );
    }
}

/// What two lives at once need.
fn start_first(walk: &mut Walk<'_>, draft: &mut Draft) {
    if !walk.sound("deploy.strategy") || !walk.sound("deploy.address") {
        return;
    }
    if draft.deploy.strategy == Strategy::Restart {
        if is_void(walk, "deploy.address", "deploy.strategy") {
            let help = "take it out, or write `strategy = \"start-first\"`";
            walk.refuse("deploy.address", "has no effect without `start-first`", help);
        }
        draft.deploy.address.clear();
        return;
    }
    if walk.sound("root.mode") && draft.root.mode == RootMode::Persistent {
        walk.refuse(
            "deploy.strategy",
            "two versions cannot have one persistent root",
            "write `strategy = \"restart\"`, or keep what must stay on a volume and make the root \"ephemeral\"",
        );
    }
    if walk.sound("network.mode") && draft.network.mode == NetworkMode::None {
        if is_void(walk, "deploy.address", "network.mode") {
            let help = "take it out: both versions have their loopback alone";
            walk.refuse("deploy.address", "has no effect with `mode = \"none\"`", help);
        }
        draft.deploy.address.clear();
    }
    network::addresses(walk, "deploy", &draft.deploy.address, &[]);
    let twice =
        |own: &&IpPrefix| draft.network.fixed().any(|other| other.address() == own.address());
    if let Some(own) = draft.deploy.address.iter().find(twice) {
        let message = format!("{} is the jail's own address", own.address());
        walk.refuse(
            "deploy.address",
            message,
            "give it another one until it takes the other's place",
        );
    }
}

fn restart(walk: &mut Walk<'_>, restart: &Restart) {
    if !walk.sound("restart.delay") || !walk.sound("restart.delay_max") {
        return;
    }
    if restart.delay < Duration::from_millis(1) {
        walk.refuse("restart.delay", "is too short", "at least \"1ms\"");
    }
    if restart.start_limit_interval < Duration::from_millis(1) {
        walk.refuse("restart.start_limit_interval", "is too short", "at least \"1ms\"");
    }
    if restart.delay > restart.delay_max {
        let key = if walk.has("restart.delay_max") { "restart.delay_max" } else { "restart.delay" };
        let (delay, most) = (show_duration(restart.delay), show_duration(restart.delay_max));
        walk.refuse(
            key,
            format!("the first wait, {delay}, is longer than the longest, {most}"),
            "make `delay_max` at least as long as `delay`",
        );
    }
}
