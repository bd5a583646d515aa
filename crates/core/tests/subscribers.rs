//! Looking at subscribers and ending them.

mod support;

use tidewire_core::{CaughtUp, ClientAddress, Limits, Owed, SLOTS_LOOKED_AT_MAX, Shard, SlotKey, StreamStart};
use tidewire_log::{EventLog, HubId, MemoryLog, SimDisk, Tail};

use support::{memory_log, publish, stream, visit};

struct World {
    log: MemoryLog<SimDisk>,
    tail: std::sync::Arc<Tail>,
    shard: Shard<()>,
}

impl World {
    fn new(tail_bytes: usize) -> World {
        let log = memory_log(16 << 20);
        let tail = std::sync::Arc::new(Tail::new(tail_bytes));
        log.follow(tail.follower());
        World { log, tail, shard: Shard::new(Limits { heartbeat_ms: 20_000, stall_ms: 120_000 }) }
    }

    fn join(&mut self, topic: &str, subject: Option<&str>, place: HubId) -> SlotKey {
        let start = StreamStart { subject: subject.map(str::to_owned), ..stream(topic, place) };
        let key = self.shard.join((), start, &self.tail, 3_500);
        self.visit(key, usize::MAX).expect("a stream begins");
        key
    }

    fn visit(&mut self, key: SlotKey, takes: usize) -> Option<String> {
        visit(&mut self.shard, key, &self.tail, takes, 0).ok()
    }

    /// Place, events and milliseconds behind, and whether it is older than the tail.
    fn stands(&mut self, key: SlotKey) -> (HubId, u64, u64, bool) {
        let page = self.shard.subscribers(0, None, &self.tail, 60_000, |(), _| ());
        let found = page.found.iter().find(|found| found.key == key).expect("it is there");
        assert_eq!(found.age_s, 57);
        (found.place, found.lag_events, found.lag_ms, found.is_older)
    }
}

#[test]
fn a_subscriber_stands_where_it_was_served_up_to() {
    let mut world = World::new(64 << 10);
    let head = world.log.head();
    let (a, b) = (world.join("a", None, head), world.join("b", None, head));
    let first = publish(&world.log, "a", "one");
    assert_eq!(world.stands(a), (head, 1, first.ms - head.ms, false));
    assert_eq!(world.stands(b), (first, 0, 0, false), "nothing is owed");
    let last = publish(&world.log, "b", "two");
    assert_eq!(world.stands(a).1, 2, "others count, since they lie between");
    world.visit(a, usize::MAX).expect("an event");
    assert_eq!(world.stands(a), (last, 0, 0, false));
    // Half an event is none.
    let whole = publish(&world.log, "a", &"x".repeat(1_000));
    world.visit(a, 500).expect("half an event");
    assert_eq!(world.stands(a).0, last);
    assert_eq!(world.stands(a).1, 1);
    world.shard.writable(a);
    world.visit(a, usize::MAX).expect("the other half");
    assert_eq!(world.stands(a), (whole, 0, 0, false));
}

#[test]
fn who_is_older_than_the_tail_is_at_least_so_far_behind() {
    let mut world = World::new(1);
    let head = world.log.head();
    let a = world.join("a", None, head);
    for n in 0..10_000 {
        publish(&world.log, "a", &format!("{n} {}", "x".repeat(1_000)));
    }
    let (place, lag_events, _, is_older) = world.stands(a);
    assert!(is_older && place < world.log.head() && (1..10_000).contains(&lag_events), "{place} {lag_events}");
}

#[test]
fn a_look_is_at_so_many_slots_and_finds_who_has_a_subject() {
    let mut world = World::new(64 << 10);
    let head = world.log.head();
    let count = SLOTS_LOOKED_AT_MAX + 500;
    let keys: Vec<SlotKey> =
        (0..count).map(|n| world.join("a", [None, Some("alice"), Some("bob")][n as usize % 3], head)).collect();
    world.shard.leave(keys[1]);
    let mut all = Vec::new();
    let mut from = Some(0);
    while let Some(slot) = from {
        let page = world.shard.subscribers(slot, None, &world.tail, 0, |(), _| ());
        assert!(page.found.len() <= SLOTS_LOOKED_AT_MAX as usize);
        all.extend(page.found.into_iter().map(|found| found.key));
        from = page.next;
    }
    assert_eq!(all, [&keys[..1], &keys[2..]].concat());
    let alices = world.shard.subscribers(0, Some("alice"), &world.tail, 0, |(), _| ());
    assert_eq!(alices.found.len(), 332);
    assert!(alices.found.iter().all(|found| found.subject.as_deref() == Some("alice")));
    let nobody = world.shard.subscribers(0, Some("carol"), &world.tail, 0, |(), _| ());
    assert!(nobody.found.is_empty() && nobody.next.is_none());
    assert_eq!(world.shard.subscribers_of("a"), u64::from(count) - 1);
    world.join("*", None, head);
    assert_eq!((world.shard.subscribers_of("a"), world.shard.subscribers_of("b")), (u64::from(count), 1));
}

#[test]
fn who_is_to_end_is_given_the_rest_of_what_is_begun_and_no_more() {
    let mut world = World::new(64 << 10);
    let head = world.log.head();
    let (idle, busy) = (world.join("a", None, head), world.join("a", None, head));
    publish(&world.log, "a", &format!("first {}", "x".repeat(1_000)));
    publish(&world.log, "a", "second");
    let begun = world.visit(busy, 500).expect("half of the first");
    assert!(world.shard.end(idle) && world.shard.end(busy));
    assert!(matches!(world.shard.owed(idle, &world.tail), Owed::End(())), "it stands between frames");
    world.shard.begin_round();
    let visits: Vec<SlotKey> = std::iter::from_fn(|| world.shard.next_visit()).collect();
    assert!(visits.contains(&idle) && !visits.contains(&busy), "its socket takes nothing");
    world.shard.writable(busy);
    let rest = world.visit(busy, usize::MAX).expect("the other half");
    assert!(begun.contains("first") && rest.ends_with("x\n\n\r\n") && !rest.contains("second"), "{rest}");
    world.shard.begin_round();
    assert!(std::iter::from_fn(|| world.shard.next_visit()).any(|key| key == busy), "it is visited again, to end");
    assert!(matches!(world.shard.owed(busy, &world.tail), Owed::End(())));
    world.shard.leave(busy);
    assert!(!world.shard.end(busy), "it is gone");
}

/// One that is caught up from the log ends like others: what a read brings after its end was asked for is cut.
#[test]
fn who_is_to_end_takes_nothing_more_of_what_was_read() {
    let mut world = World::new(1);
    let head = world.log.head();
    let a = world.join("a", None, head);
    for n in 0..10_000 {
        publish(&world.log, "a", &format!("{n} {}", "x".repeat(1_000)));
    }
    let job = |world: &mut World| match world.shard.owed(a, &world.tail) {
        Owed::CatchUp(job) => job,
        _ => panic!("it is older than the tail"),
    };
    let read = job(&mut world).read(&world.log).expect("memory can be read");
    let CaughtUp::Write(..) = world.shard.caught_up(read, &world.tail) else { panic!("there are events") };
    world.shard.wrote(a, 100, 0);
    world.shard.writable(a);
    let read = job(&mut world).read(&world.log).expect("memory can be read");
    assert!(world.shard.end(a));
    let CaughtUp::Write(bytes, ()) = world.shard.caught_up(read, &world.tail) else { panic!("the frame has a rest") };
    let bytes = bytes.to_vec();
    assert!(bytes.ends_with(b"x\n\n\r\n") && bytes.len() < 1_100, "{} bytes", bytes.len());
    world.shard.wrote(a, bytes.len(), 0);
    assert!(matches!(world.shard.owed(a, &world.tail), Owed::End(())));
}

#[test]
fn the_address_that_was_told_of_a_subscriber_is_shown_until_it_leaves() {
    let mut world = World::new(64 << 10);
    let head = world.log.head();
    let told: ClientAddress = "192.0.2.7:80".parse().expect("an address");
    let mut join = |client| {
        let start = StreamStart { client, ..stream("a", head) };
        world.shard.join((), start, &world.tail, 0)
    };
    let (first, _none, last) = (join(Some(told)), join(None), join(Some(told)));
    let shown = |world: &mut World| {
        let page = world.shard.subscribers(0, None, &world.tail, 0, |(), client| client);
        page.found.into_iter().map(|found| found.transport).collect::<Vec<_>>()
    };
    assert_eq!(shown(&mut world), [Some(told), None, Some(told)]);
    world.shard.leave(first);
    assert_eq!(shown(&mut world), [None, Some(told)], "others have it still");
    world.shard.leave(last);
    assert_eq!(shown(&mut world), [None]);
}
