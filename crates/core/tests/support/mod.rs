//! What the tests of single steps share.

use std::sync::{Arc, mpsc};

use tidewire_core::{CatchUp, Owed, Shard, SlotKey, Start, StreamStart};
use tidewire_log::{Clock, Data, EventLog, Filter, HubId, MemoryLog, MemoryLogConfig, NewEvent, SimDisk, Tail, Types};
use tidewire_topic::{Matcher, MatcherSet, Topic};

/// A clock that stands.
pub(crate) struct StandingClock;

impl Clock for StandingClock {
    fn now_ms(&self) -> u64 {
        1_000
    }
}

pub(crate) fn memory_log(memory_bytes: usize) -> MemoryLog<SimDisk> {
    let config = MemoryLogConfig { memory_bytes, ..MemoryLogConfig::default() };
    MemoryLog::open(SimDisk::default(), &config, Arc::new(StandingClock)).expect("opened")
}

pub(crate) fn publish(log: &dyn EventLog, topic: &str, data: &str) -> HubId {
    let topics = vec![Topic::parse(topic).expect("a topic")];
    let event = NewEvent::new(topics, &Data::Text(data.into()), 1 << 20).expect("an event");
    let (sender, receiver) = mpsc::sync_channel(1);
    log.append(vec![event], Box::new(move |result| sender.send(result).expect("somebody waits")));
    receiver.recv().expect("an answer").expect("it is appended")[0]
}

pub(crate) fn stream(topic: &str, place: HubId) -> StreamStart {
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

/// What one visit writes to a socket that takes at most `takes` bytes.
pub(crate) fn visit(
    shard: &mut Shard<()>,
    key: SlotKey,
    tail: &Tail,
    takes: usize,
    now_ms: u64,
) -> Result<String, Option<CatchUp>> {
    let bytes = match shard.owed(key, tail) {
        Owed::Write(bytes, ()) => bytes[..bytes.len().min(takes)].to_vec(),
        Owed::CatchUp(job) => return Err(Some(job)),
        Owed::Nothing | Owed::End(()) => return Err(None),
    };
    shard.wrote(key, bytes.len(), now_ms);
    Ok(String::from_utf8(bytes).expect("text"))
}
