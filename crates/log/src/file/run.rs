use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

use super::ahead::Ahead;
use super::committer::Committer;
use super::cursor::{FileCursor, Stretch};
use super::disk::{Disk, DiskLock};
use crate::background::Nudge;
use crate::expiry::Expiry;
use crate::sequencer::Array;
use crate::times::Times;
use crate::visibility::Visibility;
use crate::{AppendError, Done, Follower, HubId, LogStats};

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
    /// What the follower is to forget, in order.
    pub(super) forget: Vec<Forget>,
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
        if queue.has_ended {
            return false;
        }
        queue.forget.push(Forget::Erased { topic, through, forgotten });
        drop(queue);
        self.news.notify_one();
        has_forgotten.recv().is_ok()
    }

    /// Lets the follower forget what rules hide by now.
    pub(super) fn forget_expired(&self) {
        self.queue().forget.push(Forget::Expired);
        self.news.notify_one();
    }

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
    visibility: Arc<Visibility>,
    /// When rules will hide what the follower was given.
    expiry: Expiry,
    /// Calls the keeper when there is something to trim.
    keeper: Nudge,
    /// Says to those who read the folder how far it is committed.
    lock: Arc<D::Lock>,
}

impl<D: Disk> Run<D> {
    /// # Errors
    /// When the thread that makes segments ahead of need cannot be started.
    pub(super) fn new(
        shared: Arc<Shared>,
        mut committer: Committer<D>,
        tail_bytes: u64,
        times: Arc<Times>,
        visibility: Arc<Visibility>,
        keeper: Nudge,
        lock: Arc<D::Lock>,
    ) -> io::Result<Run<D>> {
        let ahead = Ahead::start(Arc::clone(committer.segments().disk()))?;
        let expiry = Expiry::default();
        Ok(Run { shared, committer, ahead, follower: None, tail_bytes, times, visibility, expiry, keeper, lock })
    }

    pub(super) fn run(mut self) {
        let _ending = Ending(Arc::clone(&self.shared));
        loop {
            let Work { mut waiting, follow, forget, is_closed } = self.wait();
            if let Some(Follow { follower, begun }) = follow {
                self.begin(follower);
                // Who asked may have gone away.
                begun.send(()).unwrap_or_default();
            }
            for forget in forget {
                self.forget(forget);
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
        let has_time = |queue: &mut Queue| {
            queue.waiting.is_empty() && queue.follow.is_none() && queue.forget.is_empty() && !queue.is_closed
        };
        let mut queue = self.shared.news.wait_while(queue, has_time).unwrap_or_else(PoisonError::into_inner);
        let waiting = std::mem::take(&mut queue.waiting);
        let forget = std::mem::take(&mut queue.forget);
        Work { waiting, follow: queue.follow.take(), forget, is_closed: queue.is_closed }
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
            // Without it, others see less until the next commit.
            self.lock.note(&self.committer.note()).unwrap_or_default();
            if let Some(follower) = &mut self.follower {
                follower.committed(&records);
                self.expiry.note(&records, &self.visibility);
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
    /// on what is committed. It begins behind what is damaged: who reads the log is told of that.
    fn begin(&mut self, mut follower: Box<dyn Follower>) {
        let shelf = Arc::clone(self.committer.shelf());
        let Some(segment) = shelf.find(shelf.head()) else { return };
        let mark = segment.mark_before_last(self.tail_bytes);
        follower.begin(mark.after);
        let mut cursor = FileCursor::of_segment_after(&shelf, segment, mark);
        loop {
            match cursor.group(&self.visibility) {
                Ok(Some(Stretch::Group { hidden, records })) => {
                    // What was given before it goes as well: only what lies behind it is without a hole.
                    if let Some(hidden) = hidden {
                        follower.forget(hidden);
                    }
                    if !records.is_empty() {
                        follower.committed(&records);
                        self.expiry.note(&records, &self.visibility);
                    }
                }
                Ok(Some(Stretch::Lost(through))) => follower.forget(through),
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

    fn forget(&mut self, forget: Forget) {
        match forget {
            Forget::Erased { topic, through, forgotten } => {
                match (&mut self.follower, topic) {
                    (Some(follower), Some(topic)) => follower.forget_topic(&topic, through),
                    (Some(follower), None) => follower.forget(through),
                    (None, _) => {}
                }
                // Who asked may have gone away.
                forgotten.send(()).unwrap_or_default();
            }
            Forget::Expired => {
                let through = self.expiry.due(self.times.moment().retention_ms);
                if let (Some(follower), Some(through)) = (&mut self.follower, through) {
                    follower.forget(through);
                }
            }
        }
    }
}

/// What there is to do.
struct Work {
    waiting: VecDeque<(Array, Ticket)>,
    follow: Option<Follow>,
    forget: Vec<Forget>,
    is_closed: bool,
}

/// Nobody is left waiting for a thread that has ended, or panicked.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.has_ended = true;
        queue.follow = None;
        queue.forget.clear();
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
