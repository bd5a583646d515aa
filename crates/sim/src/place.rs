use std::fmt;
use std::str::FromStr;

/// A hub id, `#<ms>-<seq>`, as a point in the order of the log.
///
/// The checker has its own, so that it does not trust the code it judges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The number before the dash.
    pub ms: u64,
    /// The number after it.
    pub seq: u64,
}

/// The text is not a hub id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsePlaceError;

impl Place {
    /// Before everything.
    pub const ZERO: Place = Place { ms: 0, seq: 0 };
    /// After everything.
    pub const MAX: Place = Place { ms: u64::MAX, seq: u64::MAX };
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}-{}", self.ms, self.seq)
    }
}

impl fmt::Display for ParsePlaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a hub id")
    }
}

impl std::error::Error for ParsePlaceError {}

impl FromStr for Place {
    type Err = ParsePlaceError;

    fn from_str(text: &str) -> Result<Place, ParsePlaceError> {
        let (ms, seq) = text.strip_prefix('#').unwrap_or(text).split_once('-').ok_or(ParsePlaceError)?;
        let number = |digits: &str| {
            let canonical = digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
            if canonical { digits.parse().map_err(|_| ParsePlaceError) } else { Err(ParsePlaceError) }
        };
        Ok(Place { ms: number(ms)?, seq: number(seq)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_order_is_by_number() {
        let small: Place = "#9-10".parse().unwrap();
        let large: Place = "10-9".parse().unwrap();
        assert!(small < large);
        assert_eq!(small.to_string(), "#9-10");
        for text in ["", "-1", "1-", "-", "01-1", "1-+1", "x", "1-2-3"] {
            assert_eq!(text.parse::<Place>(), Err(ParsePlaceError), "{text:?}");
        }
    }
}
