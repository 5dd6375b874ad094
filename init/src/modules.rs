//! Kernel modules: which files a name needs, and loading them. No modprobe, no aliases, no options.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::Path;

use rustix::io::Errno;
use rustix::system::finit_module;

use crate::error::{Context, Error};

/// The kernel decompresses the file itself (`MODULE_INIT_COMPRESSED_FILE` of `linux/module.h`).
const COMPRESSED_FILE: i32 = 4;

/// `modules.dep`: module name to its file and the files it needs.
pub(crate) struct Dependencies<'a> {
    by_name: HashMap<String, (&'a str, &'a str)>,
}

impl<'a> Dependencies<'a> {
    /// Reads `modules.dep`: lines of `FILE: FILE...`.
    pub(crate) fn parse(text: &'a str) -> Self {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        Self { by_name: lines.map(|(file, needs)| (module_name(file), (file, needs))).collect() }
    }

    /// The files that `module` needs, in load order, itself last; `None` when it is not there. depmod lists the
    /// whole closure, each file before the ones that it needs.
    pub(crate) fn closure(&self, module: &str) -> Option<Vec<&'a str>> {
        let (file, needs) = *self.by_name.get(&module_name(module))?;
        Some(needs.split_ascii_whitespace().rev().chain([file]).collect())
    }
}

/// A module's name from its file's: no directory, no endings, `_` for `-` as the kernel shows it.
pub(crate) fn module_name(file: &str) -> String {
    let base = file.rsplit('/').next().unwrap_or(file);
    base.split('.').next().unwrap_or(base).replace('-', "_")
}

/// The names in a list file: one a line, `#` starts a comment.
pub(crate) fn names(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.split('#').next()).map(str::trim).filter(|n| !n.is_empty())
}

/// Loads the modules named in the list file with what they need. Returns the names that did not load, each with
/// its reason; a module whose device is not in this machine, or which is built in, is none.
///
/// # Errors
/// When the list or `modules.dep` cannot be read.
pub(crate) fn load_listed(list: &Path, directory: &Path) -> Result<Vec<String>, Error> {
    let read = |path: &Path| fs::read_to_string(path).doing(|| format!("read {}", path.display()));
    let list = read(list)?;
    let text = read(&directory.join("modules.dep"))?;
    let dependencies = Dependencies::parse(&text);
    let mut failed = Vec::new();
    for module in names(&list) {
        match dependencies.closure(module) {
            Some(files) => {
                let errors = files.iter().filter_map(|file| load(&directory.join(file)).err());
                failed.extend(errors.map(|e| e.to_string()));
            }
            None if is_built_in(directory, module) => {}
            None => failed.push(format!("{module}: not in modules.dep")),
        }
    }
    Ok(failed)
}

/// Loads one module file. That it is loaded already, or that the machine has not the device, is no error.
///
/// # Errors
/// When the file cannot be opened or the kernel refuses it.
pub(crate) fn load(file: &Path) -> Result<(), Error> {
    // The kernel checks a module's signature before it finds that it has the module.
    let name = module_name(&file.to_string_lossy());
    if Path::new("/sys/module").join(name).join("initstate").exists() {
        return Ok(());
    }
    let module = File::open(file).doing(|| format!("open {}", file.display()))?;
    let flags = if file.extension().is_some_and(|e| e == "ko") { 0 } else { COMPRESSED_FILE };
    match finit_module(&module, c"", flags) {
        Ok(()) | Err(Errno::EXIST | Errno::NODEV) => Ok(()),
        Err(e) => Err(e).doing(|| format!("load {}", file.display())),
    }
}

fn is_built_in(directory: &Path, module: &str) -> bool {
    let text = fs::read_to_string(directory.join("modules.builtin")).unwrap_or_default();
    let module = module_name(module);
    text.lines().any(|file| module_name(file) == module)
}

#[cfg(test)]
mod tests {
    use super::{Dependencies, module_name, names};

    const DEP: &str = "\
kernel/fs/btrfs/btrfs.ko.xz: kernel/crypto/xor.ko.xz kernel/lib/raid6/raid6_pq.ko.xz
kernel/lib/raid6/raid6_pq.ko.xz:
kernel/drivers/virtio-rng.ko: kernel/drivers/virtio.ko kernel/drivers/virtio_ring.ko
";

    #[test]
    fn what_is_needed_comes_first() {
        assert_eq!(
            Dependencies::parse(DEP).closure("btrfs").unwrap(),
            [
                "kernel/lib/raid6/raid6_pq.ko.xz",
                "kernel/crypto/xor.ko.xz",
                "kernel/fs/btrfs/btrfs.ko.xz"
            ]
        );
    }

    #[test]
    fn dashes_and_underscores_are_one() {
        let dependencies = Dependencies::parse(DEP);
        assert_eq!(dependencies.closure("virtio_rng").unwrap().len(), 3);
        assert_eq!(dependencies.closure("virtio-rng"), dependencies.closure("virtio_rng"));
        assert_eq!(dependencies.closure("ext4"), None);
        assert_eq!(module_name("a/b/dm-mod.ko.zst"), "dm_mod");
    }

    #[test]
    fn lists_have_comments() {
        assert_eq!(names("# all\nbtrfs # data\n\n loop\n").collect::<Vec<_>>(), ["btrfs", "loop"]);
    }
}
