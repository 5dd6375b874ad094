//! Whether this machine's KVM can run a guest. `/dev/kvm` may open and even make a machine, and
//! still hang a stock guest (nested virtual machines), so a tiny guest is booted once.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use crate::{Error, Image, Result, console::Console, image, time::Deadline};

/// A guest that works is done in one; there is no factor here, a slow KVM is no use.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// The beginning of its lines, after the kernel's time stamp.
const PID_1_SPEAKS: &str = "] init: ";

/// How guests run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accel {
    Kvm,
    Tcg,
}

impl Accel {
    /// For `-accel`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Kvm, Self::Tcg].into_iter().find(|accel| accel.name() == text.trim())
    }
}

/// `ACCEL` where it is set, else what the probe found, now or in an earlier run on this machine.
pub(crate) fn choose() -> Result<Accel> {
    static CHOICE: OnceLock<Accel> = OnceLock::new();
    if let Ok(value) = std::env::var("ACCEL") {
        let remedy = "say kvm or tcg, or leave it out";
        return Accel::parse(&value).ok_or(Error::Setting { name: "ACCEL", value, remedy });
    }
    if let Some(choice) = CHOICE.get() {
        return Ok(*choice);
    }
    let memory = memory_file()?;
    let known = fs::read_to_string(&memory).ok().and_then(|text| Accel::parse(&text));
    let choice = match known {
        Some(choice) => choice,
        None => {
            let choice = probe()?;
            fs::write(&memory, choice.name())
                .map_err(Error::io(format!("write {}", memory.display())))?;
            choice
        }
    };
    Ok(*CHOICE.get_or_init(|| choice))
}

/// One answer per machine and kernel.
fn memory_file() -> Result<PathBuf> {
    let id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let name = rustix::system::uname();
    let file = format!("accel-{}-{}", id.trim(), name.release().to_string_lossy());
    Ok(image::ensure_dir(image::cache())?.join(file))
}

fn probe() -> Result<Accel> {
    if !Path::new("/dev/kvm").exists() {
        return Ok(Accel::Tcg);
    }
    let dir = image::scratch("probe")?;
    let works = boots(&dir.join("console.log"))?;
    // Left behind it only costs space.
    let _ = fs::remove_dir_all(dir);
    let choice = if works { Accel::Kvm } else { Accel::Tcg };
    eprintln!("probed /dev/kvm with a tiny guest: using {}", choice.name());
    Ok(choice)
}

/// Boots kernel and initrd of the image without a disk: PID 1 finds no root, and says so.
fn boots(log: &Path) -> Result<bool> {
    let mut log = fs::File::create(log).map_err(Error::io("make the probe's log"))?;
    let mut qemu = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
        .args(["-accel", "kvm", "-cpu", "host", "-m", "512", "-nodefaults", "-no-reboot"])
        .args(["-display", "none", "-serial", "stdio", "-append", "console=ttyS0 panic=-1"])
        .arg("-kernel")
        .arg(Image::Production.kernel()?)
        .arg("-initrd")
        .arg(Image::Production.file("initrd")?)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(Error::io("start qemu-system-x86_64"))?;
    let console = Console::default();
    let stream = qemu.stdout.take();
    let recorder = console.clone();
    let reader = std::thread::spawn(move || {
        if let Some(stream) = stream {
            recorder.record(stream, &mut log, false);
        }
    });
    let works = console
        .wait(0, |line| line.contains(PID_1_SPEAKS), String::new, Deadline::exactly(PROBE_LIMIT))
        .is_ok();
    // It may have ended by itself.
    let _ = qemu.kill();
    qemu.wait().map_err(Error::io("wait for qemu-system-x86_64"))?;
    let _ = reader.join();
    Ok(works)
}
