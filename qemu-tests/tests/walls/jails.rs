//! The jails of the attacker and the images that help it.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use qemu_tests::{Jails, Result, image};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat, setxattr};

/// What `capable` is granted: everything that helps an attacker, in the kernel's numbers.
const CAPABILITIES: [(&str, u32); 14] = [
    ("DAC_OVERRIDE", 1),
    ("DAC_READ_SEARCH", 2),
    ("SETUID", 7),
    ("NET_ADMIN", 12),
    ("NET_RAW", 13),
    ("SYS_MODULE", 16),
    ("SYS_CHROOT", 18),
    ("SYS_PTRACE", 19),
    ("SYS_ADMIN", 21),
    ("SYS_BOOT", 22),
    ("SYS_TIME", 25),
    ("MKNOD", 27),
    ("SYSLOG", 34),
    ("BPF", 39),
];

/// A host policy that grants what [`Kind::Capable`] asks for, and what nginx needs.
pub(crate) fn policy() -> String {
    let names = capability_names();
    format!("version = 1\n[security]\nadd_capability = [{names}, \"NET_BIND_SERVICE\"]\n")
}

fn capability_names() -> String {
    CAPABILITIES.map(|(name, _)| format!("\"{name}\"")).join(", ")
}

/// As whom the attacker is in the jail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Root, without any key that grants something.
    Bare,
    /// Root with many capabilities.
    Capable,
    /// Another user than root.
    User,
    /// Root, with a working directory that leads out if a descriptor leaks and nobody looks.
    Elsewhere,
    /// Root, with a link to the network: its files in /sys are the jail's.
    Linked,
    /// Root, of an image whose /dev is a link.
    DevLink,
    /// A user whose name is in a file of the host alone, to which the image has a link.
    PasswdLink,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Capable => "capable",
            Self::User => "user",
            Self::Elsewhere => "elsewhere",
            Self::Linked => "linked",
            Self::DevLink => "dev-link",
            Self::PasswdLink => "passwd-link",
        }
    }

    fn granted(self) -> u64 {
        let all = CAPABILITIES.iter().fold(0, |set, (_, number)| set | 1 << number);
        if self == Self::Capable { all } else { 0 }
    }

    fn unit(self, attacks: &[&str]) -> String {
        let words: String = attacks.iter().map(|attack| format!(", \"{attack}\"")).collect();
        let exec = format!("\"/bin/attacker\", \"all\", \"{:x}\"{words}", self.granted());
        let (process, rest) = match self {
            Self::Bare | Self::Linked | Self::DevLink => (String::new(), String::new()),
            Self::Capable => {
                (String::new(), format!("[security]\nadd_capability = [{}]\n", capability_names()))
            }
            Self::User => ("user = 1000\n".into(), volume("/data/shared/pool", "/pool")),
            Self::PasswdLink => ("user = \"mallory\"\n".into(), String::new()),
            Self::Elsewhere => ("working_dir = \"/proc/self/fd/500\"\n".into(), String::new()),
        };
        let image = match self {
            Self::DevLink | Self::PasswdLink => self.name(),
            _ => "hostile",
        };
        let text = unit(image, &exec, &process, &rest);
        match self {
            Self::Linked => text.replace("mode = \"none\"", "address = [\"10.0.2.21/24\"]"),
            _ => text,
        }
    }
}

fn volume(source: &str, path: &str) -> String {
    format!("[[volume]]\nsource = \"{source}\"\npath = \"{path}\"\n")
}

/// Jails that race: one swaps directories of a volume for links, one has what is swapped as its own volume, one
/// has a volume mounted there, one waits for what `jailctl exec` brings in.
fn racers(jails: Jails) -> Result<Jails> {
    let (pool, sub) =
        (volume("/data/shared/pool", "/pool"), volume("/data/shared/pool/sub", "/mnt"));
    let swap = "\"/bin/attacker\", \"swap\", \"/pool\"";
    let victim = "\"/bin/attacker\", \"all\", \"0\", \"volume-of-the-host\"";
    let inner = pool.clone() + &volume("/data/shared/nested", "/pool/sub");
    jails
        .unit("swapper", &unit("hostile", swap, "", &pool))?
        .unit("nested", &unit("hostile", "\"/bin/attacker\", \"lurk\"", "", &inner))?
        .unit("victim", &unit("hostile", victim, "", &sub))?
        .unit("lurker", &unit("hostile", "\"/bin/attacker\", \"lurk\"", "", ""))
}

fn unit(image: &str, exec: &str, process: &str, rest: &str) -> String {
    format!(
        "version = 1\nenabled = false\n[image]\nsource = \"erofs:/usr/share/jails/{image}.erofs\"\n\
         [network]\nmode = \"none\"\n[restart]\npolicy = \"no\"\n\
         [process]\nexec = [{exec}]\n{process}{rest}"
    )
}

/// Attacks that succeed without some walls.
#[derive(Debug)]
pub(crate) struct Case {
    /// By the names of `jailsupd/src/exec/walls/weak.rs`.
    pub(crate) walls: &'static [&'static str],
    /// Who attacks.
    pub(crate) kind: Kind,
    /// With what.
    pub(crate) attacks: &'static [&'static str],
}

impl Case {
    /// The helper is sealed when jailsupd starts.
    pub(crate) fn needs_a_new_helper(&self) -> bool {
        self.walls.iter().any(|wall| wall.starts_with("helper"))
    }

    /// The jail that tries just these attacks.
    pub(crate) fn jail(&self) -> String {
        format!("{}-{}", self.kind.name(), self.walls.join("-"))
    }
}

/// Where the host has an account that no image has.
pub(crate) const ACCOUNT_OF_THE_HOST: &str = "/run/hostile/passwd";

/// Images that are hostile by what they are, and the file with which each is.
const LINKS: [(&str, &str, &str); 4] = [
    ("dev-link", "dev", "/tmp"),
    ("proc-link", "proc", "/tmp"),
    ("sys-link", "sys", "/tmp"),
    ("passwd-link", "etc/passwd", ACCOUNT_OF_THE_HOST),
];

fn disk() -> Result<Jails> {
    let mut jails = Jails::new()?.attacker()?.image_with("hostile", hostile)?;
    for (name, place, target) in LINKS {
        jails = jails.image_with(name, |root| {
            with_attacker(root)?;
            let place = root.join(place);
            if place.exists() {
                fs::remove_dir(&place)?;
            }
            symlink(target, place)
        })?;
    }
    Ok(jails)
}

/// Images whose `/etc/passwd` is no such file.
fn odd_accounts(jails: Jails) -> Result<Jails> {
    let passwd = |root: &Path| root.join("etc/passwd");
    let all = Mode::from_raw_mode(0o666);
    let jails = jails
        .image_with("passwd-fifo", |root| {
            with_attacker(root)?;
            Ok(mknodat(CWD, passwd(root), FileType::Fifo, all, 0)?)
        })?
        .image_with("passwd-device", |root| {
            with_attacker(root)?;
            // /dev/zero has no end.
            Ok(mknodat(CWD, passwd(root), FileType::CharacterDevice, all, makedev(1, 5))?)
        })?
        .image_with("passwd-directory", |root| {
            with_attacker(root)?;
            fs::create_dir(passwd(root))
        })?
        .image_with("passwd-huge", |root| {
            with_attacker(root)?;
            let filler = "nobody:x:65534:65534::/:/\n".repeat(200_000);
            fs::write(passwd(root), filler + "mallory:x:0:0::/:/\n")
        })?;
    let names = ["passwd-fifo", "passwd-device", "passwd-directory", "passwd-huge"];
    let exec = "\"/bin/attacker\", \"list\"";
    names.into_iter().try_fold(jails, |jails, name| {
        jails.unit(name, &unit(name, exec, "user = \"mallory\"\n", ""))
    })
}

fn with_attacker(root: &Path) -> io::Result<()> {
    let attacker = image::program("attacker").map_err(io::Error::other)?;
    fs::copy(attacker, root.join("bin/attacker")).map(drop)
}

/// Jails that try everything, and `killer`; all wait to be started.
pub(crate) fn all() -> Result<Jails> {
    let mut jails = odd_accounts(disk()?)?;
    for (name, ..) in LINKS {
        let process = if name == "passwd-link" { "user = \"mallory\"\n" } else { "" };
        jails = jails.unit(name, &unit(name, "\"/bin/attacker\", \"list\"", process, ""))?;
    }
    for kind in [Kind::Bare, Kind::Linked, Kind::Capable, Kind::User, Kind::Elsewhere] {
        jails = jails.unit(kind.name(), &kind.unit(&[]))?;
    }
    racers(jails)?.unit("killer", &unit("hostile", "\"/bin/attacker\", \"kill-all\"", "", ""))
}

/// A jail for each case, all waiting to be started.
pub(crate) fn weak(cases: &[Case]) -> Result<Jails> {
    let mut jails = racers(disk()?)?;
    for case in cases {
        jails = jails.unit(&case.jail(), &case.kind.unit(case.attacks))?;
    }
    Ok(jails)
}

/// The attacker, and in `/hostile` what an image may bring along to get privileges.
fn hostile(root: &Path) -> io::Result<()> {
    with_attacker(root)?;
    let attacker = root.join("bin/attacker");
    fs::create_dir(root.join("hostile"))?;
    let setuid = root.join("hostile/setuid");
    fs::copy(&attacker, &setuid)?;
    fs::set_permissions(setuid, Permissions::from_mode(0o4755))?;
    let capable = root.join("hostile/capable");
    fs::copy(&attacker, &capable)?;
    fs::set_permissions(&capable, Permissions::from_mode(0o755))?;
    // struct vfs_cap_data, revision 2: effective, all permitted, none inheritable (linux/capability.h).
    let all: [u32; 5] = [0x0200_0001, u32::MAX, 0, 0x1ff, 0];
    let value: Vec<u8> = all.iter().flat_map(|word| word.to_le_bytes()).collect();
    setxattr(&capable, "security.capability", &value, XattrFlags::empty())?;
    let console = root.join("hostile/console");
    // Documentation/admin-guide/devices.txt: the first serial port.
    mknodat(CWD, &console, FileType::CharacterDevice, Mode::empty(), makedev(4, 64))?;
    fs::set_permissions(console, Permissions::from_mode(0o666))
}
