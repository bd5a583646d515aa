//! Readers who need of the log what the tail has no more: when it is gone, and when it cannot be read.

#[expect(dead_code, reason = "what else the shards do is tested elsewhere")]
mod support;

use std::io::Read;
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use support::{Hub, Room, read_to_end, read_until, until};
use tidewire_engine::EngineConfig;

const BEGINS: &str = "data: \n\n\r\n";
/// More than the system takes of one event for a socket that is not read.
const EVENT: usize = 900_000;

/// A heartbeat would be bytes before the deadline.
fn silent() -> EngineConfig {
    EngineConfig { heartbeat: Duration::from_secs(600), ..EngineConfig::default() }
}

/// Publishes until a reader that does not read is stuck.
fn publish_until_stuck(hub: &Hub, data: &str) {
    hub.publish("large", data);
    until("the socket takes a whole event", || hub.engine.handle().stats().short_writes > 0);
}

/// What a stream said before it was cut, without the data.
fn without_data(socket: TcpStream) -> (String, usize) {
    let bytes = read_to_end(socket);
    let (data, other): (Vec<u8>, Vec<u8>) = bytes.into_iter().partition(|&byte| byte == b'x');
    (String::from_utf8_lossy(&other).into_owned(), data.len())
}

/// A last chunk, or the rest of another event, would tell the client that the event it has half of was whole.
#[test]
fn a_reader_stuck_inside_a_frame_that_is_gone_is_cut_there_and_told_of_the_gap_when_it_comes_back() {
    let hub = Hub::start_with(silent(), &Room { log: 2 << 20, tail: 1 << 20 });
    let mut stuck = hub.ask("/streams/large");
    let begins = read_until(&mut stuck, BEGINS);
    let id = begins.lines().find_map(|line| line.strip_prefix("id: ")).expect("a checkpoint").to_owned();
    let data = "x".repeat(EVENT);
    publish_until_stuck(&hub, &data);
    for _ in 0..4 {
        hub.publish("large", &data);
    }
    let (other, length) = without_data(stuck);
    assert!(length < EVENT, "{length} bytes of an event that is gone");
    assert_eq!(other.matches("data: ").count(), 1, "{other:?}");
    assert!(other.ends_with("data: "), "something follows what there is of the event: {other:?}");
    until("the stream is still counted", || hub.engine.handle().stats().streams == 0);
    assert_eq!(hub.engine.handle().stats().stalls, 0);

    let mut back = hub.connect();
    std::io::Write::write_all(
        &mut back,
        format!("GET /streams/large HTTP/1.1\r\nlast-event-id: {id}\r\n\r\n").as_bytes(),
    )
    .expect("the hub reads");
    let gap = read_until(&mut back, "\n\n\r\n");
    assert!(gap.contains("event: tidewire.gap\n"), "{gap:?}");
    assert!(gap.contains(&format!(r#""requested":"{id}""#)) && gap.contains(r#""reason":"expired""#), "{gap:?}");
    read_until(&mut back, "x\n\n\r\n");
}

/// Left open it would have heartbeats, and its client no reason to come back.
#[test]
fn a_stream_whose_read_from_the_log_fails_is_closed_and_goes_on_once_it_comes_back() {
    let hub = Hub::start_with(silent(), &Room { log: 64 << 20, tail: 1 << 20 });
    hub.publish("old", "first");
    let data = "x".repeat(EVENT);
    for _ in 0..4 {
        hub.publish("other", &data);
    }
    hub.is_unreadable.store(true, Ordering::SeqCst);
    let other = read_to_end(hub.ask("/streams/old"));
    let other = String::from_utf8(other).expect("text");
    assert!(other.starts_with("HTTP/1.1 200 OK\r\n\r\n") && !other.contains("data: first"), "{other:?}");
    assert!(!other.ends_with("0\r\n\r\n"), "it looks as if that were all: {other:?}");
    until("the stream is still counted", || hub.engine.handle().stats().streams == 0);
    assert_eq!(hub.engine.handle().stats().read_failures, 1);
    hub.is_unreadable.store(false, Ordering::SeqCst);
    read_until(&mut hub.ask("/streams/old"), "data: first\n\n\r\n");
}

/// The same inside of an event.
#[test]
fn a_reader_inside_a_frame_that_cannot_be_read_is_cut_there() {
    let hub = Hub::start_with(silent(), &Room { log: 64 << 20, tail: 1 << 20 });
    let mut stuck = hub.ask("/streams/large");
    read_until(&mut stuck, BEGINS);
    let data = "x".repeat(EVENT);
    publish_until_stuck(&hub, &data);
    for _ in 0..4 {
        hub.publish("large", &data);
    }
    hub.is_unreadable.store(true, Ordering::SeqCst);
    let mut first = [0; 1];
    stuck.read_exact(&mut first).expect("what the system took");
    let (other, length) = without_data(stuck);
    assert!(length < EVENT && other.ends_with("data: "), "cut after {length} bytes and {other:?}");
    assert_eq!(hub.engine.handle().stats().read_failures, 1);
}
