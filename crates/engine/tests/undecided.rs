//! Connections whose admission takes long: what they hold, and for how long.

#[expect(dead_code, reason = "what else the shards do is tested elsewhere")]
mod support;

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use support::{Hub, read_to_end, read_until, until};
use tidewire_engine::EngineConfig;

/// How many admissions of a shard the pool is given, and does not give back.
const UNDER_WAY: usize = 64;

/// How many admissions wait or are under way, besides the two who count them.
fn undecided(hub: &Hub) -> usize {
    Arc::strong_count(&hub.undecided) - 2
}

/// Asks for what is not decided, and waits for the shard to know.
fn ask_gated(hub: &Hub, fields: &str) -> TcpStream {
    let before = hub.seen.admissions().len();
    let mut socket = hub.connect();
    // At once: what comes in pieces holds a buffer.
    let head = format!("GET /streams/gated HTTP/1.1\r\n{fields}\r\n");
    socket.write_all(head.as_bytes()).expect("the hub reads");
    until("the shard does not read a head", || hub.seen.admissions().len() > before);
    socket
}

/// The story: a long head was sent away for want of buffers, and what was to decide on it stayed in the queue with a
/// copy of it. Whoever came again each time had the hub keep 64 KiB more, without limit. So did whoever just left.
#[test]
fn what_waits_to_be_decided_goes_when_its_connection_is_sent_away_or_leaves() {
    let hub = Hub::start(EngineConfig { head_buffers_max: 1, ..EngineConfig::default() });
    let gate = hub.gate.lock().expect("no other thread panics with it");
    let mut under_way: Vec<TcpStream> = (0..UNDER_WAY).map(|_| ask_gated(&hub, "")).collect();
    let long = format!("x: {}\r\n", "x".repeat(8 * 1024));
    let mut newest = ask_gated(&hub, &long);
    for _ in 0..8 {
        let sent_away = std::mem::replace(&mut newest, ask_gated(&hub, &long));
        assert_eq!(read_to_end(sent_away), b"HeadTimeout");
        until("what waits outlives who was sent away", || undecided(&hub) == UNDER_WAY + 1);
    }
    let leaving: Vec<TcpStream> = (0..8).map(|_| ask_gated(&hub, "")).collect();
    until("not all wait", || undecided(&hub) == UNDER_WAY + 1 + leaving.len());
    drop(leaving);
    until("what waits outlives those who left", || undecided(&hub) == UNDER_WAY + 1);
    drop(gate);
    for socket in under_way.iter_mut().chain([&mut newest]) {
        read_until(socket, "data: \n\n\r\n");
    }
}

/// The story: whoever had sent a head and closed before it was read was not heard of again, and kept its place among
/// those who wait.
#[test]
fn who_has_left_before_the_head_is_read_does_not_wait() {
    let hub = Hub::start(EngineConfig::default());
    let mut leaving = hub.connect();
    leaving.write_all(b"GET /streams/later HT").expect("the hub reads");
    let mut witness = hub.ask("/streams/a");
    read_until(&mut witness, "data: \n\n\r\n");
    let gate = hub.gate.lock().expect("no other thread panics with it");
    // The shard stands still until the gate opens: the rest of a head and its client's end are one event to it.
    let _held = hub.ask("/streams/held");
    until("the shard does not stand still", || hub.seen.admissions().len() == 2);
    leaving.write_all(b"TP/1.1\r\n\r\n").expect("the hub reads");
    drop(leaving);
    drop(gate);
    until("the head is not read", || hub.seen.admissions().len() == 3);
    let mut next = hub.ask("/streams/later");
    read_until(&mut next, "data: \n\n\r\n");
    assert_eq!(hub.engine.handle().stats().streams_begun, 3, "a stream was begun for nobody");
}

#[test]
fn at_the_limit_of_the_undecided_one_more_is_refused() {
    let hub = Hub::start(EngineConfig { undecided_max: 2, ..EngineConfig::default() });
    let gate = hub.gate.lock().expect("no other thread panics with it");
    let mut waiting: Vec<TcpStream> = (0..UNDER_WAY + 2).map(|_| ask_gated(&hub, "")).collect();
    assert_eq!(read_to_end(hub.ask("/streams/gated")), b"TooManyUndecided");
    assert_eq!(hub.engine.handle().stats().undecided_refused, 1);
    until("what is refused waits", || undecided(&hub) == UNDER_WAY + 2);
    drop(waiting.pop());
    until("who left keeps its place", || undecided(&hub) == UNDER_WAY + 1);
    waiting.push(ask_gated(&hub, ""));
    drop(gate);
    for socket in &mut waiting {
        read_until(socket, "data: \n\n\r\n");
    }
}

/// The story: while a disk hung, whoever's place was being sought waited without limit, and held the place of a stream that needs
/// no disk.
#[test]
fn who_is_not_decided_on_in_time_is_refused_and_leaves_the_place_of_a_stream() {
    let decide_timeout = Duration::from_millis(300);
    let hub = Hub::start(EngineConfig { max_streams: 2, decide_timeout, ..EngineConfig::default() });
    let gate = hub.gate.lock().expect("no other thread panics with it");
    let late: Vec<TcpStream> = (0..2).map(|_| ask_gated(&hub, "")).collect();
    assert_eq!(read_to_end(hub.ask("/streams/a")), b"TooManyStreams", "both places are promised");
    for socket in late {
        assert_eq!(read_to_end(socket), b"UndecidedTimeout");
    }
    assert_eq!(hub.engine.handle().stats().undecided_timeouts, 2);
    let mut socket = hub.ask("/streams/a");
    read_until(&mut socket, "data: \n\n\r\n");
    drop(gate);
    until("what was late is not over", || undecided(&hub) == 0);
    read_until(&mut hub.ask("/streams/later"), "data: \n\n\r\n");
    let stats = hub.engine.handle().stats();
    assert_eq!((stats.streams_begun, stats.undecided_timeouts), (2, 2), "what was late is nobody's");
}

/// The story: those on whom it took long to decide held sockets beside the streams, as many as there were, and nobody else
/// was accepted until the disk had answered for them.
#[test]
fn those_who_wait_to_be_decided_have_the_places_of_streams_and_no_others() {
    let hub = Hub::start(EngineConfig { max_streams: 2, max_sockets: 4, ..EngineConfig::default() });
    let gate = hub.gate.lock().expect("no other thread panics with it");
    let mut waiting: Vec<TcpStream> = (0..2).map(|_| ask_gated(&hub, "")).collect();
    for topic in ["gated", "later", "a"] {
        assert_eq!(read_to_end(hub.ask(&format!("/streams/{topic}"))), b"TooManyStreams", "{topic}");
    }
    drop(waiting.pop());
    drop(gate);
    read_until(&mut waiting[0], "data: \n\n\r\n");
    let mut socket = hub.ask("/streams/a");
    read_until(&mut socket, "data: \n\n\r\n");
    assert_eq!(read_to_end(hub.ask("/streams/later")), b"TooManyStreams", "both places are taken");
}

/// The story: with as many streams as there may be, whoever took long to decide on was refused also while the hub stopped, and a
/// native `EventSource` never comes back after that.
#[test]
fn while_the_hub_stops_who_takes_long_to_decide_on_is_answered_as_all_others() {
    let hub = Hub::start(EngineConfig { max_streams: 1, ..EngineConfig::default() });
    let mut stream = hub.ask("/streams/a");
    read_until(&mut stream, "data: \n\n\r\n");
    let engine = &hub.engine;
    std::thread::scope(|scope| {
        scope.spawn(move || engine.drain(None));
        until("it does not begin to stop", || read_to_end(hub.ask("/streams/b")).starts_with(b"HTTP/1.1 200"));
        let answer = read_to_end(hub.ask("/streams/later"));
        drop(stream);
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    });
}
