//! The shards over real sockets.

#[expect(dead_code, reason = "several shards are tested elsewhere")]
mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use support::{DEADLINE, Elsewhere, Hub, read_to_end, read_until};
use tidewire_core::{ClientAddress, LAST_CHUNK};
use tidewire_engine::{Admission, EngineConfig};

#[test]
fn a_stream_begins_with_its_head_retry_and_a_checkpoint_and_then_has_its_events() {
    let hub = Hub::start(EngineConfig::default());
    for target in ["/streams/a", "/streams/later"] {
        let mut socket = hub.ask(target);
        let first = read_until(&mut socket, "data: \n\n\r\n");
        assert!(first.starts_with("HTTP/1.1 200 OK\r\n\r\n"), "{first:?}");
        let retry = first.find("retry: 7\n").expect("retry");
        assert!(retry < first.find("event: tidewire.checkpoint\n").expect("a checkpoint"));
        hub.publish("other", "not mine");
        hub.publish(target.trim_start_matches("/streams/"), "mine");
        let event = read_until(&mut socket, "\n\n\r\n");
        assert!(event.contains("data: mine\n"), "{event:?}");
    }
}

#[test]
fn a_silent_stream_has_heartbeats_and_a_checkpoint_once_its_place_has_moved() {
    let hub = Hub::start(EngineConfig { heartbeat: Duration::from_millis(400), ..EngineConfig::default() });
    let mut socket = hub.ask("/streams/a");
    read_until(&mut socket, "data: \n\n\r\n");
    assert_eq!(read_until(&mut socket, ":\n\r\n"), "2\r\n:\n\r\n");
    hub.publish("other", "not mine");
    let told = read_until(&mut socket, "data: \n\n\r\n");
    assert!(told.contains("id: #1000-1\nevent: tidewire.checkpoint\n"), "{told:?}");
}

#[test]
fn stopping_ends_streams_with_what_is_owed_and_their_last_chunk() {
    let hub = Hub::start(EngineConfig::default());
    let mut socket = hub.ask("/streams/a");
    read_until(&mut socket, "data: \n\n\r\n");
    hub.publish("a", "last words");
    hub.engine.stop();
    let rest = read_to_end(socket);
    assert!(rest.ends_with(LAST_CHUNK));
    assert!(String::from_utf8_lossy(&rest).contains("data: last words\n"));
}

/// The story: a stream that waited for room in its socket counted as done, so that under load most streams
/// ended in the middle of an event, and at once.
#[test]
fn stopping_lets_a_reader_have_the_rest_of_an_event_begun() {
    let hub = Hub::start(EngineConfig::default());
    let mut socket = hub.ask("/streams/a");
    read_until(&mut socket, "data: \n\n\r\n");
    // More than the system takes for a socket that is not read.
    let data = "x".repeat(900_000);
    for _ in 0..16 {
        hub.publish("a", &data);
    }
    let engine = hub.engine;
    let stopping = std::thread::spawn(move || engine.stop());
    let rest = read_to_end(socket);
    stopping.join().expect("it stops");
    assert!(rest.ends_with(LAST_CHUNK), "cut after {} bytes", rest.len());
}

#[test]
fn what_is_no_stream_is_handed_over_whole_and_may_come_back() {
    let hub = Hub::start(EngineConfig::default());
    let mut socket = hub.connect();
    let first = "POST /x HTTP/1.1\r\ncontent-length: 4\r\n\r\nbody";
    socket.write_all(first.as_bytes()).expect("the hub reads");
    let (theirs, bytes, peer) = hub.handed_over.recv_timeout(DEADLINE).expect("it is handed over");
    assert_eq!(String::from_utf8_lossy(&bytes), first);
    assert_eq!(peer, ClientAddress::from(socket.local_addr().expect("an address")));
    let mut socket = hub.come_back(Elsewhere { socket, theirs, peer }, "/streams/a", "");
    read_until(&mut socket, "data: \n\n\r\n");
    hub.publish("a", "back again");
    read_until(&mut socket, "data: back again\n\n\r\n");
    let stats = hub.engine.handle().stats();
    assert_eq!((stats.handed_over, stats.adopted, stats.streams), (1, 1, 1));
}

#[test]
fn a_client_that_leaves_is_forgotten() {
    let hub = Hub::start(EngineConfig::default());
    let mut socket = hub.ask("/streams/a");
    read_until(&mut socket, "data: \n\n\r\n");
    socket.shutdown(Shutdown::Both).expect("it was open");
    let mut other = hub.ask("/streams/b");
    read_until(&mut other, "data: \n\n\r\n");
    let begun = std::iter::repeat_with(|| hub.engine.handle().stats());
    let settled = begun.take_while(|stats| stats.streams != 1).take(10_000_000).count();
    assert!(settled < 10_000_000, "the stream of a client that left is still counted");
}

#[test]
fn at_the_limit_of_streams_one_more_is_refused() {
    let hub = Hub::start(EngineConfig { max_streams: 2, ..EngineConfig::default() });
    let mut kept: Vec<TcpStream> = (0..2).map(|_| hub.ask("/streams/a")).collect();
    for socket in &mut kept {
        read_until(socket, "data: \n\n\r\n");
    }
    assert_eq!(read_to_end(hub.ask("/streams/a")), b"TooManyStreams");
}

#[test]
fn a_head_that_does_not_end_is_refused_in_time_and_in_size() {
    let head_timeout = Duration::from_millis(300);
    let hub = Hub::start(EngineConfig { head_timeout, head_bytes_max: 200, ..EngineConfig::default() });
    let mut slow = hub.connect();
    slow.write_all(b"GET /streams/a HTTP/1.1\r\n").expect("the hub reads");
    assert_eq!(read_to_end(slow), b"HeadTimeout");
    let silent = hub.connect();
    assert_eq!(read_to_end(silent), b"", "who says nothing is told nothing");
    let head = |length: usize| format!("GET /streams/{} HTTP/1.1\r\n\r\n", "a".repeat(length));
    let longest = 200 - head(0).len();
    let mut fits = hub.connect();
    fits.write_all(head(longest).as_bytes()).expect("the hub reads");
    read_until(&mut fits, "data: \n\n\r\n");
    let mut large = hub.connect();
    large.write_all(head(longest + 1).as_bytes()).expect("the hub reads");
    assert!(read_to_end(large).starts_with(b"HeadTooLarge"));
}

#[test]
fn with_all_buffers_taken_the_oldest_unfinished_head_is_refused() {
    let hub = Hub::start(EngineConfig { head_buffers_max: 1, ..EngineConfig::default() });
    let mut oldest = hub.connect();
    oldest.write_all(b"GET /stre").expect("the hub reads");
    let mut witness = hub.ask("/streams/a");
    read_until(&mut witness, "data: \n\n\r\n");
    let mut newest = hub.connect();
    newest.write_all(b"GET /streams/a HT").expect("the hub reads");
    assert_eq!(read_to_end(oldest), b"HeadTimeout");
    newest.write_all(b"TP/1.1\r\n\r\n").expect("the hub reads");
    read_until(&mut newest, "data: \n\n\r\n");
}

/// The story: a connection that came back while the engine stopped lay in the letter box of a shard
/// that had ended, neither answered nor closed, for as long as the tail lived.
#[test]
fn a_connection_that_comes_back_to_a_shard_that_has_ended_is_closed() {
    let hub = Hub::start(EngineConfig::default());
    let mut socket = hub.ask("/elsewhere");
    let (theirs, _, peer) = hub.handed_over.recv_timeout(DEADLINE).expect("it is handed over");
    let handle = hub.engine.handle();
    hub.engine.stop();
    handle.adopt(theirs, Box::new(|| Admission::HandOver), peer);
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    assert_eq!(socket.read(&mut [0]).expect("an end before the deadline"), 0);
}

#[test]
fn the_limit_of_streams_holds_for_all_shards_together() {
    let hub = Hub::start(EngineConfig { max_streams: 8, shards: 4, ..EngineConfig::default() });
    let sockets: Vec<TcpStream> = (0..32).map(|_| hub.ask("/streams/a")).collect();
    let begins = sockets.into_iter().map(|mut socket| {
        let mut begin = [0; 4];
        socket.read_exact(&mut begin).expect("an answer");
        (begin, socket)
    });
    let begins: Vec<([u8; 4], TcpStream)> = begins.collect();
    assert_eq!(begins.iter().filter(|(begin, _)| begin == b"HTTP").count(), 8);
    assert_eq!(begins.iter().filter(|(begin, _)| begin == b"TooM").count(), 24);
}

/// The story: a panic in what waits for the log ended a thread of the pool. After two there was none, and
/// whoever needed the log had heartbeats and nothing else, for ever.
#[test]
fn a_panic_while_an_admission_is_decided_costs_only_the_one_who_asked() {
    let hub = Hub::start(EngineConfig::default());
    for _ in 0..3 {
        assert_eq!(read_to_end(hub.ask("/streams/panic")), b"LogUnreadable");
    }
    read_until(&mut hub.ask("/streams/later"), "data: \n\n\r\n");
}

/// The story: 64 clients with last ids that had to be sought in a log of 422 MB kept a reader of old events
/// waiting for 6 seconds, since they shared its threads.
#[test]
fn those_who_seek_a_place_do_not_keep_waiting_those_who_read_on() {
    // A heartbeat would be bytes before the deadline.
    let hub = Hub::start(EngineConfig { heartbeat: Duration::from_secs(600), ..EngineConfig::default() });
    let data = "x".repeat(500_000);
    for _ in 0..6 {
        hub.publish("old", &data);
    }
    let gate = hub.gate.lock().expect("no other thread panics with it");
    let mut seeking: Vec<TcpStream> = (0..100).map(|_| hub.ask("/streams/gated")).collect();
    let mut reading = hub.ask("/streams/old");
    for _ in 0..6 {
        read_until(&mut reading, "x\n\n\r\n");
    }
    assert!(hub.engine.handle().stats().catch_up_reads > 0, "everything was in the tail");
    drop(gate);
    for socket in &mut seeking {
        read_until(socket, "data: \n\n\r\n");
    }
}
