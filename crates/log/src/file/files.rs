use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::Disk;
use super::index::{BadIndex, IndexFile, Indexed, index_name};
use super::layout::segment_name;

/// How many files of sealed segments and of their indexes are held open. Each read that is under way
/// may hold two more.
pub const LOG_FILES_MAX: usize = SEGMENT_FILES_MAX + INDEX_FILES_MAX;
const SEGMENT_FILES_MAX: usize = 48;
const INDEX_FILES_MAX: usize = 80;

type Open<F> = Box<dyn Fn(&str) -> io::Result<F> + Send + Sync>;

/// The files of sealed segments, opened on first use. Those that were used last stay open.
pub(crate) struct Files<F> {
    open: Open<F>,
    segments: Held<F>,
    indexes: Held<IndexFile<F>>,
}

impl<F> Files<F> {
    pub(crate) fn new<D: Disk<File = F>>(disk: Arc<D>) -> Files<F> {
        Files {
            open: Box::new(move |name| disk.open(name)),
            segments: Held::new(SEGMENT_FILES_MAX),
            indexes: Held::new(INDEX_FILES_MAX),
        }
    }

    /// The file of the segment that begins with this sequence.
    pub(crate) fn segment(&self, first_sequence: u64) -> io::Result<Arc<F>> {
        self.segments.get(first_sequence, || (self.open)(&segment_name(first_sequence)))
    }

    /// Holds the file of a segment as if it had been opened here.
    pub(crate) fn hold_segment(&self, first_sequence: u64, file: Arc<F>) {
        self.segments.hold(first_sequence, file);
    }

    /// Closes the files of a segment, once nobody reads them any more.
    pub(crate) fn forget(&self, first_sequence: u64) {
        self.segments.forget(first_sequence);
        self.indexes.forget(first_sequence);
    }

    /// Closes the files of all segments before the one that begins with this sequence, once nobody reads them any
    /// more. Whoever opens one from now on has it for himself: a file that is removed takes room as long as it is
    /// open.
    pub(crate) fn forget_below(&self, first_sequence: u64) {
        self.segments.forget_below(first_sequence);
        self.indexes.forget_below(first_sequence);
    }
}

impl<F: super::disk::DiskFile> Files<F> {
    /// The index of a segment.
    pub(crate) fn index(&self, of: Indexed) -> Result<Arc<IndexFile<F>>, BadIndex> {
        self.indexes.get(of.first_sequence, || IndexFile::new((self.open)(&index_name(of.first_sequence))?, of))
    }
}

impl<F> fmt::Debug for Files<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").finish_non_exhaustive()
    }
}

/// What was used last, by the first sequence of its segment.
struct Held<T> {
    max: usize,
    held: Mutex<ByUse<T>>,
}

struct ByUse<T> {
    /// Nothing with a lower key is held.
    lowest: u64,
    /// What was used last is at the end.
    held: VecDeque<(u64, Arc<T>)>,
}

impl<T> Held<T> {
    fn new(max: usize) -> Held<T> {
        Held { max, held: Mutex::new(ByUse { lowest: 0, held: VecDeque::new() }) }
    }

    fn get<E>(&self, key: u64, open: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        let found = {
            let held = &mut self.by_use().held;
            let at = held.iter().rposition(|(known, _)| *known == key);
            let found = at.and_then(|at| held.remove(at));
            held.extend(found.as_ref().map(|(key, value)| (*key, Arc::clone(value))));
            found
        };
        if let Some((_, value)) = found {
            return Ok(value);
        }
        let value = Arc::new(open()?);
        self.hold(key, Arc::clone(&value));
        Ok(value)
    }

    fn hold(&self, key: u64, value: Arc<T>) {
        let ByUse { lowest, held } = &mut *self.by_use();
        held.retain(|(known, _)| *known != key);
        if key < *lowest {
            return;
        }
        held.push_back((key, value));
        if held.len() > self.max {
            held.pop_front();
        }
    }

    fn forget(&self, key: u64) {
        self.by_use().held.retain(|(known, _)| *known != key);
    }

    fn forget_below(&self, key: u64) {
        let ByUse { lowest, held } = &mut *self.by_use();
        *lowest = key.max(*lowest);
        held.retain(|(known, _)| *known >= key);
    }

    fn by_use(&self) -> MutexGuard<'_, ByUse<T>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_than_the_limit_lets_go_what_was_used_longest_ago() {
        let held = Held::new(2);
        let get = |key, value| *held.get(key, || Ok::<u32, ()>(value)).expect("opened");
        assert_eq!((get(1, 10), get(2, 20), get(1, 11)), (10, 20, 10));
        assert_eq!((get(3, 30), get(1, 12), get(2, 21)), (30, 10, 21), "2 was let go for 3");
        held.forget(2);
        assert_eq!(get(2, 22), 22);
        assert!(held.get(4, || Err(())).is_err());
        assert_eq!(held.by_use().held.len(), 2);
    }

    #[test]
    fn what_lies_below_what_was_forgotten_is_opened_and_not_held() {
        let held = Held::new(9);
        let get = |key, value| *held.get(key, || Ok::<u32, ()>(value)).expect("opened");
        assert_eq!((get(1, 10), get(2, 20), get(3, 30)), (10, 20, 30));
        held.forget_below(3);
        assert_eq!((get(1, 11), get(1, 12), get(3, 31)), (11, 12, 30));
        held.hold(2, Arc::new(21));
        assert_eq!(held.by_use().held.len(), 1);
    }
}
