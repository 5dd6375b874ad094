//! Keys that detach from a terminal. They are held back while they may be that, and passed on when they are
//! not.

use std::fmt;
use std::str::FromStr;

/// A sequence of keys; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keys(Vec<u8>);

impl FromStr for Keys {
    type Err = String;

    /// As podman's `--detach-keys`: `ctrl-p,ctrl-q`, or characters.
    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',').map(key).collect::<Result<Vec<u8>, String>>().map(Self)
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, key) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            match key {
                0..0x20 => {
                    write!(f, "{comma}ctrl-{}", char::from(key | 0x40).to_ascii_lowercase())?;
                }
                key => write!(f, "{comma}{}", char::from(*key))?,
            }
        }
        Ok(())
    }
}

fn key(text: &str) -> Result<u8, String> {
    let wrong =
        || format!("`{text}` is no key: write a character, or ctrl- and one of a-z @ [ \\ ] ^ _");
    match (text.strip_prefix("ctrl-").map(str::as_bytes), text.as_bytes()) {
        // ascii(7): a control character is the other one without its two highest bits.
        (Some([letter @ (b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')]), _) => {
            Ok(letter & 0x1f)
        }
        (None, [character]) if character.is_ascii_graphic() => Ok(*character),
        _ => Err(wrong()),
    }
}

/// What was typed of them so far.
#[derive(Debug)]
pub(crate) struct Detach {
    keys: Vec<u8>,
    held: usize,
}

impl Detach {
    pub(crate) fn new(keys: &Keys) -> Self {
        Self { keys: keys.0.clone(), held: 0 }
    }

    /// What of `typed` is for others; nothing after the keys are complete.
    pub(crate) fn pass(&mut self, typed: &[u8]) -> Vec<u8> {
        let mut passed = Vec::new();
        for byte in typed {
            if self.is_complete() {
                break;
            }
            if self.keys.get(self.held) != Some(byte) {
                passed.extend(&self.keys[..self.held]);
                self.held = 0;
            }
            if self.keys.get(self.held) == Some(byte) {
                self.held += 1;
            } else {
                passed.push(*byte);
            }
        }
        passed
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.held == self.keys.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detach(keys: &str) -> Detach {
        Detach::new(&keys.parse().unwrap())
    }

    #[test]
    fn keys_are_read_as_podman_writes_them() {
        assert_eq!("ctrl-p,ctrl-q".parse(), Ok(Keys(vec![16, 17])));
        assert_eq!("ctrl-],x".parse(), Ok(Keys(vec![29, b'x'])));
        assert_eq!("ctrl-],x,ctrl-a".parse::<Keys>().unwrap().to_string(), "ctrl-],x,ctrl-a");
        for wrong in ["", "ctrl-", "ctrl-é", "ab", "a,,b", "ctrl-A"] {
            assert!(wrong.parse::<Keys>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_only_begins_like_them_is_passed_on() {
        let mut detach = detach("ctrl-],ctrl-],ctrl-]");
        assert_eq!(detach.pass(b"a\x1d"), b"a");
        assert_eq!(detach.pass(b"\x1d"), b"");
        assert_eq!(detach.pass(b"b\x1d"), b"\x1d\x1db");
        assert!(!detach.is_complete());
        assert_eq!(detach.pass(b"\x1d\x1dnot this"), b"");
        assert!(detach.is_complete());
    }

    #[test]
    fn a_wrong_key_may_be_the_first_of_them() {
        let mut detach = detach("a,b");
        assert_eq!(detach.pass(b"aab"), b"a");
        assert!(detach.is_complete());
    }
}
