//! What `make bench` starts: says when it was executed, and ends. With an argument it stays, until somebody ends it.
//!
//! Without Rust's runtime, whose set-up is no part of anybody's start: `main` is what C's runtime
//! calls. The first thing that it does is to read the clock.

#![no_main]
#![allow(unsafe_code)]

/// One line: `stamp`, and `CLOCK_BOOTTIME` in nanoseconds.
#[unsafe(no_mangle)]
pub extern "C" fn main(arguments: i32) -> i32 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let mut line = *b"stamp 00000000000000000000\n";
    let mut rest = now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs();
    for place in line[6..26].iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let stdout = rustix::stdio::stdout();
    let said = rustix::io::write(stdout, &line) == Ok(line.len());
    if arguments > 1 {
        rustix::event::pause();
    }
    i32::from(!said)
}
