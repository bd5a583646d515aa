//! What the tests of both logs share.

use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tidewire_topic::{BaseUrl, Matcher, MatcherSet, Pattern, Topic};

use crate::times::Moment;
use crate::{
    AppendError, Clock, Data, EVENT_BYTES, EventLog, EventType, Filter, Follower, Hidden, HubId, Met, NewEvent,
    PublisherId, RecordView, Types,
};

/// How long a test waits for another thread before it fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The randomness of a test, which is printed; `TEST_SEED` sets it.
pub(crate) fn seed(test: &str) -> u64 {
    let seed = match std::env::var("TEST_SEED") {
        Ok(text) => text.parse().expect("TEST_SEED is a number"),
        Err(_) => RandomState::new().hash_one(test),
    };
    println!("{test}: TEST_SEED={seed}");
    seed
}

/// A small generator (splitmix64).
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

/// The moment after which a test that goes round and round has failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    #[expect(clippy::disallowed_methods, reason = "a test's deadline")]
    pub(crate) fn new() -> Deadline {
        Deadline(Instant::now() + DEADLINE)
    }

    #[expect(clippy::disallowed_methods, reason = "a test's deadline")]
    pub(crate) fn has_passed(self) -> bool {
        Instant::now() > self.0
    }
}

/// Waits until something holds that another thread brings about.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Deadline::new();
    while !holds() {
        assert!(!deadline.has_passed(), "not in time: {what}");
        std::thread::yield_now();
    }
}

/// A clock that stands until it is set.
#[derive(Debug)]
pub(crate) struct TestClock {
    wall_ms: AtomicU64,
    /// What has passed.
    monotonic_ms: AtomicU64,
}

impl TestClock {
    pub(crate) fn at(now_ms: u64) -> Arc<TestClock> {
        Arc::new(TestClock { wall_ms: AtomicU64::new(now_ms), monotonic_ms: AtomicU64::new(now_ms) })
    }

    /// Sets the wall clock; time passes with it where it goes on.
    pub(crate) fn set(&self, now_ms: u64) {
        let before = self.wall_ms.swap(now_ms, Ordering::Relaxed);
        self.pass(now_ms.saturating_sub(before));
    }

    /// Sets the wall clock, and no time passes.
    pub(crate) fn jump(&self, now_ms: u64) {
        self.wall_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Lets time pass while the wall clock stands.
    pub(crate) fn pass(&self, ms: u64) {
        self.monotonic_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> u64 {
        self.wall_ms.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.monotonic_ms.load(Ordering::Relaxed))
    }
}

/// A moment by clocks that agree.
pub(crate) fn moment(now_ms: u64) -> Moment {
    Moment { now_ms, id_ms_max: u64::MAX, retention_ms: now_ms, monotonic: Duration::from_millis(now_ms) }
}

pub(crate) fn event(topics: &[&str], data: &str) -> NewEvent {
    let topics = topics.iter().map(|topic| Topic::parse(topic).expect("a topic")).collect();
    NewEvent::new(topics, &Data::Text(data.to_owned()), EVENT_BYTES).expect("an event")
}

pub(crate) fn event_with_id(topic: &str, id: &str, data: &str) -> NewEvent {
    event(&[topic], data).with_publisher_id(PublisherId::parse(id).expect("an id"))
}

pub(crate) fn event_of_type(topic: &str, event_type: &str, data: &str) -> NewEvent {
    event(&[topic], data).with_type(EventType::parse(event_type).expect("a type"))
}

/// A filter on these topics, without grants.
pub(crate) fn on(topics: &[&str]) -> Filter {
    Filter { topics: matchers(topics), types: Types::All, grants: None }
}

pub(crate) fn everything() -> Filter {
    Filter { topics: MatcherSet::any(), types: Types::All, grants: Some(MatcherSet::any()) }
}

pub(crate) fn matchers(topics: &[&str]) -> MatcherSet {
    MatcherSet::new(topics.iter().map(|topic| Matcher::parse(topic).expect("a matcher"))).expect("a set")
}

pub(crate) fn patterns(texts: &[&str]) -> MatcherSet {
    let base = BaseUrl::parse("https://hub.example").expect("a URL");
    MatcherSet::new(texts.iter().map(|text| Matcher::Pattern(Pattern::parse(text, &base).expect("a pattern"))))
        .expect("a set")
}

/// Appends without waiting.
pub(crate) fn begin_append(log: &dyn EventLog, events: Vec<NewEvent>) -> Receiver<Result<Vec<HubId>, AppendError>> {
    let (answer, answered) = mpsc::sync_channel(1);
    log.append(events, Box::new(move |result| answer.send(result).unwrap_or_default()));
    answered
}

pub(crate) fn wait<T>(answered: &Receiver<T>) -> T {
    answered.recv_timeout(DEADLINE).expect("answered in time")
}

pub(crate) fn try_append(log: &dyn EventLog, events: Vec<NewEvent>) -> Result<Vec<HubId>, AppendError> {
    wait(&begin_append(log, events))
}

pub(crate) fn append(log: &dyn EventLog, events: Vec<NewEvent>) -> Vec<HubId> {
    try_append(log, events).expect("appended")
}

/// What a test remembers of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) id: HubId,
    pub(crate) topics: Vec<String>,
    pub(crate) data: String,
}

impl Seen {
    pub(crate) fn new(record: &RecordView<'_>) -> Seen {
        let (Data::Text(data) | Data::Json(data)) = record.data();
        Seen { id: record.id, topics: record.topics().map(str::to_owned).collect(), data }
    }
}

/// A visit for which nothing may be hidden.
pub(crate) fn shown(
    mut visit: impl FnMut(&RecordView<'_>) -> ControlFlow<()>,
) -> impl FnMut(Met<'_>) -> ControlFlow<()> {
    move |met| match met {
        Met::Record(record) => visit(record),
        Met::Hidden { place, why } => panic!("{place} is {why}"),
    }
}

/// Everything that matches after a place, and in its place what is hidden.
pub(crate) fn met_after(log: &dyn EventLog, after: HubId, filter: &Filter) -> Vec<Result<Seen, (HubId, Hidden)>> {
    let mut met = Vec::new();
    let mut visit = |shown: Met<'_>| {
        met.push(match shown {
            Met::Record(record) => Ok(Seen::new(record)),
            Met::Hidden { place, why } => Err((place, why)),
        });
        ControlFlow::Continue(())
    };
    assert!(log.read(after, filter, u64::MAX, &mut visit).expect("read").at_head);
    met
}

/// Everything that matches after a place.
pub(crate) fn read_after(log: &dyn EventLog, after: HubId, filter: &Filter) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut visit = shown(|record: &RecordView<'_>| {
        seen.push(Seen::new(record));
        ControlFlow::Continue(())
    });
    let end = log.read(after, filter, u64::MAX, &mut visit).expect("read");
    drop(visit);
    assert!(end.at_head, "{end:?}");
    seen
}

pub(crate) fn read_all(log: &dyn EventLog) -> Vec<Seen> {
    read_after(log, HubId::ZERO, &everything())
}

/// The data alone.
pub(crate) fn texts(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|seen| &*seen.data).collect()
}

/// A follower that remembers, and what it remembers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Followed(Arc<Mutex<FollowedInner>>);

#[derive(Debug, Default)]
struct FollowedInner {
    begin: Option<HubId>,
    forgotten: Option<HubId>,
    groups: Vec<Vec<Seen>>,
}

impl Followed {
    pub(crate) fn follower(&self) -> Box<dyn Follower> {
        Box::new(self.clone())
    }

    pub(crate) fn begin(&self) -> Option<HubId> {
        self.inner().begin
    }

    /// The last place at or below which it was told to forget.
    pub(crate) fn forgotten(&self) -> Option<HubId> {
        self.inner().forgotten
    }

    pub(crate) fn groups(&self) -> Vec<Vec<Seen>> {
        self.inner().groups.clone()
    }

    pub(crate) fn all(&self) -> Vec<Seen> {
        self.groups().concat()
    }

    fn inner(&self) -> MutexGuard<'_, FollowedInner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower for Followed {
    fn begin(&mut self, after: HubId) {
        let mut inner = self.inner();
        assert!(inner.begin.is_none(), "begun twice");
        inner.begin = Some(after);
    }

    fn forget(&mut self, through: HubId) {
        self.inner().forgotten = Some(through);
    }

    fn committed(&mut self, group: &[RecordView<'_>]) {
        let mut inner = self.inner();
        assert!(inner.begin.is_some(), "not begun");
        inner.groups.push(group.iter().map(Seen::new).collect());
    }
}
