//! Times, durations and large numbers in readable form.

use std::time::{Duration, SystemTime};

/// 9999-12-31T23:59:59.999Z, in milliseconds since 1970.
const MOMENT_MS_MAX: u64 = 253_402_300_799_999;

/// Formats a moment in UTC to the millisecond: `2026-05-04T03:02:01.234Z` (RFC 3339).
pub(crate) fn moment(at: SystemTime) -> String {
    // RFC 3339 cannot represent a clock that is set before 1970 or after 9999 in this form.
    let last = SystemTime::UNIX_EPOCH + Duration::from_millis(MOMENT_MS_MAX);
    humantime::format_rfc3339_millis(at.clamp(SystemTime::UNIX_EPOCH, last)).to_string()
}

/// Returns a duration in whole milliseconds, as used in JSON.
pub(crate) fn ms(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

/// Formats a long time in its two largest units: `45s`, `2m 5s`, `3h 0m`, `12d 7h`.
pub(crate) fn long(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

/// Formats a short time: `310 ms`, `2.4 s`; from a minute on like [`long`].
pub(crate) fn short(time: Duration) -> String {
    match time.as_millis() {
        ms @ 0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{:.1} s", time.as_secs_f64()),
        _ => long(time),
    }
}

/// Formats a latency in milliseconds with three significant digits: `0.123 ms`, `4.56 ms`, `78.9 ms`, `1234 ms`.
pub(crate) fn latency(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    let decimals = match ms {
        ..1.0 => 3,
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{ms:.decimals$} ms")
}

/// Formats a number of bytes with three significant digits: `512 B`, `1.23 kB`, `45.6 MB`.
pub(crate) fn bytes(number: u64) -> String {
    let (mut number, mut unit) = (number as f64, "B");
    for larger in ["kB", "MB", "GB", "TB"] {
        // A number that would be rounded up to the next unit is shown in that unit.
        if number < 999.5 {
            break;
        }
        (number, unit) = (number / 1e3, larger);
    }
    let decimals = match number {
        _ if unit == "B" => 0,
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{number:.decimals$} {unit}")
}

/// Formats a number with separated thousands: `21,034`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a number of keys: `1 key`, `21,034 keys`.
pub(crate) fn keys(number: u64) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} key{plural}", grouped(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_rfc_3339_in_utc() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_709_210_096_007);
        assert_eq!(moment(at), "2024-02-29T12:34:56.007Z");
        assert_eq!(moment(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert_eq!(moment(far), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn long_times_have_at_most_two_units() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m 0s"),
            (3_599, "59m 59s"),
            (3_600, "1h 0m"),
            (86_399, "23h 59m"),
            (86_400, "1d 0h"),
            (9_000_000, "104d 4h"),
        ] {
            assert_eq!(long(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn short_times_have_milliseconds() {
        for (ms, text) in [(0, "0 ms"), (999, "999 ms"), (1_000, "1.0 s"), (2_449, "2.4 s"), (61_000, "1m 1s")] {
            assert_eq!(short(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn latencies_have_three_digits_that_count() {
        for (us, text) in
            [(0, "0.000 ms"), (123, "0.123 ms"), (4_560, "4.56 ms"), (78_910, "78.9 ms"), (1_234_000, "1234 ms")]
        {
            assert_eq!(latency(Duration::from_micros(us)), text);
        }
    }

    #[test]
    fn bytes_have_three_digits_that_count() {
        for (number, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.00 kB"),
            (9_994, "9.99 kB"),
            (99_940, "99.9 kB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (45_678_901, "45.7 MB"),
            (2_000_000_000_000_000, "2000 TB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn thousands_stand_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (21_034, "21,034"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
