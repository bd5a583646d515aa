use std::collections::VecDeque;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use tidewire_core::SlotKey;

/// How many threads read the log for streams that are older than the tail.
pub(crate) const READ_THREADS: usize = 2;

/// How many threads do each kind of work on which an admission waits. They are apart, since a place may take a walk
/// over the whole log: who asks for such places must not keep waiting those who read on, or whose heads take long to read.
pub(crate) const DECIDE_THREADS: usize = 1;

/// How many jobs of one shard may be under way; each holds at most one visit's bytes.
pub const JOBS_A_SHARD_MAX: usize = 64;

/// What may wait: a read from the log, or an admission that needs one.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// Threads for what may wait, shared by the shards.
pub(crate) struct Pool {
    sender: SyncSender<Job>,
}

impl Pool {
    pub(crate) fn start(name: &str, threads: usize, shards: usize) -> io::Result<Pool> {
        let (sender, receiver) = sync_channel::<Job>(shards * JOBS_A_SHARD_MAX);
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..threads {
            let receiver = Arc::clone(&receiver);
            std::thread::Builder::new().name(format!("{name}-{number}")).spawn(move || work(&receiver))?;
        }
        Ok(Pool { sender })
    }
}

/// Runs what may wait. A panic in it is a bug of ours, and costs the one whose job it was: unanswered,
/// its subscriber would wait for ever, and the thread would be missing to all others.
pub(crate) fn guarded<T>(job: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(AssertUnwindSafe(job)).ok()
}

fn work(receiver: &Mutex<Receiver<Job>>) {
    loop {
        let job = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}

/// How many jobs of one shard are under way in one pool.
#[derive(Default)]
pub(crate) struct UnderWay(usize);

impl UnderWay {
    /// Gives the pool the jobs that `next` has, as far as there may be more.
    pub(crate) fn dispatch(&mut self, pool: &Pool, mut next: impl FnMut() -> Option<Job>) {
        while self.0 < JOBS_A_SHARD_MAX {
            let Some(job) = next() else { return };
            if pool.sender.send(job).is_err() {
                return;
            }
            self.0 += 1;
        }
    }

    /// To be called when the answer of a job has come.
    pub(crate) fn finished(&mut self) {
        self.0 -= 1;
    }
}

/// A read that waits for its turn.
pub(crate) struct Waiting {
    /// The subscriber who needs it.
    pub(crate) key: SlotKey,
    /// How many it had before.
    pub(crate) reads_before: u8,
    pub(crate) job: Job,
}

/// The reads of one shard: so many under way, the others wait their turn. `is_there` says of a subscriber
/// whether it has not left: else its job is not worth a read.
#[derive(Default)]
pub(crate) struct Reads {
    waiting: Lines,
    under_way: UnderWay,
    /// When as many wait, those of subscribers who have left are dropped: while a disk hangs, nothing else does that.
    forget_at: usize,
}

/// How many reads may wait before anybody looks whether their subscribers have left.
const WAITING_MIN: usize = 1_024;

impl Reads {
    pub(crate) fn submit(&mut self, waiting: Waiting, pool: &Pool, is_there: impl Fn(SlotKey) -> bool) {
        self.waiting.push(waiting);
        if self.waiting.len() > self.forget_at.max(WAITING_MIN) {
            self.waiting.retain(|read| is_there(read.key));
            self.forget_at = 2 * self.waiting.len();
        }
        self.dispatch(pool, is_there);
    }

    /// To be called when the answer of a job has come.
    pub(crate) fn finished(&mut self, pool: &Pool, is_there: impl Fn(SlotKey) -> bool) {
        self.under_way.finished();
        self.dispatch(pool, is_there);
    }

    fn dispatch(&mut self, pool: &Pool, is_there: impl Fn(SlotKey) -> bool) {
        let Reads { waiting, under_way, .. } = self;
        under_way.dispatch(pool, || {
            std::iter::from_fn(|| waiting.take()).find(|read| is_there(read.key)).map(|read| read.job)
        });
    }
}

/// Reads that wait, in a line for each number of binary digits that the reads before have; the lines have their turns one
/// after the other. A subscriber waits with those who had about as many reads as it had: however many walk through the
/// whole log, who needs a few reads does not wait for each of them, and they go on.
#[derive(Default)]
struct Lines {
    lines: [VecDeque<Waiting>; u8::BITS as usize + 1],
    /// The line whose turn it is.
    next: usize,
}

impl Lines {
    fn len(&self) -> usize {
        self.lines.iter().map(VecDeque::len).sum()
    }

    fn push(&mut self, waiting: Waiting) {
        let digits = u8::BITS - waiting.reads_before.leading_zeros();
        self.lines[digits as usize].push_back(waiting);
    }

    fn take(&mut self) -> Option<Waiting> {
        for _ in 0..self.lines.len() {
            let line = self.next;
            self.next = (self.next + 1) % self.lines.len();
            if let Some(waiting) = self.lines[line].pop_front() {
                return Some(waiting);
            }
        }
        None
    }

    fn retain(&mut self, is_kept: impl Fn(&Waiting) -> bool) {
        self.lines.iter_mut().for_each(|line| line.retain(&is_kept));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::TryRecvError;

    use tidewire_core::{Limits, Shard, Start, StreamStart};
    use tidewire_log::{Filter, HubId, Tail, Types};
    use tidewire_topic::MatcherSet;

    /// The story: whoever asked for old events and left at once had a read of the log made for nobody.
    /// Clients who came and left faster than the disk answers made the queue long without limit.
    #[test]
    fn beyond_the_limit_jobs_wait_and_those_of_subscribers_who_left_are_dropped() {
        let (sender, dispatched) = sync_channel::<Job>(2 * JOBS_A_SHARD_MAX);
        let pool = Pool { sender };
        let tail = Tail::new(1);
        let mut shard = Shard::new(Limits { heartbeat_ms: 1, stall_ms: 1 });
        let filter = Filter { topics: MatcherSet::any(), types: Types::All, grants: None };
        let start = Start { place: HubId::ZERO, gap: None };
        let stream = StreamStart { head: Vec::new(), retry_ms: 1, filter, start, subject: None, client: None };
        let stays = shard.join((), stream.clone(), &tail, 0);
        let leaves = shard.join((), stream, &tail, 0);
        let mut reads = Reads::default();
        for _ in 0..=JOBS_A_SHARD_MAX {
            reads.submit(Waiting { key: stays, reads_before: 0, job: Box::new(|| {}) }, &pool, |key| shard.holds(key));
        }
        reads.submit(Waiting { key: leaves, reads_before: 0, job: Box::new(|| {}) }, &pool, |key| shard.holds(key));
        assert_eq!((reads.under_way.0, reads.waiting.len()), (JOBS_A_SHARD_MAX, 2));
        shard.leave(leaves);
        reads.finished(&pool, |key| shard.holds(key));
        assert_eq!((reads.under_way.0, reads.waiting.len()), (JOBS_A_SHARD_MAX, 1), "one who has not left");
        reads.finished(&pool, |key| shard.holds(key));
        assert_eq!((reads.under_way.0, reads.waiting.len()), (JOBS_A_SHARD_MAX - 1, 0));
        assert_eq!(std::iter::from_fn(|| dispatched.try_recv().ok()).count(), JOBS_A_SHARD_MAX + 1);
        assert!(matches!(dispatched.try_recv(), Err(TryRecvError::Empty)));
        // While nothing is read, what waits for those who left does not pile up.
        for _ in 0..JOBS_A_SHARD_MAX {
            reads.submit(Waiting { key: stays, reads_before: 0, job: Box::new(|| {}) }, &pool, |key| shard.holds(key));
        }
        for _ in 0..3 * WAITING_MIN {
            reads.submit(Waiting { key: leaves, reads_before: 0, job: Box::new(|| {}) }, &pool, |key| shard.holds(key));
            assert!(reads.waiting.len() <= WAITING_MIN + 1);
        }
    }

    /// The story: a thousand streams that walked through a large log, a client's or an attacker's, stood before whoever came
    /// next, and then before each of its reads.
    #[test]
    fn a_new_reader_does_not_wait_for_all_who_have_read_for_long_nor_they_for_new_ones() {
        const SCANNING: usize = 1_000;
        let (sender, dispatched) = sync_channel::<Job>(JOBS_A_SHARD_MAX);
        let pool = Pool { sender };
        let (mut reads, done) = (Reads::default(), Arc::new(Mutex::new(Vec::new())));
        let submit = |reads: &mut Reads, name: u32, reads_before| {
            let done = Arc::clone(&done);
            let job = Box::new(move || done.lock().expect("no other thread panics with it").push(name));
            reads.submit(Waiting { key: SlotKey::new(name, 0), reads_before, job }, &pool, |_| true);
        };
        (0..SCANNING).for_each(|_| submit(&mut reads, 0, 200));
        // New readers go on coming: those who read for long have their turns all the same.
        let mut came = 0;
        while let Ok(job) = dispatched.try_recv() {
            job();
            if came < 2 * SCANNING {
                came += 1;
                submit(&mut reads, 1, 0);
            }
            reads.finished(&pool, |_| true);
        }
        let done = done.lock().expect("no other thread panics with it");
        let first = done.iter().position(|&name| name == 1).expect("it is read");
        assert!(first <= JOBS_A_SHARD_MAX + 1, "{first} reads before its own");
        let meanwhile = &done[JOBS_A_SHARD_MAX..SCANNING];
        let scanned = meanwhile.iter().filter(|&&name| name == 0).count();
        assert!(scanned.abs_diff(meanwhile.len() / 2) <= 1, "{scanned} of {}", meanwhile.len());
        assert_eq!(done.len(), 3 * SCANNING);
    }
}
