//! The cgroup tree's top: all controllers for children, PID 1 in a leaf of its own.

use std::fs;
use std::path::Path;

use crate::boot::Boot;
use crate::error::{Context, Error};
use crate::stage::Outcome;

/// Where cgroup2 is mounted.
pub(crate) const ROOT: &str = "/sys/fs/cgroup";
/// More than PID 1 uses, so that reclaim never waits for its pages.
const MEMORY_MIN: &str = "4M";

/// Makes `init/` and moves PID 1 there, then enables every controller in the root and in the two inner groups.
pub(crate) fn set_up(_: &mut Boot) -> Result<Outcome, Error> {
    let root = Path::new(ROOT);
    make(&root.join("init"))?;
    write(&root.join("init/cgroup.procs"), "1")?;
    let mut refused = enable_all(root)?;
    for inner in ["jails", "services"] {
        make(&root.join(inner))?;
        refused.extend(enable_all(&root.join(inner))?);
    }
    if let Err(e) = write(&root.join("init/memory.min"), MEMORY_MIN) {
        refused.push(e.to_string());
    }
    Ok(if refused.is_empty() { Outcome::Done } else { Outcome::Degraded(refused.join("; ")) })
}

/// Enables each controller of `group` for its children; returns the ones that the kernel refuses.
fn enable_all(group: &Path) -> Result<Vec<String>, Error> {
    let list = group.join("cgroup.controllers");
    let controllers = fs::read_to_string(&list).doing(|| format!("read {}", list.display()))?;
    let control = group.join("cgroup.subtree_control");
    let enable = |name| write(&control, &format!("+{name}")).err().map(|e| format!("{name}: {e}"));
    Ok(controllers.split_ascii_whitespace().filter_map(enable).collect())
}

fn make(group: &Path) -> Result<(), Error> {
    fs::create_dir_all(group).doing(|| format!("make cgroup {}", group.display()))
}

fn write(file: &Path, text: &str) -> Result<(), Error> {
    fs::write(file, text).doing(|| format!("write {text} to {}", file.display()))
}
