//! What one turn of a shard does, and what one visit does.

#[expect(dead_code, reason = "what else the shards do is tested elsewhere")]
mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use support::{Hub, Room, read_until, until};
use tidewire_engine::EngineConfig;

const BEGINS: &str = "data: \n\n\r\n";
/// Heads that wait at once: some turns' worth.
const STORM: usize = 300;
const EVENT: usize = 8 * 1024;
/// More than is delivered to one reader in as many turns.
const BACKLOG: usize = 128;

/// A heartbeat would be a write.
fn silent() -> EngineConfig {
    let long = Duration::from_secs(600);
    EngineConfig { heartbeat: long, head_timeout: long, ..EngineConfig::default() }
}

/// Reads so many numbered events.
fn read_numbers(reader: &mut BufReader<TcpStream>, count: usize) {
    for number in 0..count {
        let wanted = format!("data: {number} ");
        let mut line = String::new();
        while !line.starts_with(&wanted) {
            line.clear();
            assert!(reader.read_line(&mut line).expect("bytes before the deadline") > 0, "no {wanted}");
        }
    }
}

/// The story: a shard that went on delivering while anything was owed did not look at its sockets while one reader
/// had much to catch up on.
#[test]
fn a_turn_has_one_round_of_delivery_however_much_is_owed() {
    let hub = Hub::start_with(silent(), &Room { log: 64 << 20, tail: 16 << 20 });
    let filler = "x".repeat(EVENT);
    let mut reader = hub.ask("/streams/a");
    read_until(&mut reader, BEGINS);
    let mut reader = BufReader::new(reader);
    // The system learns how much it may take for who reads.
    let warmed = std::thread::spawn(move || {
        read_numbers(&mut reader, 4 * BACKLOG);
        reader
    });
    for number in 0..4 * BACKLOG {
        hub.publish("a", &format!("{number} {filler}"));
    }
    let mut reader = warmed.join().expect("it gets all");
    let mut storm: Vec<TcpStream> = (0..STORM).map(|_| hub.connect()).collect();
    until("not all are accepted", || hub.engine.handle().stats().accepted == STORM as u64 + 1);

    // The shard stands still until the gate opens.
    let gate = hub.gate.lock().expect("no other thread panics with it");
    let before = hub.seen.admissions().len();
    let _held = hub.ask("/streams/held");
    until("the shard does not stand still", || hub.seen.admissions().len() == before + 1);
    for number in 0..BACKLOG {
        hub.publish("a", &format!("{number} {filler}"));
    }
    for socket in &mut storm {
        socket.write_all(b"GET /streams/b HTTP/1.1\r\n\r\n").expect("the hub reads");
    }
    let reading = std::thread::spawn(move || read_numbers(&mut reader, BACKLOG));
    drop(gate);
    for socket in &mut storm {
        read_until(socket, BEGINS);
    }
    reading.join().expect("it gets all");

    // What was written is counted when a turn ends. Each head is answered by one write.
    let mut turns: Vec<(u64, u64)> = Vec::new();
    for (_, stats) in &hub.seen.admissions()[before..] {
        match turns.last_mut() {
            Some((writes, heads)) if *writes == stats.writes => *heads += 1,
            _ => turns.push((stats.writes, 1)),
        }
    }
    assert!(turns.len() > STORM / 64, "{turns:?}");
    let delivered: Vec<u64> = turns.windows(2).map(|turn| turn[1].0 - turn[0].0 - turn[0].1).collect();
    assert!(
        delivered.iter().all(|&writes| writes <= 1),
        "between two turns' heads one reader had {delivered:?} writes"
    );
    assert!(delivered.iter().sum::<u64>() > 1, "there was nothing to deliver: {delivered:?}");
}

#[test]
fn a_replay_of_12_kb_goes_in_one_write() {
    let hub = Hub::start(silent());
    let data = "x".repeat(480);
    for number in 0..24 {
        hub.publish("old", &format!("{number} {data}"));
    }
    let mut reader = hub.ask("/streams/old");
    let all = read_until(&mut reader, &format!("data: 23 {data}\n\n\r\n"));
    assert!(all.len() > 12_000, "{} bytes", all.len());
    let stats = || hub.engine.handle().stats();
    // What was written is counted when a turn ends.
    until("not all is counted", || stats().sent_bytes >= all.len() as u64);
    assert_eq!((stats().writes, stats().short_writes, stats().deliveries), (1, 0, 24));
}
