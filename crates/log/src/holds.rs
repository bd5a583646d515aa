use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::HubId;

/// What must not be forgotten yet: an array that was looked up to a place is sequenced by what was published
/// after it, which is remembered as long as the array waits.
#[derive(Debug, Default)]
pub(crate) struct Holds(Mutex<BTreeMap<HubId, usize>>);

/// As long as it is there, what was published after its place is remembered.
#[derive(Debug)]
pub(crate) struct Hold {
    holds: Arc<Holds>,
    place: HubId,
}

impl Holds {
    /// Holds what was published after the place that `forgettable` answers.
    pub(crate) fn take(self: &Arc<Holds>, forgettable: impl FnOnce() -> HubId) -> Hold {
        let mut held = self.held();
        // Asked with the lock held: nobody forgets in between.
        let place = forgettable();
        *held.entry(place).or_default() += 1;
        Hold { holds: Arc::clone(self), place }
    }

    /// The place up to which may be forgotten: the one that `forgettable` answers, unless a lower one is held.
    pub(crate) fn allow(&self, forgettable: impl FnOnce() -> HubId) -> HubId {
        let held = self.held();
        let place = forgettable();
        held.first_key_value().map_or(place, |(&lowest, _)| lowest.min(place))
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<HubId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// The place after which everything is remembered.
    pub(crate) fn place(&self) -> HubId {
        self.place
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.holds.held();
        if let Some(count) = held.get_mut(&self.place) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_forgotten_that_the_lowest_hold_needs() {
        let id = |seq| HubId { ms: 1, seq };
        let holds = Arc::new(Holds::default());
        assert_eq!(holds.allow(|| id(9)), id(9));
        let (first, second, third) = (holds.take(|| id(3)), holds.take(|| id(3)), holds.take(|| id(5)));
        assert_eq!(first.place(), id(3));
        drop(first);
        assert_eq!((holds.allow(|| id(9)), holds.allow(|| id(2))), (id(3), id(2)));
        drop(second);
        assert_eq!(holds.allow(|| id(9)), id(5));
        drop(third);
        assert_eq!(holds.allow(|| id(9)), id(9));
        assert!(holds.held().is_empty());
    }
}
