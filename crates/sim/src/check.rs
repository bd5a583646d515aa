use crate::ledger::Ledger;
use crate::{History, Item, Verdict, arrays, kills, reader};

impl History {
    /// Judges what happened.
    #[must_use]
    pub fn check(&self) -> Verdict {
        let mut verdict = Verdict::default();
        let ledger = Ledger::new(self, &mut verdict);
        verdict.counts.subscribers = self.subscribers.len();
        for subscriber in &self.subscribers {
            verdict.counts.connections += subscriber.connections.len();
            for item in subscriber.connections.iter().flat_map(|c| &c.items) {
                match item {
                    Item::Event { .. } => verdict.counts.delivered += 1,
                    Item::Gap { .. } => verdict.counts.gaps += 1,
                    Item::Checkpoint { .. } => verdict.counts.checkpoints += 1,
                }
            }
            reader::check(subscriber, &ledger, self.low_water, &mut verdict);
        }
        arrays::check(self, &ledger, &mut verdict);
        kills::count(self, &mut verdict);
        verdict
    }
}
