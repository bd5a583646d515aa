use hashbrown::HashTable;

/// In so many parts a table is kept.
const PARTS: usize = 1_024;

/// Parts up to this many entries are kept when they empty.
const SHRINK_ENTRIES_MIN: usize = 16;

/// A hash table in parts which grow one by one: with half a million entries, the insertion that finds its part full moves
/// five hundred of them, where a table in one piece would move all of them while everyone waits.
///
/// As with [`HashTable`], whoever uses it says how its entries are hashed and compared.
#[derive(Clone, Debug)]
pub struct HashParts<E> {
    parts: Box<[HashTable<E>]>,
    len: usize,
}

impl<E> HashParts<E> {
    /// A table without entries, which takes 32 KiB.
    #[must_use]
    pub fn new() -> HashParts<E> {
        HashParts { parts: (0..PARTS).map(|_| HashTable::new()).collect(), len: 0 }
    }

    /// The entry with this hash for which `is_it` holds.
    pub fn find(&self, hash: u64, is_it: impl FnMut(&E) -> bool) -> Option<&E> {
        self.parts[part_of(hash)].find(hash, is_it)
    }

    /// The entry with this hash for which `is_it` holds.
    pub fn find_mut(&mut self, hash: u64, is_it: impl FnMut(&E) -> bool) -> Option<&mut E> {
        self.parts[part_of(hash)].find_mut(hash, is_it)
    }

    /// Takes in an entry to which no other is equal. Where its part must grow, `rehash` is asked for the others' hashes.
    pub fn insert(&mut self, hash: u64, entry: E, rehash: impl Fn(&E) -> u64) {
        self.parts[part_of(hash)].insert_unique(hash, entry, rehash);
        self.len += 1;
    }

    /// Takes out the entry with this hash for which `is_it` holds. A part that many one-off entries have made large is
    /// given back.
    pub fn remove(&mut self, hash: u64, is_it: impl FnMut(&E) -> bool, rehash: impl Fn(&E) -> u64) -> Option<E> {
        let part = &mut self.parts[part_of(hash)];
        let (entry, _) = part.find_entry(hash, is_it).ok()?.remove();
        self.len -= 1;
        if part.capacity() > SHRINK_ENTRIES_MIN && part.len() < part.capacity() / 8 {
            part.shrink_to(part.len() * 2, rehash);
        }
        Some(entry)
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<E> Default for HashParts<E> {
    fn default() -> HashParts<E> {
        HashParts::new()
    }
}

/// From bits of the hash that the parts themselves make no use of: they use the lowest and the highest.
fn part_of(hash: u64) -> usize {
    usize::try_from((hash >> 40) % PARTS as u64).expect("a remainder is small")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::hash::{BuildHasher, RandomState};

    use super::*;

    /// The story: with 458,752 subscribers on topics of their own the table of their filters grew, and one join took half a
    /// second, in which the thread did nothing else.
    #[test]
    fn no_insertion_moves_more_than_a_part() {
        let random = RandomState::new();
        let moved = Cell::new(0);
        let rehash = |n: &u32| {
            moved.set(moved.get() + 1);
            random.hash_one(n)
        };
        let mut table = HashParts::new();
        let many = 200_000;
        let mut most = 0;
        for n in 0..many {
            moved.set(0);
            table.insert(random.hash_one(n), n, rehash);
            most = most.max(moved.get());
        }
        assert!((1..1_000).contains(&most), "{most} were moved for one");
        assert!((0..many).all(|n| table.find(random.hash_one(n), |&other| other == n) == Some(&n)));
        assert_eq!((table.len(), table.find(random.hash_one(many), |&other| other == many)), (200_000, None));
    }

    #[test]
    fn one_off_entries_leave_nothing_behind() {
        let random = RandomState::new();
        let rehash = |n: &u32| random.hash_one(n);
        let mut table = HashParts::new();
        let many = 50_000;
        (0..many).for_each(|n| table.insert(rehash(&n), n, rehash));
        for n in 0..many {
            assert_eq!(table.remove(rehash(&n), |&other| other == n, rehash), Some(n));
            assert_eq!(table.remove(rehash(&n), |&other| other == n, rehash), None);
        }
        let capacity: usize = table.parts.iter().map(HashTable::capacity).sum();
        assert!(table.is_empty() && capacity <= PARTS * SHRINK_ENTRIES_MIN, "room for {capacity}");
    }
}
