use tidewire_log::{
    EventLog, Filter, Hidden, HubId, LOOK_BACK_RECORDS_MAX, LastMatches, PublisherId, ReadError, Standing, Tail,
};

/// The most bytes of a last id; a longer one cannot be an id.
pub const LAST_ID_BYTES_MAX: usize = 128;

/// So many records may be looked at where others wait: an eighth of those that are looked at by who may wait.
const QUICK_RECORDS_MAX: u64 = LOOK_BACK_RECORDS_MAX / 8;

/// Where a subscriber asks to go on. Parsing never fails: a stream is never refused for its
/// last id, what cannot be one is a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// From now on.
    Live,
    /// Everything retained.
    Earliest,
    /// The last so many that match.
    Last(u64),
    /// After a place.
    After(HubId),
    /// After the earliest event with this publisher's id.
    AfterPublisherId(String),
    /// What cannot be an id.
    Malformed(String),
}

/// Why a subscriber may have missed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// Removed or hidden by retention.
    Expired,
    /// Erased.
    Erased,
    /// It does not hold what was written.
    Damaged,
    /// A hub id that this log has not given out, or that belongs to an epoch that is over.
    Epoch,
    /// A publisher's id that is not there, or what cannot be an id.
    Unknown,
    /// So many of the last events were asked for that not all of them were looked for.
    Limit,
}

impl GapReason {
    /// Every reason, in the order of [`GapReason::index`].
    pub const ALL: [GapReason; 6] = [
        GapReason::Expired,
        GapReason::Erased,
        GapReason::Damaged,
        GapReason::Epoch,
        GapReason::Unknown,
        GapReason::Limit,
    ];

    /// The reason as it stands in the event.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            GapReason::Expired => "expired",
            GapReason::Erased => "erased",
            GapReason::Damaged => "damaged",
            GapReason::Epoch => "epoch",
            GapReason::Unknown => "unknown",
            GapReason::Limit => "limit",
        }
    }

    /// The reason's place in [`GapReason::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

impl From<Hidden> for GapReason {
    fn from(hidden: Hidden) -> GapReason {
        match hidden {
            Hidden::Expired => GapReason::Expired,
            Hidden::Erased => GapReason::Erased,
            Hidden::Damaged => GapReason::Damaged,
        }
    }
}

/// What is told to a subscriber who may have missed something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// What was asked.
    pub requested: String,
    /// Why it cannot be had whole.
    pub reason: GapReason,
}

/// Where a stream begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Nothing at or below this place is sent.
    pub place: HubId,
    /// Told first, if there is one; its id is `place`.
    pub gap: Option<Gap>,
}

impl Cursor {
    /// A last event id, from whichever header or parameter; empty is none at all.
    #[must_use]
    pub fn last_id(text: &str) -> Cursor {
        if text.is_empty() {
            Cursor::Live
        } else if text == "earliest" {
            Cursor::Earliest
        } else if text.len() > LAST_ID_BYTES_MAX {
            Cursor::Malformed(text.to_owned())
        } else if let Ok(id) = text.parse() {
            Cursor::After(id)
        } else if PublisherId::parse(text).is_ok() {
            Cursor::AfterPublisherId(text.to_owned())
        } else {
            Cursor::Malformed(text.to_owned())
        }
    }

    /// The parameter `from`: `earliest`, `latest`, `-<n>`, or an id to go on after.
    #[must_use]
    pub fn from_parameter(text: &str) -> Cursor {
        let count = text.strip_prefix('-').filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
        match (text, count) {
            ("latest", _) => Cursor::Live,
            (_, Some(digits)) => digits.parse().map_or(Cursor::Earliest, Cursor::Last),
            _ => Cursor::last_id(text),
        }
    }

    /// Whether [`Cursor::resolve`] answers from memory, and soon. Otherwise it may read the disk, and
    /// belongs on a thread that may wait.
    #[must_use]
    pub fn is_quick(&self, tail: &Tail, filter: &Filter) -> bool {
        match self {
            Cursor::AfterPublisherId(_) => false,
            Cursor::Last(count) => tail.read().position_before_last(*count, filter, QUICK_RECORDS_MAX).is_some(),
            _ => true,
        }
    }

    /// Where a stream with this cursor begins.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn resolve(&self, log: &dyn EventLog, tail: &Tail, filter: &Filter) -> Result<Start, ReadError> {
        let whole = |place| Start { place, gap: None };
        let gap = |requested: &str, reason| Start {
            place: log.low_water(),
            gap: Some(Gap { requested: requested.to_owned(), reason }),
        };
        Ok(match self {
            Cursor::Live => whole(tail.read().head().1),
            Cursor::Earliest => whole(log.low_water()),
            Cursor::Last(count) => {
                let in_tail = {
                    let reader = tail.read();
                    let position = reader.position_before_last(*count, filter, LOOK_BACK_RECORDS_MAX);
                    position.and_then(|position| reader.id_at(position))
                };
                match in_tail {
                    Some(place) => whole(place),
                    None => {
                        let LastMatches { place, is_cut } = log.place_before_last(*count, filter)?;
                        let requested = format!("-{count}");
                        Start { place, gap: is_cut.then_some(Gap { requested, reason: GapReason::Limit }) }
                    }
                }
            }
            Cursor::After(id) => match log.standing(*id) {
                Standing::Foreign => gap(&id.to_string(), GapReason::Epoch),
                // What is retained of that epoch and follows is given, and what followed may be more.
                Standing::Earlier => {
                    Start { place: (*id).max(log.low_water()), ..gap(&id.to_string(), GapReason::Epoch) }
                }
                Standing::Current if *id < log.low_water() => gap(&id.to_string(), GapReason::Expired),
                Standing::Current => whole(*id),
            },
            Cursor::AfterPublisherId(text) => match log.find_publisher_id(text, filter)? {
                Some(place) => whole(place),
                None => gap(text, GapReason::Unknown),
            },
            Cursor::Malformed(text) => gap(text, GapReason::Unknown),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_id_is_a_place_a_publishers_id_or_malformed() {
        let id = HubId { ms: 17, seq: 3 };
        assert_eq!(Cursor::last_id(""), Cursor::Live);
        assert_eq!(Cursor::last_id("#17-3"), Cursor::After(id));
        assert_eq!(Cursor::last_id("17-3"), Cursor::After(id));
        assert_eq!(Cursor::last_id("order-17"), Cursor::AfterPublisherId("order-17".into()));
        for text in ["#17", "-5", "a\nb", "a\0"] {
            assert_eq!(Cursor::last_id(text), Cursor::Malformed(text.into()));
        }
    }

    #[test]
    fn an_id_of_one_byte_over_the_limit_is_malformed() {
        let longest = "x".repeat(LAST_ID_BYTES_MAX);
        assert_eq!(Cursor::last_id(&longest), Cursor::AfterPublisherId(longest.clone()));
        let longer = longest + "x";
        assert_eq!(Cursor::last_id(&longer), Cursor::Malformed(longer.clone()));
    }

    #[test]
    fn from_takes_a_count_a_word_or_an_id() {
        assert_eq!(Cursor::from_parameter("latest"), Cursor::Live);
        assert_eq!(Cursor::from_parameter("earliest"), Cursor::Earliest);
        assert_eq!(Cursor::from_parameter("-50"), Cursor::Last(50));
        assert_eq!(Cursor::from_parameter("-99999999999999999999999"), Cursor::Earliest);
        assert_eq!(Cursor::from_parameter("-"), Cursor::AfterPublisherId("-".into()));
        assert_eq!(Cursor::from_parameter("1-0"), Cursor::After(HubId { ms: 1, seq: 0 }));
    }
}
