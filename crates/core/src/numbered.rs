use std::hash::{BuildHasher, Hash, RandomState};

use tidewire_topic::HashParts;

use crate::blocks::Blocks;

/// What is found by a key that it holds itself.
pub(crate) trait Keyed {
    type Key: Hash + Eq + ?Sized;

    fn key(&self) -> &Self::Key;
}

/// Values under numbers that are given out again, each found by its key: the table of keys has the numbers only, and half
/// of each key's hash, so that it grows without a look at the keys. With a value for each subscriber, this is what its
/// memory comes to.
pub(crate) struct Numbered<V> {
    values: Blocks<Option<V>>,
    free: Vec<u32>,
    by_key: HashParts<(u32, u32)>,
    hasher: RandomState,
}

impl<V: Keyed> Numbered<V> {
    /// The number of the value with this key.
    pub(crate) fn find(&self, key: &V::Key) -> Option<u32> {
        let half = self.half(key);
        let is_it = |&(other, number): &(u32, u32)| other == half && self.at(number).key() == key;
        self.by_key.find(spread(half), is_it).map(|&(_, number)| number)
    }

    /// Takes in a value whose key no other has.
    pub(crate) fn insert(&mut self, value: V) -> u32 {
        if self.free.is_empty() {
            self.values.grow(&mut self.free, || None);
        }
        let number = self.free.pop().expect("a block was added if there was none");
        let half = self.half(value.key());
        *self.values.get_mut(number).expect("what is free is there") = Some(value);
        self.by_key.insert(spread(half), (half, number), |&(half, _)| spread(half));
        number
    }

    /// Takes a value out; its number names nobody until it is given out again.
    pub(crate) fn remove(&mut self, number: u32) -> Option<V> {
        let value = self.values.get_mut(number)?.take()?;
        let half = self.half(value.key());
        self.by_key.remove(spread(half), |&(_, other)| other == number, |&(half, _)| spread(half));
        self.free.push(number);
        Some(value)
    }

    /// The value under a number, if there is one.
    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut V> {
        self.values.get_mut(number)?.as_mut()
    }

    /// The value under a number that somebody holds.
    pub(crate) fn at(&self, number: u32) -> &V {
        self.values.get(number).and_then(Option::as_ref).expect("a value lives while its number is held")
    }

    /// The value under a number that somebody holds.
    pub(crate) fn at_mut(&mut self, number: u32) -> &mut V {
        self.get_mut(number).expect("a value lives while its number is held")
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Every number that was ever given out lies below this one.
    pub(crate) fn numbers(&self) -> u32 {
        self.values.len()
    }

    fn half(&self, key: &V::Key) -> u32 {
        u32::try_from(self.hasher.hash_one(key) & u64::from(u32::MAX)).expect("it is masked")
    }
}

impl<V> Default for Numbered<V> {
    fn default() -> Numbered<V> {
        Numbered { values: Blocks::new(), free: Vec::new(), by_key: HashParts::new(), hasher: RandomState::new() }
    }
}

/// Half a hash over all bits of a whole one: a table uses the highest and the lowest of them.
fn spread(half: u32) -> u64 {
    // Any odd number keeps different halves apart; this one, 2^64 by the golden ratio, moves each bit to many places.
    u64::from(half).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::hash::Hasher;

    use super::*;

    struct Word(String);

    impl Keyed for Word {
        type Key = String;

        fn key(&self) -> &String {
            &self.0
        }
    }

    /// The story: the table hashed every filter anew when it grew.
    #[test]
    fn no_key_is_hashed_twice_however_many_there_are() {
        thread_local!(static HASHED: Cell<u32> = const { Cell::new(0) });

        #[derive(PartialEq, Eq)]
        struct Counted(u32);

        impl Hash for Counted {
            fn hash<H: Hasher>(&self, state: &mut H) {
                HASHED.set(HASHED.get() + 1);
                self.0.hash(state);
            }
        }

        impl Keyed for Counted {
            type Key = Counted;

            fn key(&self) -> &Counted {
                self
            }
        }

        let mut numbers = Numbered::default();
        let many = 100_000;
        for n in 0..many {
            numbers.insert(Counted(n));
        }
        assert_eq!(HASHED.get(), many);
        assert!((0..many).all(|n| numbers.find(&Counted(n)) == Some(n)));
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
        assert_eq!((again, words.len(), words.numbers()), (998, 501, 1_024));
        assert_eq!(words.find(&"another".to_owned()), Some(998));
        assert_eq!(words.find(&word(998)), None);
    }
}
