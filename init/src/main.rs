//! PID 1 of Warder; see the library.

fn main() {
    init::main();
}
