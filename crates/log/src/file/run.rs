use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::ahead::Ahead;
use super::batch::Finished;
use super::committer::Committer;
use super::cursor::{FileCursor, Stretch};
use super::disk::{Disk, DiskFile, DiskLock};
use super::group::Group;
use super::picks::Wanted;
use super::queue::{Follow, Forget, Queue, Shared, Ticket};
use super::shelf::Shelf;
use crate::background::Nudge;
use crate::cursor::RecordCursor;
use crate::expiry::Expiry;
use crate::sequencer::Array;
use crate::times::Times;
use crate::visibility::Visibility;
use crate::{AppendError, Follower, HubId};

/// What the committing threads do, in turns: whoever has the state takes what waits and writes it; syncing needs no
/// state, so that meanwhile the other one writes. Groups are shown in the order in which they were written, since a
/// sync is finished before the next is begun, and a follower is given its groups before the next gets to it.
pub(super) struct Run<D: Disk> {
    shared: Arc<Shared>,
    state: Mutex<State<D>>,
    /// A sync has ended.
    turn: Condvar,
    /// Locked by who has the state.
    follower: Mutex<Following>,
    tail_bytes: u64,
    times: Arc<Times>,
    visibility: Arc<Visibility>,
    /// Calls the keeper when there is something to trim.
    keeper: Nudge,
    /// Says to those who read the folder how far it is committed.
    lock: Arc<D::Lock>,
}

/// Who is told what is committed.
#[derive(Default)]
struct Following {
    follower: Option<Box<dyn Follower>>,
    /// When rules will hide what it was given.
    expiry: Expiry,
}

struct State<D: Disk> {
    committer: Committer<D, Ticket>,
    /// Taken from the queue, and not written yet.
    waiting: VecDeque<(Array, Ticket)>,
    ahead: Ahead<D>,
    is_syncing: bool,
    segments: u64,
}

impl<D: Disk> Run<D> {
    /// # Errors
    /// When the thread that makes segments ahead of need cannot be started.
    pub(super) fn new(
        shared: Arc<Shared>,
        mut committer: Committer<D, Ticket>,
        tail_bytes: u64,
        times: Arc<Times>,
        visibility: Arc<Visibility>,
        keeper: Nudge,
        lock: Arc<D::Lock>,
    ) -> io::Result<Run<D>> {
        let ahead = Ahead::start(Arc::clone(committer.segments().disk()))?;
        let segments = committer.shelf().size().2;
        let state = State { committer, waiting: VecDeque::new(), ahead, is_syncing: false, segments };
        let (state, turn, follower) = (Mutex::new(state), Condvar::new(), Mutex::default());
        Ok(Run { shared, state, turn, follower, tail_bytes, times, visibility, keeper, lock })
    }

    /// One thread's work.
    pub(super) fn run(&self) {
        let _ending = Ending(self);
        loop {
            let queue = self.shared.queue();
            let has_time = |queue: &mut Queue| !queue.has_work() && !queue.is_closed && !queue.has_ended();
            let mut queue = self.shared.news.wait_while(queue, has_time).unwrap_or_else(PoisonError::into_inner);
            if queue.has_ended() || !queue.has_work() {
                return;
            }
            queue.attending += 1;
            drop(queue);
            self.work();
            self.shared.look_away();
        }
    }

    /// Makes durable what is not, once the threads have ended. Whether all is well.
    pub(super) fn close(&self) -> bool {
        let is_well = self.shared.queue().failure.is_none();
        is_well && self.state().is_some_and(|mut state| state.committer.close())
    }

    /// Commits until nothing waits, or the other thread does it.
    fn work(&self) {
        let Some(mut state) = self.state() else { return };
        loop {
            self.take(&mut state);
            if state.is_syncing {
                if state.waiting.is_empty() && !state.committer.has_written() {
                    return;
                }
                // What comes meanwhile is written before the next sync, and shares it.
                let Ok(turn) = self.turn.wait(state) else { return };
                state = turn;
                continue;
            }
            let Some(sync) = state.committer.begin_sync() else { return };
            state.is_syncing = true;
            drop(state);
            self.shared.get_busy();
            let begun = self.times.clock().monotonic();
            let synced = sync.run();
            let took = self.times.clock().monotonic().saturating_sub(begun);
            if sync.segment.is_some() && synced.is_ok() {
                self.shared.stats().syncs.add(took);
            }
            let Some(again) = self.state() else { return self.shared.look_back() };
            state = again;
            state.is_syncing = false;
            let finished = state.committer.finish(synced, &self.times.moment());
            self.note(&mut state, &finished);
            self.turn.notify_one();
            let follower = self.follower.lock();
            drop(state);
            let Ok(follower) = follower else {
                // It has panicked, in the other thread. What is committed can no longer be shown.
                self.shared.queue().fail();
                self.shared.look_back();
                finished.answers.into_iter().for_each(|(ticket, _)| (ticket.done)(Err(AppendError::Unknown)));
                return;
            };
            let is_shared = finished.answers.len() > 1;
            let groups = self.show(finished, follower);
            if is_shared {
                // A sync costs as much however many share it: where others wait for this core, those go first who
                // were answered, or have something to publish.
                thread::yield_now();
            }
            let Some(again) = self.state() else { return };
            state = again;
            state.committer.take_back(groups);
        }
    }

    /// Takes what is in the queue, and writes as much as can be written now.
    fn take(&self, state: &mut State<D>) {
        let (follow, forget, tends) = {
            let mut queue = self.shared.queue();
            queue.unwritten_bytes = 0;
            if state.waiting.is_empty() {
                std::mem::swap(&mut state.waiting, &mut queue.waiting);
            } else {
                state.waiting.append(&mut queue.waiting);
            }
            let forget = std::mem::take(&mut queue.forget);
            (queue.follow.take(), forget, std::mem::take(&mut queue.tends))
        };
        let State { committer, waiting, ahead, .. } = state;
        if let Some(Follow { follower, begun }) = follow {
            self.begin(committer, follower);
            // Who asked may have gone away.
            begun.send(()).unwrap_or_default();
        }
        for forget in forget {
            self.forget(forget);
        }
        let moment = self.times.moment();
        if committer.needs_segment(waiting, &moment)
            && let Some(spare) = ahead.wait()
        {
            committer.segments().set_spare(spare);
        }
        if tends {
            committer.tend(&moment);
        }
        committer.write(waiting, &moment);
        if let Some(bytes) = committer.segments().wants_spare() {
            ahead.begin(bytes);
        }
        if tends {
            self.shared.queue().is_in_trouble = committer.refusal().is_some();
        }
    }

    /// Notes what has become of a batch, before anybody is told.
    fn note(&self, state: &mut State<D>, finished: &Finished<Ticket>) {
        let committer = &mut state.committer;
        if !finished.groups.is_empty() {
            // Without it, others see less until the next commit.
            self.lock.note(&committer.note()).unwrap_or_default();
        }
        {
            let mut stats = self.shared.stats();
            if !finished.groups.is_empty() {
                stats.commits.add(self.times.clock().monotonic().saturating_sub(finished.begun));
                stats.appended += finished.groups.iter().map(|group| u64::from(group.count())).sum::<u64>();
            }
            let sequencer = committer.sequencer();
            stats.repeated = sequencer.repeated;
            stats.idempotence_entries = sequencer.idempotence.len() as u64;
            stats.seals = committer.seals;
            stats.failed_syncs = committer.segments().failed_syncs;
        }
        self.shared.queue().is_in_trouble = committer.refusal().is_some();
        let segments = committer.shelf().size().2;
        if segments > std::mem::replace(&mut state.segments, segments) {
            self.keeper.call();
        }
    }

    /// Gives the follower what was committed, and then answers.
    fn show(&self, finished: Finished<Ticket>, mut following: MutexGuard<'_, Following>) -> Vec<Group> {
        let Finished { groups, answers, .. } = finished;
        let Following { follower, expiry } = &mut *following;
        if let Some(follower) = follower {
            for group in &groups {
                let records = group.records();
                follower.committed(&records);
                expiry.note(&records, &self.visibility);
            }
        }
        drop(following);
        let mut queue = self.shared.queue();
        queue.turns += 1;
        queue.waiting_bytes -= answers.iter().map(|(ticket, _)| ticket.bytes).sum::<usize>();
        drop(queue);
        // Those who are answered now may publish again.
        self.shared.look_back();
        for (Ticket { done, .. }, answer) in answers {
            done(answer);
        }
        groups
    }

    /// Gives a new follower the newest records of the last segment, whole groups, and from then
    /// on what is committed. It begins behind what is damaged: who reads the log is told of that. Of an epoch that is
    /// over it is given nothing: who is told a place of that comes back with it and gets a gap.
    fn begin(&self, committer: &mut Committer<D, Ticket>, mut follower: Box<dyn Follower>) {
        let Ok(mut following) = self.follower.lock() else { return };
        let shelf = Arc::clone(committer.shelf());
        let head = shelf.head();
        if !is_record(&shelf, head) {
            follower.begin(head);
            following.follower = Some(follower);
            return;
        }
        let Some(segment) = shelf.find(head) else { return };
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
                        following.expiry.note(&records, &self.visibility);
                    }
                }
                Ok(Some(Stretch::Lost(through))) => follower.forget(through),
                Ok(None) => break,
                Err(error) => {
                    // What follows would not follow on what was shown.
                    committer.fail(error.to_string());
                    self.shared.queue().is_in_trouble = true;
                    break;
                }
            }
        }
        following.follower = Some(follower);
    }

    /// Lets the follower forget. It has been given everything that was committed before.
    fn forget(&self, forget: Forget) {
        let Ok(mut following) = self.follower.lock() else { return };
        let Following { follower, expiry } = &mut *following;
        match forget {
            Forget::Erased { topic, through, forgotten } => {
                match (follower, topic) {
                    (Some(follower), Some(topic)) => follower.forget_topic(&topic, through),
                    (Some(follower), None) => follower.forget(through),
                    (None, _) => {}
                }
                // Who asked may have gone away.
                forgotten.send(()).unwrap_or_default();
            }
            Forget::Expired => {
                let through = expiry.due(self.times.moment().retention_ms);
                if let (Some(follower), Some(through)) = (follower, through) {
                    follower.forget(through);
                }
            }
        }
    }

    /// The state, unless a thread has panicked with it.
    fn state(&self) -> Option<MutexGuard<'_, State<D>>> {
        self.state.lock().ok()
    }
}

/// Whether a place is a record's id: the first place of an epoch is not. What cannot be read may be one.
fn is_record<F: DiskFile>(shelf: &Shelf<F>, place: HubId) -> bool {
    let walk = place.before().and_then(|before| FileCursor::after(shelf, before, Wanted::All));
    walk.is_some_and(|mut cursor| !matches!(cursor.advance(), Ok(None)))
}

/// Nobody is left waiting for a thread that has ended, or panicked.
struct Ending<'a, D: Disk>(&'a Run<D>);

impl<D: Disk> Drop for Ending<'_, D> {
    fn drop(&mut self) {
        let Run { shared, turn, .. } = self.0;
        let mut queue = shared.queue();
        queue.ended += 1;
        if thread::panicking() {
            queue.fail();
        }
        if !queue.has_ended() {
            return;
        }
        queue.follow = None;
        queue.forget.clear();
        let has_failed = queue.failure.is_some();
        let mut waiting = std::mem::take(&mut queue.waiting);
        drop(queue);
        let mut tickets = Vec::new();
        if has_failed {
            shared.news.notify_all();
            let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.append(&mut state.waiting);
            tickets = state.committer.give_back_tickets();
            // The other one finds that there is nothing to do.
            state.is_syncing = false;
            drop(state);
            turn.notify_all();
        }
        for ticket in waiting.into_iter().map(|(_, ticket)| ticket).chain(tickets) {
            (ticket.done)(Err(AppendError::Unknown));
        }
    }
}
