use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::committer::{Committer, Window, check_size};
use super::cursor::FileCursor;
use super::disk::{Disk, RealDisk};
use super::layout::LogId;
use super::recovery::{Limits, OpenError, Recovery};
use super::shelf::Shelf;
use crate::cursor::{self, Looked, RecordCursor};
use crate::idempotence::Fingerprints;
use crate::sequencer::Array;
use crate::{
    AppendError, Clock, Done, EventLog, Filter, Follower, HubId, LogStats, NewEvent, ReadEnd, ReadError, RecordView,
    TopicSummary,
};

/// How often old segments are looked for.
const TRIM_EVERY: Duration = Duration::from_secs(10);

/// The limits of a file log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLogConfig {
    /// How long a segment is, in bytes; 64 MiB by default, from 4 KiB to 4 GiB. An array of events
    /// lies in one segment. So much is written with zeros each time a segment is full.
    pub segment_bytes: u64,
    /// How much the segments may take together, in bytes; 10 GiB by default. The oldest ones are
    /// removed; the newest one stays.
    pub retention_bytes: u64,
    /// How much may wait to be committed, in bytes; 64 MiB by default.
    pub append_queue_bytes: usize,
    /// How much a follower is given at first, in bytes; 64 MiB by default.
    pub tail_bytes: u64,
    /// How long a repeated publisher's id is recognised; 10 minutes by default.
    pub idempotence_window: Duration,
    /// How many publishers' ids are held for it; 1,000,000 by default, of about 100 bytes each.
    pub idempotence_entries: usize,
}

impl Default for FileLogConfig {
    fn default() -> FileLogConfig {
        FileLogConfig {
            segment_bytes: 64 << 20,
            retention_bytes: 10 << 30,
            append_queue_bytes: 64 << 20,
            tail_bytes: 64 << 20,
            idempotence_window: Duration::from_secs(600),
            idempotence_entries: 1_000_000,
        }
    }
}

/// The log in a folder. One thread writes and syncs what waits, as one group; readers read by
/// position beside it.
pub struct FileLog<D: Disk = RealDisk> {
    shared: Arc<Shared>,
    shelf: Arc<Shelf<D::File>>,
    first_place: HubId,
    fingerprints: Fingerprints,
    segment_bytes: u64,
    append_queue_bytes: usize,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Given back when the thread has ended.
    _lock: D::Lock,
}

/// What the committing thread shares with the others.
#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    news: Condvar,
    stats: Mutex<LogStats>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(Array, Ticket)>,
    /// Of what waits and of what is being committed.
    waiting_bytes: usize,
    follow: Option<Follow>,
    is_closed: bool,
    failure: Option<String>,
    /// Whether the thread has ended.
    has_ended: bool,
}

/// Who waits for an array.
struct Ticket {
    bytes: usize,
    done: Done,
}

/// Who wants to follow, and waits until it does.
struct Follow {
    follower: Box<dyn Follower>,
    begun: mpsc::Sender<()>,
}

impl<D: Disk> FileLog<D> {
    /// Opens the log in a folder, or makes one, and begins to commit.
    ///
    /// # Errors
    /// When another process has it, the folder cannot be read, or it is not what a log leaves
    /// behind.
    pub fn open(disk: D, config: &FileLogConfig, clock: Arc<dyn Clock>) -> Result<(FileLog<D>, Recovery), OpenError> {
        let lock = disk.lock().map_err(|source| OpenError::Io { what: "lock the folder", source })?;
        let lock = lock.ok_or(OpenError::Locked)?;
        let fingerprints = Fingerprints::default();
        let limits = Limits { segment_bytes: config.segment_bytes, retention_bytes: config.retention_bytes };
        let window = Window {
            window_ms: u64::try_from(config.idempotence_window.as_millis()).unwrap_or(u64::MAX),
            entries_max: config.idempotence_entries,
        };
        let (committer, recovery) =
            Committer::open(disk, &limits, window, &fingerprints, clock.now_ms(), random_log_id())?;
        let shelf = Arc::clone(committer.shelf());
        let first_place = committer.first_place();
        let shared = Arc::new(Shared::default());
        let run = Run { shared: Arc::clone(&shared), committer, follower: None, tail_bytes: config.tail_bytes };
        let thread = thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || run.run(&*clock))
            .map_err(|source| OpenError::Io { what: "start the log's thread", source })?;
        let log = FileLog {
            shared,
            shelf,
            first_place,
            fingerprints,
            segment_bytes: config.segment_bytes,
            append_queue_bytes: config.append_queue_bytes,
            thread: Mutex::new(Some(thread)),
            _lock: lock,
        };
        Ok((log, recovery))
    }

    fn walk(&self, after: HubId) -> Option<FileCursor<'_, D::File>> {
        FileCursor::after(&self.shelf, after)
    }
}

/// The standard library's own source of randomness, which seeds its hash maps.
fn random_log_id() -> LogId {
    let half = || RandomState::new().hash_one(()).to_le_bytes();
    let mut id = LogId::default();
    id[..8].copy_from_slice(&half());
    id[8..].copy_from_slice(&half());
    id
}

impl<D: Disk> EventLog for FileLog<D> {
    fn append(&self, events: Vec<NewEvent>, done: Done) {
        let array = Array::new(events, &self.fingerprints);
        if let Err(error) = check_size(&array, self.segment_bytes) {
            return done(Err(error));
        }
        let mut queue = self.shared.queue();
        let bytes = array.bytes_max();
        let refused = if let Some(reason) = &queue.failure {
            Some(AppendError::Failed { reason: reason.clone() })
        } else if queue.is_closed {
            Some(AppendError::Closed)
        } else if queue.waiting_bytes > 0 && queue.waiting_bytes + bytes > self.append_queue_bytes {
            Some(AppendError::Busy)
        } else {
            None
        };
        if let Some(error) = refused {
            drop(queue);
            return done(Err(error));
        }
        queue.waiting_bytes += bytes;
        queue.waiting.push_back((array, Ticket { bytes, done }));
        drop(queue);
        self.shared.news.notify_one();
    }

    fn follow(&self, follower: Box<dyn Follower>) {
        let (begun, has_begun) = mpsc::channel();
        let mut queue = self.shared.queue();
        if queue.has_ended {
            return;
        }
        queue.follow = Some(Follow { follower, begun });
        drop(queue);
        self.shared.news.notify_one();
        // An error means that the thread has ended: there is nothing to follow.
        drop(has_begun.recv());
    }

    fn head(&self) -> HubId {
        self.shelf.head()
    }

    fn first_place(&self) -> HubId {
        self.first_place
    }

    fn low_water(&self) -> HubId {
        self.shelf.low_water()
    }

    fn read(
        &self,
        after: HubId,
        filter: &Filter,
        scan_bytes_max: u64,
        visit: &mut dyn FnMut(&RecordView<'_>) -> ControlFlow<()>,
    ) -> Result<ReadEnd, ReadError> {
        let head = self.shelf.head();
        let looked = match self.walk(after) {
            Some(mut cursor) if after < head => cursor::read(&mut cursor, filter, scan_bytes_max, visit)?,
            _ => Looked::Exhausted(None),
        };
        let (looked_at, at_head) = match looked {
            Looked::Stopped(id) => (id, id >= self.shelf.head()),
            Looked::Exhausted(last) => (head.max(after).max(last.unwrap_or_default()), true),
        };
        Ok(ReadEnd { looked_at, at_head, low_water: self.shelf.low_water() })
    }

    fn event(&self, id: HubId, visit: &mut dyn FnMut(&RecordView<'_>)) -> Result<bool, ReadError> {
        let Some(before) = id.before() else { return Ok(false) };
        let Some(mut cursor) = self.walk(before) else { return Ok(false) };
        if cursor.advance()?.is_none_or(|head| head.id != id) {
            return Ok(false);
        }
        visit(&cursor.record()?);
        Ok(true)
    }

    fn find_publisher_id(&self, id: &str, filter: &Filter) -> Result<Option<HubId>, ReadError> {
        self.walk(HubId::ZERO).map_or(Ok(None), |mut cursor| cursor::find_publisher_id(&mut cursor, id, filter))
    }

    fn place_before_last(&self, count: u64, filter: &Filter) -> Result<HubId, ReadError> {
        let mut left = count;
        if left == 0 {
            return Ok(self.shelf.head());
        }
        // Segment by segment from the newest: first counted, then, in the one where the first of
        // them lies, walked over again.
        for segment in self.shelf.segments().into_iter().rev() {
            let matches = cursor::count(&mut FileCursor::of_segment(&self.shelf, Arc::clone(&segment)), filter)?;
            if matches >= left {
                let before = segment.header.before.id;
                let mut cursor = FileCursor::of_segment(&self.shelf, segment);
                return cursor::place_before(&mut cursor, before, matches - left, filter);
            }
            left -= matches;
        }
        Ok(self.shelf.low_water())
    }

    fn topics(&self, after: Option<&str>, limit: usize, filter: &Filter) -> Result<Vec<TopicSummary>, ReadError> {
        self.walk(HubId::ZERO).map_or(Ok(Vec::new()), |mut cursor| cursor::topics(&mut cursor, after, limit, filter))
    }

    fn stats(&self) -> LogStats {
        let waiting_bytes = self.shared.queue().waiting_bytes as u64;
        let (records, bytes, segments) = self.shelf.size();
        LogStats { records, bytes, segments, waiting_bytes, ..self.shared.stats().clone() }
    }

    fn is_writable(&self) -> bool {
        let queue = self.shared.queue();
        queue.failure.is_none() && !queue.is_closed
    }

    fn close(&self) {
        self.shared.queue().is_closed = true;
        self.shared.news.notify_one();
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        // What the thread itself drops last may be this log.
        let is_own = |thread: &JoinHandle<()>| thread.thread().id() == thread::current().id();
        if let Some(thread) = thread.take_if(|thread| !is_own(thread)) {
            // A panic there has been reported, and has failed the log.
            drop(thread.join());
        }
    }
}

impl<D: Disk> Drop for FileLog<D> {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stats(&self) -> MutexGuard<'_, LogStats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The committing thread.
struct Run<D: Disk> {
    shared: Arc<Shared>,
    committer: Committer<D>,
    follower: Option<Box<dyn Follower>>,
    tail_bytes: u64,
}

impl<D: Disk> Run<D> {
    fn run(mut self, clock: &dyn Clock) {
        let _ending = Ending(Arc::clone(&self.shared));
        self.trim();
        let mut trim_at = Instant::now() + TRIM_EVERY;
        loop {
            let Work { mut waiting, follow, is_closed } = self.wait_until(trim_at);
            if let Some(Follow { follower, begun }) = follow {
                self.begin(follower);
                // Who asked may have gone away.
                drop(begun.send(()));
            }
            if waiting.is_empty() && is_closed {
                return;
            }
            while !waiting.is_empty() {
                self.commit(&mut waiting, clock);
            }
            if Instant::now() >= trim_at {
                self.trim();
                trim_at = Instant::now() + TRIM_EVERY;
            }
        }
    }

    /// Waits for something to do, at most until `deadline`, and takes all of it.
    fn wait_until(&self, deadline: Instant) -> Work {
        let mut queue = self.shared.queue();
        while queue.waiting.is_empty() && queue.follow.is_none() && !queue.is_closed {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { break };
            queue = self.shared.news.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let waiting = std::mem::take(&mut queue.waiting);
        Work { waiting, follow: queue.follow.take(), is_closed: queue.is_closed }
    }

    /// Commits one group of what waits, shows it, and answers.
    fn commit(&mut self, waiting: &mut VecDeque<(Array, Ticket)>, clock: &dyn Clock) {
        let segments = self.committer.shelf().size().2;
        let begun = Instant::now();
        let answers = self.committer.commit(waiting, clock.now_ms());
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
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
        if self.committer.shelf().size().2 > segments {
            self.trim();
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

    fn trim(&mut self) {
        if self.committer.failure().is_none() && self.committer.trim().is_err() {
            self.shared.stats().trim_failures += 1;
        }
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
