use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::HubId;

/// So many damaged ranges are remembered; more are hidden from readers all the same, and neither counted nor
/// reported.
pub const DAMAGED_RANGES_MAX: usize = 1000;

/// Bytes of a log that do not hold what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file's name in the log's folder.
    pub file: String,
    /// The byte at which the range begins.
    pub from_byte: u64,
    /// The byte behind it.
    pub to_byte: u64,
    /// What lies above this place,
    pub after: HubId,
    /// and not above this one, may be lost.
    pub through: HubId,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage { file, from_byte, to_byte, .. } = self;
        write!(f, "{file} is damaged from byte {from_byte} to {to_byte}: {}", self.lost())
    }
}

impl Damage {
    /// What is lost, in words. Places at which there is no event are not named where the next event is known.
    #[must_use]
    pub fn lost(&self) -> String {
        let Damage { after, through, .. } = self;
        if after >= through {
            "no event is lost".to_owned()
        } else if through.before() == Some(*after) {
            format!("event {through} is lost")
        } else if through.seq == u64::MAX {
            // The place before the first event of a millisecond.
            format!("events between {after} and {} are lost", through.next(0))
        } else {
            format!("events after {after} up to {through} are lost")
        }
    }
}

/// Who is told of damage once it is found, on the thread that finds it: it must not block.
#[derive(Clone, Default)]
pub struct Reports(Option<Arc<Report>>);

type Report = dyn Fn(&Damage) + Send + Sync;

impl Reports {
    /// Calls `report` once for each range that is found.
    pub fn to(report: impl Fn(&Damage) + Send + Sync + 'static) -> Reports {
        Reports(Some(Arc::new(report)))
    }
}

impl fmt::Debug for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Reports::to(_)" } else { "Reports::default()" })
    }
}

impl PartialEq for Reports {
    fn eq(&self, other: &Reports) -> bool {
        match (&self.0, &other.0) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Eq for Reports {}

/// The damage that was found in the files that are retained.
#[derive(Debug, Default)]
pub(crate) struct Damages {
    reports: Reports,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The first file that is retained: names are in the order of the log.
    first_file: String,
    /// Where each range ends, by file and first byte.
    ranges: BTreeMap<(String, u64), u64>,
}

impl Damages {
    pub(crate) fn new(reports: Reports) -> Damages {
        Damages { reports, known: Mutex::default() }
    }

    /// Notes a range, and reports it if it was not known. Nothing if retention has removed the file.
    pub(crate) fn found(&self, damage: &Damage) {
        {
            let Known { first_file, ranges } = &mut *self.known();
            if damage.file < *first_file {
                return;
            }
            let is_full = ranges.len() >= DAMAGED_RANGES_MAX;
            let key = (damage.file.clone(), damage.from_byte);
            if let Some(to_byte) = ranges.get_mut(&key) {
                *to_byte = damage.to_byte.max(*to_byte);
                return;
            }
            if is_full {
                return;
            }
            ranges.insert(key, damage.to_byte);
        }
        if let Some(report) = &self.reports.0 {
            report(damage);
        }
    }

    /// Where a range ends that was found to begin there.
    pub(crate) fn end_of(&self, file: &str, from_byte: u64) -> Option<u64> {
        let ranges = &self.known().ranges;
        // A damaged log is rare: only then is a name copied.
        if ranges.is_empty() { None } else { ranges.get(&(file.to_owned(), from_byte)).copied() }
    }

    /// Forgets what was found in the files before this one, which are removed, and what will be.
    pub(crate) fn forget_before(&self, file: &str) {
        let Known { first_file, ranges } = &mut *self.known();
        file.clone_into(first_file);
        ranges.retain(|(of, _), _| of.as_str() >= file);
    }

    /// How many ranges are known.
    pub(crate) fn count(&self) -> u64 {
        self.known().ranges.len() as u64
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn damage(file: &str, from_byte: u64) -> Damage {
        Damage { file: file.to_owned(), from_byte, to_byte: from_byte + 1, after: HubId::ZERO, through: HubId::ZERO }
    }

    #[test]
    fn what_is_lost_is_said_without_places_that_nobody_knows() {
        let id = |ms, seq| HubId { ms, seq };
        let lost = |after, through| Damage { after, through, ..damage("a", 1) }.lost();
        assert_eq!(lost(id(5, 1), id(7, u64::MAX)), "events between #5-1 and #8-0 are lost");
        assert_eq!(lost(id(5, 1), id(7, 3)), "events after #5-1 up to #7-3 are lost");
        assert_eq!(lost(id(6, u64::MAX), id(7, 0)), "event #7-0 is lost");
        assert_eq!(lost(id(7, 0), id(7, 0)), "no event is lost", "the header alone is damaged");
    }

    #[test]
    fn a_range_is_counted_and_reported_once_and_one_more_than_the_limit_is_not() {
        let reported = Arc::new(AtomicUsize::new(0));
        let own = Arc::clone(&reported);
        let damages = Damages::new(Reports::to(move |_| {
            own.fetch_add(1, Ordering::Relaxed);
        }));
        for _ in 0..2 {
            for from_byte in 0..DAMAGED_RANGES_MAX as u64 + 1 {
                damages.found(&damage("a", from_byte));
            }
        }
        assert_eq!(reported.load(Ordering::Relaxed), DAMAGED_RANGES_MAX);
        assert_eq!(damages.count(), DAMAGED_RANGES_MAX as u64);
        assert_eq!((damages.end_of("a", 3), damages.end_of("b", 3)), (Some(4), None));
        damages.forget_before("b");
        damages.found(&damage("b", 7));
        assert_eq!(damages.count(), 1, "there is room again once a file is gone");
        // A reader who had it open may come to it later.
        damages.found(&damage("a", 3));
        assert_eq!((damages.count(), reported.load(Ordering::Relaxed)), (1, DAMAGED_RANGES_MAX + 1));
    }
}
