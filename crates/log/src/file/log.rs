use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::committer::check_size;
use super::cursor::FileCursor;
use super::damage::Reports;
use super::disk::{Disk, DiskLock, RealDisk, lacks_room};
use super::folder;
use super::keeper::{Keeper, Retention};
use super::lookup::Lookup;
use super::open::{self, Durability, EpochPlaces, Opened, Opening};
use super::open_error::OpenError;
use super::picks::Wanted;
use super::queue::{Follow, Shared, THREADS, Ticket};
use super::recovery::Recovery;
use super::run::Run;
use super::salvage::OnDamage;
use super::scrub::{Scrub, Scrubbed};
use super::seekers::{self, Seekers};
use super::shelf::Shelf;
use super::sweep::Eraser;
use super::{look_back, topics};
use crate::background::{Background, Nudge};
use crate::cursor::{self, Looked, RecordCursor};
use crate::idempotence::Fingerprints;
use crate::sequencer::Array;
use crate::tombstones::Tombstone;
use crate::visibility::Visibility;
use crate::{
    AppendError, Clock, Done, Erase, EraseError, Erased, EventLog, Filter, Follower, HubId, LastMatches, LogStats, Met,
    NewEvent, ReadEnd, ReadError, RecordView, RetentionRules, Standing, TopicPage, TopicSummary,
};

/// Asking a segment's index counts as reading so many bytes.
const INDEX_SCAN_BYTES: u64 = 16 * 1024;

/// The limits of a file log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLogConfig {
    /// How long a segment is, in bytes; 64 MiB by default, from 4 KiB to 4 GiB. An array of events
    /// lies in one segment. So much is written with zeros each time a segment is full.
    pub segment_bytes: u64,
    /// How much the segments may take together with their indexes, in bytes; 10 GiB by default. The oldest ones are
    /// removed; the newest one stays, and the next one is made beside them when it is half full.
    pub retention_bytes: u64,
    /// How much may wait to be committed, in bytes; 64 MiB by default.
    pub append_queue_bytes: usize,
    /// How much a follower is given at first, in bytes; 64 MiB by default.
    pub tail_bytes: u64,
    /// How long a repeated publisher's id is recognised; 10 minutes by default.
    pub idempotence_window: Duration,
    /// How old events become; 7 days by default. Whole segments are removed, once all they hold is older.
    pub retention_age: Duration,
    /// Topics whose events become less old, and are hidden from then on; none by default.
    pub retention_rules: RetentionRules,
    /// By when the bytes of what was erased are overwritten; 1 hour by default.
    pub erase_within: Duration,
    /// By how much events age, at most, while no process has the log open; 24 hours by default.
    pub retention_catch_up: Duration,
    /// What an event is before it is shown.
    pub durability: Durability,
    /// What the kernel calls its present start, zeros if it says nothing: with [`Durability::Os`], the log
    /// knows by it whether all that was shown is there.
    pub boot_id: [u8; 16],
    /// How much of the sealed segments is read in a second to check it, in bytes; 1 MiB by default, nothing
    /// with 0. Once all of them were checked, that begins again a day later.
    pub scrub_rate: u64,
    /// Who is told of damage that is found.
    pub reports: Reports,
    /// What to do where the log is damaged so that it cannot be opened.
    pub on_damage: OnDamage,
}

impl Default for FileLogConfig {
    fn default() -> FileLogConfig {
        FileLogConfig {
            segment_bytes: 64 << 20,
            retention_bytes: 10 << 30,
            append_queue_bytes: 64 << 20,
            tail_bytes: 64 << 20,
            idempotence_window: Duration::from_secs(600),
            retention_age: Duration::from_secs(7 * 24 * 3600),
            retention_rules: RetentionRules::default(),
            erase_within: Duration::from_secs(3600),
            retention_catch_up: Duration::from_secs(24 * 3600),
            durability: Durability::Commit,
            boot_id: [0; 16],
            scrub_rate: 1 << 20,
            reports: Reports::default(),
            on_damage: OnDamage::Stop,
        }
    }
}

/// The log in a folder. Two threads take turns to write what waits and to sync it; readers read by
/// position beside them.
pub struct FileLog<D: Disk = RealDisk> {
    shared: Arc<Shared>,
    pub(super) shelf: Arc<Shelf<D::File>>,
    epochs: EpochPlaces,
    lookup: Arc<Lookup<D>>,
    seekers: Seekers,
    pub(super) visibility: Arc<Visibility>,
    eraser: Arc<Eraser<D>>,
    segment_bytes: u64,
    append_queue_bytes: usize,
    run: Arc<Run<D>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    keeping: Background,
    nudge: Nudge,
    /// None where nothing is checked.
    scrubbing: Option<Background>,
    scrubbed: Arc<Mutex<Scrubbed>>,
    pub(super) keeper: Arc<Mutex<Keeper<D>>>,
    /// Whether the manifest says that it is closed.
    is_noted: Mutex<bool>,
    /// Given back when the threads have ended.
    _lock: Arc<D::Lock>,
}

impl<D: Disk> FileLog<D> {
    /// Opens the log in a folder, or makes one, and begins to commit.
    ///
    /// # Errors
    /// When another process has it, the folder cannot be read, or it is not what a log leaves
    /// behind.
    pub fn open(disk: D, config: &FileLogConfig, clock: Arc<dyn Clock>) -> Result<(FileLog<D>, Recovery), OpenError> {
        let lock = Arc::new(folder::lock(&disk)?);
        let fingerprints = Fingerprints::default();
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let opening = Opening {
            segment_bytes: config.segment_bytes,
            retention: Retention { bytes: config.retention_bytes, age_ms: millis(config.retention_age) },
            rules: config.retention_rules.clone(),
            erase_within: config.erase_within,
            window_ms: millis(config.idempotence_window),
            durability: config.durability,
            boot_id: config.boot_id,
            retention_catch_up: config.retention_catch_up,
            new_log_id: folder::random_log_id(),
            reports: config.reports.clone(),
            on_damage: config.on_damage,
            clock,
        };
        let Opened { committer, lookup, keeper, times, visibility, epochs, recovery } =
            open::open(disk, &opening, &fingerprints)?;
        let shelf = Arc::clone(committer.shelf());
        let shared = Arc::new(Shared::default());
        let no_thread = |source| OpenError::Io { what: "start the log's threads", source };
        let nudge = lookup.keeper().clone();
        let seekers = Seekers::start(&shared, &lookup).map_err(no_thread)?;
        let eraser = Arc::clone(keeper.sweep.eraser());
        let keeper = Arc::new(Mutex::new(keeper));
        let keeping =
            Background::start("log-keeper", nudge.clone(), turns(&keeper, &shared, &visibility)).map_err(no_thread)?;
        let scrubbed = Arc::default();
        let scrubbing = if config.scrub_rate > 0 {
            let mut scrub =
                Scrub::new(Arc::clone(&shelf), Arc::clone(&visibility), config.scrub_rate, Arc::clone(&scrubbed));
            let started = Background::start("log-scrub", Nudge::default(), move || scrub.turn());
            Some(started.map_err(no_thread)?)
        } else {
            None
        };
        match lock.note(&committer.note()) {
            // Others cannot read the folder until the next commit.
            Err(error) if lacks_room(&error) => {}
            noted => noted.map_err(|source| OpenError::Io { what: "write to the lock", source })?,
        }
        let run = Run::new(
            Arc::clone(&shared),
            committer,
            config.tail_bytes,
            times,
            Arc::clone(&visibility),
            nudge.clone(),
            Arc::clone(&lock),
        );
        let run = Arc::new(run.map_err(no_thread)?);
        let threads = Mutex::new(Vec::with_capacity(THREADS));
        let log = FileLog {
            shared,
            shelf,
            epochs,
            lookup,
            seekers,
            visibility,
            eraser,
            segment_bytes: config.segment_bytes,
            append_queue_bytes: config.append_queue_bytes,
            run,
            threads,
            keeping,
            nudge,
            scrubbing,
            scrubbed,
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

    #[cfg(test)]
    pub(super) fn visibility(&self) -> &Visibility {
        &self.visibility
    }

    /// Lets the keeper take its turn now.
    #[cfg(test)]
    pub(super) fn call_keeper(&self) {
        self.keeping.call();
    }

    fn walk<'a>(&'a self, after: HubId, wanted: Wanted<'a>) -> Option<FileCursor<'a, D::File>> {
        FileCursor::after(&self.shelf, after, wanted)
    }

    /// A walk that stands on the record with this id; none if it is not to be seen.
    fn find(&self, id: HubId) -> Result<Option<FileCursor<'_, D::File>>, ReadError> {
        let walk = id.before().and_then(|before| self.walk(before, Wanted::All));
        let Some(mut cursor) = walk else { return Ok(None) };
        let is_it = cursor.next_head()?.is_some_and(|head| head.id == id && self.visibility.hides(&head).is_none());
        Ok(is_it.then_some(cursor))
    }

    /// What is to be kept so that `what` is erased; never nothing.
    fn tombstones(&self, what: &Erase) -> Result<Vec<Tombstone>, EraseError> {
        let tombstones: Vec<Tombstone> = match what {
            Erase::Event(id) => self.find(*id)?.map(|_| Tombstone::Event(*id)).into_iter().collect(),
            Erase::PublisherId { topic, id } => {
                let walk = self.walk(HubId::ZERO, Wanted::PublisherId(id));
                let Some(mut cursor) = walk else { return Err(EraseError::NotFound) };
                let found = cursor::published(&mut cursor, topic.as_str(), id, &self.visibility)?;
                found.into_iter().map(Tombstone::Event).collect()
            }
            Erase::Topic(topic) => {
                vec![Tombstone::Topic { topic: topic.as_str().into(), through: self.shelf.head() }]
            }
        };
        if tombstones.is_empty() { Err(EraseError::NotFound) } else { Ok(tombstones) }
    }
}

/// What the keeper's thread does again and again.
fn turns<D: Disk>(
    keeper: &Arc<Mutex<Keeper<D>>>,
    shared: &Arc<Shared>,
    visibility: &Arc<Visibility>,
) -> impl FnMut() -> Duration + Send + 'static {
    let (keeper, visibility) = (Arc::clone(keeper), Arc::clone(visibility));
    let ending = Ending(Arc::clone(shared));
    move || {
        let shared = &ending.0;
        let mut keeper = keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let (pause, done) = keeper.turn();
        let mut stats = shared.stats();
        stats.index_failures = keeper.index_failures;
        stats.overwrite_failures = keeper.sweep.failures;
        if done.is_err() {
            stats.trim_failures += 1;
        }
        drop((stats, keeper));
        if visibility.has_rules() {
            shared.forget_expired();
        }
        shared.tend();
        pause
    }
}

/// Without its keeper a log would go on until the disk is full, and give out no ids beyond the floor: it takes nothing
/// any more, and says why.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        if thread::panicking() {
            let mut queue = self.0.queue();
            queue.failure.get_or_insert_with(|| "the thread panicked that removes old files of the log".to_owned());
            self.0.call(queue);
        }
    }
}

impl<D: Disk> EventLog for FileLog<D> {
    fn append(&self, events: Vec<NewEvent>, done: Done) {
        let mut array = Array::new(events, self.lookup.fingerprints());
        if let Err(error) = check_size(&array, self.segment_bytes) {
            return done(Err(error));
        }
        let is_sought = self.lookup.prepare(&mut array);
        let mut queue = self.shared.queue();
        let bytes = array.bytes_max();
        let is_full = queue.waiting_bytes > 0 && queue.waiting_bytes + bytes > self.append_queue_bytes;
        if let Some(error) = seekers::refusal(&queue).or(is_full.then_some(AppendError::Busy)) {
            drop(queue);
            return done(Err(error));
        }
        queue.waiting_bytes += bytes;
        let ticket = Ticket { bytes, done };
        if is_sought {
            drop(queue);
            return self.seekers.submit(array, ticket);
        }
        queue.push(array, ticket);
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
        let looked = match self.walk(after, Wanted::by(filter)) {
            Some(cursor) if after < head => {
                let mut cursor = cursor.with_indexes(scan_bytes_max / INDEX_SCAN_BYTES);
                let looked = cursor::read(&mut cursor, filter, &self.visibility, scan_bytes_max, visit)?;
                cursor.rests_at().map_or(looked, Looked::Stopped)
            }
            _ => Looked::Exhausted(None),
        };
        let (looked_at, at_head) = match looked {
            Looked::Stopped(id) => (id, id >= self.shelf.head()),
            Looked::Exhausted(last) => (head.max(after).max(last.unwrap_or_default()), true),
        };
        Ok(ReadEnd { looked_at, at_head, low_water: self.shelf.low_water() })
    }

    fn event(&self, id: HubId, visit: &mut dyn FnMut(&RecordView<'_>)) -> Result<bool, ReadError> {
        let Some(mut cursor) = self.find(id)? else { return Ok(false) };
        cursor::show(&mut cursor, None, &self.visibility, &mut |shown| shown.map(&mut *visit).is_ok())
    }

    fn find_publisher_id(&self, id: &str, filter: &Filter) -> Result<Option<HubId>, ReadError> {
        let Some(mut cursor) = self.walk(HubId::ZERO, Wanted::PublisherId(id)) else { return Ok(None) };
        cursor::find_publisher_id(&mut cursor, id, filter, &self.visibility)
    }

    fn place_before_last(&self, count: u64, filter: &Filter) -> Result<LastMatches, ReadError> {
        look_back::place_before_last(&self.shelf, &self.visibility, count, filter, look_back::LAST_EVENTS_MAX)
    }

    fn topics(&self, after: Option<&str>, limit: usize, filter: &Filter) -> Result<TopicPage, ReadError> {
        topics::topics(&self.shelf, &self.visibility, after, limit, filter, topics::TOPIC_LOOKS_MAX)
    }

    fn topic(&self, topic: &str, filter: &Filter) -> Result<Option<TopicSummary>, ReadError> {
        topics::topic(&self.shelf, &self.visibility, topic, filter, topics::TOPIC_LOOKS_MAX)
    }

    fn erase(&self, what: &Erase) -> Result<Erased, EraseError> {
        if self.shared.queue().is_closed {
            return Err(EraseError::Closed);
        }
        let tombstones = self.tombstones(what)?;
        self.eraser.erase(&tombstones)?;
        let (topic, events) = match what {
            Erase::Topic(topic) => (Some(topic.as_str().into()), None),
            Erase::Event(_) | Erase::PublisherId { .. } => (None, Some(tombstones.len())),
        };
        let through = tombstones.iter().map(Tombstone::through).max().unwrap_or_default();
        if !self.shared.forget_erased(topic, through) {
            return Err(EraseError::Closed);
        }
        self.shared.stats().erased += tombstones.len() as u64;
        // It finds out when it has to overwrite.
        self.nudge.call();
        Ok(Erased { events })
    }

    fn set_retention(&self, bytes: u64, age: Duration) {
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        keeper.set_retention(Retention { bytes, age_ms });
    }

    fn stats(&self) -> LogStats {
        let (waiting_bytes, turns) = {
            let queue = self.shared.queue();
            (queue.waiting_bytes as u64, queue.turns)
        };
        let (records, bytes, segments) = self.shelf.size();
        let tombstones = self.visibility.tombstones().len() as u64;
        let scrubbed = *self.scrubbed.lock().unwrap_or_else(PoisonError::into_inner);
        LogStats {
            records,
            bytes,
            segments,
            waiting_bytes,
            turns,
            tombstones,
            damaged_ranges: self.shelf.damages.count(),
            scrubbed_bytes: scrubbed.bytes,
            scrub_passes: scrubbed.passes,
            ..self.shared.stats().clone()
        }
    }

    fn is_writable(&self) -> bool {
        let queue = self.shared.queue();
        queue.failure.is_none() && !queue.is_in_trouble && !queue.is_closed
    }

    fn close(&self) {
        self.seekers.close();
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
        if let Some(scrubbing) = &self.scrubbing {
            scrubbing.stop();
        }
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
