//! jailsupd with walls that can be left out (feature `weaken`), under a name that no image has.

#[path = "../main.rs"]
mod real;

fn main() -> std::process::ExitCode {
    real::main()
}
