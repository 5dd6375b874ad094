//! Durations and moments as people write them.

use std::str::FromStr;

/// A duration in milliseconds: `10m`, `1h30m`, `500ms`, as in unit files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) u64);

/// A moment: so long before now, or a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Ago(Span),
    At(u64),
}

/// Shown by clap after the value that was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoMoment {
    #[error("give a duration, such as 500ms, 30s, 10m, 1h30m or 2d")]
    Span,
    #[error(
        "give a duration back from now, such as 10m or 1h30m, or a time such as 2026-11-22T10:30:00Z"
    )]
    When,
}

impl FromStr for Span {
    type Err = NoMoment;

    fn from_str(text: &str) -> Result<Self, NoMoment> {
        span(text).map(Self).ok_or(NoMoment::Span)
    }
}

impl FromStr for When {
    type Err = NoMoment;

    fn from_str(text: &str) -> Result<Self, NoMoment> {
        let ago = || text.parse().ok().map(Self::Ago);
        ago().or_else(|| time(text).map(Self::At)).ok_or(NoMoment::When)
    }
}

impl When {
    /// In milliseconds since 1970, as `now` is.
    pub(crate) const fn since_1970(self, now: u64) -> u64 {
        match self {
            Self::Ago(span) => now.saturating_sub(span.0),
            Self::At(time) => time,
        }
    }
}

fn span(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 5] =
        [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    let mut rest = text;
    let mut sum = None;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let (_, scale) = UNITS.into_iter().find(|(known, _)| *known == unit)?;
        let part = number.parse::<u64>().ok()?.checked_mul(scale)?;
        sum = Some(sum.unwrap_or(0u64).checked_add(part)?);
        rest = tail;
    }
    sum
}

/// RFC 3339, section 5.6; a blank may stand for the `T`. Not before 1970.
fn time(text: &str) -> Option<u64> {
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let days = days(&numbers(date, '-', [4, 2, 2])?)?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (milli, zone) = fraction(rest)?;
    let millis = (((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + milli;
    let (east, offset) = match zone {
        "Z" | "z" => (true, 0),
        zone => {
            let (sign, offset) = zone.split_at_checked(1)?;
            let [hours, minutes] = numbers(offset, ':', [2, 2])?;
            let known = matches!(sign, "+" | "-") && hours < 24 && minutes < 60;
            (sign == "+", known.then_some((hours * 60 + minutes) * 60_000)?)
        }
    };
    if east { millis.checked_sub(offset) } else { Some(millis + offset) }
}

/// `.5` before the zone: milliseconds, further digits are dropped.
fn fraction(text: &str) -> Option<(u64, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    let (digits, zone) = rest.split_at(end);
    let padded: String = digits.chars().chain("000".chars()).take(3).collect();
    if digits.is_empty() { None } else { Some((padded.parse().ok()?, zone)) }
}

/// Numbers of exactly so many digits each.
fn numbers<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[u64; N]> {
    let mut out = [0; N];
    let mut parts = text.split(between);
    for (number, width) in out.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == width)?;
        let all = part.bytes().all(|byte| byte.is_ascii_digit());
        *number = if all { part.parse().ok()? } else { return None };
    }
    parts.next().is_none().then_some(out)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days([year, month, day]: &[u64; 3]) -> Option<u64> {
    let leap = |year: u64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let february = if leap(*year) { 29 } else { 28 };
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = usize::try_from(month.checked_sub(1)?).ok()?;
    let length = *months.get(before)?;
    if *year < 1970 || *day == 0 || *day > length {
        return None;
    }
    let years: u64 = (1970..*year).map(|year| if leap(year) { 366 } else { 365 }).sum();
    Some(years + months.iter().take(before).sum::<u64>() + day - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_sum_of_numbers_with_units() {
        let of = |text: &str| text.parse().map(|Span(span)| span);
        assert_eq!([of("500ms"), of("30s"), of("10m")], [Ok(500), Ok(30_000), Ok(600_000)]);
        assert_eq!([of("1h30m"), of("2d"), of("0s")], [Ok(5_400_000), Ok(172_800_000), Ok(0)]);
        for bad in ["", "10", "m", "10x", "-1s", "1.5h", "99999999999999999999s", "1s 2s"] {
            assert_eq!(of(bad), Err(NoMoment::Span), "{bad}");
        }
    }

    #[test]
    fn a_moment_is_a_duration_back_or_a_time_of_rfc_3339() {
        let of = |text: &str| text.parse::<When>().map(|when| when.since_1970(10_000_000));
        assert_eq!(of("10s"), Ok(9_990_000));
        assert_eq!(of("9999d"), Ok(0));
        assert_eq!(of("1970-01-01T00:00:00Z"), Ok(0));
        assert_eq!(of("2026-11-22T10:31:49.123Z"), Ok(1_795_343_509_123));
        assert_eq!(of("2026-11-22 11:31:49.1239+01:00"), Ok(1_795_343_509_123));
        assert_eq!(of("2000-02-29t00:00:00-00:30"), Ok(951_784_200_000));
        for bad in [
            "yesterday",
            "2026-11-22",
            "2026-11-22T10:31:49",
            "2026-02-30T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-22T24:00:00Z",
            "1969-12-31T23:59:59Z",
            "2026-11-22T10:31:49+25:00",
            "2026-11-22T10:31:49.Z",
            "+026-11-22T10:31:49Z",
            "1970-01-01T00:00:00+01:00",
        ] {
            assert_eq!(of(bad), Err(NoMoment::When), "{bad}");
        }
    }
}
