//! What to boot: a description that becomes a QEMU command line. Starting it is `vm`'s.

use std::{
    ffi::OsString,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use crate::{
    Error, Image, Jails, Result, Vm, accel::Accel, disk, image, peers, proto, segment::Plug,
};

/// Debian's firmware; the variables are copied, a guest writes to them.
const FIRMWARE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const FIRMWARE_VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
/// Where the nginx jail of the example disk serves.
const NGINX: &str = "10.0.2.20:80";

/// How the kernel is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// The product's way: firmware, systemd-boot, unified kernel image on the disk.
    Uefi,
    /// QEMU loads kernel and initrd of the same build itself, which saves the firmware's time.
    Direct,
    /// As `Direct`, with another initrd than the build's.
    Initrd(PathBuf),
}

type Edit = Box<dyn FnOnce(&Path) -> Result<()> + Send>;

/// A machine to be booted.
pub struct Machine {
    pub(crate) name: String,
    pub(crate) image: Image,
    pub(crate) echo: bool,
    boot: Boot,
    memory_mib: u32,
    edit: Option<Edit>,
    own_disk: Option<PathBuf>,
    jails: Option<Jails>,
    examples: bool,
    runtimes: bool,
    peers: bool,
    port: Option<u16>,
    pub(crate) directory: Option<PathBuf>,
    control: Option<&'static str>,
    plug: Option<Plug>,
}

impl Machine {
    /// A machine with the nginx example, which is reached at [`Vm::address`]. `name` names
    /// its directory under `target/vm` and must be the only one of the test binary.
    #[must_use]
    pub fn new(name: &str, image: Image) -> Self {
        Self {
            name: name.into(),
            image,
            echo: false,
            boot: if image == Image::Production { Boot::Uefi } else { Boot::Direct },
            memory_mib: 1024,
            edit: None,
            own_disk: None,
            jails: None,
            examples: false,
            runtimes: false,
            peers: false,
            port: None,
            directory: None,
            control: None,
            plug: None,
        }
    }

    /// Another way than the profile's usual one (production: UEFI, debug: direct).
    #[must_use]
    pub fn boot(mut self, boot: Boot) -> Self {
        self.boot = boot;
        self
    }

    /// Another amount of memory than 1024 MiB.
    #[must_use]
    pub fn memory_mib(mut self, memory_mib: u32) -> Self {
        self.memory_mib = memory_mib;
        self
    }

    /// Changes the machine's copy of the disk before the boot.
    #[must_use]
    pub fn edit_disk(mut self, edit: impl FnOnce(&Path) -> Result<()> + Send + 'static) -> Self {
        self.edit = Some(Box::new(edit));
        self
    }

    /// Boots from this disk and writes to it, instead of a copy of the image.
    #[must_use]
    pub fn own_disk(mut self, disk: PathBuf) -> Self {
        self.own_disk = Some(disk);
        self
    }

    /// Another disk of jails than the built one.
    #[must_use]
    pub fn jails(mut self, jails: Jails) -> Self {
        self.jails = Some(jails);
        self
    }

    /// The built disk with all example jails, instead of the one with nginx alone.
    #[must_use]
    pub fn examples(mut self) -> Self {
        self.examples = true;
        self
    }

    /// The built disk with the example jails in Go, Java, Python and JavaScript, instead of the one with
    /// nginx.
    #[must_use]
    pub fn runtimes(mut self) -> Self {
        self.runtimes = true;
        self
    }

    /// One more disk: other container programs, for [`crate::agent::Agent::enter_peers`].
    #[must_use]
    pub fn peers(mut self) -> Self {
        self.peers = true;
        self
    }

    /// The loopback port that leads to nginx, instead of a free one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Shows the console on standard output.
    #[must_use]
    pub fn echo(mut self) -> Self {
        self.echo = true;
        self
    }

    /// Its directory, which is kept, instead of one that goes with the guest.
    #[must_use]
    pub fn directory(mut self, directory: PathBuf) -> Self {
        self.directory = Some(directory);
        self
    }

    /// Opens one more monitor for another process, at this socket in the machine's directory.
    #[must_use]
    pub fn control(mut self, socket: &'static str) -> Self {
        self.control = Some(socket);
        self
    }

    /// One more network card, `eth1`, at this end of a wire.
    #[must_use]
    pub fn plug(mut self, plug: Plug) -> Self {
        self.plug = Some(plug);
        self
    }

    /// Boots it.
    ///
    /// # Errors
    /// The image is not built, or QEMU does not start.
    pub fn start(self) -> Result<Vm> {
        Vm::start(self)
    }

    pub(crate) fn has_agent(&self) -> bool {
        self.image == Image::Debug
    }

    /// The loopback address that leads to nginx.
    pub(crate) fn address(&self) -> Result<SocketAddr> {
        let port = match self.port {
            Some(port) => port,
            None => free_port().map_err(Error::io("find a free loopback port"))?,
        };
        Ok((Ipv4Addr::LOCALHOST, port).into())
    }

    /// Writes what the machine needs into `dir` and gives QEMU's arguments. `sockets` holds the
    /// harness's listening sockets `qmp` and `agent`.
    pub(crate) fn prepare(
        &mut self,
        dir: &Path,
        sockets: &Path,
        address: SocketAddr,
        accel: Accel,
    ) -> Result<Vec<OsString>> {
        let mut arguments = Arguments::default();
        arguments.fixed(accel, self.memory_mib);
        arguments
            .add("-netdev", format!("user,id=net,ipv4=on,ipv6=on,hostfwd=tcp:{address}-{NGINX}"));
        // Without a boot ROM the firmware does not try the network.
        arguments.add("-device", "virtio-net-pci,netdev=net,romfile=");
        for (option, value) in self.plug.iter().flat_map(Plug::options) {
            arguments.add(option, value);
        }
        arguments.monitor("qmp", &format!("path={}", sockets.join("qmp").display()));
        if let Some(socket) = self.control {
            arguments.monitor("control", &format!("path={socket},server=on,wait=off"));
        }
        if self.has_agent() {
            let path = sockets.join("agent");
            arguments.add("-chardev", format!("socket,id=agent,path={}", path.display()));
            arguments.add("-device", "virtio-serial-pci");
            arguments.add("-device", format!("virtserialport,chardev=agent,name={}", proto::PORT));
        }
        let disk = self.disk(dir)?;
        arguments.disk("root", &disk, "", ",bootindex=1");
        let jails = self.jails_disk(dir)?;
        arguments.disk("jails", &jails, ",readonly=on", "");
        if self.peers {
            let serial = format!(",serial={}", peers::SERIAL);
            arguments.disk("peers", &image::peers_disk()?, ",readonly=on", &serial);
        }
        match &self.boot {
            Boot::Uefi => {
                let variables = dir.join("firmware-variables");
                disk::copy(Path::new(FIRMWARE_VARIABLES), &variables)?;
                arguments.firmware(0, Path::new(FIRMWARE), ",readonly=on");
                arguments.firmware(1, &variables, "");
            }
            Boot::Direct => arguments.kernel(self.image, &self.image.file("initrd")?)?,
            Boot::Initrd(initrd) => arguments.kernel(self.image, initrd)?,
        }
        Ok(arguments.0)
    }

    fn jails_disk(&mut self, dir: &Path) -> Result<PathBuf> {
        let Some(jails) = self.jails.take() else {
            return match (self.examples, self.runtimes) {
                (true, _) => image::examples_disk(),
                (_, true) => image::runtimes_disk(),
                (false, false) => image::jails_disk(),
            };
        };
        let disk = dir.join("jails.raw");
        jails.build(&disk)?;
        Ok(disk)
    }

    fn disk(&mut self, dir: &Path) -> Result<PathBuf> {
        let disk = match self.own_disk.take() {
            Some(disk) => disk,
            None => {
                let copy = dir.join("disk.raw");
                disk::copy(&self.image.file("warder.raw")?, &copy)?;
                copy
            }
        };
        if let Some(edit) = self.edit.take() {
            edit(&disk)?;
        }
        fs::canonicalize(&disk).map_err(Error::io(format!("find {}", disk.display())))
    }
}

/// A QEMU command line under construction.
#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn add(&mut self, option: &str, value: impl Into<OsString>) {
        self.0.push(option.into());
        self.0.push(value.into());
    }

    /// What all machines have. One CPU: with two, TCG once ended in a kernel oops. A reboot ends
    /// QEMU, so that a guest that resets cannot pass for one that went on.
    fn fixed(&mut self, accel: Accel, memory_mib: u32) {
        let cpu = if accel == Accel::Kvm { "host" } else { "max" };
        self.add("-machine", format!("q35,accel={}", accel.name()));
        self.add("-cpu", cpu);
        self.add("-smp", "1");
        // Each instruction takes one nanosecond of the guest's time, however busy this machine is.
        if accel == Accel::Tcg && std::env::var_os("ICOUNT").is_some() {
            self.add("-icount", "shift=0,sleep=on");
        }
        self.add("-m", memory_mib.to_string());
        self.0.extend(["-nodefaults", "-no-user-config", "-no-reboot"].map(Into::into));
        self.add("-display", "none");
        self.add("-serial", "stdio");
        self.add("-device", "virtio-rng-pci");
    }

    fn monitor(&mut self, id: &str, socket: &str) {
        self.add("-chardev", format!("socket,id={id},{socket}"));
        self.add("-mon", format!("chardev={id},mode=control"));
    }

    fn disk(&mut self, id: &str, path: &Path, drive: &str, device: &str) {
        let path = path.display();
        self.add("-drive", format!("if=none,id={id},format=raw,file={path}{drive}"));
        self.add("-device", format!("virtio-blk-pci,drive={id}{device}"));
    }

    fn kernel(&mut self, image: Image, initrd: &Path) -> Result<()> {
        self.add("-kernel", image.kernel()?);
        self.add("-initrd", initrd);
        self.add("-append", image.text("cmdline")?);
        Ok(())
    }

    fn firmware(&mut self, unit: u32, path: &Path, options: &str) {
        let path = path.display();
        self.add("-drive", format!("if=pflash,unit={unit},format=raw,file={path}{options}"));
    }
}

pub(crate) fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
