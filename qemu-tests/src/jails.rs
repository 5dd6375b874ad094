//! A disk of jails made by a test, beside the built one: the nginx example, an image with the
//! program `nuisance`, and whatever units the test is about.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{Error, Result, disk, image, unit_of};

/// A jails disk under construction.
pub struct Jails {
    dir: PathBuf,
}

impl Jails {
    /// A disk with the nginx example and the image `nuisance.erofs`, for units of [`Self::unit`].
    ///
    /// # Errors
    /// Something is not built, or a host tool failed.
    pub fn new() -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = image::scratch(&format!("jails{number}"))?;
        let jails = Self { dir };
        image::ensure_dir(jails.tree().join("images"))?;
        image::ensure_dir(jails.tree().join("jails.d"))?;
        let (nginx, unit) = image::nginx_example()?;
        copy(&nginx, &jails.tree().join("images/nginx.erofs"))?;
        copy(&unit, &jails.tree().join("jails.d/nginx.toml"))?;
        let programs = ["nuisance", "visitor", "witness"].map(image::program);
        let [nuisance, visitor, witness] = programs;
        let programs = [nuisance?, visitor?, witness?];
        jails.image_with("nuisance", |root| {
            fs::copy(&programs[0], root.join("bin/nuisance"))?;
            fs::copy(&programs[1], root.join("bin/visitor"))?;
            fs::copy(&programs[2], root.join("bin/witness"))?;
            // One that is told from visitors by its name.
            fs::hard_link(root.join("bin/visitor"), root.join("bin/desk"))
        })
    }

    /// Adds `jails.d/NAME.toml`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn unit(self, name: &str, text: &str) -> Result<Self> {
        self.file(&format!("jails.d/{name}.toml"), text)
    }

    /// Adds a unit of a jail without network that runs `nuisance` with these words; `rest` is more
    /// of the unit.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn nuisance_unit(self, name: &str, words: &[&str], rest: &str) -> Result<Self> {
        self.unit(name, &unit_of("nuisance", words, rest))
    }

    /// Adds a file of any name.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn file(self, name: &str, text: &str) -> Result<Self> {
        fs::write(self.tree().join(name), text).map_err(Error::io(format!("write {name}")))?;
        Ok(self)
    }

    /// Adds an image whose only program is this one, at `/bin/NAME`.
    ///
    /// # Errors
    /// A file cannot be copied, or `mkfs.erofs` fails.
    pub fn image(self, name: &str, program: &Path) -> Result<Self> {
        let copy = |root: &Path| fs::copy(program, root.join("bin").join(name)).map(drop);
        self.image_with(name, copy)
    }

    /// Adds a copy of a file, by its path on the disk.
    ///
    /// # Errors
    /// It cannot be copied.
    pub fn copy(self, from: &Path, to: &str) -> Result<Self> {
        let to = self.tree().join(to);
        if let Some(parent) = to.parent() {
            image::ensure_dir(parent.to_owned())?;
        }
        copy(from, &to)?;
        Ok(self)
    }

    /// Adds `images/NAME.erofs`: the directories that every jail needs, and what `fill` puts there.
    ///
    /// # Errors
    /// A file cannot be made.
    pub fn image_with(
        self,
        name: &str,
        fill: impl FnOnce(&Path) -> std::io::Result<()>,
    ) -> Result<Self> {
        let root = self.dir.join(name);
        for name in ["bin", "dev", "proc", "sys", "etc", "tmp", "run"] {
            image::ensure_dir(root.join(name))?;
        }
        fill(&root).map_err(Error::io(format!("fill the image {name}")))?;
        disk::make_erofs(&root, &self.tree().join(format!("images/{name}.erofs")))?;
        Ok(self)
    }

    /// Adds the programs `attacker` (for the host's side too) and the weak jailsupd, for
    /// [`crate::Vm::weaken`].
    ///
    /// # Errors
    /// One of them is not built.
    pub fn attacker(self) -> Result<Self> {
        self.copy(&image::program("attacker")?, "images/attacker")?.weak_jailsupd()
    }

    /// Adds the weak jailsupd, for [`crate::Vm::weaken`].
    ///
    /// # Errors
    /// It is not built.
    pub fn weak_jailsupd(self) -> Result<Self> {
        self.copy(&image::weak_jailsupd()?, "images/jailsupd-weak")
    }

    /// Adds the weak PID 1, for [`crate::Vm::put_weak_init`].
    ///
    /// # Errors
    /// It is not built.
    pub fn weak_init(self) -> Result<Self> {
        self.copy(&image::weak_init()?, "images/init-weak")
    }

    /// Adds the image `nuisance.squashfs`.
    ///
    /// # Errors
    /// `mksquashfs` failed.
    pub fn squashfs(self) -> Result<Self> {
        let to = self.tree().join("images/nuisance.squashfs");
        disk::make_squashfs(&self.dir.join("nuisance"), &to)?;
        Ok(self)
    }

    /// Adds a directory of this machine, under its own name.
    ///
    /// # Errors
    /// It cannot be copied.
    pub fn directory(self, path: &str) -> Result<Self> {
        disk::tool(Command::new("cp").arg("-r").arg(path).arg(self.tree().join("images")))?;
        Ok(self)
    }

    pub(crate) fn build(&self, to: &Path) -> Result<()> {
        disk::make_jails_disk(&self.tree(), to)
    }

    fn tree(&self) -> PathBuf {
        self.dir.join("tree")
    }
}

impl Drop for Jails {
    fn drop(&mut self) {
        // Left behind it only costs space.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(drop).map_err(Error::io(format!(
        "copy {} to {}",
        from.display(),
        to.display()
    )))
}
