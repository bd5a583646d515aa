use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use crate::record::Head;
use crate::times::Times;
use crate::tombstones::Tombstones;
use crate::{HubId, RecordView, RetentionRules};

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

/// What of the retained records is not to be seen: what was erased, and what is older than a rule allows.
/// Every way to read a log asks it.
pub(crate) struct Visibility {
    rules: RetentionRules,
    times: Arc<Times>,
    tombstones: RwLock<Tombstones>,
    has_tombstones: AtomicBool,
    /// Whether tombstones may have gone with a segment that somebody still reads.
    has_dropped: AtomicBool,
}

impl Visibility {
    pub(crate) fn new(rules: RetentionRules, times: Arc<Times>, tombstones: Tombstones) -> Visibility {
        let has_tombstones = AtomicBool::new(!tombstones.is_empty());
        let has_dropped = AtomicBool::new(false);
        Visibility { rules, times, tombstones: RwLock::new(tombstones), has_tombstones, has_dropped }
    }

    /// Whether nothing at all is hidden, so that no record need be asked for.
    pub(crate) fn is_clear(&self) -> bool {
        !self.has_rules() && !self.has_tombstones.load(Ordering::Acquire)
    }

    /// Whether there are rules, so that records may be hidden as time goes by.
    pub(crate) fn has_rules(&self) -> bool {
        self.rules.shortest_age().is_some()
    }

    /// The age that a rule gives to events by their first topic.
    pub(crate) fn age_for(&self, first_topic: &str) -> Option<Duration> {
        self.rules.age_for(first_topic)
    }

    /// Why a record is hidden, if it is.
    pub(crate) fn hides(&self, head: &Head<'_>) -> Option<Hidden> {
        if self.has_tombstones.load(Ordering::Acquire) && self.tombstones().cover(head) {
            Some(Hidden::Erased)
        } else if self.has_dropped.load(Ordering::Acquire) && head.id <= self.tombstones().low_water() {
            Some(Hidden::Expired)
        } else {
            self.is_too_old(head).then_some(Hidden::Expired)
        }
    }

    /// Why the frame of a record is not what was written, if it is hidden or gone by now: it may have been
    /// overwritten after [`Visibility::hides`] was asked.
    pub(crate) fn explains(&self, head: &Head<'_>) -> Option<Hidden> {
        // Whoever reads a segment that has been removed from under it may meet what was erased there before.
        if head.id <= self.tombstones().low_water() { Some(Hidden::Expired) } else { self.hides(head) }
    }

    /// Whether the event with this id and these topics was erased.
    pub(crate) fn has_erased<'a>(&self, id: HubId, topics: impl Iterator<Item = &'a str>) -> bool {
        self.has_tombstones.load(Ordering::Acquire) && self.tombstones().cover_event(id, topics)
    }

    /// The tombstones as they are now.
    pub(crate) fn tombstones(&self) -> RwLockReadGuard<'_, Tombstones> {
        self.tombstones.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the tombstones, for everyone who asks from now on.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Tombstones)) {
        let mut tombstones: RwLockWriteGuard<'_, Tombstones> =
            self.tombstones.write().unwrap_or_else(PoisonError::into_inner);
        let before = tombstones.len();
        change(&mut tombstones);
        // Before it is seen that the others are gone.
        self.has_dropped.fetch_or(tombstones.len() < before, Ordering::AcqRel);
        self.has_tombstones.store(!tombstones.is_empty(), Ordering::Release);
    }

    fn is_too_old(&self, head: &Head<'_>) -> bool {
        let Some(shortest) = self.rules.shortest_age() else { return false };
        let age = Duration::from_millis(self.times.moment().retention_ms.saturating_sub(head.retention_ms));
        if age <= shortest {
            return false;
        }
        let allowed = head.topics().next().and_then(|first| self.rules.age_for(first));
        allowed.is_some_and(|allowed| age > allowed)
    }
}
