//! PID 1 that can go wrong when it takes over (feature `weaken`), under a name that no image has.

fn main() {
    init::main();
}
