use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;

use tidewire_core::{SlotKey, Stagger};

use crate::End;
use crate::reactor::Reactor;
use crate::stats::add;

/// How long a stream whose turn came last goes on being given what it is owed, in milliseconds.
const GRACE_MS: u64 = 1_000;

/// The turns in which the streams of all shards are ended, given out by number.
pub(crate) struct Turns {
    stagger: Stagger,
    taken: AtomicU64,
    /// Goes when the last shard has no streams any more.
    _drained: SyncSender<()>,
}

impl Turns {
    pub(crate) fn new(stagger: Stagger, drained: SyncSender<()>) -> Arc<Turns> {
        Arc::new(Turns { stagger, taken: AtomicU64::new(0), _drained: drained })
    }

    /// Takes the next turn, if it has come.
    fn take(&self, after_ms: u64) -> bool {
        let due = self.stagger.due(after_ms);
        let next = |taken: u64| (taken < due).then(|| taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

/// How far a shard is with ending its streams.
pub(crate) struct Drain {
    /// None once it has no streams.
    turns: Option<Arc<Turns>>,
    begun_ms: u64,
    /// The slot from which on those are that had no turn.
    next: usize,
    /// Those that had their turn, and are owed something.
    ending: Vec<SlotKey>,
}

impl Drain {
    pub(crate) fn begin(turns: Arc<Turns>, now_ms: u64) -> Drain {
        Drain { turns: Some(turns), begun_ms: now_ms, next: 0, ending: Vec::new() }
    }
}

impl Reactor {
    /// Ends those whose turn has come and who are owed nothing.
    pub(crate) fn drain(&mut self) {
        let Some(Drain { turns: Some(turns), begun_ms, next, .. }) = &self.drain else { return };
        let (turns, after_ms, mut next) = (Arc::clone(turns), self.now_ms - begun_ms, *next);
        loop {
            let Some(key) = self.shard.key_from(next) else {
                // There are none behind it, and none will begin.
                next = usize::MAX;
                break;
            };
            next = key.index();
            if !turns.take(after_ms) {
                break;
            }
            next += 1;
            if !self.end_if_settled(key)
                && let Some(drain) = &mut self.drain
            {
                drain.ending.push(key);
            }
        }
        if turns.stagger.is_over(after_ms, GRACE_MS) {
            self.end_streams();
        }
        let is_empty = self.shard.is_empty();
        if let Some(drain) = &mut self.drain {
            drain.next = next;
            drain.turns = (!is_empty).then_some(turns);
        }
    }

    /// Looks again, at a tick, at those who were owed something when their turn came.
    pub(crate) fn look_at_ending(&mut self) {
        let Some(drain) = &mut self.drain else { return };
        let mut ending = std::mem::take(&mut drain.ending);
        ending.retain(|&key| self.shard.holds(key) && !self.end_if_settled(key));
        if let Some(drain) = &mut self.drain {
            drain.ending = ending;
        }
    }

    /// In how many milliseconds the next turn comes, if this shard may take it.
    pub(crate) fn next_turn_ms(&self) -> Option<u64> {
        let Drain { turns, begun_ms, next, .. } = self.drain.as_ref()?;
        let turns = turns.as_ref()?;
        self.shard.key_from(*next)?;
        let at_ms = begun_ms + turns.stagger.due_at_ms(turns.taken.load(Ordering::Relaxed))?;
        Some(at_ms.saturating_sub(self.now_ms))
    }

    /// Gives a stream what was committed until now, and ends it if that is all that it is owed.
    fn end_if_settled(&mut self, key: SlotKey) -> bool {
        if !self.shard.is_blocked(key) {
            self.visit(key);
        }
        let is_settled = self.shard.is_settled(key);
        if is_settled {
            self.dismiss(key);
        }
        // One that failed meanwhile has ended too.
        is_settled || !self.shard.holds(key)
    }

    /// Ends every stream that there is, owed something or not.
    pub(crate) fn end_streams(&mut self) {
        let mut next = 0;
        while let Some(key) = self.shard.key_from(next) {
            next = key.index() + 1;
            self.dismiss(key);
        }
    }

    /// Ends a stream, and says when to come back and why if nothing on it is unfinished.
    fn dismiss(&mut self, key: SlotKey) {
        add(&self.shared.stats.streams_drained, 1);
        if self.shard.is_between_frames(key)
            && let Some(socket) = self.shard.transport(key)
            && let Err(error) = socket.write_last(&tidewire_core::farewell(self.shared.admit.retry_ms()))
        {
            tracing::debug!(%error, "failed to end a stream");
        }
        self.close(key, End::Stop);
    }
}
