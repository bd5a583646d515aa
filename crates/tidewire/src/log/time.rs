use std::fmt;

/// A moment in UTC as in RFC 3339, of milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time(pub(super) u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, ms) = (self.0 / 86_400_000, self.0 % 86_400_000);
        let (mut year, mut day) = (1970, days);
        // An id may say any time; beyond the year 9999 there is no such form.
        if days >= 2_932_897 {
            return write!(f, "{} ms", self.0);
        }
        while day >= days_of(year) {
            day -= days_of(year);
            year += 1;
        }
        let mut month = 1;
        while day >= days_in(month, year) {
            day -= days_in(month, year);
            month += 1;
        }
        let (h, m, s) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
        write!(f, "{year:04}-{month:02}-{:02}T{h:02}:{m:02}:{s:02}.{:03}Z", day + 1, ms % 1_000)
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

fn days_of(year: u64) -> u64 {
    365 + u64::from(is_leap(year))
}

fn days_in(month: u64, year: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_in_utc() {
        assert_eq!(Time(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Time(1_700_000_000_123).to_string(), "2023-11-14T22:13:20.123Z");
        assert_eq!(Time(951_782_399_999).to_string(), "2000-02-28T23:59:59.999Z");
        assert_eq!(Time(951_782_400_000).to_string(), "2000-02-29T00:00:00.000Z");
        assert_eq!(Time(253_402_300_799_999).to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Time(253_402_300_800_000).to_string(), "253402300800000 ms");
        assert_eq!(Time(u64::MAX).to_string(), "18446744073709551615 ms");
    }
}
