use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::background::{Background, Nudge};
use crate::cursor::{self, Looked, RecordCursor, Step};
use crate::expiry::Expiry;
use crate::file::{EpochPlaces, KEEP_EVERY, folder};
use crate::idempotence::{Fingerprints, Idempotence};
use crate::record::{Extent, Head};
use crate::sequencer::{Array, Plan, Planned, Sequencer};
use crate::times::{Moment, Times};
use crate::tombstones::{Bytes, Tombstone, Tombstones};
use crate::visibility::Visibility;
use crate::{
    AppendError, Clock, Disk, Done, Erase, EraseError, Erased, EventLog, Filter, Follower, HubId, LastMatches,
    LogStats, Met, NewEvent, OnDamage, OpenError, ReadEnd, ReadError, RealDisk, RecordView, RetentionRules, Standing,
    TopicPage, TopicSummary,
};

/// How often old records are looked for.
const TRIM_EVERY: Duration = Duration::from_secs(10);

/// How many records a walk takes at once.
const WALK_RECORDS: usize = 64;

/// The limits of a memory log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryLogConfig {
    /// How much the records may take together, in bytes; 64 MiB by default. The oldest go first.
    pub memory_bytes: usize,
    /// How long a repeated publisher's id is recognised; 10 minutes by default.
    pub idempotence_window: Duration,
    /// How many publishers' ids are held for it; 1,000,000 by default, of about 100 bytes each. Of more, the
    /// oldest are forgotten early.
    pub idempotence_entries: usize,
    /// How old events become; 7 days by default.
    pub retention_age: Duration,
    /// Topics whose events become less old, and are hidden from then on; none by default.
    pub retention_rules: RetentionRules,
    /// By how much events age, at most, while no process has the folder open; 24 hours by default.
    pub retention_catch_up: Duration,
    /// What to do where the folder's manifest is damaged.
    pub on_damage: OnDamage,
}

impl Default for MemoryLogConfig {
    fn default() -> MemoryLogConfig {
        MemoryLogConfig {
            memory_bytes: 64 << 20,
            idempotence_window: Duration::from_secs(600),
            idempotence_entries: 1_000_000,
            retention_age: Duration::from_secs(7 * 24 * 3600),
            retention_rules: RetentionRules::default(),
            retention_catch_up: Duration::from_secs(24 * 3600),
            on_damage: OnDamage::Stop,
        }
    }
}

/// A log in memory: a ring of records. It forgets its events when the process ends, and not which ids it
/// has given out: those are kept in a folder.
pub struct MemoryLog<D: Disk = RealDisk> {
    inner: Arc<Mutex<Inner>>,
    visibility: Arc<Visibility>,
    fingerprints: Fingerprints,
    epochs: EpochPlaces,
    memory_bytes: usize,
    retention_age: Arc<Mutex<Duration>>,
    times: Arc<Times>,
    _keeping: Background,
    /// Given back when the thread has ended.
    _lock: D::Lock,
}

struct Inner {
    records: VecDeque<Stored>,
    bytes: usize,
    low_water: HubId,
    sequencer: Sequencer,
    follower: Option<Box<dyn Follower>>,
    visibility: Arc<Visibility>,
    /// When rules will hide what the follower was given.
    expiry: Expiry,
    stats: LogStats,
    is_closed: bool,
}

#[derive(Clone)]
struct Stored {
    id: HubId,
    /// The record; its head alone once it was erased.
    record: Arc<[u8]>,
}

impl Stored {
    fn head(&self) -> Head<'_> {
        let extent = Extent::read(&self.record).expect("encoded by the log");
        Head::read(&self.record[..extent.head_bytes]).expect("encoded by the log")
    }

    /// The record; none once it was erased.
    fn view(&self) -> Option<RecordView<'_>> {
        RecordView::read(&self.record).ok()
    }

    /// Forgets the bytes of the event. Answers how many.
    fn erase(&mut self) -> usize {
        let bytes = self.record.len();
        let extent = Extent::read(&self.record).expect("encoded by the log");
        self.record = self.record[..extent.head_bytes].into();
        bytes - self.record.len()
    }
}

impl<D: Disk> MemoryLog<D> {
    /// An empty log, whose ids lie above all that were ever given out in the folder.
    ///
    /// # Errors
    /// When another process has the folder, or it cannot be read or written.
    pub fn open(disk: D, config: &MemoryLogConfig, clock: Arc<dyn Clock>) -> Result<MemoryLog<D>, OpenError> {
        let (lock, mut ledger, times, epochs) =
            folder::open_for_memory(disk, config.retention_catch_up, config.on_damage, clock)?;
        let window_ms = u64::try_from(config.idempotence_window.as_millis()).unwrap_or(u64::MAX);
        let idempotence = Idempotence::new(window_ms, config.idempotence_entries);
        let visibility = Visibility::new(config.retention_rules.clone(), Arc::clone(&times), Tombstones::default());
        let visibility = Arc::new(visibility);
        let inner = Inner {
            records: VecDeque::new(),
            bytes: 0,
            low_water: epochs.current,
            sequencer: Sequencer::new(0, epochs.current, idempotence),
            follower: None,
            visibility: Arc::clone(&visibility),
            expiry: Expiry::default(),
            stats: LogStats::default(),
            is_closed: false,
        };
        let inner = Arc::new(Mutex::new(inner));
        let retention_age = Arc::new(Mutex::new(config.retention_age));
        let age = Arc::clone(&retention_age);
        let mut keep_at = Duration::ZERO;
        let (aging, clocks) = (Arc::clone(&inner), Arc::clone(&times));
        let turn = move || {
            let now = clocks.clock().monotonic();
            if now >= keep_at {
                keep_at = now + KEEP_EVERY;
                // Otherwise ids stay below the floor, and it is tried again.
                drop(ledger.keep_times());
            }
            let age = *age.lock().unwrap_or_else(PoisonError::into_inner);
            let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            aging.lock().unwrap_or_else(PoisonError::into_inner).age(clocks.moment().retention_ms, age_ms);
            TRIM_EVERY.min(keep_at.saturating_sub(now))
        };
        let keeping = Background::start("log-keeper", Nudge::default(), turn)
            .map_err(|source| OpenError::Io { what: "start the log's threads", source })?;
        Ok(MemoryLog {
            inner,
            visibility,
            fingerprints: Fingerprints::default(),
            epochs,
            memory_bytes: config.memory_bytes,
            retention_age,
            times,
            _keeping: keeping,
            _lock: lock,
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn walk(&self, after: HubId) -> MemoryCursor<'_, D> {
        MemoryCursor { log: self, after, taken: VecDeque::new(), current: None }
    }
}

impl Inner {
    fn append(&mut self, array: &Array, planned: &[Planned], moment: &Moment, memory_bytes: usize) -> Vec<HubId> {
        let mut group = Vec::new();
        let ids = self.sequencer.assign(array, planned, moment, |draft, sequence, id| {
            let mut record = Vec::with_capacity(draft.bytes_max());
            draft.encode(sequence, id, moment, &mut record);
            group.push(Stored { id, record: record.into() });
        });
        self.stats.commits.add(Duration::ZERO);
        self.stats.appended += group.len() as u64;
        self.bytes += group.iter().map(|stored| stored.record.len()).sum::<usize>();
        self.records.extend(group.iter().cloned());
        while self.bytes > memory_bytes && self.drop_oldest() {}
        if let Some(follower) = &mut self.follower {
            let views: Vec<RecordView<'_>> = group.iter().filter_map(Stored::view).collect();
            follower.committed(&views);
            self.expiry.note(&views, &self.visibility);
        }
        ids
    }

    /// Removes the oldest record, and moves the low-water mark. Whether there was one.
    fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.records.pop_front() else { return false };
        self.bytes -= oldest.record.len();
        self.low_water = oldest.id;
        true
    }

    /// Removes what is older than `age_ms`, and lets the follower forget what rules hide by now.
    fn age(&mut self, now_ms: u64, age_ms: u64) {
        let is_old = |stored: &Stored| now_ms.saturating_sub(stored.head().retention_ms) > age_ms;
        while self.records.front().is_some_and(is_old) && self.drop_oldest() {}
        if !self.visibility.is_clear() {
            self.visibility.change(|tombstones| tombstones.drop_below(self.low_water));
        }
        if let (Some(follower), Some(through)) = (&mut self.follower, self.expiry.due(now_ms)) {
            follower.forget(through);
        }
    }
}

impl<D: Disk> EventLog for MemoryLog<D> {
    fn append(&self, events: Vec<NewEvent>, done: Done) {
        let array = Array::new(events, &self.fingerprints);
        let answer = if array.bytes_max() > self.memory_bytes {
            Err(AppendError::TooLarge { bytes: array.bytes_max(), bytes_max: self.memory_bytes })
        } else {
            let mut inner = self.inner();
            let moment = self.times.moment();
            if inner.is_closed {
                Err(AppendError::Closed)
            } else {
                match inner.sequencer.plan(&array, &moment, &self.visibility) {
                    Plan::Repeated(ids) => {
                        inner.sequencer.note_repeated(ids.len());
                        Ok(ids)
                    }
                    Plan::Refused(error) => Err(error),
                    Plan::Append(planned) => Ok(inner.append(&array, &planned, &moment, self.memory_bytes)),
                }
            }
        };
        done(answer);
    }

    fn follow(&self, mut follower: Box<dyn Follower>) {
        let mut inner = self.inner();
        let inner = &mut *inner;
        // What precedes something that is hidden is left out as well: then what follows is without a hole.
        let hidden = inner.records.iter().rposition(|stored| self.visibility.hides(&stored.head()).is_some());
        follower.begin(hidden.map_or(inner.low_water, |hidden| inner.records[hidden].id));
        let seen = inner.records.range(hidden.map_or(0, |hidden| hidden + 1)..);
        let views: Vec<RecordView<'_>> = seen.filter_map(Stored::view).collect();
        if !views.is_empty() {
            follower.committed(&views);
            inner.expiry.note(&views, &self.visibility);
        }
        inner.follower = Some(follower);
    }

    fn head(&self) -> HubId {
        self.inner().sequencer.last_id()
    }

    fn standing(&self, place: HubId) -> Standing {
        self.epochs.standing(place, self.head())
    }

    fn low_water(&self) -> HubId {
        self.inner().low_water
    }

    fn read(
        &self,
        after: HubId,
        filter: &Filter,
        scan_bytes_max: u64,
        visit: &mut dyn FnMut(Met<'_>) -> ControlFlow<()>,
    ) -> Result<ReadEnd, ReadError> {
        let head = self.head();
        let looked = cursor::read(&mut self.walk(after), filter, &self.visibility, scan_bytes_max, visit)?;
        let (looked_at, at_head) = match looked {
            Looked::Stopped(id) => (id, id >= self.head()),
            Looked::Exhausted(last) => (head.max(after).max(last.unwrap_or_default()), true),
        };
        Ok(ReadEnd { looked_at, at_head, low_water: self.low_water() })
    }

    fn event(&self, id: HubId, visit: &mut dyn FnMut(&RecordView<'_>)) -> Result<bool, ReadError> {
        let found = {
            let inner = self.inner();
            inner.records.binary_search_by_key(&id, |stored| stored.id).ok().map(|index| inner.records[index].clone())
        };
        let Some(stored) = found.filter(|stored| self.visibility.hides(&stored.head()).is_none()) else {
            return Ok(false);
        };
        Ok(stored.view().map(|record| visit(&record)).is_some())
    }

    fn find_publisher_id(&self, id: &str, filter: &Filter) -> Result<Option<HubId>, ReadError> {
        cursor::find_publisher_id(&mut self.walk(HubId::ZERO), id, filter, &self.visibility)
    }

    fn place_before_last(&self, count: u64, filter: &Filter) -> Result<LastMatches, ReadError> {
        if count == 0 {
            return Ok(LastMatches { place: self.head(), is_cut: false });
        }
        let low_water = self.low_water();
        let matches = cursor::count(&mut self.walk(low_water), filter, &self.visibility)?;
        let place = match matches.checked_sub(count) {
            Some(skip) => cursor::place_before(&mut self.walk(low_water), low_water, skip, filter, &self.visibility)?,
            None => low_water,
        };
        Ok(LastMatches { place, is_cut: false })
    }

    fn topics(&self, after: Option<&str>, limit: usize, filter: &Filter) -> Result<TopicPage, ReadError> {
        let topics = cursor::topics(&mut self.walk(HubId::ZERO), after, limit, filter, &self.visibility)?;
        let next = topics.last().filter(|_| topics.len() == limit).map(|last| last.topic.clone());
        Ok(TopicPage { topics, next })
    }

    fn topic(&self, topic: &str, filter: &Filter) -> Result<Option<TopicSummary>, ReadError> {
        cursor::topic(&mut self.walk(HubId::ZERO), topic, filter, &self.visibility)
    }

    fn erase(&self, what: &Erase) -> Result<Erased, EraseError> {
        let found = match what {
            Erase::Event(id) => Some(self.event(*id, &mut |_| {})?.then_some(*id).into_iter().collect()),
            Erase::PublisherId { topic, id } => {
                Some(cursor::published(&mut self.walk(HubId::ZERO), topic.as_str(), id, &self.visibility)?)
            }
            Erase::Topic(_) => None,
        };
        if found.as_ref().is_some_and(Vec::is_empty) {
            return Err(EraseError::NotFound);
        }
        let events = found.as_ref().map(Vec::len);
        let mut inner = self.inner();
        let inner = &mut *inner;
        if inner.is_closed {
            return Err(EraseError::Closed);
        }
        let through = inner.sequencer.last_id();
        let tombstones: Vec<Tombstone> = match (what, found) {
            (Erase::Topic(topic), _) => vec![Tombstone::Topic { topic: topic.as_str().into(), through }],
            (_, found) => found.into_iter().flatten().map(Tombstone::Event).collect(),
        };
        if !self.visibility.tombstones().have_room_for(&tombstones) {
            return Err(EraseError::TooMany);
        }
        self.visibility.change(|kept| tombstones.iter().for_each(|tombstone| kept.put(tombstone, Bytes::Overwritten)));
        let mut erased = Tombstones::default();
        tombstones.iter().for_each(|tombstone| erased.put(tombstone, Bytes::Overwritten));
        for stored in inner.records.iter_mut() {
            if erased.cover(&stored.head()) {
                inner.bytes -= stored.erase();
            }
        }
        if let Some(follower) = &mut inner.follower {
            match what {
                Erase::Topic(topic) => follower.forget_topic(topic.as_str(), through),
                _ => tombstones.iter().map(Tombstone::through).max().into_iter().for_each(|id| follower.forget(id)),
            }
        }
        inner.stats.erased += tombstones.len() as u64;
        Ok(Erased { events })
    }

    fn set_retention(&self, _: u64, age: Duration) {
        *self.retention_age.lock().unwrap_or_else(PoisonError::into_inner) = age;
    }

    fn stats(&self) -> LogStats {
        let inner = self.inner();
        LogStats {
            records: inner.records.len() as u64,
            bytes: inner.bytes as u64,
            tombstones: self.visibility.tombstones().len() as u64,
            repeated: inner.sequencer.repeated,
            idempotence_entries: inner.sequencer.idempotence.len() as u64,
            idempotence_evictions: inner.sequencer.idempotence.evictions,
            ..inner.stats.clone()
        }
    }

    fn is_writable(&self) -> bool {
        !self.inner().is_closed
    }

    fn close(&self) {
        self.inner().is_closed = true;
    }
}

/// A walk over the ring. It takes some records at a time, so that nothing waits for who looks at
/// them.
struct MemoryCursor<'a, D: Disk> {
    log: &'a MemoryLog<D>,
    after: HubId,
    taken: VecDeque<Stored>,
    current: Option<Stored>,
}

impl<D: Disk> RecordCursor for MemoryCursor<'_, D> {
    fn advance(&mut self) -> Result<Option<Step>, ReadError> {
        if self.taken.is_empty() {
            let inner = self.log.inner();
            let next = inner.records.partition_point(|stored| stored.id <= self.after);
            self.taken = inner.records.range(next..).take(WALK_RECORDS).cloned().collect();
        }
        self.current = self.taken.pop_front();
        let Some(stored) = &self.current else { return Ok(None) };
        self.after = stored.id;
        Ok(Some(Step::Record))
    }

    fn head(&mut self) -> Result<Head<'_>, ReadError> {
        Ok(self.current.as_ref().expect("the cursor stands on a record").head())
    }

    fn record(&mut self) -> Result<Option<RecordView<'_>>, ReadError> {
        Ok(self.current.as_ref().expect("the cursor stands on a record").view())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SimDisk;
    use crate::conformance::{BEGINNING, Setup, conformance};
    use crate::hiding_tests::{conformance_of_hiding, rules};
    use crate::testing::{TestClock, append, event, event_with_id};

    fn make(setup: &Setup) -> Box<dyn EventLog> {
        open(setup, SimDisk::default())
    }

    fn open(setup: &Setup, disk: SimDisk) -> Box<dyn EventLog> {
        let config = MemoryLogConfig {
            memory_bytes: setup.retained_bytes,
            idempotence_window: setup.window,
            retention_rules: setup.rules.clone(),
            ..MemoryLogConfig::default()
        };
        let clock = Arc::clone(&setup.clock) as Arc<dyn Clock>;
        Box::new(MemoryLog::open(disk, &config, clock).expect("opened"))
    }

    conformance!(make);
    conformance_of_hiding!(make);

    #[test]
    fn what_is_seen_is_what_the_model_says() {
        crate::hiding_model::run(open, false);
    }

    #[test]
    fn age_removes_the_oldest_and_what_rules_hide_leaves_the_tail() {
        let setup = Setup { rules: rules(&[("/brief/*", 5)]), ..Setup::default() };
        let config = MemoryLogConfig { retention_rules: setup.rules.clone(), ..MemoryLogConfig::default() };
        let clock = Arc::clone(&setup.clock) as Arc<dyn Clock>;
        let log = MemoryLog::open(SimDisk::default(), &config, clock).expect("opened");
        let tail = Arc::new(crate::Tail::new(1 << 20));
        log.follow(tail.follower());
        let mut ids = append(&log, vec![event(&["/brief/1"], "1"), event(&["t"], "2")]);
        setup.clock.set(BEGINNING + 2_000);
        ids.extend(append(&log, vec![event(&["t"], "3")]));
        log.inner().age(BEGINNING + 5_000, 6_000);
        assert_eq!(tail.read().before().1, log.low_water(), "nothing is too old");
        log.inner().age(BEGINNING + 5_001, 6_000);
        assert_eq!((tail.read().before().1, log.low_water()), (ids[0], HubId { ms: BEGINNING, seq: 0 }));
        log.inner().age(BEGINNING + 6_001, 6_000);
        assert_eq!((log.low_water(), log.stats().records), (ids[1], 1));
    }

    #[test]
    fn one_id_more_than_the_entries_lets_the_oldest_go() {
        let config = MemoryLogConfig { idempotence_entries: 3, ..MemoryLogConfig::default() };
        let log = MemoryLog::open(SimDisk::default(), &config, TestClock::at(1_000_000)).expect("opened");
        for n in 0..3 {
            append(&log, vec![event_with_id("t", &format!("x{n}"), "1")]);
        }
        assert_eq!(log.stats().idempotence_evictions, 0);
        append(&log, vec![event_with_id("t", "x0", "1"), event_with_id("t", "x3", "1")]);
        let stats = log.stats();
        assert_eq!((stats.idempotence_entries, stats.idempotence_evictions, stats.records), (3, 1, 4));
        append(&log, vec![event_with_id("t", "x0", "1")]);
        assert_eq!(log.stats().records, 5, "the oldest is forgotten");
    }
    conformance!(make, ids_and_times_are_those_of_the_clock);
}
