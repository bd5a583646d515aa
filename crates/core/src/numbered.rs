use std::hash::{BuildHasher, Hash, RandomState};

use hashbrown::HashTable;

/// What is found by a key that it holds itself.
pub(crate) trait Keyed {
    type Key: Hash + Eq + ?Sized;

    fn key(&self) -> &Self::Key;
}

/// Values under numbers that are given out again, each found by its key: the table of keys has the numbers only,
/// which with a value for each subscriber is what its memory comes to.
pub(crate) struct Numbered<V> {
    values: Vec<Option<V>>,
    free: Vec<u32>,
    by_key: HashTable<u32>,
    hasher: RandomState,
}

impl<V: Keyed> Numbered<V> {
    /// The number of the value with this key.
    pub(crate) fn find(&self, key: &V::Key) -> Option<u32> {
        let has_key = |&number: &u32| self.at(number).key() == key;
        self.by_key.find(self.hasher.hash_one(key), has_key).copied()
    }

    /// Takes in a value whose key no other has.
    pub(crate) fn insert(&mut self, value: V) -> u32 {
        let Numbered { values, free, by_key, hasher } = self;
        let hash = hasher.hash_one(value.key());
        let number = free.pop().unwrap_or_else(|| {
            values.push(None);
            u32::try_from(values.len() - 1).expect("there are no more values than slots, which are u32")
        });
        values[number as usize] = Some(value);
        by_key.insert_unique(hash, number, |&number| {
            let value = values[number as usize].as_ref().expect("a number in the table has a value");
            hasher.hash_one(value.key())
        });
        number
    }

    /// Takes a value out; its number names nobody until it is given out again.
    pub(crate) fn remove(&mut self, number: u32) -> Option<V> {
        let value = self.values.get_mut(number as usize)?.take()?;
        if let Ok(entry) = self.by_key.find_entry(self.hasher.hash_one(value.key()), |&other| other == number) {
            entry.remove();
        }
        self.free.push(number);
        Some(value)
    }

    /// The value under a number, if there is one.
    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut V> {
        self.values.get_mut(number as usize)?.as_mut()
    }

    /// The value under a number that somebody holds.
    pub(crate) fn at(&self, number: u32) -> &V {
        self.values[number as usize].as_ref().expect("a value lives while its number is held")
    }

    /// The value under a number that somebody holds.
    pub(crate) fn at_mut(&mut self, number: u32) -> &mut V {
        self.values[number as usize].as_mut().expect("a value lives while its number is held")
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// One more than the highest number that was ever given out.
    pub(crate) fn numbers(&self) -> u32 {
        u32::try_from(self.values.len()).expect("numbers are given out as u32")
    }
}

impl<V> Default for Numbered<V> {
    fn default() -> Numbered<V> {
        Numbered { values: Vec::new(), free: Vec::new(), by_key: HashTable::new(), hasher: RandomState::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Word(String);

    impl Keyed for Word {
        type Key = String;

        fn key(&self) -> &String {
            &self.0
        }
    }

    #[test]
    fn each_value_is_found_by_its_key_until_it_is_removed() {
        let mut words = Numbered::default();
        let word = |n: u32| format!("word {n}");
        for n in 0..1_000 {
            assert_eq!(words.insert(Word(word(n))), n);
        }
        for n in (0..1_000).step_by(2) {
            assert_eq!(words.remove(n).map(|gone| gone.0), Some(word(n)));
            assert!(words.remove(n).is_none() && words.get_mut(n).is_none());
        }
        for n in 0..1_000 {
            assert_eq!(words.find(&word(n)), (n % 2 == 1).then_some(n));
        }
        let again = words.insert(Word("another".to_owned()));
        assert_eq!((again, words.len(), words.numbers()), (998, 501, 1_000));
        assert_eq!(words.find(&"another".to_owned()), Some(998));
        assert_eq!(words.find(&word(998)), None);
    }
}
