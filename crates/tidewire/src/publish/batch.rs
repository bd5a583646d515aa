//! Lines gathered into requests.

use std::collections::VecDeque;

/// The most events in one request: half of what a hub takes by default.
pub(super) const BATCH_EVENTS_MAX: usize = 500;
/// The most bytes in one request, of which one event may have more: a quarter of what a hub takes
/// by default.
pub(super) const BATCH_BYTES_MAX: usize = 2 * 1_024 * 1_024;

/// What waits to be published, in order.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
}

impl<T> Waiting<T> {
    pub(super) fn new() -> Waiting<T> {
        Waiting { items: VecDeque::new(), bytes: 0 }
    }

    /// Puts an item that takes so many bytes behind the others.
    pub(super) fn push(&mut self, item: T, bytes: usize) {
        self.items.push_back((item, bytes));
        self.bytes += bytes;
    }

    /// Whether a request would be full with what is here.
    pub(super) fn is_full(&self) -> bool {
        self.items.len() >= BATCH_EVENTS_MAX || self.bytes >= BATCH_BYTES_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.bytes = 0;
    }

    /// Takes the items of the next request; none where nothing waits.
    pub(super) fn take_batch(&mut self) -> Vec<T> {
        let mut batch = Vec::new();
        let mut batch_bytes = 0;
        while let Some((_, bytes)) = self.items.front() {
            let fits = batch.len() < BATCH_EVENTS_MAX && batch_bytes + bytes <= BATCH_BYTES_MAX;
            if !fits && !batch.is_empty() {
                break;
            }
            let Some((item, bytes)) = self.items.pop_front() else { break };
            self.bytes -= bytes;
            batch_bytes += bytes;
            batch.push(item);
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(bytes: &[usize]) -> Vec<Vec<usize>> {
        let mut waiting = Waiting::new();
        for (n, &bytes) in bytes.iter().enumerate() {
            waiting.push(n, bytes);
        }
        let batches = std::iter::from_fn(|| Some(waiting.take_batch()).filter(|batch| !batch.is_empty())).collect();
        assert_eq!((waiting.is_empty(), waiting.bytes), (true, 0));
        batches
    }

    #[test]
    fn order_is_kept_and_both_limits_hold() {
        assert_eq!(batches(&[]), Vec::<Vec<usize>>::new());
        assert_eq!(batches(&[0; BATCH_EVENTS_MAX]).len(), 1);
        let one_more: Vec<usize> = batches(&[1; BATCH_EVENTS_MAX + 1]).iter().map(Vec::len).collect();
        assert_eq!(one_more, [BATCH_EVENTS_MAX, 1]);
        assert_eq!(batches(&[BATCH_BYTES_MAX - 1, 1, 1]), [vec![0, 1], vec![2]]);
    }

    #[test]
    fn one_that_is_larger_than_a_request_goes_alone() {
        assert_eq!(batches(&[1, BATCH_BYTES_MAX + 1, 1]), [[0], [1], [2]]);
    }

    #[test]
    fn full_is_what_makes_a_request() {
        let mut waiting = Waiting::new();
        for _ in 1..BATCH_EVENTS_MAX {
            waiting.push((), 0);
        }
        assert!(!waiting.is_full());
        waiting.push((), 0);
        assert!(waiting.is_full());
        waiting.clear();
        assert!(waiting.is_empty() && !waiting.is_full());
        waiting.push((), BATCH_BYTES_MAX);
        assert!(waiting.is_full());
    }
}
