//! A plan as text, one step a line: what the golden tests compare and `jailctl` can show.

use super::{HostStep, JailStep, PathStep, Plan};
use crate::unit::{Capabilities, UserSpec};
use std::ffi::{CStr, CString};
use std::fmt;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.host {
            writeln!(f, "host: {step}")?;
        }
        for step in &self.jail[..] {
            match step {
                JailStep::SetHostName => writeln!(f, "jail: {step} {}", text(&self.host_name))?,
                _ => writeln!(f, "jail: {step}")?,
            }
        }
        let kept = Capabilities::from_bits(self.capabilities).names();
        let kept = if kept.is_empty() { "none".to_owned() } else { kept.join(" ") };
        writeln!(f, "jail: keep capabilities: {kept}")?;
        writeln!(f, "jail: set no_new_privs")?;
        writeln!(f, "jail: go to {}", text(&self.working_dir))?;
        if self.oom_score_adjust != 0 {
            writeln!(f, "jail: set oom_score_adj {}", self.oom_score_adjust)?;
        }
        if self.terminal {
            writeln!(f, "jail: open a terminal")?;
        }
        if let Some(filter) = &self.filter {
            let log = if filter.log { ", which logs" } else { "" };
            writeln!(f, "jail: install a filter of {} instructions{log}", filter.program.len())?;
        }
        for (name, value) in &self.environment {
            writeln!(f, "jail: environment {name}={value}")?;
        }
        let shown = |argv: &[CString]| {
            let words: Vec<String> = argv.iter().map(|arg| format!("{:?}", text(arg))).collect();
            words.join(" ")
        };
        if let Some(hook) = &self.hook {
            let (argv, timeout) = (shown(&hook.argv), hook.timeout);
            writeln!(f, "jail: run the hook {argv} within {timeout:?}")?;
        }
        writeln!(f, "jail: execute {}", shown(&self.argv))
    }
}

fn text(string: &CStr) -> String {
    string.to_string_lossy().into_owned()
}

fn place(target: &[PathStep]) -> String {
    target.last().map_or_else(String::new, |step| text(&step.path))
}

fn user(spec: &UserSpec) -> String {
    match spec {
        UserSpec::Name(name) => name.clone(),
        UserSpec::Id(id) => id.to_string(),
    }
}

impl fmt::Display for HostStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateCgroup => f.write_str("make the cgroup"),
            Self::SetLimit(limit) => write!(f, "write {:?} to {}", limit.value, limit.file),
            Self::LimitDisks(limits) if limits.is_empty() => f.write_str("limit no disk"),
            Self::LimitDisks(limits) => {
                let limits: Vec<String> = limits.iter().map(ToString::to_string).collect();
                write!(f, "limit the disk {}", limits.join(", the disk "))
            }
            Self::CreateNamespaces { ids } => {
                write!(f, "make user and network namespaces with the ids {ids}")
            }
            Self::SetUpNetwork(Some(link)) => write!(f, "set up loopback and {link}"),
            Self::SetUpNetwork(None) => f.write_str("set up loopback"),
            Self::OpenImage(source) => write!(f, "open the image {source}"),
            Self::OpenRoot { source, size_max: None } => {
                write!(f, "open its own root, at first a copy of {source}")
            }
            Self::OpenRoot { source, size_max: Some(size) } => {
                write!(f, "open its own root of at most {size}, at first a copy of {source}")
            }
            Self::ShiftIds => f.write_str("shift its owners into the jail's ids"),
            Self::Overlay { backing, size_max: None } => write!(f, "overlay on {backing}"),
            Self::Overlay { backing, size_max: Some(size) } => {
                write!(f, "overlay on {backing} of at most {size}")
            }
            Self::FindUser { user: name, group: None } => write!(f, "find user {}", user(name)),
            Self::FindUser { user: name, group: Some(group) } => {
                write!(f, "find user {} and group {}", user(name), user(group))
            }
            Self::OpenVolume(volume) => write!(f, "open the volume {volume}"),
            Self::WriteFiles(files) => {
                f.write_str("write")?;
                for file in files {
                    write!(f, " /etc/{} {:?}", file.name, file.text)?;
                }
                Ok(())
            }
            Self::OpenCores(size) => write!(f, "open a store of core dumps of at most {size}"),
            Self::PinDevices(devices) => {
                f.write_str("pin the device nodes")?;
                devices.iter().try_for_each(|device| write!(f, ", and {device}"))?;
                f.write_str(", refuse all others")
            }
        }
    }
}

impl fmt::Display for JailStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakePrivate => f.write_str("make all mounts private"),
            Self::MakeKernelMounts => f.write_str("make proc, sysfs, cgroup2, devpts and mqueue"),
            Self::Pivot => f.write_str("pivot to the root"),
            Self::Attach(mount) => write!(
                f,
                "attach {} at {}{}",
                text(mount.file_system()),
                text(mount.path()),
                if mount.read_only() { ", read-only" } else { "" }
            ),
            Self::NarrowSys(parts) => {
                let parts: Vec<String> = parts.iter().map(|part| text(&part.path)).collect();
                write!(f, "narrow /sys to {}", parts.join(", "))
            }
            Self::ForbidUserNamespaces => f.write_str("forbid user namespaces in its own"),
            Self::MountVolume { target, number } => {
                write!(f, "attach volume {number} at {}", place(target))
            }
            Self::MountGiven { target, is_asked_for, .. } => {
                let whether = if *is_asked_for { "" } else { ", if the image has it" };
                write!(f, "mount the host's file at {}{whether}", place(target))
            }
            Self::MountVolumeTmpfs { target, tmpfs } => {
                let options: Vec<String> = tmpfs
                    .options
                    .iter()
                    .map(|(name, value)| format!("{}={}", text(name), text(value)))
                    .collect();
                write!(
                    f,
                    "mount a tmpfs volume at {}, {}{}{}",
                    place(target),
                    options.join(", "),
                    if tmpfs.read_only { ", read-only" } else { "" },
                    if tmpfs.noexec { ", no programs" } else { "" }
                )
            }
            Self::SetSysctl { path, value } => write!(f, "write {} to {}", text(value), text(path)),
            Self::MountTmpfs(tmpfs) => write!(
                f,
                "mount a tmpfs of {} at {}, mode {}",
                text(tmpfs.size),
                text(tmpfs.path),
                text(tmpfs.mode)
            ),
            Self::BindDevices => f.write_str("bind the device nodes"),
            Self::BindNotify => f.write_str("bind the socket /dev/notify"),
            Self::MakeDirectory(path) => write!(f, "make directory {}", text(path)),
            Self::MakeLink { target, path } => write!(f, "link {} to {}", text(path), text(target)),
            Self::Mask(path) => write!(f, "mask {}", text(path)),
            Self::MakeReadOnly(path) => write!(f, "make {} read-only", text(path)),
            Self::SetHostName => f.write_str("set the host name"),
            Self::SetLimits(limits) => {
                let limits: Vec<String> = limits.iter().map(ToString::to_string).collect();
                write!(f, "set the resource limits {}", limits.join(" "))
            }
            Self::JoinKeyring => f.write_str("join a new session keyring"),
        }
    }
}
