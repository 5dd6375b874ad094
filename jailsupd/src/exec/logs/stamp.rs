//! Times as the store writes them: `2026-11-24T15:30:12.123Z` (RFC 3339, always UTC, always milliseconds), so
//! that they sort as text.

/// Length of a stamp in bytes.
pub(super) const LEN: usize = 24;

/// Writes milliseconds since 1970; years beyond 9999 as the last of them.
pub(super) fn show(ms: u64) -> String {
    const LAST: u64 = 253_402_300_799_999;
    let ms = ms.min(LAST);
    let (days, rest) = (ms / 86_400_000, ms % 86_400_000);
    let (year, month, day) = date(days);
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, milli) = (rest / 1000 % 60, rest % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Reads what [`show`] has written; nothing else.
pub(super) fn read(text: &[u8]) -> Option<u64> {
    if text.len() != LEN {
        return None;
    }
    let between =
        [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (23, b'Z')];
    if between.iter().any(|(at, byte)| text[*at] != *byte) {
        return None;
    }
    let number = |from: usize, to: usize| {
        text[from..to].iter().try_fold(0u64, |sum, byte| {
            byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0'))
        })
    };
    let days = days(number(0, 4)?, number(5, 7)?, number(8, 10)?)?;
    let (hour, minute) = (number(11, 13)?, number(14, 16)?);
    let (second, milli) = (number(17, 19)?, number(20, 23)?);
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + milli)
}

const fn is_leap(year: u64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn months(year: u64) -> [u64; 12] {
    let february = if is_leap(year) { 29 } else { 28 };
    [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
}

/// Days from 1970-01-01 to the first of January of a year of the Gregorian calendar.
const fn before(year: u64) -> u64 {
    (year - 1970) * 365 + leaps_to(year) - leaps_to(1970)
}

/// Leap years before a year.
const fn leaps_to(year: u64) -> u64 {
    let last = year - 1;
    last / 4 - last / 100 + last / 400
}

fn date(days: u64) -> (u64, u64, u64) {
    let mut year = 1970 + days / 366;
    while before(year + 1) <= days {
        year += 1;
    }
    let mut left = days - before(year);
    let mut month = 1;
    for length in months(year) {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let months = months(year);
    let index = usize::try_from(month.checked_sub(1)?).ok()?;
    let length = *months.get(index)?;
    if year < 1970 || day == 0 || day > length {
        return None;
    }
    Some(before(year) + months.iter().take(index).sum::<u64>() + day - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_times_are_written_as_everybody_writes_them() {
        assert_eq!(show(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(show(951_782_400_001), "2000-02-29T00:00:00.001Z");
        assert_eq!(show(1_795_343_509_123), "2026-11-22T10:31:49.123Z");
        assert_eq!(show(u64::MAX), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn other_texts_are_no_times() {
        for bad in [
            "",
            "1969-12-31T00:00:00.000Z",
            "2026-02-30T00:00:00.000Z",
            "2026-11-22 10:31:49.123Z",
            "2026-11-22T10:31:4x.123Z",
            "2026-00-22T10:31:49.123Z",
        ] {
            assert_eq!(read(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_time_is_read_back(ms in 0u64..253_402_300_800_000) {
            prop_assert_eq!(read(show(ms).as_bytes()), Some(ms));
        }
    }
}
