//! `vm run`.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, TcpListener},
    process, thread,
    time::Instant,
};

use qemu_tests::{End, Error, Image, Machine, Result, Vm};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::{
    state::{CONTROL, State},
    stop::stop,
};

const PORT: u16 = 8080;

/// Boots the image, says where the page is, and stays until the guest is off.
pub(crate) fn run() -> Result<()> {
    let port = port()?;
    let state = State::take()?;
    let machine = Machine::new("run", Image::Production)
        .directory(state.dir.clone())
        .own_disk(state.disk()?)
        .port(port)
        .control(CONTROL)
        .echo();
    power_off_on_signal()?;
    let start = Instant::now();
    let mut vm = machine.start()?;
    println!("booting: Ctrl-C powers the guest off; all of its console: {}", log(&vm));
    match serve(&mut vm, start) {
        Err(error) if vm.is_running() => {
            stop()?;
            return Err(error);
        }
        // A guest that is gone is spoken about below.
        _ => {}
    }
    match vm.stay() {
        End::PowerOff => {
            println!("power off; the data stays in {}", state.dir.display());
            Ok(())
        }
        End::Reset => Err(ended("reset itself", &vm)),
        End::Other(reason) => Err(ended(&reason, &vm)),
    }
}

fn serve(vm: &mut Vm, start: Instant) -> Result<()> {
    vm.wait_boot()?;
    println!("phase boot {:.1} s", start.elapsed().as_secs_f64());
    let booted = Instant::now();
    vm.wait_page()?;
    println!("phase jail {:.1} s", booted.elapsed().as_secs_f64());
    println!("nginx jail: http://{}/", vm.address());
    Ok(())
}

fn port() -> Result<u16> {
    let port = match std::env::var("PORT") {
        Err(_) => PORT,
        Ok(value) => match value.parse() {
            Ok(port) => port,
            Err(_) => {
                return Err(Error::Setting {
                    name: "PORT",
                    value,
                    remedy: "give a number up to 65535",
                });
            }
        },
    };
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(port),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Err(Error::InUse {
            what: format!("port {port} of 127.0.0.1"),
            remedy: "choose another, for example: make run PORT=8081",
        }),
        Err(error) => Err(Error::io(format!("listen on port {port} of 127.0.0.1"))(error)),
    }
}

/// The first signal presses the power button; the second ends this process, and QEMU with it.
fn power_off_on_signal() -> Result<()> {
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(Error::io("handle signals"))?;
    thread::spawn(move || {
        let mut pressed = false;
        for signal in signals.forever() {
            if pressed {
                println!("killing the guest");
                process::exit(128 + signal);
            }
            pressed = true;
            thread::spawn(|| {
                if let Err(error) = stop() {
                    println!("cannot power the guest off: {error:?}");
                }
            });
        }
    });
    Ok(())
}

fn ended(how: &str, vm: &Vm) -> Error {
    Error::Answer { peer: "the guest's end", answer: format!("{how}; see {}", log(vm)) }
}

fn log(vm: &Vm) -> String {
    vm.console_log().display().to_string()
}
