//! The floor under the figures: the same kernel and machine with an initrd that holds one static
//! program, which does nothing. That program is this one, as PID 1.

use std::{fs, io, path::Path, time::Duration};

use qemu_tests::{Boot, End, Error, Image, Machine, Result};
use rustix::{
    mount::{MountFlags, mount},
    system::{RebootCommand, reboot},
};

use crate::{boot::milliseconds, figure::Figures, memory::to_float};

/// What PID 1 says before it powers off, followed by the used memory in KiB.
const SAYS: &str = "floor: used memory ";
const LIMIT: Duration = Duration::from_secs(60);

/// Adds the figures of one boot.
pub(crate) fn measure(figures: &mut Figures, dir: &Path) -> Result<()> {
    let initrd = dir.join("floor.initrd");
    write_initrd(&initrd)?;
    let machine = Machine::new("bench-floor", Image::Production).boot(Boot::Initrd(initrd));
    let mut vm = machine.start()?;
    let entered = vm.console.wait_for("Run /init as init process", LIMIT)?.stamp();
    let said = vm.console.wait_for(SAYS, LIMIT)?.text;
    let used = said.rsplit(' ').next().and_then(|word| word.parse().ok());
    match (entered, used, vm.wait_end()?) {
        (Some(entered), Some(used), End::PowerOff) => {
            figures.add("floor: kernel entry to PID 1", "ms", milliseconds(entered));
            figures.add("floor: used memory", "KiB", to_float(used));
            Ok(())
        }
        odd => Err(Error::Answer { peer: "the floor's guest", answer: format!("{odd:?}") }),
    }
}

/// PID 1's life.
pub(crate) fn live() -> io::Result<()> {
    mount("proc", "/proc", "proc", MountFlags::empty(), None)?;
    let used = used_kib(&fs::read_to_string("/proc/meminfo")?);
    println!("{SAYS}{used}");
    reboot(RebootCommand::PowerOff)?;
    Ok(())
}

/// What a guest uses, from its `/proc/meminfo` (Documentation/filesystems/proc.rst): neither free nor
/// a cache that can be dropped. `MemAvailable` would also count the kernel's reserve as used.
pub(crate) fn used_kib(meminfo: &str) -> u64 {
    let kib = |key: &str| -> u64 {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
    };
    let droppable =
        (kib("Cached") + kib("Buffers") + kib("SReclaimable")).saturating_sub(kib("Shmem"));
    kib("MemTotal").saturating_sub(kib("MemFree")).saturating_sub(droppable)
}

/// Writes the initrd to `path`.
pub(crate) fn write_initrd(path: &Path) -> Result<()> {
    let me = std::env::current_exe().map_err(Error::io("find this program's file"))?;
    let program = fs::read(&me).map_err(Error::io(format!("read {}", me.display())))?;
    let mut archive = Vec::new();
    entry(&mut archive, "dev", 0o040_755, &[], (0, 0));
    entry(&mut archive, "dev/console", 0o020_600, &[], (5, 1));
    entry(&mut archive, "proc", 0o040_755, &[], (0, 0));
    entry(&mut archive, "init", 0o100_755, &program, (0, 0));
    entry(&mut archive, "TRAILER!!!", 0, &[], (0, 0));
    fs::write(path, archive).map_err(Error::io(format!("write {}", path.display())))
}

/// One entry of a `newc` cpio archive (Documentation/driver-api/early-userspace/buffer-format.rst).
fn entry(archive: &mut Vec<u8>, name: &str, mode: usize, content: &[u8], device: (usize, usize)) {
    let (major, minor) = device;
    let name_size = name.len() + 1;
    let fields = [0, mode, 0, 0, 1, 0, content.len(), 0, 0, major, minor, name_size, 0];
    archive.extend_from_slice(b"070701");
    for field in fields {
        archive.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    pad(archive);
    archive.extend_from_slice(content);
    pad(archive);
}

fn pad(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}
