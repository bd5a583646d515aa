//! What `cargo xtask instructions` counts the instructions of: events that nobody on the shard asked for, beside so many
//! subscribers of other topics. They must cost the same, however many those are.
//!
//! `matching_instructions SUBSCRIBERS`

use std::sync::Arc;

use tidewire_core::{Limits, Owed, Shard, Start, StreamStart};
use tidewire_log::{
    Clock, Data, EVENT_BYTES, EventLog, Filter, HubId, MemoryLog, MemoryLogConfig, NewEvent, SimDisk, Tail, Types,
};
use tidewire_topic::{Matcher, MatcherSet, Topic};

/// Events that are matched, each by itself, as they come on a hub with little to do.
const EVENTS: usize = 2_000;
/// The topics that they take turns on.
const TOPICS: usize = 50;
const NOW_MS: u64 = 1_000;

/// Time stands.
struct Fixed;

impl Clock for Fixed {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000
    }
}

fn main() {
    let subscribers: usize = std::env::args().nth(1).and_then(|text| text.parse().ok()).expect("a number");
    let log = MemoryLog::open(SimDisk::default(), &MemoryLogConfig::default(), Arc::new(Fixed)).expect("opened");
    let tail = Arc::new(Tail::new(64 << 20));
    log.follow(tail.follower());
    let mut shard = Shard::new(Limits { heartbeat_ms: 20_000, stall_ms: 120_000 });
    // One in any case: a shard without subscribers looks at nothing.
    for number in 0..=subscribers {
        let key = shard.join((), stream(&format!("/users/{number}"), log.head()), &tail, NOW_MS);
        while let Owed::Write(bytes, ()) = shard.owed(key, &tail) {
            let written = bytes.len();
            shard.wrote(key, written, NOW_MS);
        }
    }
    turn(&mut shard, &tail);
    for number in 0..EVENTS {
        let topic = Topic::parse(&format!("elsewhere/{}", number % TOPICS)).expect("a topic");
        let event = NewEvent::new(vec![topic], &Data::Text("news".into()), EVENT_BYTES).expect("an event");
        // Who waits is here.
        log.append(vec![event], Box::new(|fate| assert!(fate.is_ok())));
        measured(&mut || turn(&mut shard, &tail));
    }
    assert!(!shard.has_news(&tail));
}

/// What callgrind looks for: it must be there, under this name.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    work();
}

/// What a shard does when it is woken.
fn turn(shard: &mut Shard<()>, tail: &Tail) {
    shard.observe(tail);
    shard.begin_round();
    while let Some(key) = shard.next_visit() {
        assert!(matches!(shard.owed(key, tail), Owed::Nothing), "nobody asked for it");
    }
}

fn stream(topic: &str, place: HubId) -> StreamStart {
    let topics = MatcherSet::new([Matcher::parse(topic).expect("a matcher")]).expect("a set");
    let filter = Filter { topics, types: Types::All, grants: None };
    StreamStart {
        head: Vec::new(),
        retry_ms: 1,
        filter,
        start: Start { place, gap: None },
        subject: None,
        client: None,
    }
}
