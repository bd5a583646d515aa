use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

use super::ahead::Ahead;
use super::committer::Committer;
use super::cursor::FileCursor;
use super::disk::Disk;
use crate::background::Nudge;
use crate::sequencer::Array;
use crate::times::Times;
use crate::{AppendError, Done, Follower, LogStats};

/// What the committing thread shares with the others.
#[derive(Default)]
pub(super) struct Shared {
    queue: Mutex<Queue>,
    /// Something was put into the queue.
    pub(super) news: Condvar,
    stats: Mutex<LogStats>,
}

#[derive(Default)]
pub(super) struct Queue {
    pub(super) waiting: VecDeque<(Array, Ticket)>,
    /// Of what waits and of what is being committed.
    pub(super) waiting_bytes: usize,
    pub(super) follow: Option<Follow>,
    pub(super) is_closed: bool,
    pub(super) failure: Option<String>,
    /// Whether the thread has ended.
    pub(super) has_ended: bool,
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

impl Shared {
    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stats(&self) -> MutexGuard<'_, LogStats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The committing thread.
pub(super) struct Run<D: Disk> {
    shared: Arc<Shared>,
    committer: Committer<D>,
    ahead: Ahead<D>,
    follower: Option<Box<dyn Follower>>,
    tail_bytes: u64,
    times: Arc<Times>,
    /// Calls the keeper when there is something to trim.
    keeper: Nudge,
}

impl<D: Disk> Run<D> {
    /// # Errors
    /// When the thread that makes segments ahead of need cannot be started.
    pub(super) fn new(
        shared: Arc<Shared>,
        mut committer: Committer<D>,
        tail_bytes: u64,
        times: Arc<Times>,
        keeper: Nudge,
    ) -> io::Result<Run<D>> {
        let ahead = Ahead::start(Arc::clone(committer.segments().disk()))?;
        Ok(Run { shared, committer, ahead, follower: None, tail_bytes, times, keeper })
    }

    pub(super) fn run(mut self) {
        let _ending = Ending(Arc::clone(&self.shared));
        loop {
            let Work { mut waiting, follow, is_closed } = self.wait();
            if let Some(Follow { follower, begun }) = follow {
                self.begin(follower);
                // Who asked may have gone away.
                begun.send(()).unwrap_or_default();
            }
            if waiting.is_empty() && is_closed {
                return;
            }
            while !waiting.is_empty() {
                self.commit(&mut waiting);
            }
        }
    }

    /// Waits for something to do, and takes all of it.
    fn wait(&self) -> Work {
        let queue = self.shared.queue();
        let has_time = |queue: &mut Queue| queue.waiting.is_empty() && queue.follow.is_none() && !queue.is_closed;
        let mut queue = self.shared.news.wait_while(queue, has_time).unwrap_or_else(PoisonError::into_inner);
        let waiting = std::mem::take(&mut queue.waiting);
        Work { waiting, follow: queue.follow.take(), is_closed: queue.is_closed }
    }

    /// Commits one group of what waits, shows it, and answers.
    fn commit(&mut self, waiting: &mut VecDeque<(Array, Ticket)>) {
        if waiting.front().is_some_and(|(array, _)| self.committer.needs_segment(array))
            && let Some(spare) = self.ahead.wait()
        {
            self.committer.segments().set_spare(spare);
        }
        let segments = self.committer.shelf().size().2;
        let begun = self.times.clock().monotonic();
        let answers = self.committer.commit(waiting, &self.times.moment());
        let micros =
            u64::try_from(self.times.clock().monotonic().saturating_sub(begun).as_micros()).unwrap_or(u64::MAX);
        let records = self.committer.committed();
        if !records.is_empty() {
            if let Some(follower) = &mut self.follower {
                follower.committed(&records);
            }
            let mut stats = self.shared.stats();
            stats.count_commit(micros);
            stats.appended += records.len() as u64;
        }
        drop(records);
        let sequencer = self.committer.sequencer();
        {
            let mut stats = self.shared.stats();
            stats.repeated = sequencer.repeated;
            stats.idempotence_entries = sequencer.idempotence.len() as u64;
            stats.idempotence_evictions = sequencer.idempotence.evictions;
        }
        {
            let mut queue = self.shared.queue();
            queue.waiting_bytes -= answers.iter().map(|(ticket, _)| ticket.bytes).sum::<usize>();
            if let Some(reason) = self.committer.failure() {
                queue.failure.get_or_insert_with(|| reason.to_owned());
            }
        }
        for (Ticket { done, .. }, answer) in answers {
            done(answer);
        }
        if let Some(bytes) = self.committer.segments().wants_spare() {
            self.ahead.begin(bytes);
        }
        if self.committer.shelf().size().2 > segments {
            self.keeper.call();
        }
    }

    /// Gives a new follower the newest records of the last segment, whole groups, and from then
    /// on what is committed.
    fn begin(&mut self, mut follower: Box<dyn Follower>) {
        let shelf = Arc::clone(self.committer.shelf());
        let Some(segment) = shelf.find(shelf.head()) else { return };
        let mark = segment.mark_before_last(self.tail_bytes);
        follower.begin(mark.after);
        let mut cursor = FileCursor::of_segment_after(&shelf, segment, mark);
        loop {
            match cursor.group() {
                Ok(Some(records)) => follower.committed(&records),
                Ok(None) => break,
                Err(error) => {
                    // What follows would not follow on what was shown.
                    self.committer.fail(error.to_string());
                    self.shared.queue().failure.get_or_insert(error.to_string());
                    break;
                }
            }
        }
        self.follower = Some(follower);
    }
}

/// What there is to do.
struct Work {
    waiting: VecDeque<(Array, Ticket)>,
    follow: Option<Follow>,
    is_closed: bool,
}

/// Nobody is left waiting for a thread that has ended, or panicked.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.has_ended = true;
        queue.follow = None;
        if thread::panicking() {
            queue.failure.get_or_insert_with(|| "the log's thread panicked".to_owned());
        }
        let waiting = std::mem::take(&mut queue.waiting);
        drop(queue);
        for (_, Ticket { done, .. }) in waiting {
            done(Err(AppendError::Unknown));
        }
    }
}
