use crate::slot::Source;
use crate::{Shard, SlotKey, StreamStart, own_events};

/// When the streams of a hub that stops are ended: each has its turn, and the turns lie evenly, so that those who
/// come back elsewhere do not come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stagger {
    streams: u64,
    over_ms: Option<u64>,
}

impl Stagger {
    /// So many streams are ended over so many milliseconds, the first one at once: whoever has the last one does not
    /// wait for nothing. Without a time, they are left to end by themselves.
    #[must_use]
    pub fn new(streams: u64, over_ms: Option<u64>) -> Stagger {
        Stagger { streams, over_ms }
    }

    /// How many turns have come after so many milliseconds. At the end that is all that there may be: of streams that
    /// began meanwhile, too.
    #[must_use]
    pub fn due(&self, after_ms: u64) -> u64 {
        match self.over_ms {
            None => 0,
            Some(over_ms) if after_ms >= over_ms => u64::MAX,
            Some(over_ms) => {
                let passed = u128::from(after_ms) * u128::from(self.streams) / u128::from(over_ms);
                u64::try_from(passed).expect("less than there are streams") + 1
            }
        }
    }

    /// After how many milliseconds the turn comes before which there were `taken`, if it ever does.
    #[must_use]
    pub fn due_at_ms(&self, taken: u64) -> Option<u64> {
        let over_ms = self.over_ms?;
        let at_ms = (u128::from(taken) * u128::from(over_ms)).div_ceil(u128::from(self.streams.max(1)));
        Some(u64::try_from(at_ms).map_or(over_ms, |at_ms| at_ms.min(over_ms)))
    }

    /// Whether the time is over, and `grace_ms` more.
    #[must_use]
    pub fn is_over(&self, after_ms: u64, grace_ms: u64) -> bool {
        self.over_ms.is_some_and(|over_ms| after_ms >= over_ms.saturating_add(grace_ms))
    }
}

/// The whole answer to a stream that is asked for while the hub stops. It begins as any other does, with a place from
/// which to go on: its client comes back, here or elsewhere, since a native `EventSource` does that after the end of a
/// stream, and after nothing else.
#[must_use]
pub fn turn_away(stream: StreamStart) -> Vec<u8> {
    let StreamStart { head: mut bytes, retry_ms, start, .. } = stream;
    own_events::ended_beginning(&mut bytes, retry_ms, &start);
    bytes
}

/// What a stream is ended with while the hub stops: when to come back, why, and the last chunk.
#[must_use]
pub fn farewell(retry_ms: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    own_events::farewell(&mut bytes, retry_ms);
    bytes
}

impl<T> Shard<T> {
    /// The subscriber with the lowest slot from this one on.
    #[must_use]
    pub fn key_from(&self, index: usize) -> Option<SlotKey> {
        let index = u32::try_from(index).ok()?;
        (index..self.slots.capacity()).find_map(|index| self.slots.key_at(index))
    }

    /// Whether a subscriber has everything that it is owed, as far as this shard has looked, and whole, and its transport
    /// holds nothing of it.
    #[must_use]
    pub fn is_settled(&self, key: SlotKey) -> bool {
        self.slots.get(key).is_some_and(|slot| {
            let is_owed = slot.source != Source::Tail || slot.progress.at < self.groups.at(slot.group).last_match;
            slot.is_between_frames() && !is_owed && !slot.is_blocked
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_lie_evenly_and_the_first_comes_at_once() {
        let stagger = Stagger::new(10, Some(1_000));
        let times: Vec<Option<u64>> = (0..10).map(|taken| stagger.due_at_ms(taken)).collect();
        assert_eq!(times, (0..10).map(|nth| Some(100 * nth)).collect::<Vec<_>>());
        assert_eq!((stagger.due(0), stagger.due(99), stagger.due(100), stagger.due(999)), (1, 1, 2, 10));
        assert_eq!(stagger.due(1_000), u64::MAX);
    }

    #[test]
    fn at_any_time_as_many_are_due_as_have_a_turn_that_came() {
        for (streams, over_ms) in [(0, 5), (1, 1), (1, 7), (3, 10), (7, 30), (1_000, 30), (999, 1_000), (18_000, 3_001)]
        {
            let stagger = Stagger::new(streams, Some(over_ms));
            for after_ms in 0..over_ms {
                let due = stagger.due(after_ms);
                let came = (0..streams).take_while(|&taken| stagger.due_at_ms(taken).is_some_and(|at| at <= after_ms));
                assert_eq!(due.min(streams), came.count() as u64, "{stagger:?} after {after_ms}");
            }
            assert_eq!(stagger.due(over_ms), u64::MAX);
            assert_eq!(stagger.due_at_ms(streams.max(1)), Some(over_ms));
        }
        let most = Stagger::new(u64::MAX, Some(u64::MAX));
        assert_eq!((most.due(u64::MAX - 1), most.due_at_ms(u64::MAX)), (u64::MAX, Some(u64::MAX)));
    }

    /// In any window as many as in any other of its length, or one more or less.
    #[test]
    fn there_is_no_burst() {
        let stagger = Stagger::new(977, Some(30_000));
        let in_window = |from: u64| stagger.due(from + 1_000).min(977) - stagger.due(from);
        let counts: Vec<u64> = (0..29_000).step_by(17).map(in_window).collect();
        let (least, most) = (counts.iter().min(), counts.iter().max());
        assert!(least >= Some(&32) && most <= Some(&33), "{least:?} to {most:?}");
    }

    #[test]
    fn with_no_time_all_are_due_at_once_and_without_a_time_none_ever() {
        let at_once = Stagger::new(5, Some(0));
        assert_eq!((at_once.due(0), at_once.due_at_ms(4)), (u64::MAX, Some(0)));
        assert!(!at_once.is_over(999, 1_000) && at_once.is_over(1_000, 1_000));
        let never = Stagger::new(5, None);
        assert_eq!((never.due(u64::MAX), never.due_at_ms(0)), (0, None));
        assert!(!never.is_over(u64::MAX, 0));
    }
}
