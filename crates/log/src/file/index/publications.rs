use std::collections::HashMap;

/// The records of a segment that bear publishers' ids, found by the ids' hashes. The ids themselves
/// stand in the records.
#[derive(Debug, Default)]
pub(super) struct Publications {
    all: Vec<Publication>,
    /// The newest of each id, by the id's hash.
    newest: HashMap<u64, u32>,
}

/// A record that bears a publisher's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Publication {
    /// The hash of the publisher's id.
    pub(super) id: u64,
    /// The lower half of the hash of the record's first topic.
    pub(super) topic: u32,
    pub(super) record: u32,
    /// The one before it with the same hash of the id; itself if it is the first.
    previous: u32,
}

impl Publications {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn push(&mut self, id: u64, topic: u32, record: u32) {
        let number = u32::try_from(self.all.len()).expect("no more than records, and a segment is short");
        let previous = self.newest.insert(id, number).unwrap_or(number);
        self.all.push(Publication { id, topic, record, previous });
    }

    /// The records with an id, and with a first topic if one is given, ascending.
    pub(super) fn find(&self, id: u64, topic: Option<u32>) -> Vec<u32> {
        let mut records = Vec::new();
        let mut next = self.newest.get(&id).copied();
        while let Some(number) = next {
            let found = self.all[number as usize];
            if topic.is_none_or(|topic| topic == found.topic) {
                records.push(found.record);
            }
            next = (found.previous < number).then_some(found.previous);
        }
        records.reverse();
        records
    }

    /// All of them, by id, first topic and record.
    pub(super) fn sorted(&self) -> Vec<Publication> {
        let mut all = self.all.clone();
        all.sort_unstable();
        all
    }
}
