//! The weak build: one word in a file says what goes wrong.

/// Written by a test.
const SELECTOR: &str = "/run/warder/flaw";

/// Whether this is what is to go wrong.
pub(crate) fn is(flaw: &str) -> bool {
    std::fs::read_to_string(SELECTOR).is_ok_and(|word| word.trim() == flaw)
}

/// Dies, if that is what is to go wrong.
#[allow(clippy::panic)] // it is the flaw
pub(crate) fn die() {
    assert!(!is("dies"), "dying as I was told to");
}

/// How often it looks whether it is to go on.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(10);

/// Goes on when it is to: never, or when the file has another word.
pub(crate) fn linger() {
    while is("hangs") || is("waits") {
        std::thread::sleep(LOOK_AGAIN);
    }
}
