//! Where the build puts what is booted: `target/image`, or the directory `WARDER_IMAGES`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Error, Result};

/// A profile of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Image {
    /// What is shipped: no shell, no agent.
    Production,
    /// With a console shell, busybox and the test agent.
    Debug,
}

impl Image {
    /// A file of the build: `warder.raw`, `vmlinuz`, `initrd`, `cmdline`, ...
    ///
    /// # Errors
    /// It is not there.
    pub fn file(self, name: &str) -> Result<PathBuf> {
        let profile = match self {
            Self::Production => "production",
            Self::Debug => "debug",
        };
        built(&format!("{profile}/{name}"))
    }

    /// What QEMU boots without firmware: `vmlinux`, which it starts as it is (PVH), when the image has our own
    /// kernel, else `vmlinuz`, which unpacks itself first.
    ///
    /// # Errors
    /// Neither is there.
    pub fn kernel(self) -> Result<PathBuf> {
        self.file("vmlinux").or_else(|_| self.file("vmlinuz"))
    }

    /// The text of a small file of the build, without the line end.
    ///
    /// # Errors
    /// It is not there.
    pub fn text(self, name: &str) -> Result<String> {
        let path = self.file(name)?;
        let text =
            fs::read_to_string(&path).map_err(Error::io(format!("read {}", path.display())))?;
        Ok(text.trim_end().into())
    }
}

/// The disk with the nginx example.
///
/// # Errors
/// It is not there.
pub fn jails_disk() -> Result<PathBuf> {
    built("jails.raw")
}

/// The disk with all example jails.
///
/// # Errors
/// It is not there.
pub fn examples_disk() -> Result<PathBuf> {
    built("examples.raw")
}

/// The disk with the example jails in Go, Java, Python and JavaScript.
///
/// # Errors
/// It is not there.
pub fn runtimes_disk() -> Result<PathBuf> {
    built("runtimes.raw")
}

/// The disk with the programs that Warder is compared with.
///
/// # Errors
/// It is not there.
pub fn peers_disk() -> Result<PathBuf> {
    built("peers.raw")
}

/// youki, which is measured beside Debian's container programs: built by `image/setup bench`.
///
/// # Errors
/// It is not there.
pub fn youki() -> Result<PathBuf> {
    built("youki/bin/youki")
}

/// jailsupd with walls that can be left out, which is in no image.
///
/// # Errors
/// It is not there.
pub fn weak_jailsupd() -> Result<PathBuf> {
    built("weak/jailsupd")
}

/// PID 1 that can go wrong when it takes over.
///
/// # Errors
/// It is not there.
pub fn weak_init() -> Result<PathBuf> {
    built("weak/init")
}

/// btrfs-progs of the tools tree, with which images are built: those of Debian 12 do not open a file system with simple
/// quotas.
///
/// # Errors
/// The images are not built.
pub fn btrfs() -> Result<Command> {
    let tools = built("tools")?;
    // It is of another release than this machine, with a C library of its own.
    let mut command = Command::new(tools.join("usr/lib64/ld-linux-x86-64.so.2"));
    command.arg("--library-path").arg(tools.join("usr/lib/x86_64-linux-gnu"));
    command.arg(tools.join("usr/bin/btrfs"));
    Ok(command)
}

/// The nginx example as it is on [`jails_disk`]: its image, and its unit of the checkout.
///
/// # Errors
/// The image is not there.
pub fn nginx_example() -> Result<(PathBuf, PathBuf)> {
    Ok((built("jails/images/nginx.erofs")?, checkout().join("examples/nginx.toml")))
}

/// An example as it is on [`examples_disk`]: its image, and its unit of the checkout.
///
/// # Errors
/// The image is not there.
pub fn example(name: &str) -> Result<(PathBuf, PathBuf)> {
    let image = built(&format!("examples/images/{name}.erofs"))?;
    Ok((image, checkout().join(format!("examples/{name}.toml"))))
}

/// Another program of this package. Cargo puts them beside each other, and tests one directory
/// deeper.
///
/// # Errors
/// It is not built.
pub fn program(name: &str) -> Result<PathBuf> {
    let me = std::env::current_exe().map_err(Error::io("find this program's file"))?;
    let mut near = me.ancestors().skip(1).take(2).map(|dir| dir.join(name));
    near.find(|path| path.is_file()).ok_or(Error::NotBuilt { path: me.with_file_name(name) })
}

/// The checkout's `target/`, where the image is, whatever `CARGO_TARGET_DIR` says.
#[must_use]
pub fn target() -> PathBuf {
    checkout().join("target")
}

fn checkout() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// What `make setup` has fetched and what is slow to find out: `~/.cache/warder`, or the directory
/// `WARDER_CACHE`.
#[must_use]
pub fn cache() -> PathBuf {
    std::env::var_os("WARDER_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or("/root".into())).join(".cache/warder"),
        PathBuf::from,
    )
}

/// Makes `target/vm/NAME-PID`, and removes those of the same name that an ended process left
/// behind: after a failure they are there to be looked at until the next run.
///
/// # Errors
/// It cannot be made.
pub fn scratch(name: &str) -> Result<PathBuf> {
    let all = ensure_dir(target().join("vm"))?;
    let entries = fs::read_dir(&all).map_err(Error::io(format!("list {}", all.display())))?;
    for entry in entries.filter_map(std::result::Result::ok) {
        let file = entry.file_name();
        let pid = file.to_str().and_then(|file| file.strip_prefix(name)?.strip_prefix('-'));
        if pid
            .is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists())
        {
            // What cannot be removed only costs space.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    ensure_dir(all.join(format!("{name}-{}", std::process::id())))
}

/// Makes `dir` and gives it back.
///
/// # Errors
/// It cannot be made.
pub fn ensure_dir(dir: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&dir).map_err(Error::io(format!("make {}", dir.display())))?;
    Ok(dir)
}

fn built(name: &str) -> Result<PathBuf> {
    let images =
        std::env::var_os("WARDER_IMAGES").map_or_else(|| target().join("image"), PathBuf::from);
    let path = images.join(name);
    if path.exists() { Ok(path) } else { Err(Error::NotBuilt { path }) }
}
