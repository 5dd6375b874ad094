//! Times as people read them. Always UTC: a host has no time zone.

/// How long it is from `since` to `now` (milliseconds since 1970): the two largest units, `3m12s`.
pub(super) fn ago(since: u64, now: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let seconds = now.saturating_sub(since) / 1000;
    let Some(first) = UNITS.iter().position(|(_, scale)| seconds >= *scale) else {
        return "0s".to_owned();
    };
    let mut left = seconds;
    let mut out = String::new();
    for (unit, scale) in UNITS.iter().skip(first).take(2) {
        let count = left / scale;
        left %= scale;
        if count > 0 {
            out.push_str(&format!("{count}{unit}"));
        }
    }
    out
}

/// Milliseconds until something as `0.8s`-like spans when they are few, else as [`ago`] has them.
pub(super) fn wait(ms: u64) -> String {
    if ms < 10_000 { span(ms * 1000) } else { ago(0, ms) }
}

/// `2026-11-22T10:31:49.123Z` of milliseconds since 1970 (RFC 3339).
pub(super) fn stamp(time: u64) -> String {
    let (days, in_day) = (time / 86_400_000, time % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
    let (second, milli) = (in_day / 1000 % 60, in_day % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// The date of a day since 1970-01-01, Gregorian (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
const fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

/// Microseconds as `0.042s` or `3.1ms`.
pub(super) fn span(us: u64) -> String {
    match us {
        0..1_000 => format!("{us}us"),
        1_000..1_000_000 => format!("{}.{}ms", us / 1000, us % 1000 / 100),
        _ => format!("{}.{:03}s", us / 1_000_000, us % 1_000_000 / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_largest_units_are_shown() {
        let at = |seconds: u64| ago(1_000, 1_000 + seconds * 1000);
        assert_eq!([at(0), at(59), at(60), at(192)], ["0s", "59s", "1m", "3m12s"]);
        assert_eq!([at(7_500), at(86_400), at(90_061)], ["2h5m", "1d", "1d1h"]);
        assert_eq!(ago(5_000, 1_000), "0s");
    }

    #[test]
    fn stamps_are_dates_of_the_calendar() {
        assert_eq!(stamp(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(stamp(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(stamp(1_795_343_509_123), "2026-11-22T10:31:49.123Z");
    }

    #[test]
    fn spans_have_a_fitting_unit() {
        assert_eq!([span(7), span(3_140), span(1_042_900)], ["7us", "3.1ms", "1.042s"]);
    }
}
