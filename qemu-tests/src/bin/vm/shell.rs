//! `vm shell`: the debug image, and what its host's shell answers to the lines of standard input.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    time::Instant,
};

use qemu_tests::{Error, Image, Machine, Result, Vm, proto::Output, proto::Status};

/// Boots a guest that goes when standard input ends. Each line is a script of its own: variables and
/// directories do not last from one to the next.
pub(crate) fn shell() -> Result<()> {
    let start = Instant::now();
    let mut vm = Machine::new("shell", Image::Debug).start()?;
    eprintln!("booting: all of its console: {}", vm.console_log().display());
    vm.wait_boot()?;
    eprintln!(
        "booted in {:.1} s; the end of input (Ctrl-D) ends it",
        start.elapsed().as_secs_f64()
    );
    prompt()?;
    for line in io::stdin().lock().lines() {
        run(&mut vm, &line.map_err(Error::io("read standard input"))?)?;
        prompt()?;
    }
    Ok(())
}

fn run(vm: &mut Vm, script: &str) -> Result<()> {
    let Output { status, stdout, stderr } =
        vm.agent().run(&["/usr/bin/busybox", "sh", "-c", script])?;
    print!("{stdout}");
    eprint!("{stderr}");
    if status != Status::Exit(0) {
        eprintln!("({status:?})");
    }
    Ok(())
}

fn prompt() -> Result<()> {
    if io::stdin().is_terminal() {
        print!("warder# ");
    }
    io::stdout().flush().map_err(Error::io("write standard output"))
}
