use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::committer::{Window, check_size};
use super::cursor::FileCursor;
use super::disk::{Disk, RealDisk};
use super::folder;
use super::keeper::{Keeper, Retention};
use super::open::{self, Durability, EpochPlaces, Opened, Opening};
use super::recovery::{OpenError, Recovery};
use super::run::{Follow, Run, Shared, THREADS, Ticket};
use super::shelf::Shelf;
use crate::background::{Background, Nudge};
use crate::cursor::{self, Looked, RecordCursor};
use crate::idempotence::Fingerprints;
use crate::sequencer::Array;
use crate::{
    AppendError, Clock, Done, EventLog, Filter, Follower, HubId, LogStats, Met, NewEvent, ReadEnd, ReadError,
    RecordView, Standing, TopicSummary,
};

/// The limits of a file log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLogConfig {
    /// How long a segment is, in bytes; 64 MiB by default, from 4 KiB to 4 GiB. An array of events
    /// lies in one segment. So much is written with zeros each time a segment is full.
    pub segment_bytes: u64,
    /// How much the segments may take together, in bytes; 10 GiB by default. The oldest ones are
    /// removed; the newest one stays, and the next one is made beside them when it is half full.
    pub retention_bytes: u64,
    /// How much may wait to be committed, in bytes; 64 MiB by default.
    pub append_queue_bytes: usize,
    /// How much a follower is given at first, in bytes; 64 MiB by default.
    pub tail_bytes: u64,
    /// How long a repeated publisher's id is recognised; 10 minutes by default.
    pub idempotence_window: Duration,
    /// How many publishers' ids are held for it; 1,000,000 by default, of about 100 bytes each.
    pub idempotence_entries: usize,
    /// How old events become; 7 days by default. Whole segments are removed, once all they hold is older.
    pub retention_age: Duration,
    /// By how much events age, at most, while no process has the log open; 24 hours by default.
    pub retention_catch_up: Duration,
    /// What an event is before it is shown.
    pub durability: Durability,
    /// What the kernel calls its present start, zeros if it says nothing: with [`Durability::Os`], the log
    /// knows by it whether all that was shown is there.
    pub boot_id: [u8; 16],
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
            retention_age: Duration::from_secs(7 * 24 * 3600),
            retention_catch_up: Duration::from_secs(24 * 3600),
            durability: Durability::Commit,
            boot_id: [0; 16],
        }
    }
}

/// The log in a folder. Two threads take turns to write what waits and to sync it; readers read by
/// position beside them.
pub struct FileLog<D: Disk = RealDisk> {
    shared: Arc<Shared>,
    shelf: Arc<Shelf<D::File>>,
    epochs: EpochPlaces,
    fingerprints: Fingerprints,
    segment_bytes: u64,
    append_queue_bytes: usize,
    run: Arc<Run<D>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    keeping: Background,
    keeper: Arc<Mutex<Keeper<D>>>,
    /// Whether the manifest says that it is closed.
    is_noted: Mutex<bool>,
    /// Given back when the threads have ended.
    _lock: D::Lock,
}

impl<D: Disk> FileLog<D> {
    /// Opens the log in a folder, or makes one, and begins to commit.
    ///
    /// # Errors
    /// When another process has it, the folder cannot be read, or it is not what a log leaves
    /// behind.
    pub fn open(disk: D, config: &FileLogConfig, clock: Arc<dyn Clock>) -> Result<(FileLog<D>, Recovery), OpenError> {
        let lock = folder::lock(&disk)?;
        let fingerprints = Fingerprints::default();
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let opening = Opening {
            segment_bytes: config.segment_bytes,
            retention: Retention { bytes: config.retention_bytes, age_ms: millis(config.retention_age) },
            window: Window { window_ms: millis(config.idempotence_window), entries_max: config.idempotence_entries },
            durability: config.durability,
            boot_id: config.boot_id,
            retention_catch_up: config.retention_catch_up,
            new_log_id: folder::random_log_id(),
            clock,
        };
        let Opened { committer, keeper, times, epochs, recovery } = open::open(disk, &opening, &fingerprints)?;
        let shelf = Arc::clone(committer.shelf());
        let shared = Arc::new(Shared::default());
        let no_thread = |source| OpenError::Io { what: "start the log's threads", source };
        let nudge = Nudge::default();
        let keeper = Arc::new(Mutex::new(keeper));
        let keeping = Background::start("log-keeper", nudge.clone(), turns(&keeper, &shared)).map_err(no_thread)?;
        let run = Run::new(Arc::clone(&shared), committer, config.tail_bytes, times, nudge).map_err(no_thread)?;
        let run = Arc::new(run);
        let threads = Mutex::new(Vec::with_capacity(THREADS));
        let log = FileLog {
            shared,
            shelf,
            epochs,
            fingerprints,
            segment_bytes: config.segment_bytes,
            append_queue_bytes: config.append_queue_bytes,
            run,
            threads,
            keeping,
            keeper,
            is_noted: Mutex::new(false),
            _lock: lock,
        };
        for _ in 0..THREADS {
            let run = Arc::clone(&log.run);
            let thread = thread::Builder::new().name("log".to_owned()).spawn(move || run.run()).map_err(no_thread)?;
            log.threads().push(thread);
        }
        Ok((log, recovery))
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn shelf(&self) -> &Arc<Shelf<D::File>> {
        &self.shelf
    }

    /// Lets the keeper take its turn now.
    #[cfg(test)]
    pub(super) fn call_keeper(&self) {
        self.keeping.call();
    }

    fn walk(&self, after: HubId) -> Option<FileCursor<'_, D::File>> {
        FileCursor::after(&self.shelf, after)
    }
}

/// What the keeper's thread does again and again.
fn turns<D: Disk>(keeper: &Arc<Mutex<Keeper<D>>>, shared: &Arc<Shared>) -> impl FnMut() -> Duration + Send + 'static {
    let (keeper, shared) = (Arc::clone(keeper), Arc::clone(shared));
    move || {
        let (pause, done) = keeper.lock().unwrap_or_else(PoisonError::into_inner).turn();
        if done.is_err() {
            shared.stats().trim_failures += 1;
        }
        shared.tend();
        pause
    }
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
        self.shared.call(queue);
    }

    fn follow(&self, follower: Box<dyn Follower>) {
        let (begun, has_begun) = mpsc::sync_channel(1);
        let mut queue = self.shared.queue();
        if queue.has_ended() {
            return;
        }
        queue.follow = Some(Follow { follower, begun });
        self.shared.call(queue);
        // An error means that the thread has ended: there is nothing to follow.
        has_begun.recv().unwrap_or_default();
    }

    fn head(&self) -> HubId {
        self.shelf.head()
    }

    fn standing(&self, place: HubId) -> Standing {
        self.epochs.standing(place, self.shelf.head())
    }

    fn low_water(&self) -> HubId {
        self.shelf.low_water()
    }

    fn read(
        &self,
        after: HubId,
        filter: &Filter,
        scan_bytes_max: u64,
        visit: &mut dyn FnMut(Met<'_>) -> ControlFlow<()>,
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
        queue.failure.is_none() && !queue.is_in_trouble && !queue.is_closed
    }

    fn close(&self) {
        self.shared.close();
        let mut threads = self.threads();
        // What a thread itself drops last may be this log.
        let is_other = |thread: &mut JoinHandle<()>| thread.thread().id() != thread::current().id();
        for thread in threads.extract_if(.., is_other) {
            // A panic there has been reported, and has failed the log.
            drop(thread.join());
        }
        let have_ended = threads.is_empty();
        drop(threads);
        self.keeping.stop();
        if std::mem::replace(&mut *self.is_noted.lock().unwrap_or_else(PoisonError::into_inner), true) {
            return;
        }
        if !have_ended || !self.run.close() {
            return;
        }
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        // Otherwise the next start finds out how the log stands.
        drop(keeper.ledger.close());
    }
}

impl<D: Disk> Drop for FileLog<D> {
    fn drop(&mut self) {
        self.close();
    }
}
