use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::background::{Background, Nudge};
use crate::cursor::{self, Looked, RecordCursor};
use crate::file::{EpochPlaces, KEEP_EVERY, folder};
use crate::idempotence::{Fingerprints, Idempotence};
use crate::record::{Extent, Head};
use crate::sequencer::{Array, Plan, Planned, Sequencer};
use crate::times::{Moment, Times};
use crate::{
    AppendError, Clock, Disk, Done, EventLog, Filter, Follower, HubId, LogStats, Met, NewEvent, OpenError, ReadEnd,
    ReadError, RealDisk, RecordView, Standing, TopicSummary,
};

/// How many records a walk takes at once.
const WALK_RECORDS: usize = 64;

/// The limits of a memory log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryLogConfig {
    /// How much the records may take together, in bytes; 64 MiB by default. The oldest go first.
    pub memory_bytes: usize,
    /// How long a repeated publisher's id is recognised; 10 minutes by default.
    pub idempotence_window: Duration,
    /// How many publishers' ids are held for it; 1,000,000 by default, of about 100 bytes each.
    pub idempotence_entries: usize,
    /// By how much events age, at most, while no process has the folder open; 24 hours by default.
    pub retention_catch_up: Duration,
}

impl Default for MemoryLogConfig {
    fn default() -> MemoryLogConfig {
        MemoryLogConfig {
            memory_bytes: 64 << 20,
            idempotence_window: Duration::from_secs(600),
            idempotence_entries: 1_000_000,
            retention_catch_up: Duration::from_secs(24 * 3600),
        }
    }
}

/// A log in memory: a ring of records. It forgets its events when the process ends, and not which ids it
/// has given out: those are kept in a folder.
pub struct MemoryLog<D: Disk = RealDisk> {
    inner: Mutex<Inner>,
    fingerprints: Fingerprints,
    epochs: EpochPlaces,
    memory_bytes: usize,
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
    stats: LogStats,
    is_closed: bool,
}

#[derive(Clone)]
struct Stored {
    id: HubId,
    record: Arc<[u8]>,
}

impl Stored {
    fn view(&self) -> RecordView<'_> {
        RecordView::read(&self.record).expect("encoded by the log")
    }
}

impl<D: Disk> MemoryLog<D> {
    /// An empty log, whose ids lie above all that were ever given out in the folder.
    ///
    /// # Errors
    /// When another process has the folder, or it cannot be read or written.
    pub fn open(disk: D, config: &MemoryLogConfig, clock: Arc<dyn Clock>) -> Result<MemoryLog<D>, OpenError> {
        let (lock, mut ledger, times, epochs) = folder::open_for_memory(disk, config.retention_catch_up, clock)?;
        let window_ms = u64::try_from(config.idempotence_window.as_millis()).unwrap_or(u64::MAX);
        let idempotence = Idempotence::new(window_ms, config.idempotence_entries);
        let inner = Inner {
            records: VecDeque::new(),
            bytes: 0,
            low_water: epochs.current,
            sequencer: Sequencer::new(0, epochs.current, idempotence),
            follower: None,
            stats: LogStats::default(),
            is_closed: false,
        };
        let turn = move || {
            // Otherwise ids stay below the floor, and it is tried again.
            drop(ledger.keep_times());
            KEEP_EVERY
        };
        let keeping = Background::start("log-keeper", Nudge::default(), turn)
            .map_err(|source| OpenError::Io { what: "start the log's threads", source })?;
        Ok(MemoryLog {
            inner: Mutex::new(inner),
            fingerprints: Fingerprints::default(),
            epochs,
            memory_bytes: config.memory_bytes,
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
        while self.bytes > memory_bytes {
            let Some(oldest) = self.records.pop_front() else { break };
            self.bytes -= oldest.record.len();
            self.low_water = oldest.id;
        }
        if let Some(follower) = &mut self.follower {
            let views: Vec<RecordView<'_>> = group.iter().map(Stored::view).collect();
            follower.committed(&views);
        }
        ids
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
                match inner.sequencer.plan(&array, &moment) {
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
        follower.begin(inner.low_water);
        let views: Vec<RecordView<'_>> = inner.records.iter().map(Stored::view).collect();
        if !views.is_empty() {
            follower.committed(&views);
        }
        drop(views);
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
        let looked = cursor::read(&mut self.walk(after), filter, scan_bytes_max, visit)?;
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
        if let Some(stored) = &found {
            visit(&stored.view());
        }
        Ok(found.is_some())
    }

    fn find_publisher_id(&self, id: &str, filter: &Filter) -> Result<Option<HubId>, ReadError> {
        cursor::find_publisher_id(&mut self.walk(HubId::ZERO), id, filter)
    }

    fn place_before_last(&self, count: u64, filter: &Filter) -> Result<HubId, ReadError> {
        if count == 0 {
            return Ok(self.head());
        }
        let low_water = self.low_water();
        let matches = cursor::count(&mut self.walk(low_water), filter)?;
        match matches.checked_sub(count) {
            Some(skip) => cursor::place_before(&mut self.walk(low_water), low_water, skip, filter),
            None => Ok(low_water),
        }
    }

    fn topics(&self, after: Option<&str>, limit: usize, filter: &Filter) -> Result<Vec<TopicSummary>, ReadError> {
        cursor::topics(&mut self.walk(HubId::ZERO), after, limit, filter)
    }

    fn stats(&self) -> LogStats {
        let inner = self.inner();
        LogStats {
            records: inner.records.len() as u64,
            bytes: inner.bytes as u64,
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
    fn advance(&mut self) -> Result<Option<Head<'_>>, ReadError> {
        if self.taken.is_empty() {
            let inner = self.log.inner();
            let next = inner.records.partition_point(|stored| stored.id <= self.after);
            self.taken = inner.records.range(next..).take(WALK_RECORDS).cloned().collect();
        }
        self.current = self.taken.pop_front();
        let Some(stored) = &self.current else { return Ok(None) };
        self.after = stored.id;
        let extent = Extent::read(&stored.record).expect("encoded by the log");
        Ok(Some(Head::read(&stored.record[..extent.head_bytes]).expect("encoded by the log")))
    }

    fn record(&mut self) -> Result<RecordView<'_>, ReadError> {
        Ok(self.current.as_ref().expect("the cursor stands on a record").view())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SimDisk;
    use crate::conformance::{Setup, conformance};

    fn make(setup: &Setup) -> Box<dyn EventLog> {
        let config = MemoryLogConfig {
            memory_bytes: setup.retained_bytes,
            idempotence_window: setup.window,
            idempotence_entries: setup.entries,
            ..MemoryLogConfig::default()
        };
        let clock = Arc::clone(&setup.clock) as Arc<dyn Clock>;
        Box::new(MemoryLog::open(SimDisk::default(), &config, clock).expect("opened"))
    }

    conformance!(make);
}
