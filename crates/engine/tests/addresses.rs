//! How many streams an address may have, whichever shards they are on and however they end.

#![cfg(target_os = "linux")]

#[expect(dead_code, reason = "what else the shards do is tested elsewhere")]
mod support;

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use support::{DEADLINE, Hub, read_to_end, read_until, until};
use tidewire_engine::{ConnectionPlace, EngineConfig, Listeners};

const MAX: usize = 5;
const BEGINS: &str = "data: \n\n\r\n";
const REFUSED: &[u8] = b"TooManyStreamsPerAddress";

/// With two shards, to which connections are dealt in turn: an address has streams on both.
fn start() -> Hub {
    let (shards, listeners) = (2, Listeners::One);
    Hub::start(EngineConfig { shards, listeners, max_streams_per_address: Some(MAX), ..EngineConfig::default() })
}

/// Asks for a stream from an address of this machine.
fn ask_from(hub: &Hub, last: u8, target: &str) -> TcpStream {
    ask(hub.engine.addresses()[0], last, target)
}

fn ask(hub: SocketAddr, last: u8, target: &str) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
    socket.bind(&SocketAddr::from((address, 0)).into()).expect("all of 127/8 is this machine's");
    socket.connect(&hub.into()).expect("the hub listens");
    socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let mut socket = TcpStream::from(socket);
    write!(socket, "GET /streams/{target} HTTP/1.1\r\n\r\n").expect("the hub reads");
    socket
}

/// Opens streams until there are as many as an address may have.
fn fill(hub: &Hub, last: u8) -> Vec<TcpStream> {
    let mut open: Vec<TcpStream> = (0..MAX).map(|_| ask_from(hub, last, "a")).collect();
    for socket in &mut open {
        read_until(socket, BEGINS);
    }
    assert_eq!(read_to_end(ask_from(hub, last, "a")), REFUSED);
    open
}

fn streams(hub: &Hub) -> u64 {
    hub.engine.handle().stats().streams
}

#[test]
fn one_more_than_an_address_may_have_is_refused_and_other_addresses_are_not() {
    let hub = start();
    let _other = (fill(&hub, 1), fill(&hub, 2));
}

#[test]
fn of_those_who_come_at_once_exactly_as_many_as_may_be_are_served() {
    let hub = start();
    let answers: Vec<TcpStream> = std::thread::scope(|scope| {
        let address = hub.engine.addresses()[0];
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(move || (0..5).map(|_| ask(address, 1, "a")).collect::<Vec<_>>())).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("it asks")).collect()
    });
    until("not all are answered", || {
        let stats = hub.engine.handle().stats();
        stats.streams + stats.refused == answers.len() as u64
    });
    assert_eq!(streams(&hub), MAX as u64);
}

#[test]
fn however_a_stream_ends_its_place_is_free() {
    let hub = start();
    let mut open = fill(&hub, 1);
    for ends in ["closed", "reset", "ended by the hub"] {
        match ends {
            "closed" => drop(open.pop()),
            "reset" => {
                let socket = open.pop().expect("there are some");
                socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).expect("a socket");
            }
            _ => {
                let handle = hub.engine.handle();
                let listed = handle.connections(ConnectionPlace::default(), None).expect("the shards answer");
                let (id, _) = listed.found[0];
                assert!(handle.end(id).expect("the shard answers"));
            }
        }
        until(ends, || streams(&hub) == MAX as u64 - 1);
        let mut next = ask_from(&hub, 1, "a");
        read_until(&mut next, BEGINS);
        open.push(next);
        assert_eq!(read_to_end(ask_from(&hub, 1, "a")), REFUSED, "one more than was {ends}");
    }
    drop(open);
    until("streams do not end", || streams(&hub) == 0);
    fill(&hub, 1);
}

/// Whoever waits to be decided on has a place, and no other once it is decided; it is free when they leave.
#[test]
fn those_who_wait_to_be_decided_are_counted_once() {
    let hub = start();
    let gate = hub.gate.lock().expect("no other thread panics with it");
    let mut waiting: Vec<TcpStream> = (0..MAX).map(|_| ask_from(&hub, 1, "gated")).collect();
    until("not all wait", || hub.seen.admissions().len() == MAX);
    for topic in ["a", "later", "gated"] {
        assert_eq!(read_to_end(ask_from(&hub, 1, topic)), REFUSED, "{topic}");
    }
    read_until(&mut ask_from(&hub, 2, "a"), BEGINS);
    drop(waiting.pop());
    drop(gate);
    for socket in &mut waiting {
        read_until(socket, BEGINS);
    }
    until("who left was given a stream that stays", || streams(&hub) == waiting.len() as u64);
    read_until(&mut ask_from(&hub, 1, "later"), BEGINS);
    drop(waiting);
    until("streams do not end", || streams(&hub) == 0);
    fill(&hub, 1);
}
