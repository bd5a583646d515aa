//! Ten thousand users, each with a pattern of its own: what they weigh, and that each gets its own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use tidewire_harness::{Http, Hub};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");

const USERS: usize = 10_000;
/// The weight is the slope from here: by then tables and scratch have their size.
const USERS_FIRST: usize = 2_000;
/// Anonymous memory for each more, in bytes. The parser's own regular expressions took 73 KB a pattern.
const USER_BYTES_MAX: u64 = 1_024;

/// Opens a stream and reads its first bytes, up to the checkpoint.
fn open(hub: &Hub, user: usize) -> TcpStream {
    let mut socket = TcpStream::connect(hub.address()).expect("the hub listens");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
    let target = format!("/api/v1/events?pattern=/users/u{user}/*");
    write!(socket, "GET {target} HTTP/1.1\r\nhost: hub\r\n\r\n").expect("the hub reads");
    read_until(&mut socket, "event: tidewire.checkpoint\ndata: \n\n\r\n");
    socket
}

/// Reads what comes until it has `end`.
#[track_caller]
fn read_until(socket: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    loop {
        let mut buffer = [0; 1_024];
        let bytes = socket.read(&mut buffer).expect("the hub goes on");
        assert!(bytes > 0, "the stream ended: {}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&buffer[..bytes]);
        let text = String::from_utf8_lossy(&read);
        if text.contains(end) {
            return text.into_owned();
        }
    }
}

/// What the hub has in memory that is of no file, in bytes.
fn anonymous_bytes(hub: &Hub) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", hub.process())).expect("a process has one");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("the kernel tells it");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") * 1_024
}

#[test]
fn ten_thousand_users_with_patterns_of_their_own_weigh_little_and_get_their_own() {
    let hub = Hub::start_with(BINARY, &["--dev"], &[("TIDEWIRE_HEARTBEAT", "10min"), ("TIDEWIRE_STALL_TIMEOUT", "1h")]);
    let mut streams: Vec<TcpStream> = (0..USERS_FIRST).map(|user| open(&hub, user)).collect();
    let before = anonymous_bytes(&hub);
    streams.extend((USERS_FIRST..USERS).map(|user| open(&hub, user)));
    let more = anonymous_bytes(&hub).saturating_sub(before);
    let each = more / (USERS - USERS_FIRST) as u64;
    println!("{each} bytes for each user");
    assert!(each <= USER_BYTES_MAX, "each user takes {each} bytes");

    let events: Value =
        (0..USERS).map(|user| json!({"topic": format!("/users/u{user}/inbox"), "data": format!("<{user}>")})).collect();
    let events = events.as_array().expect("an array").chunks(1_000);
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    for events in events {
        let body = Value::from(events).to_string();
        let answer = http.request("POST", "/api/v1/events", &[("content-type", "application/json")], body.as_bytes());
        assert_eq!(answer.expect("the hub answers").status, 200);
    }
    for (user, socket) in streams.iter_mut().enumerate() {
        let shown = read_until(socket, "data: ");
        assert!(shown.contains(&format!("data: <{user}>\n")), "{user} is shown {shown}");
        assert_eq!(shown.matches("data: ").count(), 1, "{user} is shown {shown}");
    }
}
