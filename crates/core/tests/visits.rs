//! What a visit is: how new what it writes is, how much it writes, and who is left alone.

mod support;

use std::sync::Arc;

use support::{memory_log, publish, stream, visit};
use tidewire_core::{CatchUp, CaughtUp, Heartbeat, Limits, Owed, Shard, SlotKey, VISIT_BYTES_MAX};
use tidewire_log::{EventLog, MemoryLog, SimDisk, Tail};

const LIMITS: Limits = Limits { heartbeat_ms: 20_000, stall_ms: 120_000 };

struct World {
    log: MemoryLog<SimDisk>,
    tail: Arc<Tail>,
    shard: Shard<()>,
}

impl World {
    fn new(tail_bytes: usize) -> World {
        let log = memory_log(8 << 20);
        let tail = Arc::new(Tail::new(tail_bytes));
        log.follow(tail.follower());
        World { log, tail, shard: Shard::new(LIMITS) }
    }

    /// Joins at the head, and takes everything.
    fn join(&mut self, topic: &str) -> SlotKey {
        let key = self.shard.join((), stream(topic, self.log.head()), &self.tail, 0);
        self.begin_round();
        while let Some(key) = self.shard.next_visit() {
            self.visit(key);
        }
        key
    }

    fn visit(&mut self, key: SlotKey) -> String {
        visit(&mut self.shard, key, &self.tail, usize::MAX, 0).expect("something to write")
    }

    fn begin_round(&mut self) {
        self.shard.observe(&self.tail);
        self.shard.begin_round();
    }
}

/// With the watermark fixed for a round, an event that comes while a round goes over many waits for that round and the
/// next.
#[test]
fn a_visit_writes_what_was_committed_since_its_round_began() {
    let mut world = World::new(8 << 20);
    let keys = [world.join("a"), world.join("a")];
    publish(&world.log, "a", "before");
    world.begin_round();
    let first = world.shard.next_visit().expect("it is owed something");
    assert_eq!(world.visit(first).matches("id: ").count(), 1);
    publish(&world.log, "a", "meanwhile");
    let second = world.shard.next_visit().expect("it is owed something");
    assert_ne!(first, second);
    let bytes = world.visit(second);
    assert!(bytes.contains("data: before\n") && bytes.contains("data: meanwhile\n"), "{bytes:?}");
    // Who was visited before has the rest in the next round, and nobody anything else.
    assert_eq!(world.shard.next_visit(), None);
    world.begin_round();
    let mut rest = Vec::new();
    while let Some(key) = world.shard.next_visit() {
        if let Ok(bytes) = visit(&mut world.shard, key, &world.tail, usize::MAX, 0) {
            rest.push((key, bytes));
        }
    }
    assert_eq!(rest.len(), 1);
    assert!(rest[0].0 == first && rest[0].1.contains("data: meanwhile\n"), "{rest:?}");
    assert!(keys.contains(&first) && keys.contains(&second));
}

#[test]
fn who_is_owed_much_is_given_64_kib_a_visit_and_others_have_their_turn_between() {
    let mut world = World::new(8 << 20);
    let greedy = world.join("large");
    let modest = world.join("small");
    for _ in 0..10 {
        publish(&world.log, "large", &"x".repeat(40_000));
    }
    publish(&world.log, "small", "hello");
    let mut visits = Vec::new();
    for _ in 0..20 {
        world.begin_round();
        while let Some(key) = world.shard.next_visit() {
            if let Ok(bytes) = visit(&mut world.shard, key, &world.tail, usize::MAX, 0) {
                assert!(bytes.len() <= VISIT_BYTES_MAX);
                visits.push(key);
            }
        }
    }
    assert_eq!(visits.iter().filter(|&&key| key == greedy).count(), 10, "one frame of 40,000 bytes fits");
    let modest = visits.iter().position(|&key| key == modest).expect("it was visited");
    assert!(modest <= 1, "it waited for {modest} visits to another");
}

/// Those who were served last stand last, whatever comes meanwhile: were it otherwise, a group that has news all the time
/// would keep all others from theirs.
#[test]
fn each_group_with_news_has_its_turn_in_every_round() {
    let mut world = World::new(8 << 20);
    let topics = ["a", "b", "c"];
    let keys = topics.map(|topic| world.join(topic));
    for topic in topics {
        publish(&world.log, topic, "first");
    }
    for round in 0..5 {
        world.begin_round();
        let mut visited = Vec::new();
        while let Some(key) = world.shard.next_visit() {
            let number = keys.iter().position(|&other| other == key).expect("it joined");
            world.visit(key);
            visited.push(number);
            publish(&world.log, topics[number], "more");
            world.shard.observe(&world.tail);
        }
        assert_eq!(visited, [0, 1, 2], "in round {round}");
    }
}

#[test]
fn each_who_is_owed_more_than_a_visit_has_a_turn_in_every_round() {
    let mut world = World::new(8 << 20);
    let begin = world.log.head();
    for _ in 0..6 {
        publish(&world.log, "large", &"x".repeat(40_000));
    }
    let keys = [(); 3].map(|()| world.shard.join((), stream("large", begin), &world.tail, 0));
    for round in 0..6 {
        world.begin_round();
        let mut visited = Vec::new();
        while let Some(key) = world.shard.next_visit() {
            world.visit(key);
            visited.push(key);
        }
        assert_eq!(visited, keys, "in round {round}");
    }
}

/// Whoever waits for other topics costs nothing, and stands where its shard has come when something comes: what has left
/// the tail meanwhile is not read for it.
#[test]
fn those_of_other_topics_are_not_visited_and_stand_where_the_shard_is() {
    let mut world = World::new(1);
    let here = world.join("a");
    let elsewhere: Vec<SlotKey> = (0..100).map(|number| world.join(&format!("other/{}", number % 10))).collect();
    for number in 0..1_000 {
        publish(&world.log, "a", &format!("{number} {}", "x".repeat(2_000)));
        world.begin_round();
        while let Some(key) = world.shard.next_visit() {
            assert_eq!(key, here);
            world.visit(key);
        }
    }
    publish(&world.log, "other/3", "at last");
    world.begin_round();
    let visited: Vec<SlotKey> = std::iter::from_fn(|| world.shard.next_visit()).collect();
    assert_eq!(visited.len(), 10);
    for key in visited {
        assert!(elsewhere.contains(&key));
        let bytes = world.visit(key);
        assert!(bytes.matches("id: ").count() == 1 && bytes.contains("data: at last\n"), "{bytes:?}");
    }
    assert!(matches!(world.shard.owed(here, &world.tail), Owed::Nothing));
}

/// What was read from the log lies in memory only from one read to the write that follows: a reader whose socket takes
/// nothing by then, or not all of it, has it read again.
#[test]
fn what_a_socket_does_not_take_of_a_read_is_read_again() {
    let mut world = World::new(1);
    let begin = world.log.head();
    for number in 0..4 {
        publish(&world.log, "a", &format!("{number} {}", "x".repeat(200_000)));
    }
    let key = world.shard.join((), stream("a", begin), &world.tail, 0);
    world.visit(key);
    let job = |world: &mut World| -> CatchUp {
        match world.shard.owed(key, &world.tail) {
            Owed::CatchUp(job) => job,
            _ => panic!("its place has left the tail"),
        }
    };
    let read = job(&mut world).read(&world.log).expect("memory can be read");
    // While it is read, a heartbeat is due, of which the socket takes nothing.
    let mut due = Vec::new();
    world.shard.look(0, 1, 10_000, &mut due);
    assert_eq!(due, [Heartbeat::Visit(key)]);
    visit(&mut world.shard, key, &world.tail, 0, 10_000).expect("a heartbeat");
    assert!(world.shard.is_blocked(key));
    assert!(matches!(world.shard.caught_up(read, &world.tail), CaughtUp::Nothing), "the socket takes nothing");
    world.begin_round();
    assert_eq!(world.shard.next_visit(), None, "nothing is read for a socket that takes nothing");
    world.shard.writable(key);
    let mut received = world.visit(key);
    // From here on it takes a little of each read.
    while !received.contains("3 x") || !received.ends_with("x\n\n\r\n") {
        let bytes = match world.shard.owed(key, &world.tail) {
            Owed::Write(bytes, ()) => bytes[..bytes.len().min(3_000)].to_vec(),
            Owed::CatchUp(job) => {
                let read = job.read(&world.log).expect("memory can be read");
                let CaughtUp::Write(bytes, ()) = world.shard.caught_up(read, &world.tail) else {
                    panic!("it is writable")
                };
                bytes[..bytes.len().min(3_000)].to_vec()
            }
            Owed::Nothing | Owed::End(()) => panic!("there is more"),
        };
        if world.shard.wrote(key, bytes.len(), 10_000).is_blocked {
            world.shard.writable(key);
        }
        received.push_str(std::str::from_utf8(&bytes).expect("text"));
    }
    assert_eq!(received.matches('x').count(), 800_000);
    for number in 0..4 {
        assert_eq!(received.matches(&format!("data: {number} x")).count(), 1);
    }
}
