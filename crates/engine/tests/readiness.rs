//! What the shards ask the system to be told of. Alone in its file, since it looks at all of its process.
#![cfg(target_os = "linux")]

#[expect(dead_code, reason = "what else the shards do is tested elsewhere")]
mod support;

use std::fs;
use std::net::TcpStream;
use std::time::Duration;

use support::{Hub, read_until, until};
use tidewire_engine::EngineConfig;

const READABLE: u64 = 0x1;
const WRITABLE: u64 = 0x4;
const STREAMS: usize = 16;

/// How many descriptors are asked about these events, in all of this process.
fn asked_about(events: u64) -> usize {
    let folder = fs::read_dir("/proc/self/fdinfo").expect("Linux");
    let infos = folder.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
    let asked = |info: String| {
        let fields = info.lines().filter_map(|line| line.strip_prefix("tfd:")?.split_once("events:"));
        let masks = fields.filter_map(|(_, rest)| u64::from_str_radix(rest.split_whitespace().next()?, 16).ok());
        masks.filter(|mask| mask & events != 0).count()
    };
    infos.map(asked).sum()
}

/// A socket can mostly be written to: who asks to be told is woken for nothing.
#[test]
fn room_in_a_socket_is_asked_for_after_a_short_write_and_no_longer_than_until_there_is_some() {
    let hub = Hub::start(EngineConfig { heartbeat: Duration::from_secs(600), ..EngineConfig::default() });
    let mut streams: Vec<TcpStream> = (0..STREAMS).map(|_| hub.ask("/streams/a")).collect();
    for socket in &mut streams {
        read_until(socket, "data: \n\n\r\n");
    }
    hub.publish("a", "to all");
    for socket in &mut streams {
        read_until(socket, "data: to all\n\n\r\n");
    }
    assert!(asked_about(READABLE) >= STREAMS, "the system does not tell what it is asked");
    assert_eq!(asked_about(WRITABLE), 0, "nobody was written to in short");

    let mut stuck = hub.ask("/streams/large");
    read_until(&mut stuck, "data: \n\n\r\n");
    // More than the system takes for a socket that is not read.
    hub.publish("large", &"x".repeat(900_000));
    until("the socket takes a whole event", || hub.engine.handle().stats().short_writes > 0);
    until("room is not asked for", || asked_about(WRITABLE) == 1);
    read_until(&mut stuck, "x\n\n\r\n");
    until("room is asked for and there is some", || asked_about(WRITABLE) == 0);
}
