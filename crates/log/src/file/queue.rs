use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc};

use crate::sequencer::Array;
use crate::{Done, Follower, HubId, LogStats};

/// Threads that commit: one writes while the other one syncs.
pub(super) const THREADS: usize = 2;
/// With less than this waiting, in bytes, nobody is woken to write it while the other thread syncs and shows: that
/// would take longer than to write it afterwards.
const WRITE_AHEAD_BYTES: usize = 64 * 1024;

/// What the committing threads share with the others.
#[derive(Default)]
pub(super) struct Shared {
    queue: Mutex<Queue>,
    /// There is something to do for a committing thread.
    pub(super) news: Condvar,
    stats: Mutex<LogStats>,
}

#[derive(Default)]
pub(super) struct Queue {
    pub(super) waiting: VecDeque<(Array, Ticket)>,
    /// Of what waits and of what is being committed.
    pub(super) waiting_bytes: usize,
    /// How often something of that was answered.
    pub(super) turns: u64,
    /// Of what waits here.
    pub(super) unwritten_bytes: usize,
    pub(super) follow: Option<Follow>,
    /// What the follower is to forget, in order.
    pub(super) forget: Vec<Forget>,
    /// Whether what is due without publishers is to be looked for.
    pub(super) tends: bool,
    pub(super) is_closed: bool,
    /// Whether publishers are refused until the disk works again.
    pub(super) is_in_trouble: bool,
    /// Why nothing is taken any more: a thread has panicked.
    pub(super) failure: Option<String>,
    /// Threads that will look here again before they sync or show: nobody has to be called.
    pub(super) attending: usize,
    /// Threads that sync or show, and will look here again after that.
    busy: usize,
    /// Threads that have ended.
    pub(super) ended: usize,
}

impl Queue {
    /// Lets an array wait, whose bytes are counted already.
    pub(super) fn push(&mut self, array: Array, ticket: Ticket) {
        self.unwritten_bytes += ticket.bytes;
        self.waiting.push_back((array, ticket));
    }

    pub(super) fn has_work(&self) -> bool {
        !self.waiting.is_empty() || self.follow.is_some() || !self.forget.is_empty() || self.tends
    }

    /// Whether what there is to do is done by somebody who looks here soon.
    fn is_attended(&self) -> bool {
        let is_small = self.unwritten_bytes < WRITE_AHEAD_BYTES;
        let is_urgent = self.follow.is_some() || !self.forget.is_empty() || self.tends;
        self.attending > 0 || self.busy > 0 && is_small && !is_urgent
    }

    /// Takes nothing any more.
    pub(super) fn fail(&mut self) {
        self.failure.get_or_insert_with(|| "the log's thread panicked".to_owned());
    }

    /// Whether nobody is left to commit.
    pub(super) fn has_ended(&self) -> bool {
        self.failure.is_some() || self.ended == THREADS
    }
}

/// Who waits for an array.
pub(super) struct Ticket {
    pub(super) bytes: usize,
    pub(super) done: Done,
}

/// Who wants to follow, and waits until it does.
pub(super) struct Follow {
    pub(super) follower: Box<dyn Follower>,
    pub(super) begun: mpsc::SyncSender<()>,
}

/// What a follower is to forget.
pub(super) enum Forget {
    /// What was erased. Who waits is told.
    Erased { topic: Option<Box<str>>, through: HubId, forgotten: mpsc::SyncSender<()> },
    /// What rules hide by now.
    Expired,
}

impl Shared {
    /// Lets the follower forget, and waits until it has; false if there is no thread that could.
    pub(super) fn forget_erased(&self, topic: Option<Box<str>>, through: HubId) -> bool {
        let (forgotten, has_forgotten) = mpsc::sync_channel(1);
        let mut queue = self.queue();
        if queue.has_ended() {
            return false;
        }
        queue.forget.push(Forget::Erased { topic, through, forgotten });
        self.call(queue);
        has_forgotten.recv().is_ok()
    }

    /// Lets the follower forget what rules hide by now.
    pub(super) fn forget_expired(&self) {
        let mut queue = self.queue();
        // Once is enough, however long nobody comes to it.
        if !matches!(queue.forget.last(), Some(Forget::Expired)) {
            queue.forget.push(Forget::Expired);
        }
        self.call(queue);
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells a committing thread that there is something in the queue, unless one will see it anyway. To wake
    /// the other one as well would cost more than it can take over.
    pub(super) fn call(&self, queue: MutexGuard<'_, Queue>) {
        let is_attended = queue.is_attended();
        drop(queue);
        if !is_attended {
            self.news.notify_one();
        }
    }

    pub(super) fn stats(&self) -> MutexGuard<'_, LogStats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a committing thread look for what is due without publishers.
    pub(super) fn tend(&self) {
        let mut queue = self.queue();
        queue.tends = true;
        self.call(queue);
    }

    /// Takes no more, once what waits is done.
    pub(super) fn close(&self) {
        self.queue().is_closed = true;
        self.news.notify_all();
    }

    /// Leaves the queue to the other thread.
    pub(super) fn look_away(&self) {
        let mut queue = self.queue();
        queue.attending -= 1;
        self.call_for_rest(queue);
    }

    /// Leaves what is much or urgent to the other thread, to sync and show.
    pub(super) fn get_busy(&self) {
        let mut queue = self.queue();
        queue.attending -= 1;
        queue.busy += 1;
        self.call_for_rest(queue);
    }

    /// Looks to the queue again after that.
    pub(super) fn look_back(&self) {
        let mut queue = self.queue();
        queue.attending += 1;
        queue.busy -= 1;
    }

    fn call_for_rest(&self, queue: MutexGuard<'_, Queue>) {
        if queue.has_work() {
            self.call(queue);
        }
    }
}
