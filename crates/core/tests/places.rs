//! Regressions: places that lie ahead of the tail or behind the log, and what must be told of them.

mod support;

use std::ops::ControlFlow;
use std::sync::{Arc, mpsc};

use support::{StandingClock, memory_log, publish, stream, visit};
use tidewire_core::{CatchUp, CaughtUp, Cursor, GapReason, Heartbeat, Limits, Shard, Start};
use tidewire_log::{
    Data, Done, Erase, EraseError, Erased, EventLog, FileLog, FileLogConfig, Filter, Follower, HubId, LastMatches,
    LogStats, MemoryLog, MemoryLogConfig, Met, NewEvent, ReadEnd, ReadError, RecordView, SimDisk, Standing, Tail,
    TopicPage, TopicSummary, Types,
};
use tidewire_topic::Topic;

/// The data of an event of which a tail of one byte holds one and a log of 600,000 bytes two, in bytes.
const LARGE: usize = 200_000;
const LIMITS: Limits = Limits { heartbeat_ms: 20_000, stall_ms: 120_000 };

fn caught_up(shard: &mut Shard<()>, job: &CatchUp, log: &dyn EventLog, tail: &Tail) -> String {
    let key = job.key();
    let bytes = match shard.caught_up(job.read(log).expect("memory can be read"), tail) {
        CaughtUp::Write(bytes, ()) => bytes.to_vec(),
        _ => return String::new(),
    };
    shard.wrote(key, bytes.len(), 0);
    String::from_utf8(bytes).expect("text")
}

/// The story: the log had committed an event that its tail had not been given yet. A reader who had that
/// event (it had caught up from the log, which is ahead) went on from the tail's head, and was given
/// it a second time when the tail had come so far.
#[test]
fn a_reader_ahead_of_the_tail_gets_nothing_twice() {
    for topic in ["a", "*"] {
        let log = memory_log(1 << 20);
        let tail = Arc::new(Tail::new(1 << 20));
        publish(&log, "a", "first");
        let seen = publish(&log, "a", "second");
        let mut shard = Shard::new(LIMITS);
        let key = shard.join((), stream(topic, seen), &tail, 0);
        let begin = visit(&mut shard, key, &tail, usize::MAX, 0).expect("it begins");
        assert!(begin.contains(&format!("id: {seen}\nevent: tidewire.checkpoint\n")), "{begin:?}");
        log.follow(tail.follower());
        assert!(visit(&mut shard, key, &tail, usize::MAX, 0).is_err(), "the reader has both");
        let third = publish(&log, "a", "third");
        let rest = visit(&mut shard, key, &tail, usize::MAX, 0).expect("the third");
        assert!(rest.contains(&format!("id: {third}\n")) && rest.matches("id: ").count() == 1, "{rest:?}");
    }
}

/// A log that removes records between two questions of one reader.
struct Hasty(MemoryLog<SimDisk>);

impl EventLog for Hasty {
    fn event(&self, id: HubId, visit: &mut dyn FnMut(&RecordView<'_>)) -> Result<bool, ReadError> {
        let found = self.0.event(id, visit);
        for _ in 0..1_000 {
            publish(&self.0, "a", &"x".repeat(1_000));
        }
        found
    }

    fn append(&self, events: Vec<NewEvent>, done: Done) {
        self.0.append(events, done);
    }
    fn follow(&self, follower: Box<dyn Follower>) {
        self.0.follow(follower);
    }
    fn head(&self) -> HubId {
        self.0.head()
    }
    fn standing(&self, place: HubId) -> Standing {
        self.0.standing(place)
    }
    fn low_water(&self) -> HubId {
        self.0.low_water()
    }
    fn read(
        &self,
        after: HubId,
        filter: &Filter,
        scan_bytes_max: u64,
        visit: &mut dyn FnMut(Met<'_>) -> ControlFlow<()>,
    ) -> Result<ReadEnd, ReadError> {
        self.0.read(after, filter, scan_bytes_max, visit)
    }
    fn find_publisher_id(&self, id: &str, filter: &Filter) -> Result<Option<HubId>, ReadError> {
        self.0.find_publisher_id(id, filter)
    }
    fn place_before_last(&self, count: u64, filter: &Filter) -> Result<LastMatches, ReadError> {
        self.0.place_before_last(count, filter)
    }
    fn topics(&self, after: Option<&str>, limit: usize, filter: &Filter) -> Result<TopicPage, ReadError> {
        self.0.topics(after, limit, filter)
    }
    fn topic(&self, topic: &str, filter: &Filter) -> Result<Option<TopicSummary>, ReadError> {
        self.0.topic(topic, filter)
    }
    fn erase(&self, what: &Erase) -> Result<Erased, EraseError> {
        self.0.erase(what)
    }
    fn stats(&self) -> LogStats {
        self.0.stats()
    }
    fn is_writable(&self) -> bool {
        self.0.is_writable()
    }
    fn close(&self) {
        self.0.close();
    }
}

/// The story: a slow reader had half of a frame. Its rest was read from the log, then retention removed
/// the events that follow it, then what lies after the frame was read: later events. All of it went out
/// in one write, and no gap was told of those between.
#[test]
fn what_expires_while_the_rest_of_a_frame_is_read_is_told() {
    let log = Hasty(memory_log(600_000));
    let tail = Arc::new(Tail::new(1));
    log.follow(tail.follower());
    let mut shard = Shard::new(LIMITS);
    let key = shard.join((), stream("a", log.head()), &tail, 0);
    visit(&mut shard, key, &tail, usize::MAX, 0).expect("it begins");
    let torn = publish(&log, "a", "torn");
    visit(&mut shard, key, &tail, 10, 0).expect("a piece of the frame");
    for _ in 0..2 {
        publish(&log, "a", &"x".repeat(LARGE));
    }
    shard.writable(key);
    let Err(Some(job)) = visit(&mut shard, key, &tail, usize::MAX, 0) else { panic!("the frame has left the tail") };
    let rest = caught_up(&mut shard, &job, &log, &tail);
    assert!(log.low_water() > torn, "nothing has expired");
    assert!(!rest.contains("id: "), "events follow the rest of the frame: {rest:?}");
    let Err(Some(job)) = visit(&mut shard, key, &tail, usize::MAX, 0) else { panic!("it needs the log") };
    caught_up(&mut shard, &job, &log, &tail);
    let told = visit(&mut shard, key, &tail, usize::MAX, 0).expect("a gap");
    assert!(told.contains("event: tidewire.gap\n") && told.contains(r#""reason":"expired""#), "{told:?}");
}

fn on_disk(disk: &SimDisk) -> MemoryLog<SimDisk> {
    MemoryLog::open(disk.clone(), &MemoryLogConfig::default(), Arc::new(StandingClock)).expect("opened")
}

fn resolve(cursor: &Cursor, log: &dyn EventLog) -> Start {
    let tail = Arc::new(Tail::new(1 << 20));
    log.follow(tail.follower());
    cursor.resolve(log, &tail, &stream("*", HubId::ZERO).filter).expect("memory can be read")
}

/// A log in memory had a reader at its first event when it was restarted; the events behind that one are
/// lost, and an id alone does not tell whether there were any.
#[test]
fn a_place_in_an_epoch_that_is_over_is_told_and_nothing_that_is_there_is_passed_over() {
    let disk = SimDisk::default();
    let earlier = on_disk(&disk);
    let last_seen = publish(&earlier, "a", "seen");
    publish(&earlier, "a", "lost");
    drop(earlier);
    let log = on_disk(&disk);
    let begin = log.head();
    let first = publish(&log, "a", "after the restart");
    let start = resolve(&Cursor::After(last_seen), &log);
    let gap = start.gap.expect("a gap");
    assert_eq!((gap.reason, gap.requested), (GapReason::Epoch, last_seen.to_string()));
    assert!(start.place < first, "the event after the restart is owed");

    assert_eq!(resolve(&Cursor::After(begin), &log), Start { place: begin, gap: None }, "nothing is lost behind it");
    for foreign in [HubId { ms: 1, seq: 0 }, HubId { ms: u64::MAX, seq: 0 }] {
        let start = resolve(&Cursor::After(foreign), &log);
        assert_eq!(start.gap.map(|gap| gap.reason), Some(GapReason::Epoch));
        assert_eq!(start.place, log.low_water());
    }
}

/// The tail had not been given the newest events yet, which the log had committed: a reader that came back with one of them
/// would have been told that this log had never given out its id.
#[test]
fn a_place_above_the_tails_head_is_compared_with_the_logs_own() {
    let log = memory_log(1 << 20);
    let tail = Tail::new(1 << 20);
    let first = publish(&log, "a", "first");
    let second = publish(&log, "a", "second");
    assert!(tail.read().head().1 < first, "the tail has nothing yet");
    let everything = stream("*", HubId::ZERO).filter;
    for place in [first, second] {
        let start = Cursor::After(place).resolve(&log, &tail, &everything).expect("memory can be read");
        assert_eq!(start, Start { place, gap: None }, "the reader waits");
    }
    let beyond = HubId { seq: second.seq + 1, ..second };
    let start = Cursor::After(beyond).resolve(&log, &tail, &everything).expect("memory can be read");
    assert_eq!(start.gap.map(|gap| gap.reason), Some(GapReason::Epoch));
}

/// The bytes that one subscriber was given serve the next one of its group as well. They were used again after
/// what they hold had been erased.
#[test]
fn what_was_copied_for_another_reader_is_not_shown_once_it_is_erased() {
    let log = memory_log(1 << 20);
    let tail = Arc::new(Tail::new(1 << 20));
    log.follow(tail.follower());
    let mut shard = Shard::new(LIMITS);
    let keys = [(); 2].map(|()| shard.join((), stream("a", log.head()), &tail, 0));
    for key in keys {
        visit(&mut shard, key, &tail, usize::MAX, 0).expect("it begins");
    }
    let id = publish(&log, "a", "secret");
    assert!(visit(&mut shard, keys[0], &tail, usize::MAX, 0).expect("the event").contains("secret"));
    log.erase(&Erase::Event(id)).expect("erased");
    let Err(Some(job)) = visit(&mut shard, keys[1], &tail, usize::MAX, 0) else { panic!("it needs the log") };
    caught_up(&mut shard, &job, &log, &tail);
    let told = visit(&mut shard, keys[1], &tail, usize::MAX, 0).expect("a gap");
    assert!(told.contains(r#""reason":"erased""#) && !told.contains("secret"), "{told:?}");
}

/// A pool had read an event from the log for a reader when it was erased. The read was handed over after the erasing
/// had been answered, and the reader was given the event.
#[test]
fn what_was_read_from_the_log_is_not_shown_once_it_is_erased() {
    let log = memory_log(1 << 20);
    let tail = Arc::new(Tail::new(1));
    let place = log.head();
    let id = publish(&log, "a", "secret");
    publish(&log, "b", &"x".repeat(LARGE));
    publish(&log, "b", &"x".repeat(LARGE));
    log.follow(tail.follower());
    let mut shard = Shard::new(LIMITS);
    let key = shard.join((), stream("a", place), &tail, 0);
    visit(&mut shard, key, &tail, usize::MAX, 0).expect("it begins");
    let Err(Some(job)) = visit(&mut shard, key, &tail, usize::MAX, 0) else { panic!("it needs the log") };
    let read = job.read(&log).expect("memory can be read");
    log.erase(&Erase::Event(id)).expect("erased");
    assert!(matches!(shard.caught_up(read, &tail), CaughtUp::Nothing), "it is read again");
    assert!(shard.has_work());
    let Err(Some(job)) = visit(&mut shard, key, &tail, usize::MAX, 0) else { panic!("it needs the log") };
    assert_eq!(caught_up(&mut shard, &job, &log, &tail), "");
    let told = visit(&mut shard, key, &tail, usize::MAX, 0).expect("a gap");
    assert!(told.contains(r#""reason":"erased""#) && !told.contains("secret"), "{told:?}");
}

/// The story: a read waited for its turn, and something was erased meanwhile, of another topic. What was read then, and
/// could not hold what had been erased before, was thrown away: as long as somebody erased, nobody caught up.
#[test]
fn a_read_that_begins_after_an_erasure_is_not_thrown_away_for_it() {
    let log = memory_log(1 << 20);
    let tail = Arc::new(Tail::new(1));
    let place = log.head();
    publish(&log, "a", "wanted");
    let secret = publish(&log, "a", "secret");
    for _ in 0..2 {
        publish(&log, "b", &"x".repeat(LARGE));
    }
    log.follow(tail.follower());
    let mut shard = Shard::new(LIMITS);
    let key = shard.join((), stream("a", place), &tail, 0);
    visit(&mut shard, key, &tail, usize::MAX, 0).expect("it begins");
    let Err(Some(job)) = visit(&mut shard, key, &tail, usize::MAX, 0) else { panic!("it needs the log") };
    log.erase(&Erase::Event(secret)).expect("erased");
    let read = caught_up(&mut shard, &job, &log, &tail);
    assert!(read.contains("data: wanted\n") && !read.contains("secret"), "{read:?}");
}

/// A read looks at 8 MiB of the log and no more, so that others have their turn; how far it came is told by the next
/// heartbeat, or else whoever resumes after it has all of it read again.
#[test]
fn a_read_that_finds_nothing_ends_and_its_place_is_told() {
    let log = memory_log(64 << 20);
    let tail = Arc::new(Tail::new(1));
    let begin = log.head();
    log.follow(tail.follower());
    for _ in 0..100 {
        publish(&log, "b", &"x".repeat(LARGE));
    }
    let mut shard = Shard::new(LIMITS);
    let key = shard.join((), stream("a", begin), &tail, 0);
    visit(&mut shard, key, &tail, usize::MAX, 0).expect("it begins");
    let Err(Some(job)) = visit(&mut shard, key, &tail, usize::MAX, 0) else { panic!("it needs the log") };
    assert_eq!(caught_up(&mut shard, &job, &log, &tail), "");
    let mut due = Vec::new();
    shard.look(0, 1, 10_000, &mut due);
    assert_eq!(due, [Heartbeat::Visit(key)]);
    let told = visit(&mut shard, key, &tail, usize::MAX, 10_000).expect("a heartbeat");
    let id = told.lines().find_map(|line| line.strip_prefix("id: ")).unwrap_or_else(|| panic!("no place in {told:?}"));
    let id: HubId = id.parse().expect("an id");
    assert!(told.contains("event: tidewire.checkpoint\n") && id > begin && id < log.head(), "{told:?}");
    let mut reads = 1;
    while let Err(Some(job)) = visit(&mut shard, key, &tail, usize::MAX, 10_000) {
        reads += 1;
        caught_up(&mut shard, &job, &log, &tail);
    }
    assert_eq!(reads, 3, "of 20 MB");
}

/// What is erased in one place and is met by two reads is one gap to whoever reads it.
#[test]
fn a_gap_that_goes_on_in_the_next_read_is_not_told_again() {
    let log = memory_log(64 << 20);
    let tail = Arc::new(Tail::new(1));
    let begin = log.head();
    log.follow(tail.follower());
    let erased = [(); 2].map(|()| {
        let id = publish(&log, "a", "secret");
        (0..50).for_each(|_| _ = publish(&log, "b", &"x".repeat(LARGE)));
        id
    });
    let mut shard = Shard::new(LIMITS);
    let key = shard.join((), stream("a", begin), &tail, 0);
    visit(&mut shard, key, &tail, usize::MAX, 0).expect("it begins");
    for id in erased {
        log.erase(&Erase::Event(id)).expect("erased");
    }
    let last = publish(&log, "a", "seen");
    let mut told = String::new();
    let mut reads = 0;
    while !told.contains(&format!("id: {last}\n")) {
        match visit(&mut shard, key, &tail, usize::MAX, 0) {
            Ok(bytes) => told.push_str(&bytes),
            Err(Some(job)) => {
                reads += 1;
                told.push_str(&caught_up(&mut shard, &job, &log, &tail));
            }
            Err(None) => panic!("the last event is owed after {told:?}"),
        }
    }
    assert!(reads >= 2, "{reads} reads");
    assert_eq!(told.matches("event: tidewire.gap\n").count(), 1, "{told:?}");
    assert_eq!(shard.gaps_told()[GapReason::Erased.index()], 1);
}

/// Whoever came back to a topic whose events lie far apart got the first of them once 64 KiB of them had been found: on a
/// cold disk, four hundred reads later.
#[test]
fn the_first_events_from_the_log_do_not_wait_for_many_others() {
    let log = memory_log(10 << 20);
    let begin = log.head();
    let tail = Arc::new(Tail::new(1));
    log.follow(tail.follower());
    let count = 3000;
    for n in 0..count {
        publish(&log, "a", &format!("event {n} {}", "x".repeat(200)));
    }
    let mut shard = Shard::new(LIMITS);
    let key = shard.join((), stream("a", begin), &tail, 0);
    visit(&mut shard, key, &tail, usize::MAX, 0).expect("it begins");
    let mut visits: Vec<String> = Vec::new();
    while let Err(Some(job)) = visit(&mut shard, key, &tail, usize::MAX, 0) {
        visits.push(caught_up(&mut shard, &job, &log, &tail));
    }
    let lengths: Vec<usize> = visits.iter().map(String::len).collect();
    assert!((1024..1300).contains(&lengths[0]), "{lengths:?}");
    assert!(lengths.windows(2).take(5).all(|pair| pair[1] >= 2 * pair[0] - 500), "{lengths:?}");
    assert!(lengths.iter().any(|&length| length > 60_000), "{lengths:?}");
    // What comes last comes from the tail.
    let told = visits.concat();
    let seen = told.matches("data: event").count();
    assert!(seen > 1000 && (0..seen).all(|n| told.matches(&format!("data: event {n} ")).count() == 1));
}

/// More than a hundred thousand records are not looked at for the last one of a kind: the stream begins behind them, and
/// says so.
#[test]
fn where_the_last_events_lie_too_far_back_a_gap_says_so() {
    let log = FileLog::open(SimDisk::default(), &FileLogConfig::default(), Arc::new(StandingClock)).expect("opened").0;
    publish(&log, "rare", "too far back");
    let often = Topic::parse("often").expect("a topic");
    for _ in 0..101 {
        let event = || NewEvent::new(vec![often.clone()], &Data::Text(String::new()), 1 << 20).expect("an event");
        let (answer, answered) = mpsc::sync_channel(1);
        log.append((0..1000).map(|_| event()).collect(), Box::new(move |done| answer.send(done).unwrap_or_default()));
        answered.recv().expect("answered").expect("appended");
    }
    let absent = Filter { types: Types::new(vec!["absent".into()]), ..stream("*", HubId::ZERO).filter };
    let tail = Tail::new(1);
    let start = Cursor::Last(1).resolve(&log, &tail, &absent).expect("read");
    let gap = start.gap.expect("a gap");
    assert_eq!((gap.requested.as_str(), gap.reason), ("-1", GapReason::Limit));
    assert!(start.place > log.low_water() && start.place < log.head());
    let start = Cursor::Last(1).resolve(&log, &tail, &stream("rare", HubId::ZERO).filter).expect("read");
    assert_eq!((start.gap, start.place), (None, log.low_water()), "by its topic it is found");
}
