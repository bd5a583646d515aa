use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The hub's id of an event, `#<ms>-<seq>`: milliseconds since the Unix epoch, and a counter
/// among the ids of one millisecond.
///
/// Ids increase strictly in log order, whatever the clock does. An id is also a *place*: reading
/// goes on with the first record after it, whether or not a record with that id exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HubId {
    /// Milliseconds since the Unix epoch.
    pub ms: u64,
    /// Counter within the millisecond.
    pub seq: u64,
}

/// The text is not `#<ms>-<seq>` or `<ms>-<seq>` in canonical decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a hub id: expected #<milliseconds>-<counter>")]
pub struct ParseHubIdError;

impl HubId {
    /// The place before every record.
    pub const ZERO: HubId = HubId { ms: 0, seq: 0 };
    /// The most bytes an id takes as text: `#`, two numbers of 20 digits and `-`.
    pub const TEXT_BYTES_MAX: usize = 42;

    /// The id that follows `self` when the clock reads `now_ms`; the clock may stand or go back.
    #[must_use]
    pub fn next(self, now_ms: u64) -> HubId {
        if now_ms > self.ms {
            HubId { ms: now_ms, seq: 0 }
        } else {
            match self.seq.checked_add(1) {
                Some(seq) => HubId { ms: self.ms, seq },
                None => HubId { ms: self.ms.saturating_add(1), seq: 0 },
            }
        }
    }
}

impl HubId {
    /// The place just before this id; none before the first.
    #[must_use]
    pub fn before(self) -> Option<HubId> {
        match self {
            HubId::ZERO => None,
            HubId { ms, seq: 0 } => Some(HubId { ms: ms - 1, seq: u64::MAX }),
            HubId { ms, seq } => Some(HubId { ms, seq: seq - 1 }),
        }
    }
}

impl fmt::Display for HubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut number = itoa::Buffer::new();
        f.write_str("#")?;
        f.write_str(number.format(self.ms))?;
        f.write_str("-")?;
        f.write_str(number.format(self.seq))
    }
}

impl Serialize for HubId {
    /// As text.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HubId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<HubId, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for HubId {
    type Err = ParseHubIdError;

    fn from_str(text: &str) -> Result<HubId, ParseHubIdError> {
        let text = text.strip_prefix('#').unwrap_or(text);
        let (ms, seq) = text.split_once('-').ok_or(ParseHubIdError)?;
        Ok(HubId { ms: canonical(ms)?, seq: canonical(seq)? })
    }
}

fn canonical(digits: &str) -> Result<u64, ParseHubIdError> {
    let leading_zero = digits.len() > 1 && digits.starts_with('0');
    if digits.is_empty() || leading_zero || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ParseHubIdError);
    }
    digits.parse().map_err(|_| ParseHubIdError)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64, seq: u64) -> HubId {
        HubId { ms, seq }
    }

    #[test]
    fn ids_increase_whatever_the_clock_does() {
        let mut last = HubId::ZERO;
        for now_ms in [5, 5, 4, 0, 6, u64::MAX, 3] {
            let next = last.next(now_ms);
            assert!(next > last, "{next} after {last} at {now_ms}");
            last = next;
        }
        assert_eq!(id(7, u64::MAX).next(7), id(8, 0));
    }

    #[test]
    fn text_form_round_trips_and_the_sign_may_be_left_out() {
        assert_eq!(id(17, 3).to_string(), "#17-3");
        assert_eq!("#17-3".parse(), Ok(id(17, 3)));
        assert_eq!("17-3".parse(), Ok(id(17, 3)));
        let longest = id(u64::MAX, u64::MAX).to_string();
        assert_eq!(longest.len(), HubId::TEXT_BYTES_MAX);
        assert_eq!(longest.parse(), Ok(id(u64::MAX, u64::MAX)));
    }

    #[test]
    fn what_is_not_canonical_is_no_hub_id() {
        for text in [
            "",
            "#",
            "-",
            "1",
            "1-",
            "-1",
            "+1-2",
            "1-2-3",
            "01-2",
            "1-02",
            "##1-2",
            " 1-2",
            "1-2 ",
            "18446744073709551616-0",
        ] {
            assert_eq!(text.parse::<HubId>(), Err(ParseHubIdError), "{text:?}");
        }
    }
}
