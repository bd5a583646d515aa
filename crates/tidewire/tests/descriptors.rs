//! Open files used up: by connections that say nothing, and by whatever else has the system refuse them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::json;
use tidewire_harness::{Cost, EventStream, Http, Hub, figure, wait_until};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
/// How long anything that must happen may take, beside a build.
const WITHIN: Duration = Duration::from_secs(60);
/// Files that the hub may open.
const FILES: u32 = 1_024;
/// More connections than that.
const SILENT: usize = 1_500;
/// Small files, so that the log opens new ones; silent connections stay; heartbeats are the clock.
const SETTINGS: [(&str, &str); 3] =
    [("TIDEWIRE_SEGMENT_BYTES", "64KiB"), ("TIDEWIRE_HEAD_TIMEOUT", "10min"), ("TIDEWIRE_HEARTBEAT", "2s")];

fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).expect("the system lets it wait");
    socket.set_read_timeout(Some(WITHIN)).expect("a timeout");
    socket
}

/// Publishes so many events of 2 KB, one after the other.
fn publish(http: &mut Http, count: usize) {
    let body = json!({"topic": "a", "data": "x".repeat(2_000)}).to_string();
    for _ in 0..count {
        let answer = http.request("POST", "/api/v1/events", &[("content-type", "application/json")], body.as_bytes());
        let answer = answer.expect("the hub answers");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// What the hub's processors did while a stream had three heartbeats, which takes two or three seconds.
fn cpu_of_three_heartbeats(hub: &Hub, stream: &mut EventStream) -> Duration {
    let before = Cost::of(hub.process()).cpu;
    for _ in 0..3 {
        stream.item().expect("a heartbeat").expect("a heartbeat");
    }
    Cost::of(hub.process()).cpu - before
}

/// The story: streams had a limit and so had requests, but connections that had not said what they are had none. A
/// thousand of them took the descriptors of the log, and of the listener by which one would have looked what is wrong.
#[test]
fn connections_that_say_nothing_leave_the_log_and_the_admin_listener_their_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut hub = Hub::new(folder.path(), BINARY, &["--dev"], &SETTINGS).with_open_files(FILES);
    hub.restart();
    let mut publisher = Http::connect(hub.address()).expect("the hub listens");
    publish(&mut publisher, 1);
    let mut stream = EventStream::open(hub.address(), "/api/v1/events?topic=none", &[]).expect("a stream");
    let segments = hub.figure("tidewire_log_segments");
    let silent: Vec<TcpStream> = (0..SILENT).map(|_| connect(hub.address())).collect();
    wait_until("the hub lets connections wait", WITHIN, || hub.figure("tidewire_accept_pauses_total") > 0);
    let accepted = hub.figure("tidewire_connections_accepted_total");
    assert!(accepted < u64::from(FILES), "{accepted} were accepted");

    publish(&mut publisher, 300);
    assert!(hub.figure("tidewire_log_segments") > segments + 5, "the log has opened files");
    let mut late = connect(hub.address());
    late.write_all(b"GET /api/v1/events?topic=a HTTP/1.1\r\nhost: a\r\n\r\n").expect("it waits");
    let pauses = hub.figure("tidewire_accept_pauses_total");
    let cpu = cpu_of_three_heartbeats(&hub, &mut stream);
    assert!(cpu < Duration::from_millis(500), "{cpu:?} of processors for waiting two or three seconds");
    let again = hub.figure("tidewire_accept_pauses_total") - pauses;
    assert!(again < 10, "it tried {again} times to accept those for whom there is no room");
    assert_eq!(hub.figure("tidewire_accept_failures_total"), 0);

    // They stay, and those who wait are accepted nevertheless, the last one among them.
    let mut begin = [0; 15];
    late.read_exact(&mut begin).expect("an answer");
    assert_eq!(&begin, b"HTTP/1.1 200 OK");
    let accepted = || hub.figure("tidewire_connections_accepted_total");
    wait_until("all are accepted", WITHIN, || accepted() == SILENT as u64 + 3);
    drop(silent);
}

/// Whatever has used up the files, the hub goes on accepting once there are some, and does not spin until then.
#[test]
fn where_the_system_refuses_connections_the_hub_tries_again_and_does_not_spin() {
    let hub = Hub::start_with(BINARY, &["--dev"], &SETTINGS);
    let mut stream = EventStream::open(hub.address(), "/api/v1/events?topic=none", &[]).expect("a stream");
    let mut admin = Http::connect(hub.admin()).expect("the admin listener accepts");
    let failures = |admin: &mut Http| figure(admin, "tidewire_accept_failures_total");
    assert_eq!(failures(&mut admin), 0);
    hub.set_open_files(hub.open_files());
    let mut waiting: Vec<TcpStream> = (0..100).map(|_| connect(hub.address())).collect();
    for socket in &mut waiting {
        socket.write_all(b"GET /api/v1/events?topic=a HTTP/1.1\r\nhost: a\r\n\r\n").expect("it waits");
    }
    wait_until("the system refuses", WITHIN, || failures(&mut admin) > 0);
    let before = failures(&mut admin);
    let cpu = cpu_of_three_heartbeats(&hub, &mut stream);
    let again = failures(&mut admin) - before;
    assert!(cpu < Duration::from_millis(500), "{cpu:?} of processors for waiting two or three seconds");
    // Some 50 on an idle machine, where three heartbeats come within three seconds; a shard that spins tries that often in
    // a millisecond.
    assert!((10..1_000).contains(&again), "it tried {again} times");
    hub.set_open_files(FILES as usize);
    for socket in &mut waiting {
        let mut begin = [0; 15];
        socket.read_exact(&mut begin).expect("an answer");
        assert_eq!(&begin, b"HTTP/1.1 200 OK");
    }
}

/// The story: with few streams asked for, no more connections were let in that had not said yet what they are than with
/// many, and hundreds of files were not used: some hundred silent ones closed the hub to everyone else.
#[test]
fn where_few_streams_are_asked_for_silent_connections_find_room_beside_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [&SETTINGS[..], &[("TIDEWIRE_MAX_STREAMS", "10")]].concat();
    let mut hub = Hub::new(folder.path(), BINARY, &["--dev"], &settings).with_open_files(FILES);
    hub.restart();
    let silent: Vec<TcpStream> = (0..300).map(|_| connect(hub.address())).collect();
    let mut publisher = Http::connect(hub.address()).expect("the hub listens");
    publish(&mut publisher, 1);
    assert_eq!(hub.figure("tidewire_accept_pauses_total"), 0);
    drop(silent);
}
