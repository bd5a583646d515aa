use std::sync::{Arc, mpsc};

use tidewire_log::{Clock, Data, EventLog, Filter, MemoryLog, MemoryLogConfig, NewEvent, SimDisk, Types};
use tidewire_topic::{Matcher, MatcherSet, Topic};

use super::*;
use crate::Start;

struct Standing;

impl Clock for Standing {
    fn now_ms(&self) -> u64 {
        1_000
    }
}

fn join(shard: &mut Shard<()>, topic: &str, place: HubId, tail: &Tail) -> SlotKey {
    let topics = MatcherSet::new([Matcher::parse(topic).expect("a matcher")]).expect("a set");
    let filter = Filter { topics, types: Types::All, grants: None };
    let start = Start { place, gap: None };
    let key = shard.join(
        (),
        StreamStart { head: Vec::new(), retry_ms: 1, filter, start, subject: None, client: None },
        tail,
        0,
    );
    let Owed::Write(bytes, ()) = shard.owed(key, tail) else { panic!("a stream begins with nothing") };
    let written = bytes.len();
    shard.wrote(key, written, 0);
    key
}

fn publish(log: &dyn EventLog, topics: &[&str], data: &str) {
    let topics = topics.iter().map(|topic| Topic::parse(topic).expect("a topic")).collect();
    let event = NewEvent::new(topics, &Data::Text(data.into()), 1 << 20).expect("an event");
    let (sender, receiver) = mpsc::sync_channel(1);
    log.append(vec![event], Box::new(move |result| sender.send(result).expect("somebody waits")));
    receiver.recv().expect("an answer").expect("it is appended");
}

/// Made anew for each of those who watch the same, everything would be delivered all the same, only later. So a mark is
/// put behind what was made: who is given it was given what another had.
#[test]
fn what_is_written_is_made_once_a_group_and_used_again_while_it_stays_the_same() {
    const MARK: &[u8] = b"made for another";
    let log = MemoryLog::open(SimDisk::default(), &MemoryLogConfig::default(), Arc::new(Standing)).expect("opened");
    let tail = Arc::new(Tail::new(1 << 20));
    log.follow(tail.follower());
    let mut shard = Shard::new(Limits { heartbeat_ms: 20_000, stall_ms: 120_000 });
    let [first, second, third] = [(); 3].map(|()| join(&mut shard, "a", log.head(), &tail));
    let other = join(&mut shard, "b", log.head(), &tail);
    // Both groups stand at the same place, and only one of them is owed what comes then.
    publish(&log, &["a", "b"], "one");
    publish(&log, &["b"], "two");
    let mut visit = |key, mark: &[u8]| {
        let Owed::Write(bytes, ()) = shard.owed(key, &tail) else { panic!("nothing is owed") };
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        shard.frames.push(Position(u64::MAX), HubId::ZERO, mark, 0);
        text
    };
    let made = visit(first, MARK);
    assert_eq!(made.matches("data: ").count(), 1, "{made:?}");
    let again = visit(second, b"");
    assert_eq!(again.into_bytes(), [made.as_bytes(), MARK].concat(), "it was made again");
    assert_eq!(visit(other, MARK).matches("made for another").count(), 0, "it was made for another group");
    assert_eq!(visit(third, MARK), made);
    publish(&log, &["a"], "three");
    let more = visit(second, MARK);
    assert!(more.starts_with(&made) && more.contains("data: three\n") && !more.contains("made for"), "{more:?}");
}

/// The story: a heartbeat tells of a place as far as its shard has come, to each subscriber at another time. From then on
/// each had its frames made for itself, though it was owed the same as all others.
#[test]
fn what_is_written_is_made_once_also_where_heartbeats_have_moved_places_apart() {
    let log = MemoryLog::open(SimDisk::default(), &MemoryLogConfig::default(), Arc::new(Standing)).expect("opened");
    let tail = Arc::new(Tail::new(1 << 20));
    log.follow(tail.follower());
    let mut shard = Shard::new(Limits { heartbeat_ms: 20_000, stall_ms: 120_000 });
    let keys = [(); 3].map(|()| join(&mut shard, "a", log.head(), &tail));
    // One after the other is told of a place; the last one is told of none.
    for slice in 0..2 {
        publish(&log, &["b"], "other");
        shard.observe(&tail);
        let mut due = Vec::new();
        shard.look(slice, 3, 10_000, &mut due);
        let Owed::Write(bytes, ()) = shard.owed(keys[slice as usize], &tail) else { panic!("a heartbeat is owed") };
        let written = bytes.len();
        shard.wrote(keys[slice as usize], written, 10_000);
    }
    publish(&log, &["a"], "one");
    let places = keys.map(|key| shard.slots.get(key).expect("it is there").progress.place);
    assert!(places[1] > places[0] && places[0] > places[2], "{places:?}");
    for order in [[1, 0, 2], [2, 0, 1]] {
        shard.frames_for = None;
        let made: Vec<usize> = order
            .iter()
            .map(|&n| {
                let Owed::Write(bytes, ()) = shard.owed(keys[n], &tail) else { panic!("an event is owed") };
                let length = bytes.len();
                shard.frames.push(Position(u64::MAX), HubId::ZERO, b"!", 0);
                length
            })
            .collect();
        assert_eq!(made, [made[0], made[0] + 1, made[0] + 2], "they were made again");
    }
}

/// While a shard looks, those who append wait.
#[test]
fn a_look_at_what_is_new_ends_after_4096_records() {
    let log = MemoryLog::open(SimDisk::default(), &MemoryLogConfig::default(), Arc::new(Standing)).expect("opened");
    let tail = Arc::new(Tail::new(1 << 24));
    log.follow(tail.follower());
    let mut shard = Shard::new(Limits { heartbeat_ms: 20_000, stall_ms: 120_000 });
    join(&mut shard, "a", log.head(), &tail);
    for _ in 0..5_000 {
        publish(&log, &["a"], "x");
    }
    let mut came = Vec::new();
    while shard.has_news(&tail) {
        shard.observe_some(&tail.read());
        came.push(shard.matched.0);
    }
    assert_eq!(came, [4_096, 5_000]);
}

/// Asked for each group anew, the answers would be the same, and a private event would cost as much as there are
/// groups.
#[test]
fn a_private_event_asks_one_set_of_grants_for_all_groups_that_have_it() {
    let log = MemoryLog::open(SimDisk::default(), &MemoryLogConfig::default(), Arc::new(Standing)).expect("opened");
    let tail = Arc::new(Tail::new(1 << 20));
    log.follow(tail.follower());
    let mut groups = Groups::default();
    let set = |topic| MatcherSet::new([Matcher::parse(topic).expect("a matcher")]).expect("a set");
    for types in [Types::All, Types::new(vec!["message".into()])] {
        groups.intern(Filter { topics: set("a"), types, grants: Some(set("b")) }, Position::default());
    }
    let topics = ["a", "b"].map(|topic| Topic::parse(topic).expect("a topic")).to_vec();
    let event = NewEvent::new(topics, &Data::Text("x".into()), 1 << 20).expect("an event").private();
    let (sender, receiver) = mpsc::sync_channel(1);
    log.append(vec![event], Box::new(move |result| sender.send(result).expect("somebody waits")));
    receiver.recv().expect("an answer").expect("it is appended");
    groups.note(&tail.read().record(Position(1)).expect("it is there"), Position::default());
    assert_eq!(groups.queued(), 2, "it is for both");
    assert_eq!(groups.answer(&set("b")), Some((Position(1), true)), "the set has not been asked");
}
