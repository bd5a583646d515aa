//! Several shards over real sockets: who accepts, how much at a time, and what becomes of readers that move.

#[expect(dead_code, reason = "how connections end is tested elsewhere")]
mod support;

use std::collections::HashMap;
use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use support::{DEADLINE, Hub, read_until};
use tidewire_engine::{EngineConfig, EngineStats, Listeners};

const BEGINS: &str = "data: \n\n\r\n";

/// Waits until the engine's figures are as they must become.
fn wait_for(hub: &Hub, is_so: impl Fn(&EngineStats) -> bool) {
    let figures = || hub.engine.handle().stats();
    let looks = std::iter::repeat_with(figures).take_while(|stats| !is_so(stats)).take(10_000_000).count();
    assert!(looks < 10_000_000, "the figures are {:?}", figures());
}

/// The places and data of the events that come until one says `end`.
fn events_to_the_end(socket: &mut TcpStream) -> Vec<(String, String)> {
    let text = read_until(socket, "data: end\n\n\r\n");
    let line = |block: &str, field: &str| block.lines().find_map(|line| line.strip_prefix(field).map(str::to_owned));
    let events = text.split("\n\n").filter(|block| !block.contains("tidewire."));
    events.filter_map(|block| Some((line(block, "id: ")?, line(block, "data: ")?))).collect()
}

#[test]
fn where_one_shard_accepts_connections_are_dealt_out_in_turn() {
    let hub = Hub::start(EngineConfig { shards: 4, listeners: Listeners::One, ..EngineConfig::default() });
    let mut sockets: Vec<TcpStream> = (0..32).map(|_| hub.ask("/streams/a")).collect();
    for socket in &mut sockets {
        read_until(socket, BEGINS);
    }
    let mut shards: HashMap<String, usize> = HashMap::new();
    for (shard, _) in hub.seen.admissions() {
        *shards.entry(shard).or_default() += 1;
    }
    assert_eq!(shards.values().collect::<Vec<_>>(), [&8; 4], "{shards:?}");
    hub.publish("a", "to all");
    for socket in &mut sockets {
        read_until(socket, "data: to all\n\n\r\n");
    }
    assert_eq!(hub.engine.handle().stats().accepted, 32);
}

#[test]
fn with_as_many_sockets_as_may_be_others_wait_until_some_have_gone() {
    for listeners in [Listeners::OneEach, Listeners::One] {
        let hub = Hub::start(EngineConfig { shards: 2, listeners, max_sockets: 4, ..EngineConfig::default() });
        let mut silent: Vec<TcpStream> = (0..4).map(|_| hub.connect()).collect();
        wait_for(&hub, |stats| stats.accepted == 4);
        let mut late = hub.ask("/streams/a");
        wait_for(&hub, |stats| stats.accept_pauses > 0);
        late.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
        assert!(late.read(&mut [0]).is_err(), "it was accepted: {:?}", hub.engine.handle().stats());
        late.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        silent.clear();
        read_until(&mut late, BEGINS);
        // Streams count as well, and those that go back to the engine.
        let mut streams: Vec<TcpStream> = (0..3).map(|_| hub.ask("/streams/a")).collect();
        for socket in &mut streams {
            read_until(socket, BEGINS);
        }
        let mut later = hub.ask("/streams/a");
        later.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
        assert!(later.read(&mut [0]).is_err(), "it was accepted: {:?}", hub.engine.handle().stats());
        later.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        drop(late);
        read_until(&mut later, BEGINS);
    }
}

#[test]
fn however_many_shards_accept_at_once_no_socket_is_one_too_many() {
    let hub = Hub::start(EngineConfig { shards: 4, max_sockets: 8, ..EngineConfig::default() });
    let silent: Vec<TcpStream> = (0..64).map(|_| hub.connect()).collect();
    wait_for(&hub, |stats| stats.accepted == 8 && stats.accept_pauses > 0);
    let mut late = hub.ask("/streams/a");
    late.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    assert!(late.read(&mut [0]).is_err(), "it was accepted");
    assert_eq!(hub.engine.handle().stats().accepted, 8);
    drop(silent);
    late.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    read_until(&mut late, BEGINS);
}

/// A storm of heads must not keep those waiting who are owed something: in a turn all that wait are accepted, and 64
/// are served.
#[test]
fn between_two_rounds_all_are_accepted_and_64_heads_served() {
    let hub = Hub::start(EngineConfig::default());
    let gate = hub.gate.lock().expect("no other thread panics with it");
    let held = hub.ask("/streams/held");
    wait_for(&hub, |_| !hub.seen.admissions().is_empty());
    let mut storm: Vec<TcpStream> = (0..300).map(|_| hub.ask("/streams/a")).collect();
    drop(gate);
    for socket in &mut storm {
        read_until(socket, BEGINS);
    }
    drop(held);
    // What was written is counted when a turn ends.
    let mut turns: HashMap<u64, usize> = HashMap::new();
    for (_, stats) in &hub.seen.admissions()[1..] {
        assert_eq!(stats.accepted, 301);
        *turns.entry(stats.writes).or_default() += 1;
    }
    assert_eq!(turns.values().max(), Some(&64), "{turns:?}");
    assert_eq!(turns.values().sum::<usize>(), 300);
}

/// A reader that reconnects may come to a shard which has not delivered what the reader has seen already.
#[test]
fn a_reader_that_moves_to_a_shard_which_is_behind_gets_nothing_twice() {
    let hub = Hub::start(EngineConfig { shards: 2, ..EngineConfig::default() });
    // A shard that is held accepts none. They come back to the shards in turn.
    let mut elsewhere = (0..12).map(|_| hub.elsewhere()).collect::<Vec<_>>().into_iter();
    let mut ask_for = |target, headers: &str| {
        let connection = elsewhere.next().expect("there are enough");
        hub.come_back(connection, target, headers)
    };
    let mut ask = |headers: &str| ask_for("/streams/a", headers);
    let mut ahead = ask("");
    let mut behind = ask("");
    read_until(&mut ahead, BEGINS);
    read_until(&mut behind, BEGINS);
    let gate = hub.gate.lock().expect("no other thread panics with it");
    let _filler = ask("");
    let _held = ask_for("/streams/held", "");
    wait_for(&hub, |_| hub.seen.admissions().len() == 4);

    for number in 0..100 {
        hub.publish("a", &format!("event {number}"));
    }
    hub.publish("a", "end");
    let seen = events_to_the_end(&mut ahead);
    assert_eq!(seen.len(), 101);
    // They go from the shard that is ahead to the one that has not looked at any of it.
    let moves = [100, 99, 57, 0];
    let mut moved: Vec<TcpStream> = Vec::new();
    for last in moves {
        drop(ask_for("/streams/a", ""));
        moved.push(ask_for("/streams/a", &format!("last-event-id: {}\r\n", seen[last].0)));
    }
    drop(gate);
    wait_for(&hub, |_| hub.seen.admissions().len() == 4 + 2 * moves.len());
    let shards: Vec<String> = hub.seen.admissions().into_iter().map(|(shard, _)| shard).collect();
    assert_eq!(shards.iter().filter(|shard| *shard == "shard-1").count(), 2 + moves.len());
    for number in 100..200 {
        hub.publish("a", &format!("event {number}"));
    }
    hub.publish("a", "end");
    let rest = events_to_the_end(&mut ahead);
    assert_eq!(rest.len(), 101);
    assert_eq!(events_to_the_end(&mut behind), seen);
    assert_eq!(events_to_the_end(&mut behind), rest);
    for (last, mut socket) in moves.into_iter().zip(moved) {
        if last < 100 {
            assert_eq!(events_to_the_end(&mut socket), seen[last + 1..], "moved after event {last}");
        }
        assert_eq!(events_to_the_end(&mut socket), rest, "moved after event {last}");
    }
}
