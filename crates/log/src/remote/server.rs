use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::wire::Wire;
use crate::conformance::Setup;
use crate::testing::TestClock;
use crate::{Clock, EventLog, FileLog, FileLogConfig, Follower, HubId, RecordView, SimDisk, wire_line, wire_record};

/// By how much the other machine's clock goes before this one's, in milliseconds.
const SKEW_MS: u64 = 86_400_000;

/// The other machine: it has the log, and tells every node what is committed.
pub(crate) struct Server {
    pub(super) log: FileLog<SimDisk>,
    told: Arc<Told>,
}

/// What the nodes are told, in the log's order.
#[derive(Default)]
pub(super) struct Told(Mutex<ToldInner>);

#[derive(Default)]
struct ToldInner {
    begin: HubId,
    deliveries: Vec<Arc<Delivery>>,
    wires: Vec<Arc<Wire>>,
}

/// What nodes are told at once.
pub(super) enum Delivery {
    Group(Vec<FarRecord>),
    Forget(HubId),
    ForgetTopic(String, HubId),
}

/// A record as it goes over the wire.
pub(super) struct FarRecord {
    sequence: u64,
    id: HubId,
    topics: Vec<String>,
    line: String,
}

struct SkewedClock(Arc<TestClock>);

impl Server {
    pub(crate) fn start(setup: &Setup) -> Arc<Server> {
        let config = FileLogConfig {
            segment_bytes: 16 << 10,
            retention_bytes: setup.retained_bytes as u64,
            idempotence_window: setup.window,
            retention_rules: setup.rules.clone(),
            ..FileLogConfig::default()
        };
        let clock = Arc::new(SkewedClock(Arc::clone(&setup.clock)));
        let log = FileLog::open(SimDisk::default(), &config, clock).expect("opened").0;
        let told = Arc::new(Told::default());
        log.follow(Box::new(ToldFollower(Arc::clone(&told))));
        Arc::new(Server { log, told })
    }

    pub(super) fn begin(&self) -> HubId {
        self.told.inner().begin
    }

    /// Calls this wire when there is something to tell.
    pub(super) fn watch(&self, wire: &Arc<Wire>) {
        self.told.inner().wires.push(Arc::clone(wire));
    }

    pub(super) fn unwatch(&self, wire: &Wire) {
        self.told.inner().wires.retain(|there| !std::ptr::eq(&**there, wire));
    }

    /// How many deliveries there were.
    pub(super) fn deliveries(&self) -> usize {
        self.told.inner().deliveries.len()
    }

    /// What is to be told as this number, if it was committed.
    pub(super) fn delivery(&self, number: usize) -> Option<Arc<Delivery>> {
        self.told.inner().deliveries.get(number).cloned()
    }
}

impl Told {
    fn inner(&self) -> MutexGuard<'_, ToldInner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, delivery: Delivery) {
        let wires = {
            let mut inner = self.inner();
            inner.deliveries.push(Arc::new(delivery));
            inner.wires.clone()
        };
        wires.iter().for_each(|wire| wire.call());
    }
}

struct ToldFollower(Arc<Told>);

impl Follower for ToldFollower {
    fn begin(&mut self, after: HubId) {
        self.0.inner().begin = after;
    }

    fn forget(&mut self, through: HubId) {
        self.0.add(Delivery::Forget(through));
    }

    fn forget_topic(&mut self, topic: &str, through: HubId) {
        self.0.add(Delivery::ForgetTopic(topic.to_owned(), through));
    }

    fn committed(&mut self, group: &[RecordView<'_>]) {
        self.0.add(Delivery::Group(group.iter().map(FarRecord::of).collect()));
    }
}

impl Delivery {
    pub(super) fn last_place(&self) -> Option<HubId> {
        match self {
            Delivery::Group(records) => records.last().map(|record| record.id),
            Delivery::Forget(_) | Delivery::ForgetTopic(..) => None,
        }
    }

    /// The place through which it tells to forget what was delivered before it.
    pub(super) fn forgets(&self, before: &[Arc<Delivery>]) -> Option<HubId> {
        match self {
            Delivery::Group(_) => None,
            Delivery::Forget(through) => Some(*through),
            Delivery::ForgetTopic(topic, through) => {
                before.iter().rev().find_map(|delivery| delivery.newest_on(topic)).map(|newest| newest.min(*through))
            }
        }
    }

    fn newest_on(&self, topic: &String) -> Option<HubId> {
        match self {
            Delivery::Group(records) => {
                records.iter().rfind(|record| record.topics.contains(topic)).map(|found| found.id)
            }
            Delivery::Forget(_) | Delivery::ForgetTopic(..) => None,
        }
    }

    /// Shows what lies after a place.
    pub(super) fn show(&self, after: HubId, follower: &mut dyn Follower) {
        match self {
            Delivery::Group(records) => {
                let records: Vec<Vec<u8>> =
                    records.iter().filter(|record| record.id > after).map(FarRecord::encoded).collect();
                if records.is_empty() {
                    return;
                }
                let views: Vec<RecordView<'_>> =
                    records.iter().map(|record| RecordView::read(record).expect("encoded here")).collect();
                follower.committed(&views);
            }
            Delivery::Forget(through) => follower.forget(*through),
            Delivery::ForgetTopic(topic, through) => follower.forget_topic(topic, *through),
        }
    }
}

impl FarRecord {
    pub(super) fn of(record: &RecordView<'_>) -> FarRecord {
        let topics = record.topics().map(str::to_owned).collect();
        FarRecord { sequence: record.sequence, id: record.id, topics, line: wire_line(record) }
    }

    pub(super) fn encoded(&self) -> Vec<u8> {
        wire_record(self.sequence, &self.line)
    }
}

impl Clock for SkewedClock {
    fn now_ms(&self) -> u64 {
        self.0.now_ms() + SKEW_MS
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }
}
