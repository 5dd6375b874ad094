//! Other container programs in the same guest: the tree of `image/peers`, entered by a mount namespace
//! of its own.
//!
//! Entered, not just chrooted into: the kernel lets no chrooted process make a user namespace, which
//! would make each peer look stricter than it is.

use crate::{
    Error, Result,
    agent::Agent,
    proto::{Output, Status},
};

/// QEMU's serial number of the disk, by which the guest finds it.
pub(crate) const SERIAL: &str = "warder-peers";

/// Holds the mount namespace and says its process number.
pub const HOLDER: &str = "/run/peers.pid";
/// The jails disk, inside.
pub const JAILS: &str = "/srv";
/// Where journald keeps its files: on the data partition, as Warder its logs; overlay on overlay would be refused.
pub const JOURNAL: &str = "/data/journal";
/// A cgroup with all controllers, for the peers alone. Each script has one below it, which it may
/// delegate to: nspawn does, and then no other process can be put there.
const CGROUP: &str = "/sys/fs/cgroup/peers";

/// Run by the debug image's busybox, up to `pivot_root`; from there on by the tree's own programs.
/// What peers write is in memory: overlay on overlay is refused, so podman's store is a tmpfs.
const ENTER: &str = r#"
set -e
disk=
for block in /sys/block/vd*; do
    if [ "$(cat $block/serial)" = SERIAL ]; then disk=/dev/${block##*/}1; fi
done
[ -n "$disk" ] || { echo "the machine has no disk of peers: Machine::peers" >&2; exit 1; }
mount -t tmpfs -o mode=755 tmpfs /tmp
mkdir /tmp/lower /tmp/top /tmp/root
mount -t erofs -o ro $disk /tmp/lower
mount -t tmpfs -o mode=755 tmpfs /tmp/top
mkdir /tmp/top/upper /tmp/top/work
mount -t overlay -o lowerdir=/tmp/lower,upperdir=/tmp/top/upper,workdir=/tmp/top/work overlay /tmp/root
cd /tmp/root
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t securityfs securityfs sys/kernel/security
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t devtmpfs devtmpfs dev
mkdir -p dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mkdir -p var/lib/containers
mount -t tmpfs -o mode=700 tmpfs var/lib/containers
mount --bind /usr/share/jails srv
mkdir -p var/log/journal JOURNAL
mount --bind JOURNAL var/log/journal
tr -d - <proc/sys/kernel/random/uuid >etc/machine-id
pivot_root . mnt
export PATH=/usr/sbin:/usr/bin
umount -l /mnt
setsid sleep infinity </dev/null >/dev/null 2>&1 &
echo $!
"#;

impl Agent {
    /// Sets the peers' tree up; once in a boot, before [`Self::peer`].
    ///
    /// # Errors
    /// The machine has no disk of peers, or something cannot be mounted.
    pub fn enter_peers(&mut self) -> Result<()> {
        let controllers = "for c in $(cat /sys/fs/cgroup/cgroup.controllers); do \
             echo +$c >/sys/fs/cgroup/cgroup.subtree_control || true; done 2>/dev/null";
        let below = format!(
            "mkdir {CGROUP} && for c in $(cat {CGROUP}/cgroup.controllers); do \
             echo +$c >{CGROUP}/cgroup.subtree_control || true; done 2>/dev/null"
        );
        self.shell(&format!("{controllers}; {below}"))?;
        let enter = ENTER.replace("SERIAL", SERIAL).replace("JOURNAL", JOURNAL);
        let argv = ["/usr/bin/busybox", "unshare", "-m", "/usr/bin/busybox", "sh", "-c", &enter];
        let holder = self.output(&argv)?;
        self.write(HOLDER, &holder)
    }

    /// Runs a shell script of the peers' tree as root, in the peers' cgroup.
    ///
    /// # Errors
    /// The agent is gone; how the script ended is no error.
    pub fn peer(&mut self, script: &str) -> Result<Output> {
        let enter = format!(
            "mkdir {CGROUP}/$$ && echo $$ >{CGROUP}/$$/cgroup.procs && exec nsenter -t $(cat {HOLDER}) -m \
             /usr/bin/env -i PATH=/usr/sbin:/usr/bin HOME=/root LC_ALL=C.UTF-8 /usr/bin/bash -c \"$1\""
        );
        self.run(&["/usr/bin/busybox", "sh", "-c", &enter, "sh", script])
    }

    /// [`Self::peer`]: standard output of a script that must succeed.
    ///
    /// # Errors
    /// Also when it failed.
    pub fn peer_output(&mut self, script: &str) -> Result<String> {
        let output = self.peer(script)?;
        if output.status == Status::Exit(0) {
            return Ok(output.stdout);
        }
        Err(Error::Tool {
            command: format!("(peers) {script}"),
            status: format!("{:?}", output.status),
            output: output.stdout + &output.stderr,
        })
    }
}

/// A program that is compared with Warder, started as its own documentation starts it first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// OCI runtime in C, with the configuration of `crun spec`.
    Crun,
    /// OCI runtime in Go, with the configuration of `runc spec`.
    Runc,
    /// Has no defaults: all namespaces, and a /proc and /dev of its own.
    Bubblewrap,
    /// On a directory; not told to machined, which is not there.
    Nspawn,
    /// With the configuration that its templates include.
    Lxc,
    /// On a directory; without a network, for which it wants nftables.
    Podman,
}

impl Peer {
    /// All.
    pub const ALL: [Self; 6] =
        [Self::Crun, Self::Runc, Self::Bubblewrap, Self::Nspawn, Self::Lxc, Self::Podman];

    /// Its name, which is its package's but for nspawn's.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Crun => "crun",
            Self::Runc => "runc",
            Self::Bubblewrap => "bubblewrap",
            Self::Nspawn => "systemd-nspawn",
            Self::Lxc => "lxc",
            Self::Podman => "podman",
        }
    }

    /// Debian's package.
    #[must_use]
    pub fn package(self) -> &'static str {
        if self == Self::Nspawn { "systemd-container" } else { self.name() }
    }

    /// What has to be there before [`Self::run`]: a bundle, a configuration file. `root` is the
    /// container's root directory in the peers' tree, `argv` the program in it (words without quotes).
    #[must_use]
    pub fn prepare(self, root: &str, argv: &[&str]) -> String {
        let name = self.name();
        match self {
            Self::Crun | Self::Runc => {
                let words: Vec<_> = argv.iter().map(|word| format!("\"{word}\"")).collect();
                let edit = format!(
                    "s#\"terminal\": true#\"terminal\": false#; s#\"path\": \"rootfs\"#\"path\": \"{root}\"#; \
                     s#\"sh\"#{}#",
                    words.join(", ")
                );
                format!(
                    "mkdir /tmp/{name} && cd /tmp/{name} && {name} spec && sed -i '{edit}' config.json"
                )
            }
            // A kernel with only a part of AppArmor is what a stock one looks like to it.
            Self::Lxc => format!(
                "printf '%s\\n' 'lxc.include = /usr/share/lxc/config/common.conf' \
                 'lxc.rootfs.path = dir:{root}' 'lxc.uts.name = lxc' \
                 'lxc.apparmor.profile = generated' 'lxc.apparmor.allow_incomplete = 1' >/tmp/lxc.conf"
            ),
            Self::Bubblewrap | Self::Nspawn | Self::Podman => "true".into(),
        }
    }

    /// The command line that runs it once, and ends with it.
    #[must_use]
    pub fn run(self, root: &str, argv: &[&str]) -> String {
        let program = argv.join(" ");
        match self {
            Self::Crun => "crun run --bundle /tmp/crun crun-$$".into(),
            Self::Runc => "runc run --bundle /tmp/runc runc-$$".into(),
            Self::Bubblewrap => {
                format!("bwrap --unshare-all --bind {root} / --proc /proc --dev /dev {program}")
            }
            Self::Nspawn => {
                format!(
                    "systemd-nspawn --quiet --register=no --keep-unit --directory={root} {program}"
                )
            }
            Self::Lxc => format!("lxc-execute -n lxc-$$ -f /tmp/lxc.conf -- {program}"),
            Self::Podman => format!("podman run --rm --network=none --rootfs {root} {program}"),
        }
    }
}
