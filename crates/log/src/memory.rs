use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cursor::{self, Looked, RecordCursor};
use crate::idempotence::{Fingerprints, Idempotence};
use crate::record::{Extent, Head};
use crate::sequencer::{Array, Plan, Planned, Sequencer};
use crate::{
    AppendError, Clock, Done, EventLog, Filter, Follower, HubId, LogStats, NewEvent, ReadEnd, ReadError, RecordView,
    TopicSummary,
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
}

impl Default for MemoryLogConfig {
    fn default() -> MemoryLogConfig {
        MemoryLogConfig {
            memory_bytes: 64 << 20,
            idempotence_window: Duration::from_secs(600),
            idempotence_entries: 1_000_000,
        }
    }
}

/// A log in memory: a ring of records. It forgets everything when the process ends.
pub struct MemoryLog {
    inner: Mutex<Inner>,
    fingerprints: Fingerprints,
    first_place: HubId,
    memory_bytes: usize,
    clock: Arc<dyn Clock>,
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

impl MemoryLog {
    /// An empty log, whose ids begin above the time it is.
    #[must_use]
    pub fn new(config: &MemoryLogConfig, clock: Arc<dyn Clock>) -> MemoryLog {
        let first_place = HubId { ms: clock.now_ms(), seq: 0 };
        let window_ms = u64::try_from(config.idempotence_window.as_millis()).unwrap_or(u64::MAX);
        let idempotence = Idempotence::new(window_ms, config.idempotence_entries);
        let inner = Inner {
            records: VecDeque::new(),
            bytes: 0,
            low_water: first_place,
            sequencer: Sequencer::new(0, first_place, idempotence),
            follower: None,
            stats: LogStats::default(),
            is_closed: false,
        };
        MemoryLog {
            inner: Mutex::new(inner),
            fingerprints: Fingerprints::default(),
            first_place,
            memory_bytes: config.memory_bytes,
            clock,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn walk(&self, after: HubId) -> MemoryCursor<'_> {
        MemoryCursor { log: self, after, taken: VecDeque::new(), current: None }
    }
}

impl Inner {
    fn append(&mut self, array: &Array, planned: &[Planned], now_ms: u64, memory_bytes: usize) -> Vec<HubId> {
        let mut group = Vec::new();
        let ids = self.sequencer.assign(array, planned, now_ms, |draft, sequence, id| {
            let mut record = Vec::with_capacity(draft.bytes_max());
            draft.encode(sequence, id, now_ms, &mut record);
            group.push(Stored { id, record: record.into() });
        });
        self.stats.count_commit(0);
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

impl EventLog for MemoryLog {
    fn append(&self, events: Vec<NewEvent>, done: Done) {
        let array = Array::new(events, &self.fingerprints);
        let answer = if array.bytes_max() > self.memory_bytes {
            Err(AppendError::TooLarge { bytes: array.bytes_max(), bytes_max: self.memory_bytes })
        } else {
            let mut inner = self.inner();
            let now_ms = self.clock.now_ms();
            if inner.is_closed {
                Err(AppendError::Closed)
            } else {
                match inner.sequencer.plan(&array, now_ms) {
                    Plan::Repeated(ids) => {
                        inner.sequencer.note_repeated(ids.len());
                        Ok(ids)
                    }
                    Plan::Refused(error) => Err(error),
                    Plan::Append(planned) => Ok(inner.append(&array, &planned, now_ms, self.memory_bytes)),
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

    fn first_place(&self) -> HubId {
        self.first_place
    }

    fn low_water(&self) -> HubId {
        self.inner().low_water
    }

    fn read(
        &self,
        after: HubId,
        filter: &Filter,
        scan_bytes_max: u64,
        visit: &mut dyn FnMut(&RecordView<'_>) -> ControlFlow<()>,
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
struct MemoryCursor<'a> {
    log: &'a MemoryLog,
    after: HubId,
    taken: VecDeque<Stored>,
    current: Option<Stored>,
}

impl RecordCursor for MemoryCursor<'_> {
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
    use crate::conformance::{Setup, conformance};

    fn make(setup: &Setup) -> Box<dyn EventLog> {
        let config = MemoryLogConfig {
            memory_bytes: setup.retained_bytes,
            idempotence_window: setup.window,
            idempotence_entries: setup.entries,
        };
        Box::new(MemoryLog::new(&config, Arc::clone(&setup.clock) as Arc<dyn Clock>))
    }

    conformance!(make);
}
