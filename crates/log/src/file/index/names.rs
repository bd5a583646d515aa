use std::collections::{BTreeMap, HashMap};

/// No topic.
const NONE: u32 = u32::MAX;

/// The names of a segment's topics, each once, numbered as they came.
#[derive(Debug, Default)]
pub(super) struct Names {
    text: String,
    names: Vec<Name>,
    /// The newest name of each hash.
    by_hash: HashMap<u64, u32>,
}

#[derive(Clone, Copy, Debug)]
struct Name {
    at: u32,
    bytes: u32,
    /// The one before it with the same hash.
    same_hash: u32,
}

impl Names {
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    pub(super) fn name(&self, number: u32) -> &str {
        let Name { at, bytes, .. } = self.names[number as usize];
        &self.text[at as usize..][..bytes as usize]
    }

    pub(super) fn find(&self, name: &str, hash: u64) -> Option<u32> {
        let newest = self.by_hash.get(&hash).copied();
        let older = |&number: &u32| Some(self.names[number as usize].same_hash).filter(|&older| older != NONE);
        std::iter::successors(newest, older).find(|&number| self.name(number) == name)
    }

    /// The number of a name, which is a new one if it was not there.
    pub(super) fn intern(&mut self, name: &str, hash: u64) -> u32 {
        if let Some(number) = self.find(name, hash) {
            return number;
        }
        let short = |bytes: usize| u32::try_from(bytes).expect("names lie in a segment, which is shorter than 4 GiB");
        let number = short(self.names.len());
        let same_hash = self.by_hash.insert(hash, number).unwrap_or(NONE);
        self.names.push(Name { at: short(self.text.len()), bytes: short(name.len()), same_hash });
        self.text.push_str(name);
        number
    }

    /// The numbers of all names, in the names' byte order.
    pub(super) fn sorted(&self) -> Vec<u32> {
        let mut numbers: Vec<u32> = (0..).take(self.len()).collect();
        numbers.sort_unstable_by_key(|&number| self.name(number));
        numbers
    }

    /// The first `limit` names after one, in byte order, each with its number.
    pub(super) fn after(&self, after: Option<&str>, limit: usize) -> BTreeMap<&str, u32> {
        let mut first = BTreeMap::new();
        for number in (0..).take(self.len()) {
            let name = self.name(number);
            let is_wanted = after.is_none_or(|after| name > after);
            if is_wanted && (first.len() < limit || first.last_key_value().is_some_and(|(&last, _)| name < last)) {
                first.insert(name, number);
                if first.len() > limit {
                    first.pop_last();
                }
            }
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_hash_are_told_apart() {
        let mut names = Names::default();
        let numbers: Vec<u32> = ["b", "a", "", "b", "c"].iter().map(|name| names.intern(name, 7)).collect();
        assert_eq!(numbers, [0, 1, 2, 0, 3]);
        assert_eq!(names.intern("d", 8), 4);
        assert_eq!(names.find("a", 7), Some(1));
        assert_eq!(names.find("d", 7), None);
        assert_eq!(names.find("a", 9), None);
        assert_eq!(names.sorted(), [2, 1, 0, 3, 4]);
        assert_eq!(names.after(Some("a"), 2).into_iter().collect::<Vec<_>>(), [("b", 0), ("c", 3)]);
        assert_eq!(names.after(None, 0).len(), 0);
    }
}
