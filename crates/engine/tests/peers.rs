//! Peers that do not behave: they leave too early, talk on a stream, or do not read.

#[expect(dead_code, reason = "what is handed over is tested elsewhere")]
mod support;

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use support::{DEADLINE, Hub, read_to_end, read_until};
use tidewire_engine::{EngineConfig, EngineStats};

/// Waits until the engine's figures are as they must become. A heartbeat of a stream is the clock.
fn wait_for(hub: &Hub, is_so: impl Fn(&EngineStats) -> bool) {
    let mut witness = hub.ask("/streams/witness");
    for _ in 0..300 {
        if is_so(&hub.engine.handle().stats()) {
            return;
        }
        read_until(&mut witness, ":\n\r\n");
    }
    panic!("the figures are {:?}", hub.engine.handle().stats());
}

fn quick() -> EngineConfig {
    EngineConfig { heartbeat: Duration::from_millis(200), ..EngineConfig::default() }
}

#[test]
fn what_a_client_says_on_a_stream_is_dropped_and_too_much_of_it_ends_the_stream() {
    let hub = Hub::start(quick());
    let mut socket = hub.ask("/streams/a");
    read_until(&mut socket, "data: \n\n\r\n");
    for _ in 0..100 {
        socket.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("the hub reads");
    }
    hub.publish("a", "still here");
    read_until(&mut socket, "data: still here\n\n\r\n");
    let mut talker = hub.ask("/streams/a");
    read_until(&mut talker, "data: \n\n\r\n");
    // It ends by an error: the hub does not read what it does not want.
    while talker.write_all(&[b'x'; 64 * 1024]).is_ok() {}
    wait_for(&hub, |stats| stats.streams == 2);
}

#[test]
fn a_client_that_closes_its_half_has_left() {
    let hub = Hub::start(quick());
    let mut socket = hub.ask("/streams/a");
    read_until(&mut socket, "data: \n\n\r\n");
    socket.shutdown(Shutdown::Write).expect("it was open");
    read_to_end(socket);
    let unfinished = hub.connect();
    (&unfinished).write_all(b"GET /streams/a HTTP/1.1\r\n").expect("the hub reads");
    unfinished.shutdown(Shutdown::Write).expect("it was open");
    assert_eq!(read_to_end(unfinished), b"");
    wait_for(&hub, |stats| stats.streams == 1);
}

#[test]
fn clients_that_leave_while_their_admission_is_decided_leave_nothing_behind() {
    // With as many sockets as may be nobody else is accepted.
    let hub = Hub::start(EngineConfig { max_sockets: 8, ..quick() });
    for _ in 0..200 {
        drop(hub.ask("/streams/later"));
    }
    wait_for(&hub, |stats| stats.accepted >= 201 && stats.streams == 1);
}

/// The story: whoever connected and said nothing had the whole of `head_timeout`, and as many as there may be sockets kept
/// everybody else waiting for so long, again and again.
#[test]
fn those_who_say_nothing_soon_make_room_where_there_is_none() {
    for shards in [1, 2] {
        let head_timeout = Duration::from_secs(3_600);
        let hub = Hub::start(EngineConfig { shards, max_sockets: 4, head_timeout, ..quick() });
        let _silent: Vec<TcpStream> = (0..4).map(|_| hub.connect()).collect();
        read_until(&mut hub.ask("/streams/a"), "data: \n\n\r\n");
    }
}

#[test]
fn an_unfinished_head_is_told_that_it_took_too_long_where_there_is_no_room() {
    let hub = Hub::start(EngineConfig { max_sockets: 1, head_timeout: Duration::from_secs(3_600), ..quick() });
    let mut slow = hub.connect();
    slow.write_all(b"GET /streams/a HTTP/1.1\r\n").expect("the hub reads");
    let mut socket = hub.ask("/streams/a");
    assert_eq!(read_to_end(slow), b"HeadTimeout");
    read_until(&mut socket, "data: \n\n\r\n");
}

#[test]
fn stopping_does_not_wait_for_those_who_do_not_read_or_have_said_nothing() {
    let hub = Hub::start(quick());
    let mut blocked = hub.ask("/streams/large");
    read_until(&mut blocked, "data: \n\n\r\n");
    let _silent: Vec<TcpStream> = (0..10).map(|_| hub.connect()).collect();
    for _ in 0..40 {
        hub.publish("large", &"x".repeat(1 << 19));
    }
    wait_for(&hub, |stats| stats.short_writes > 0);
    let (sender, stopped) = std::sync::mpsc::sync_channel(1);
    let log = Arc::clone(&hub.log);
    std::thread::spawn(move || {
        hub.engine.stop();
        sender.send(()).expect("somebody waits");
    });
    stopped.recv_timeout(DEADLINE).expect("it stops");
    drop(log);
}

/// What a silent peer does not read stays in the log: the system takes little of it, whatever it would take by itself.
#[test]
fn a_client_that_does_not_read_has_little_in_the_system_and_is_closed_in_time() {
    let hub = Hub::start(EngineConfig { stall_timeout: Duration::from_secs(2), ..quick() });
    let mut blocked = hub.ask("/streams/large");
    read_until(&mut blocked, "data: \n\n\r\n");
    for _ in 0..40 {
        hub.publish("large", &"x".repeat(1 << 19));
    }
    wait_for(&hub, |stats| stats.short_writes > 0);
    let sent = hub.engine.handle().stats().sent_bytes;
    assert!(sent < 512 * 1024, "the system took {sent} bytes for a peer that reads nothing");
    assert_eq!(hub.engine.handle().stats().stalls, 0);
    wait_for(&hub, |stats| stats.stalls == 1);
}
