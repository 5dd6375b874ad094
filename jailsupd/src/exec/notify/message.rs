//! What a service says over its socket, as sd_notify(3) has it: lines `NAME=value` in one datagram.
//!
//! Anybody in the jail can send anything: what is not understood is left out, and what is kept is bounded.

use std::time::Duration;

/// The largest datagram that is read; of a longer one the rest is lost. systemd's own limit.
pub const DATAGRAM_MAX: usize = 4096;

/// The longest status that is kept, in characters.
pub const STATUS_MAX: usize = 256;

/// One datagram.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// `READY=1`: it has started, or has loaded its configuration again.
    pub ready: bool,
    /// `RELOADING=1`: it loads its configuration again; `READY=1` follows.
    pub reloading: bool,
    /// `STOPPING=1`: it is about to end.
    pub stopping: bool,
    /// `STATUS=`: one line for people, without control characters; empty takes it back.
    pub status: Option<String>,
    /// `ERRNO=`: why it fails, errno(3).
    pub errno: Option<i32>,
    /// `WATCHDOG=`: it is alive, or knows that it is not.
    pub watchdog: Option<Watchdog>,
    /// `WATCHDOG_USEC=`: how often it will say that it is alive from now on; zero is not any more.
    pub watchdog_time: Option<Duration>,
    /// `EXTEND_TIMEOUT_USEC=`: how long it needs from now on for whatever it is doing.
    pub extend: Option<Duration>,
}

/// A sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watchdog {
    /// `1`.
    Alive,
    /// `trigger`: treat it as one that gives no sign of life.
    Trigger,
}

impl Message {
    /// The meaning of a datagram. `BARRIER=1`, and a message that is longer than it may be, have none: for a
    /// barrier it is enough that it was read (see [`super::Socket`]).
    #[must_use]
    pub fn parse(datagram: &[u8]) -> Self {
        let mut message = Self::default();
        let datagram = &datagram[..datagram.len().min(DATAGRAM_MAX)];
        for line in datagram.split(|byte| *byte == b'\n') {
            let Some(at) = line.iter().position(|byte| *byte == b'=') else { continue };
            let (name, value) = (&line[..at], &line[at + 1..]);
            message.take(name, value);
        }
        message
    }

    fn take(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b"READY" => self.ready |= value == b"1",
            b"RELOADING" => self.reloading |= value == b"1",
            b"STOPPING" => self.stopping |= value == b"1",
            b"STATUS" => self.status = Some(one_line(value)),
            b"ERRNO" => self.errno = number(value).and_then(|n| i32::try_from(n).ok()),
            b"WATCHDOG" => {
                self.watchdog = match value {
                    b"1" => Some(Watchdog::Alive),
                    b"trigger" => Some(Watchdog::Trigger),
                    _ => self.watchdog,
                }
            }
            b"WATCHDOG_USEC" => self.watchdog_time = number(value).map(microseconds),
            b"EXTEND_TIMEOUT_USEC" => self.extend = number(value).map(microseconds),
            _ => {}
        }
    }
}

/// Decimal digits and nothing else.
fn number(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

/// The longest time that a service may ask for: beyond it, moments could no longer be counted.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

fn microseconds(count: u64) -> Duration {
    Duration::from_micros(count).min(LONGEST)
}

/// Text for people: what would move a terminal's cursor, or turn the text around it, is a blank.
#[must_use]
pub fn one_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{2028}' | '\u{2029}');
    let clean = text.chars().map(|c| if c.is_control() || turns(c) { ' ' } else { c });
    let mut line: String = clean.take(STATUS_MAX).collect();
    line.truncate(line.trim_end().len());
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_services_say_is_understood() {
        let message = Message::parse(b"READY=1\nSTATUS=Ready to accept connections\n");
        assert!(message.ready && !message.stopping);
        assert_eq!(message.status.as_deref(), Some("Ready to accept connections"));
        let message = Message::parse(b"RELOADING=1\nMONOTONIC_USEC=12");
        assert_eq!(message, Message { reloading: true, ..Message::default() });
        let message = Message::parse(b"STOPPING=1\nERRNO=13\nEXTEND_TIMEOUT_USEC=2500000");
        assert!(message.stopping);
        assert_eq!((message.errno, message.extend), (Some(13), Some(Duration::from_millis(2500))));
        let message = Message::parse(b"WATCHDOG=1\nWATCHDOG_USEC=100");
        assert_eq!(message.watchdog, Some(Watchdog::Alive));
        assert_eq!(message.watchdog_time, Some(Duration::from_micros(100)));
        assert_eq!(Message::parse(b"WATCHDOG=trigger").watchdog, Some(Watchdog::Trigger));
    }

    #[test]
    fn what_is_no_message_means_nothing() {
        for datagram in [
            &b""[..],
            b"READY",
            b"READY=",
            b"READY=0",
            b"READY=11",
            b" READY=1",
            b"READY=1\0",
            b"ready=1",
            b"BARRIER=1",
            b"MAINPID=1",
            b"FDSTORE=1\nFDNAME=x",
            b"WATCHDOG=2",
            b"WATCHDOG_USEC=-1",
            b"WATCHDOG_USEC=1e3",
            b"EXTEND_TIMEOUT_USEC=99999999999999999999999",
            b"ERRNO=4294967296",
            b"\xff=\xff",
        ] {
            assert_eq!(Message::parse(datagram), Message::default(), "{datagram:?}");
        }
        let late = [vec![b'x'; DATAGRAM_MAX], b"\nREADY=1".to_vec()].concat();
        assert_eq!(Message::parse(&late), Message::default());
    }

    #[test]
    fn a_status_is_one_line_of_plain_text() {
        let status = |text: &[u8]| Message::parse(&[b"STATUS=", text].concat()).status.unwrap();
        assert_eq!(status(b"a\x1b[31mb\tc\r"), "a [31mb c");
        assert_eq!(status("\u{202e}gnp".as_bytes()), " gnp");
        assert_eq!(status(b"\xff\xfe"), "\u{fffd}\u{fffd}");
        assert_eq!(status(&[b'x'; 3000]).len(), STATUS_MAX);
        assert_eq!(status(b""), "");
    }

    fn line() -> impl Strategy<Value = Vec<u8>> {
        let name = prop_oneof![
            Just("READY"),
            Just("STATUS"),
            Just("WATCHDOG"),
            Just("WATCHDOG_USEC"),
            Just("ERRNO"),
            Just("EXTEND_TIMEOUT_USEC"),
            Just("STOPPING"),
            Just("RELOADING"),
            Just("BARRIER"),
        ];
        let value = prop_oneof![
            Just(b"1".to_vec()),
            "[0-9]{1,25}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..40),
        ];
        (name, value).prop_map(|(name, value)| [name.as_bytes(), b"=", &value].concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_datagram_has_a_bounded_meaning(
            noise in prop::collection::vec(any::<u8>(), 0..6000),
            lines in prop::collection::vec(line(), 0..30),
        ) {
            for datagram in [noise.clone(), lines.join(&b'\n'), [lines.join(&b'\n'), noise].concat()] {
                let message = Message::parse(&datagram);
                if let Some(status) = &message.status {
                    prop_assert!(status.chars().count() <= STATUS_MAX);
                    prop_assert!(!status.contains(char::is_control));
                }
                for time in [message.watchdog_time, message.extend].into_iter().flatten() {
                    prop_assert!(time <= LONGEST);
                }
            }
        }

        #[test]
        fn a_lone_line_is_understood_wherever_it_stands(
            before in prop::collection::vec("[A-Z]{1,8}X=[a-z]{0,20}", 0..20),
            after in prop::collection::vec("[A-Z]{1,8}X=[a-z]{0,20}", 0..20),
        ) {
            let lines: Vec<String> =
                before.into_iter().chain(["READY=1".to_owned()]).chain(after).collect();
            prop_assert_eq!(
                Message::parse(lines.join("\n").as_bytes()),
                Message { ready: true, ..Message::default() }
            );
        }
    }
}
