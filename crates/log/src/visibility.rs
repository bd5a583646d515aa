use std::fmt;

use crate::{HubId, RecordView};

/// Why a retained record is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hidden {
    /// It is older than a retention rule allows its topic.
    Expired,
    /// It was erased.
    Erased,
    /// It does not hold what was written.
    Damaged,
}

impl fmt::Display for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hidden::Expired => "expired",
            Hidden::Erased => "erased",
            Hidden::Damaged => "damaged",
        })
    }
}

/// What a read meets.
#[derive(Clone, Copy, Debug)]
pub enum Met<'a> {
    /// A record that matches.
    Record(&'a RecordView<'a>),
    /// One or more records that match, or may have matched, and are not shown.
    Hidden {
        /// The place of the last of them.
        place: HubId,
        /// Why.
        why: Hidden,
    },
}

impl Met<'_> {
    /// The place of what was met.
    #[must_use]
    pub fn place(&self) -> HubId {
        match self {
            Met::Record(record) => record.id,
            Met::Hidden { place, .. } => *place,
        }
    }
}

/// Where a place stands among the ids that were given out here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In the current epoch, or between its beginning and the head.
    Current,
    /// In an epoch that is over: what followed there may be lost in part.
    Earlier,
    /// It was not given out here: it lies before the first epoch or above the head.
    Foreign,
}
