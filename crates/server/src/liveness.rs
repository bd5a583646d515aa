//! Whether every thread that has work does it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::hub::Hub;
use crate::shutdown::Shutdown;

/// How often threads are looked at before one is stuck.
const LOOKS: u32 = 10;

/// What is known of a hub's threads.
#[derive(Debug, Default)]
pub(crate) struct Liveness(Mutex<Option<String>>);

impl Liveness {
    /// Which thread is stuck, if one is.
    pub(crate) fn stuck(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, stuck: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stuck;
    }
}

/// What a look at a thread finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    /// How often it was done with something.
    turns: u64,
    /// Whether something waits for it.
    has_work: bool,
}

/// What the looks so far found of one thread.
#[derive(Debug, Default)]
struct Watched {
    last: Option<Seen>,
    /// Looks, one after the other, at which it had work, and had not turned since the one before.
    idle_looks: u32,
}

impl Watched {
    /// Takes another look. Whether the thread is stuck: it had work all the time, and did not turn. Time is counted in
    /// looks: while the whole process stands still nobody looks, and nothing is stuck for it.
    fn look(&mut self, seen: Seen) -> bool {
        let is_idle = seen.has_work && self.last == Some(seen);
        self.idle_looks = if is_idle { self.idle_looks.saturating_add(1) } else { 0 };
        self.last = Some(seen);
        self.idle_looks >= LOOKS
    }
}

/// Looks at the threads of the hub until the shutdown begins.
pub(crate) async fn watch(hub: Arc<Hub>, stuck_after: Duration, shutdown: Shutdown) {
    let mut shards: Vec<Watched> = Vec::new();
    let mut committer = Watched::default();
    let mut looks = tokio::time::interval(stuck_after / LOOKS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = shutdown.begun() => return,
        }
        let turns = hub.engine.get().map(tidewire_engine::EngineHandle::turns).unwrap_or_default();
        shards.resize_with(turns.len(), Watched::default);
        let mut stuck = None;
        for (number, (shard, turns)) in shards.iter_mut().zip(turns).enumerate() {
            // It has its clock to look at, whatever else.
            if shard.look(Seen { turns, has_work: true }) {
                stuck = Some(format!("shard {number}"));
            }
        }
        let log = hub.log.stats();
        if committer.look(Seen { turns: log.turns, has_work: log.waiting_bytes > 0 }) {
            stuck = Some("the log's committer".to_owned());
        }
        match (&stuck, hub.liveness.stuck()) {
            (Some(thread), None) => tracing::error!(thread, ?stuck_after, "a thread has work and does nothing"),
            (None, Some(thread)) => tracing::warn!(thread, "a thread that did nothing goes on"),
            _ => {}
        }
        hub.liveness.set(stuck);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At which of these looks, counted from 0, the thread is stuck.
    fn stuck_at(looks: impl IntoIterator<Item = (u64, bool)>) -> Vec<usize> {
        let mut watched = Watched::default();
        let stuck = looks.into_iter().map(|(turns, has_work)| watched.look(Seen { turns, has_work })).enumerate();
        stuck.filter_map(|(nth, is_stuck)| is_stuck.then_some(nth)).collect()
    }

    #[test]
    fn a_thread_that_has_work_and_does_not_turn_is_stuck_until_it_does() {
        let looks = LOOKS as usize;
        let still = std::iter::repeat_n((7, true), looks + 3);
        assert_eq!(stuck_at(still.clone().chain([(8, true), (8, true)])), [looks, looks + 1, looks + 2]);
        assert_eq!(stuck_at(still.take(looks)), [0; 0]);
    }

    #[test]
    fn a_thread_that_has_nothing_to_do_or_turns_is_not_stuck() {
        assert_eq!(stuck_at(std::iter::repeat_n((7, false), 100)), [0; 0]);
        assert_eq!(stuck_at((0..100).map(|turns| (turns, true))), [0; 0]);
        // What waits has come since the look before.
        assert_eq!(stuck_at((0..100).map(|look| (7, look % 10 != 0))), [0; 0]);
    }
}
