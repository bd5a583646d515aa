//! What becomes of what is erased, whatever happens to the disk meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Model;
use crate::HubId;
use crate::testing::Seen;
use crate::tombstones::Tombstone;

/// What was erased, by id.
#[derive(Debug, Default)]
pub(super) struct Erased {
    /// It is never seen again.
    certain: BTreeMap<HubId, Seen>,
    /// Its tombstone could not be written: it is seen, and the next start decides.
    perhaps: BTreeMap<HubId, Seen>,
    /// Passes over the segments.
    sweeps: u64,
}

impl Model {
    /// Erases one of the events that are there, or all with a topic.
    pub(super) fn erase(&mut self, pick: usize, topic: Option<u8>) {
        let shelf = self.committer().shelf();
        let (head, low_water) = (shelf.head(), shelf.low_water());
        let there = &self.shown[self.shown.partition_point(|seen| seen.id <= low_water)..];
        let (tombstone, hit) = match topic.map(|topic| format!("topic {topic}")) {
            Some(topic) => {
                let hit: Vec<Seen> = there.iter().filter(|seen| seen.topics.contains(&topic)).cloned().collect();
                (Tombstone::Topic { topic: topic.into(), through: head }, hit)
            }
            None if there.is_empty() => return,
            None => {
                let seen = there[pick % there.len()].clone();
                (Tombstone::Event(seen.id), vec![seen])
            }
        };
        let is_erased = self.log().keeper.sweep.eraser().erase(&[tombstone]).is_ok();
        for seen in hit {
            // A publisher's id is free again.
            match is_erased {
                true => self.known.retain(|_, known| known.id != seen.id),
                false => self.known.values_mut().filter(|known| known.id == seen.id).for_each(|k| k.has_expired = true),
            }
            let erased = &mut self.erased;
            if is_erased { &mut erased.certain } else { &mut erased.perhaps }.insert(seen.id, seen);
        }
        self.forget_erased();
    }

    /// Overwrites what is to be, as far as the disk takes it.
    pub(super) fn sweep(&mut self) {
        self.erased.sweeps += 1;
        let now = Duration::from_secs(self.erased.sweeps << 20);
        let sweep = &mut self.log().keeper.sweep;
        let failures = sweep.failures;
        // A segment at a time; after the last, or a failure, it would wait.
        while sweep.failures == failures && sweep.turn(now).is_some_and(|pause| pause < Duration::from_secs(1)) {}
        self.check_overwritten();
    }

    /// After a start, what was perhaps erased is so for certain, or not at all.
    pub(super) fn settle_erased(&mut self, hidden: &[HubId]) {
        let perhaps = std::mem::take(&mut self.erased.perhaps);
        self.erased.certain.extend(perhaps.into_iter().filter(|(id, _)| hidden.contains(id)));
        self.forget_erased();
        self.known.retain(|_, known| !self.erased.certain.contains_key(&known.id));
    }

    /// Whether nothing else is hidden, and nothing of it is seen.
    pub(super) fn check_hidden(&self, found: &[Seen], hidden: &[HubId]) {
        let certain = &self.erased.certain;
        assert!(hidden.iter().all(|id| certain.contains_key(id)), "hidden, and not erased");
        assert!(found.iter().all(|seen| !certain.contains_key(&seen.id)), "what was erased is seen");
    }

    /// Of what is noted as overwritten, no byte is there.
    pub(super) fn check_overwritten(&mut self) {
        let low_water = self.committer().shelf().low_water();
        let visibility = std::sync::Arc::clone(&self.log().visibility);
        let pending = visibility.tombstones().pending();
        let files: Vec<Vec<u8>> = self.disk.names().iter().filter_map(|name| self.disk.contents(name).ok()).collect();
        for (id, seen) in self.erased.certain.range(low_water..).filter(|(id, _)| **id > low_water) {
            let is_pending = pending.cover_event(*id, seen.topics.iter().map(String::as_str));
            // Other data may come twice.
            if !is_pending && seen.data.starts_with('#') {
                let data = seen.data.as_bytes();
                let is_there = files.iter().any(|file| file.windows(data.len()).any(|bytes| bytes == data));
                assert!(!is_there, "{id} is not overwritten: {}", &seen.data[..seen.data.len().min(20)]);
            }
        }
    }

    fn forget_erased(&mut self) {
        let certain = &self.erased.certain;
        self.shown.retain(|seen| !certain.contains_key(&seen.id));
    }
}
